"""What needs an optional package says so, with the line that installs it; and mistakes that need no package."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

from isoscale._export import export
from isoscale._records.extras import MissingPackage, load
from isoscale._records.records import Records
from isoscale._records.run import Run
from isoscale._records.store import Store
from isoscale._sweep.cores import pinned
from isoscale._sweep.executor import UnitFailed
from isoscale._sweep.local import WorkerStartError
from isoscale._sweep.ray_executor import RayExecutor
from isoscale._sweep.remote import accept, serve
from isoscale._sweep.sample import Span, sample

BASE = {"rule": "mup", "optimizer": "sgd", "width": 4, "depth": 2}
SPACE = {"lr": Span(0.01, 0.1)}
CONFIG = {**BASE, "seed": 3}


def train(batch):
    return [Run(config, {"train_loss": 1.0}) for config in batch]


def test_an_absent_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for package in ("ray", "optuna"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=r"the executor ray needs ray, .*pip install 'isoscale\[ray\]'"):
        RayExecutor(train)
    with pytest.raises(MissingPackage, match=r"sample needs optuna, .*pip install 'isoscale\[optuna\]'"):
        sample(train, BASE, SPACE, store=tmp_path / "a.sqlite", trials=1)
    records = Records([Run(CONFIG, {"train_loss": 1.0})])
    packages = {
        "wandb": "wandb", "trackio": "trackio", "tensorboard": "tensorboard.summary.writer.record_writer",
        "optuna": "optuna", "parquet": "polars",
    }  # fmt: skip
    monkeypatch.setenv("TRACKIO_DIR", "")  # which the export sets
    for to, package in packages.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingPackage, match=r"an export to .* needs .*pip install 'isoscale\[(exports|optuna)\]'"):
            export(records, to, tmp_path / to)
    assert load("math", extra="none", purpose="this") is math


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base": CONFIG}, "base fixes seed"),
        ({"base": {**BASE, "lr": 1.0}}, "base fixes lr"),
        ({"space": {}}, "nothing to choose"),
        ({"space": {"model": []}}, "nothing to choose from for model"),
        ({"sampler": "tpee"}, "there are tpe, gp, cmaes and random"),
        ({"trials": 0}, "each is at least 1"),
    ],
)
def test_mistakes_of_sampling_are_told(tmp_path: Path, changes: dict, said: str) -> None:
    arguments = {"base": BASE, "space": SPACE, "trials": 1, "store": tmp_path / "a.sqlite", **changes}
    with pytest.raises(ValueError, match=said):
        sample(train, arguments.pop("base"), arguments.pop("space"), **arguments)


def test_a_span_is_from_low_to_high() -> None:
    for low, high, log in ((1.0, 1.0, True), (0.0, 1.0, True), (0.0, math.inf, False), (math.nan, 1.0, False)):
        with pytest.raises(ValueError, match="Span"):
            Span(low, high, log)
    assert Span(0.0, 1.0, log=False).low == 0.0


@pytest.mark.parametrize("wrong", [{"cpus": 0}, {"cpus": -1}, {"threads": 0}, {"in_flight": 0}])
def test_impossible_numbers_are_refused_before_anything_starts(wrong: dict) -> None:
    with pytest.raises(ValueError, match="a unit takes some cpus or gpus"):
        RayExecutor(train, **wrong)


def test_mistakes_of_an_export_are_told(tmp_path: Path) -> None:
    records = Records([Run(CONFIG, {"train_loss": 1.0})])
    with pytest.raises(ValueError, match="can be exported to wandb, trackio"):
        export(records, "mlflow", tmp_path / "a")
    with pytest.raises(ValueError, match="no finished runs"):
        export(Records(()), "csv", tmp_path / "a.csv")
    Store(tmp_path / "runs.sqlite").close()
    for to in ("csv", "optuna"):
        with pytest.raises(ValueError, match="perhaps a store of runs: choose another --output"):
            export(records, to, tmp_path / "runs.sqlite")
    with pytest.raises(ValueError, match="is a folder: csv writes a file"):
        export(records, "csv", tmp_path)
    for name in ("../up", "", "-x", "a b", "x" * 101):
        with pytest.raises(ValueError, match="is not a plain name"):
            export(records, "wandb", tmp_path / "w", project=name)
    assert export(records, "csv", tmp_path / "a.csv").added == 1
    assert len(Records.from_csv(tmp_path / "a.csv")) == 1


# -- what a worker of a cluster does -----------------------------------------------------------------------------------


def test_an_answer_goes_there_and_back() -> None:
    result = accept(serve(train, [CONFIG]))
    assert [row.identity for row in result.rows] == [Run(CONFIG, {}).identity]

    def broken(batch):
        raise ValueError("boom")

    with pytest.raises(UnitFailed, match="boom") as raised:
        accept(serve(broken, [CONFIG]))
    assert "test_extras" in raised.value.trace
    with pytest.raises(WorkerStartError, match="a worker has isoscale 9, the driver"):
        accept({**serve(train, [CONFIG]), "version": "9"})


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts by a Unix signal")
def test_a_callable_that_takes_too_long_is_interrupted_and_one_that_does_not_is_left_alone() -> None:
    def slow(batch):
        time.sleep(5)

    start = time.monotonic()
    answer = serve(slow, [CONFIG], seconds=0.1)
    assert "the callable had not returned after 0 s" in answer["sentence"]
    assert time.monotonic() - start < 4
    assert serve(train, [CONFIG], seconds=0.1)["kind"] == "done"
    time.sleep(0.15)  # the alarm of the second is off


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process choose its cores")
def test_a_block_has_cores_of_its_own_and_gives_them_back(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    with pinned(1, tmp_path) as first:
        assert os.sched_getaffinity(0) == set(first)
        assert len(first) == 1
    assert os.sched_getaffinity(0) == before
    with pinned(1, tmp_path) as again:
        assert again == first
    with pinned(len(before) + 1, tmp_path) as none:  # the control: more than there are
        assert none == ()
        assert os.sched_getaffinity(0) == before
    code = "import sys, pathlib; from isoscale._sweep.cores import pinned\n"
    code += "with pinned(1, pathlib.Path(sys.argv[1])) as cores: print(*cores, flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdin=PIPE, stdout=PIPE, text=True)
    taken = int(other.stdout.readline())
    assert (taken,) == first
    with pinned(1, tmp_path) as left:
        assert taken not in left
    other.kill()
    other.communicate()
    with pinned(1, tmp_path) as after:  # the kernel freed it with the process
        assert after == first
