"""One-token mutants of the rules and of folding: each must fail a test. `make check` runs this file.

Every mutant is a copy of the project in a temporary directory with one token changed. To add one, add a row to MUTANTS:
the file, the token as it stands (found exactly once), what it becomes, and the few fast tests that must notice.
Prints a line for each; exits 1 with the survivors named. Controls: the unchanged copy passes the same tests, and the
copy is what those tests import.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("isoscale", "tests", "docs", "pyproject.toml")
WORKERS = 2
TIMEOUT = 90.0
"""Seconds for one mutant's tests. Running out of time is not a kill."""

TABLE = "tests/test_rules_table.py"
REGIME = "tests/test_rules_regime.py"
POWER = "tests/test_rules_power.py"
NO_EPS = "tests/laws/test_rules_algebra.py::test_what_has_no_eps_gets_none_from_a_fold"
GAUGE = "tests/laws/test_rules_algebra.py::test_power_of_two_fold_is_bitwise_the_same_run"
RATES = "tests/laws/test_rules_rates.py::test_exponents_of_other_optimizers[muon]"
LAW = "tests/laws/test_gauge.py::test_moving_a_power_of_two_leaves_every_bit"
PLAN = "tests/plan/test_plan.py"
INIT = "tests/plan/test_init.py::test_every_parameter_gets_the_base_models_rms_times_its_ratio"
GROUPS = "tests/plan/test_groups.py"
SEVERAL = "tests/plan/test_several_optimizers.py"
CLIP = "tests/plan/test_guards.py::test_the_clipped_norm_is_the_same_in_every_gauge"


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in isoscale/`file`, and one of `tests` must fail."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    # The maximal-update demand.
    Mutant("_rules/update.py", "else -1)", "else 1)", (TABLE,)),  # 2a - 1 becomes 2a + 1
    Mutant("_rules/update.py", "else -1)", "else 0)", (TABLE,)),  # an update need not be 1/L
    Mutant("_rules/update.py", "(branch or ONE)", "ONE", (TABLE,)),  # the branch multiplier is forgotten
    Mutant("_rules/update.py", "fan_out=-backward", "fan_out=backward", (TABLE,)),
    Mutant("_rules/update.py", "eps_of(optimizer.eps, gradient)", "ONE", (TABLE,)),  # eps does not follow
    Mutant("_rules/update.py", "return lr**-1", "return lr", (TABLE,)),  # the sign of decay
    Mutant("_rules/update.py", "return gradient / std", "return lr**-1", (TABLE,)),  # Adam's L2 as if decoupled
    Mutant("_rules/update.py", "readout_alignment + readout", "readout_alignment - readout", (TABLE,)),
    # The gauge.
    Mutant("_rules/optimizers.py", "return 1 + self", "return self", (GAUGE,)),  # c^2 becomes c for SGD
    Mutant("_rules/optimizers.py", "- self.parameter_degree", "+ self.parameter_degree", (GAUGE,)),
    Mutant("_rules/optimizers.py", '"adamw", "sign", "decoupled"', '"adamw", "sign", "coupled"', (TABLE,)),
    Mutant("_rules/gauge.py", "entry.eps / c**row", "entry.eps / ONE**row", (GAUGE,)),
    Mutant("_rules/gauge.py", "entry.eps / c**row", "entry.eps * c**row", (GAUGE,)),
    Mutant("_rules/gauge.py", "return c**-2", "return c**-1", (GAUGE,)),
    Mutant("_rules/gauge.py", "return c**-row", "return c**row", (GAUGE,)),
    Mutant("_rules/gauge.py", "entry.std * c", "entry.std", (GAUGE,)),
    Mutant("_rules/gauge.py", "entry.multiplier / c", "entry.multiplier", (GAUGE,)),
    # The size of a step.
    Mutant("_rules/scales.py", "NORM**-1", "NORM", (RATES,)),  # a unit singular value as if it were large
    Mutant("_rules/scales.py", "NORM**-1", "ONE", (RATES,)),  # Muon as if it were Adam
    Mutant("_rules/scales.py", '"squared_norm": (2', '"squared_norm": (1', (GAUGE,)),
    Mutant("_rules/optimizers.py", "return 0 if self.eps", "return 1 if self.eps", (NO_EPS,)),
    # The named rules and what is read off them.
    Mutant("_rules/rule.py", "depth_of(-self.alpha)", "depth_of(self.alpha)", (REGIME,)),
    Mutant("_rules/rule.py", "weight.multiplier * self.branch_multiplier if", "weight.multiplier if", (TABLE,)),
    Mutant("_rules/rule.py", "Power(fan_in=Fraction(-1, 2)) if", "Power(fan_in=Fraction(1, 2)) if", (TABLE,)),
    Mutant("_rules/named.py", "narrowing=HALF", "narrowing=-HALF", (TABLE,)),
    Mutant("_rules/named.py", "ALIGNED_SUM = Power(fan_in=Fraction(-1))", "ALIGNED_SUM = RANDOM_SUM", (REGIME,)),
    Mutant("_rules/named.py", "fan_out=HALF", "fan_out=ONE.depth", (REGIME,)),
    Mutant("_rules/regime.py", "Fraction(1, 2) + branch", "Fraction(0) + branch", (REGIME,)),
    Mutant("_rules/regime.py", "readout_alignment + readout", "readout", (REGIME,)),
    Mutant("_rules/phase.py", "min(inner", "max(inner", (REGIME,)),
    Mutant("_rules/power.py", "narrow = min(", "narrow = max(", (POWER,)),
    Mutant("_rules/power.py", "Fraction(0)) + exponent", "Fraction(0)) - exponent", (POWER,)),
    # The plan: what is folded into a parameter, and what reaches the optimizer.
    Mutant("_plan/settings.py", "folded.entry.std.at", "entry.std.at", (f"{LAW}[adamw-depth_mup]",)),
    Mutant("_plan/settings.py", "folded.entry.lr.at", "entry.lr.at", (f"{LAW}[adamw-depth_mup]",)),
    Mutant("_plan/settings.py", "folded.entry.eps.at", "entry.eps.at", (f"{LAW}[adamw-depth_mup]",)),
    Mutant("_plan/settings.py", "folded.entry.decay.at", "entry.decay.at", (f"{LAW}[adamw-depth_mup]",)),
    Mutant("_plan/settings.py", "logits / parameter.existing", "logits * parameter.existing", (PLAN,)),
    Mutant("_plan/compose.py", "/ attention.existing", "* attention.existing", (PLAN,)),
    Mutant("_plan/hooks.py", "return output * self.factor", "return output", (PLAN,)),
    Mutant("_plan/init.py", "setting.rms / current", "setting.std / current", (INIT,)),
    Mutant("_plan/groups.py", "lr * setting.lr", "lr", (GROUPS,)),
    Mutant("_plan/groups.py", "float(eps) * setting.eps", "float(eps)", (GROUPS,)),
    Mutant("_plan/groups.py", "decay * setting.decay", "decay", (GROUPS,)),
    Mutant("_plan/groups.py", "own_decay / own_lr", "own_decay / lr", (GROUPS,)),
    Mutant("_plan/groups.py", "setting.lr / shaped", "setting.lr", (SEVERAL,)),  # Muon's factor counts twice
    Mutant("_plan/guards.py", "math.sqrt(setting.metric)", "setting.metric", (CLIP,)),
)


