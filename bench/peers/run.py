"""The same residual MLP and GPT under plain PyTorch, microsoft/mup, unit-scaling (u-muP) and isoscale.

    python bench/peers/run.py [--only judge]

Makes an environment for each peer (bench/out/peers, from the package index), runs `harness.py` in it, judges all runs
with isoscale and times a coordinate check of those that have one. Facts: bench/facts/peers.json. A stopped run goes on.
"""

import argparse
import difflib
import json
import math
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import isoscale
from isoscale import Records, judge

HERE = Path(__file__).parent
FACTS = HERE.parent / "facts" / "peers.json"
PACKAGES = {
    "with_mup": (("torch==2.13.0", "numpy", "pandas", "pyyaml", "tqdm", "seaborn"), "mup==1.0.0"),
    "with_unit_scaling": (("torch==2.13.0", "numpy", "docstring-parser", "einops", "tabulate"), "unit-scaling==0.3.5"),
}
VARIANTS = ("plain", "with_mup", "with_unit_scaling", "with_isoscale")
SEEDS = {"mlp": 3, "gpt": 2}
WIDTHS = [32, 64, 128]

MUP_CHECK = """
import time, torch, with_mup, mup.coord_check as cc
def lazy(width):
    def build():
        model = with_mup.Mlp(width, 4)
        with_mup.mup.set_base_shapes(model, with_mup.Mlp(32, 4), delta=with_mup.Mlp(64, 4))
        return model
    return build
torch.set_num_threads(1)
batch = [(torch.randn(64, 64), torch.randint(0, 10, (64,)))]
start = time.process_time()
cc.get_coord_data({w: lazy(w) for w in (32, 64, 128)}, batch, optimizer="adam", lr=1e-3, nsteps=8, nseeds=5, cuda=False,
                  show_progress=False)
print(time.process_time() - start)
"""


def environment(variant: str, out: Path) -> str:
    """The Python that has the variant's packages."""
    if variant not in PACKAGES:
        return sys.executable
    place = out / variant
    python = str(place / "bin" / "python")
    if not (place / ".made").exists():
        venv.create(place, with_pip=True, clear=True)
        needed, peer = PACKAGES[variant]
        for words in ([*needed], ["--no-deps", peer]):
            subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *words], check=True)
        (place / ".made").touch()
    return python


def write_data(out: Path) -> None:
    digits = load_digits()
    x = (digits.data - digits.data.mean(0)) / (digits.data.std(0) + 1.6)
    np.savez(out / "mlp.npz", x=x.astype("f4"), y=digits.target.astype("i8"))
    import pydoc_data.topics as topics

    text = "".join(topics.topics[key] for key in sorted(topics.topics)).encode("ascii", "ignore")[:200_000]
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(text, np.uint8).astype("i8"), 33)[::8]
    np.savez(out / "gpt.npz", x=windows[:, :-1], y=windows[:, 1:])


def changed_lines(variant: str) -> dict[str, int]:
    """Lines of the user's file that are gone, and lines that are new, docstring and blank lines left out."""
    files = [
        [line for line in (HERE / f"{name}.py").read_text().splitlines()[1:] if line.strip()]
        for name in ("plain", variant)
    ]
    model = [lines[_first(lines, "class ") : _first(lines, "MODELS")] for lines in files]
    found = {}
    for part, (before, after) in {"model": model, "all": files}.items():
        marks = [line[0] for line in difflib.ndiff(before, after)]
        found[f"{part}_removed"], found[f"{part}_added"] = marks.count("-"), marks.count("+")
    return found


def _first(lines: list[str], word: str) -> int:
    return next(i for i, line in enumerate(lines) if line.startswith(word))


def judged(path: Path) -> dict[str, Any]:
    [verdict] = judge(Records.from_csv(path))
    found: dict[str, Any] = {"outcome": verdict.outcome}
    for axis in verdict.axes:
        slope = axis.drift.slope
        found[axis.axis] = None if slope is None else [slope.estimate, slope.low, slope.high]
        found[f"{axis.axis}_outcome"], found[f"{axis.axis}_sentence"] = axis.outcome, axis.sentence
    regret = verdict.regret
    found["regret"] = {"status": regret.status, "sentence": regret.sentence}
    if regret.percent is not None:
        found["regret"]["percent"] = [regret.percent, regret.percent_low, regret.percent_high]
    found["best_loss_at_target"] = regret.best_loss
    return found


def check_seconds(out: Path) -> dict[str, Any]:
    """CPU seconds of a coordinate check of the MLP over widths 32, 64, 128: 8 steps, 5 seeds. u-muP ships none."""
    code = ["-c", MUP_CHECK]
    done = subprocess.run([environment("with_mup", out), *code], cwd=HERE, capture_output=True, text=True, check=True)
    sys.path.insert(0, str(HERE))
    import torch
    from plain import Mlp

    torch.set_num_threads(1)
    inputs, targets = torch.randn(64, 64), torch.randint(0, 10, (64,))
    seconds = {}
    for name, sizes in {
        "width": {"widths": WIDTHS},
        "width and depth": {"widths": WIDTHS, "depths": [4, 8, 16]},
    }.items():
        start = time.process_time()
        isoscale.coord_check(
            Mlp, {"width": 32, "depth": 4}, inputs=inputs, targets=targets, steps=8, seeds=5, most_seeds=5, **sizes
        )
        seconds[name] = time.process_time() - start
    return {"mup, width": float(done.stdout.split()[-1]), **{f"isoscale, {name}": s for name, s in seconds.items()}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["runs", "judge"], default=None)
    parser.add_argument("--out", type=Path, default=HERE.parent / "out" / "peers")
    asked = parser.parse_args()
    out: Path = asked.out
    out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    if asked.only != "judge":
        write_data(out)
        for kind in SEEDS:
            for variant in VARIANTS:
                words = ["harness.py", variant, kind, out / f"{kind}.npz", out / f"{variant}-{kind}.csv", SEEDS[kind]]
                subprocess.run([environment(variant, out), *map(str, words)], cwd=HERE, check=True)
    if asked.only != "runs":
        facts: dict[str, Any] = {"lines": {variant: changed_lines(variant) for variant in VARIANTS[1:]}}
        facts["check_cpu_seconds"] = check_seconds(out)
        for kind in SEEDS:
            facts[kind] = {variant: judged(out / f"{variant}-{kind}.csv") for variant in VARIANTS}
        FACTS.write_text(json.dumps(_rounded(facts), indent=1) + "\n")
        print(json.dumps(_rounded(facts), indent=1))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(child) for child in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
