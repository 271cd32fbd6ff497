"""The command line, as a user meets it: what it prints, its exit codes, its sentences for mistakes."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isoscale._records.records import Records
from isoscale._records.run import Run

ISOSCALE = [sys.executable, "-m", "isoscale"]
SPEC = """
rules = ["sp", "depth_mup"]
seeds = 3
[store]
path = "runs.sqlite"
[base]
width = 16
depth = 2
[sizes]
depths = [2, 4, 8]
[optimizers.adamw]
lr = { log2 = [-9, -4], step = 1 }
[train]
steps = 15
"""


def isoscale(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run([*ISOSCALE, *arguments], cwd=folder, capture_output=True, text=True, env=environment)


def curve(rule: str, drift: float, *, target: float = 8.0) -> list[Run]:
    """Runs whose best learning rate moves by `drift` octaves a doubling of depth, with a known noise."""
    runs = []
    for depth in (2, 4, 8, 16):
        best = -6.0 + drift * math.log2(depth / 2)
        for seed in range(4):
            for half in range(-22, -1):
                x = half / 2
                noise = 0.01 * math.sin(37 * seed + 11 * half + depth)
                config = {
                    "rule": rule, "optimizer": "adamw", "width": 32, "depth": depth, "seed": seed, "lr": 2.0**x,
                    "base_width": 32, "base_depth": 2,
                }  # fmt: skip
                loss = math.exp(0.1 * (x - best) ** 2 + noise)
                runs.append(Run(config, {"train_loss": loss}, flops=float(depth), seconds=0.1 * depth))
    return runs


@pytest.fixture
def table(tmp_path: Path) -> Path:
    Records(tuple(curve("steady", 0.0) + curve("sinking", -0.7))).to_csv(tmp_path / "runs.csv")
    return tmp_path


def test_verify_says_what_it_found_by_its_exit_code(table: Path) -> None:
    steady = isoscale("verify", "runs.csv", "--rule", "steady", folder=table)
    assert (steady.returncode, "transfers" in steady.stdout) == (0, True), steady.stdout + steady.stderr
    sinking = isoscale("verify", "runs.csv", "--rule", "sinking", folder=table)
    assert (sinking.returncode, "drifts" in sinking.stdout) == (1, True), sinking.stdout
    assert isoscale("verify", "runs.csv", folder=table).returncode == 1


def test_verify_cannot_tell_from_too_few_seeds(tmp_path: Path) -> None:
    Records(tuple(run for run in curve("steady", 0.0) if run["seed"] == 0 and run["lr"] > 2**-6.2)).to_csv(
        tmp_path / "runs.csv"
    )
    found = isoscale("verify", "runs.csv", folder=tmp_path)
    assert found.returncode == 2, found.stdout + found.stderr
    assert "cannot tell" in found.stdout


def test_a_rule_that_was_not_run_is_told(table: Path) -> None:
    found = isoscale("verify", "runs.csv", "--rule", "mup", folder=table)
    assert found.returncode == 70
    assert "sinking, steady" in found.stderr
    assert "Traceback" not in found.stderr


def test_report_writes_a_page_with_the_users_names_escaped(tmp_path: Path) -> None:
    Records(tuple(curve("<script>alert(1)</script>", 0.0))).to_csv(tmp_path / "runs.csv")
    found = isoscale("report", "runs.csv", "-o", "page.html", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "<script>alert" not in (tmp_path / "page.html").read_text()


def test_from_spec_to_verdict(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    swept = isoscale("sweep", "spec.toml", "--workers", "0", folder=tmp_path)
    assert swept.returncode == 0, swept.stderr
    assert "108 runs in runs.sqlite" in swept.stdout
    again = isoscale("sweep", "spec.toml", "--workers", "0", folder=tmp_path)
    assert "finished" not in again.stderr
    assert "108 runs" in again.stdout
    shown = isoscale("show", "spec.toml", folder=tmp_path)
    assert "108 of 108 runs done" in shown.stdout
    assert "adamw depth_mup width 16 depth 8: best lr" in shown.stdout
    verified = isoscale("verify", "spec.toml", "--rule", "depth_mup", folder=tmp_path)
    assert verified.returncode in (0, 1, 2)
    assert "depth_mup" in verified.stdout
    assert "sp" not in verified.stdout.split()
    reported = isoscale("report", "spec.toml", folder=tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert "isoscale sweep spec.toml" in (tmp_path / "report.html").read_text()


def test_init_writes_a_spec_that_is_kept(tmp_path: Path) -> None:
    assert isoscale("init", folder=tmp_path).returncode == 0
    again = isoscale("init", folder=tmp_path)
    assert again.returncode == 70
    assert "exists and is kept" in again.stderr


def test_every_mistake_in_a_spec_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(
        SPEC.replace("depth_mup", "depth_mpu").replace("steps = 15", "stpes = 15") + '[model]\nname = "resmlp"\n'
    )
    found = isoscale("sweep", "spec.toml", folder=tmp_path)
    assert found.returncode == 70
    for sentence in ("depth_mup", "did you mean steps?", "residual_mlp", "3 mistakes"):
        assert sentence in found.stderr, found.stderr
    assert not (tmp_path / "runs.sqlite").exists()


def test_a_mistyped_command_is_not_cannot_tell(tmp_path: Path) -> None:
    assert isoscale("verfy", folder=tmp_path).returncode == 64


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    found = isoscale("show", "runs.sqlite", folder=tmp_path)
    assert found.returncode == 70
    assert "runs.sqlite" in found.stderr
    assert "Traceback" not in found.stderr


def test_rules_tables(tmp_path: Path) -> None:
    shown = isoscale("rules", "show", "depth_mup", "--width", "8", "--depth", "4", folder=tmp_path)
    assert "n^-1 l^-1/2 = 0.0625" in shown.stdout
    same = isoscale("rules", "compare", "depth_mup", "umup", folder=tmp_path)
    assert "same rule" in same.stdout
    other = isoscale("rules", "compare", "depth_mup", "mup", folder=tmp_path)
    assert "differ" in other.stdout
    assert isoscale("rules", "show", "depth_mup", "--optimizer", "lbfgs", folder=tmp_path).returncode == 70


def test_theory_regime(tmp_path: Path) -> None:
    arguments = ("theory", "regime", "--embedding", "1024", "--depth", "48", "--hidden", "4096")
    assert "critical" in isoscale(*arguments, folder=tmp_path).stdout
    half = isoscale(*arguments, "--depth-exponent", "0.5", folder=tmp_path).stdout
    assert "lazy SDE" in half
    assert isoscale(*arguments, "--proxy", "64,x,3", folder=tmp_path).returncode == 70


def test_a_paper_or_figure_that_is_not_there(tmp_path: Path) -> None:
    assert "chizat2025" in isoscale("reproduce", "chizat2024", folder=tmp_path).stderr
    assert "fig5" in isoscale("reproduce", "chizat2025", "fig9", folder=tmp_path).stderr
    assert "cpu" in isoscale("reproduce", "chizat2025", "fig1", "--preset", "tpu", folder=tmp_path).stderr


def own_table(folder: Path) -> str:
    """A table in the words of its maker: other names, no rule, one loss that was never written."""
    rows = ["d,layers,seed,lr,val_loss,train_loss"]
    for run in curve("steady", 0.0):
        loss = "" if run["lr"] > 0.4 else run.metrics["train_loss"]
        rows.append(f"{run['width']},{run['depth']},{run['seed']},{run['lr']},{loss},{loss}")
    (folder / "own.csv").write_text("\n".join(rows))
    return "own.csv"


OWN = ("--column", "d=width", "--column", "layers=depth", "--constant", "rule=steady", "--constant", "optimizer=adamw")


def test_a_table_in_other_words_is_judged_as_it_is(tmp_path: Path) -> None:
    source = own_table(tmp_path)
    refused = isoscale("verify", source, folder=tmp_path)
    assert refused.returncode == 70
    assert "--column ...=width" in refused.stderr
    assert "--constant rule=" in refused.stderr
    found = isoscale("verify", source, *OWN, folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "transfers" in found.stdout
    assert isoscale("report", source, *OWN, "-o", "page.html", folder=tmp_path).returncode == 0


def test_show_lists_the_best_of_a_table(tmp_path: Path) -> None:
    shown = isoscale("show", own_table(tmp_path), *OWN, folder=tmp_path)
    assert shown.returncode == 0
    assert "adamw steady width 32 depth 16: best lr 0.01" in shown.stdout


def test_columns_are_refused_where_they_mean_nothing(tmp_path: Path) -> None:
    Records(tuple(curve("steady", 0.0)[:4])).to_csv(tmp_path / "runs.csv")
    assert "--column d_model=width" in isoscale("verify", "runs.csv", "--column", "d", folder=tmp_path).stderr
    assert "is none" in isoscale("verify", "runs.sqlite", "--column", "d=width", folder=tmp_path).stderr


def test_a_name_that_is_not_in_the_users_file(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text("import math\nfrom pathlib import Path\nWIDTH = 3\ndef build(width):\n    pass\n")
    told = isoscale("plan", "my.py:bild", "--base", "width=4", "--target", "width=8", folder=tmp_path).stderr
    assert "did you mean 'build'?" in told
    assert "it has WIDTH, build" in told