def copy_of(folder: Path, mutant: Mutant | None) -> None:
    """Copy the project into `folder`, with the mutant's token changed."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build", "gallery*"))
        else:
            shutil.copy(source, folder / name)
    if mutant is not None:
        path = folder / "isoscale" / mutant.file
        path.write_text(path.read_text().replace(mutant.old, mutant.new))


def misplaced(mutants: Iterable[Mutant]) -> list[str]:
    """Mutants whose token is not in its file exactly once: they would test nothing, or more than one change."""
    counts = ((mutant, (ROOT / "isoscale" / mutant.file).read_text().count(mutant.old)) for mutant in mutants)
    return [f"{mutant.old!r} is in {mutant.file} {count} times" for mutant, count in counts if count != 1]


def outcome(mutant: Mutant | None, tests: tuple[str, ...]) -> str:
    """What the tests say of the copy: "passed", "failed", "not built" (importing it raises) or what went wrong."""
    with tempfile.TemporaryDirectory(prefix="isoscale-mutant-") as name:
        folder = Path(name).resolve()
        copy_of(folder, mutant)
        environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
        try:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return f"no answer in {TIMEOUT:.0f} s"
    return {0: "passed", 1: "failed", 2: "not built"}.get(done.returncode, f"pytest exit code {done.returncode}")


def imported_from_the_copy() -> bool:
    """Control: with PYTHONPATH at a copy, the copy is what gets imported, not the installed project."""
    with tempfile.TemporaryDirectory(prefix="isoscale-mutant-") as name:
        folder = Path(name).resolve()
        copy_of(folder, None)
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, "-c", "import isoscale; print(isoscale.__file__)"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.startswith(str(folder))


def main() -> int:
    started = time.monotonic()
    if lost := misplaced(MUTANTS):
        print(f"a mutant's token must be in its file exactly once: {'; '.join(lost)}")
        return 1
    if not imported_from_the_copy():
        print("a copy's tests would import the installed project: no mutant would be seen")
        return 1
    every_test = tuple(sorted({test for mutant in MUTANTS for test in mutant.tests}))
    with ThreadPoolExecutor(WORKERS) as pool:
        control = pool.submit(outcome, None, every_test)
        found = list(pool.map(lambda mutant: outcome(mutant, mutant.tests), MUTANTS))
    survivors = []
    for mutant, result in zip(MUTANTS, found, strict=True):
        killed = result in ("failed", "not built")
        line = f"{mutant.file}: {mutant.old!r} -> {mutant.new!r}"
        print(f"{'killed  ' if killed else 'SURVIVED'} {line} ({result})")
        if not killed:
            survivors.append(line)
    print(f"{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} mutants killed in {time.monotonic() - started:.0f} s")
    if control.result() != "passed":
        print(f"the unchanged copy does not pass its tests ({control.result()}): the kills above prove nothing")
        return 1
    if survivors:
        print("survivors: " + "; ".join(survivors))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
