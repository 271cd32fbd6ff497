"""`isoscale tune` as a user meets it: from files to a recipe, killed and run again, and its exit codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import isoscale
from isoscale._records.records import Records
from isoscale._records.store import Store

HERE = Path(__file__).parent
COMMAND = [
    sys.executable, "-m", "isoscale", "tune", f"{HERE / 'own_model.py'}:build", "--data",
    f"{HERE / 'own_model.py'}:real_data", "--base", "width=16,depth=2", "--target", "width=64,depth=4", "--steps",
    "30", "--batch-size", "32", "--precision", "0.4", "--tolerance", "0.5", "--budget", "60", "--skip-check",
]  # fmt: skip


def environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


def command(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *more], cwd=folder, capture_output=True, text=True, env=environment())


@pytest.mark.skipif(sys.platform != "linux", reason="kills processes by signal")
def test_killed_it_goes_on_with_the_same_decisions_to_the_same_recipe(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    first = command(whole, "--workers", "0")
    assert first.returncode in (0, 2), first.stderr
    assert "wrote recipe.toml" in first.stdout
    process = subprocess.Popen(
        [*COMMAND, "--workers", "1"],
        cwd=broken,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not runs(broken) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert 0 < runs(broken) < runs(whole)
    second = command(broken, "--workers", "0")
    assert second.returncode == first.returncode, second.stderr
    one, two = (isoscale.Recipe.load(folder / "recipe.toml") for folder in (whole, broken))
    assert one.hyperparameters == two.hyperparameters
    assert one.verification == two.verification
    assert decisions(whole) == decisions(broken)


def runs(folder: Path) -> int:
    try:
        return len(Records.from_store(folder / "tune.sqlite"))
    except (OSError, ValueError, RuntimeError):
        return 0


def decisions(folder: Path) -> list[tuple[object, ...]]:
    with Store(folder / "tune.sqlite") as store:
        return sorted(store._read("SELECT search, place, kind, reason, content FROM decisions", ()))


def test_a_mistake_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    for wrong, words in (
        (("--output", "recipe.yaml"), "a recipe is .toml or .json"),
        (("--loss", f"{HERE / 'own_model.py'}:vector_loss"), "not one number"),
    ):
        found = command(tmp_path, "--workers", "0", *wrong)
        assert found.returncode == 70
        assert words in found.stderr
        assert "Traceback" not in found.stderr
