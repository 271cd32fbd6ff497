"""Sweeps on a Ray cluster of two nodes on this machine: the same records bit for bit, whatever is killed."""

import contextlib
import dataclasses
import importlib.util
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'isoscale[ray]'"),
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc"),
]
FAULTS = Path(__file__).parents[1] / "faults"
sys.path.insert(0, str(FAULTS))

import callables_job  # noqa: E402
import faults_job  # noqa: E402
from ray_cluster import LocalCluster, RayDriver, torment, wait_for  # noqa: E402
from ray_job import PATIENCE  # noqa: E402

from isoscale._records.codec import encode  # noqa: E402
from isoscale._records.records import Records  # noqa: E402
from isoscale._records.store import Store  # noqa: E402
from isoscale._sweep.events import Patience, PoisonedError  # noqa: E402
from isoscale._sweep.local import WorkerStartError  # noqa: E402
from isoscale._sweep.ray_executor import RayExecutor  # noqa: E402
from isoscale._sweep.sweep import sweep  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(nodes=2, cpus=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def undisturbed() -> list:
    """The rows an undisturbed sweep must give: computed here, without a store or a worker."""
    return sorted(encode(faults_job.run_of(config)) for config in faults_job.configs())


# -- killed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kills", [["worker"] * 6, ["node"], ["driver"] * 2], ids=["six workers", "a whole node", "two drivers"]
)
def test_kill_9_of_workers_a_node_and_the_driver_lose_double_and_change_nothing(
    cluster: LocalCluster, tmp_path: Path, undisturbed: list, kills: list
) -> None:
    path = tmp_path / "runs.sqlite"
    fallen, faults = torment(cluster, path, iter(kills), random.Random(len(kills)))
    assert fallen[kills[0]] == len(kills), "the sweep ended before the last kill"
    assert faults == []
    assert sorted(encode(run) for run in Records.from_store(path)) == undisturbed
    if kills[0] != "driver":
        deaths = sum(state.deaths for state in Store(path).states())
        assert deaths > 0, "no kill fell into a unit: the test shows nothing"
    with Store(path) as store:
        assert store.holders() == []
        assert store.progress().complete


def finished(path: Path) -> int:
    """Units of a store that are done; 0 while it is being made."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM units WHERE status = 'done'").fetchone()[0]
    return 0


def test_a_driver_that_dies_leaves_its_leases_to_the_next_at_once(cluster: LocalCluster, tmp_path: Path) -> None:
    """The control of the recovery: between the two drivers the store is unfinished, and holds only whole units."""
    path = tmp_path / "runs.sqlite"
    driver = RayDriver(path, cluster.address)
    wait_for(lambda: finished(path) > 0, seconds=120)
    driver.kill()
    with Store(path) as store:
        before = store.progress()
    assert 0 < before.done < before.units
    assert before.leased > 0
    assert faults_job.audit(path) == []
    RayDriver(path, cluster.address, sleep=0.0).wait(PATIENCE.lease / 2)
    assert len(Records.from_store(path)) == 480


# -- callables ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def executor(cluster: LocalCluster) -> Iterator[RayExecutor]:
    settings = {"address": cluster.address, "seconds": 2, "in_flight": 4, "pin": True}
    # Workers search the folder in which the driver joined.
    with contextlib.chdir(FAULTS), RayExecutor(callables_job.train, **settings) as executor:
        yield executor


CASES = {
    "right": None,
    "printing": None,
    "forked": None,
    "nan": None,
    "raising": "ValueError: boom",
    "leaving": "sys.exit(3)",
    "out of memory": "MemoryError",
    "hanging": "had not returned after 2 s",
    "too few": "returned",
    "exiting": "Ray worker or node died",
    "crashing": "Ray worker or node died",
}


def test_callables_of_every_kind_end_with_their_sentence_and_spoil_no_other_unit(
    executor: RayExecutor, tmp_path: Path
) -> None:
    configs = [callables_job.config(behaviour, seed) for behaviour in CASES for seed in (0, 1)]
    patience = Patience(errors=2, deaths=2)
    with pytest.raises(PoisonedError) as raised:
        sweep(callables_job.train, configs, store=tmp_path / "a.sqlite", batch=2, executor=executor, patience=patience)
    errors = {state.id: state for state in raised.value.units}
    with Store(tmp_path / "a.sqlite") as store:
        done = {run["model"] for run in store.records()}
        assert done == {behaviour for behaviour, error in CASES.items() if error is None}
        by_model = {store.unit(id).configs[0]["model"]: state for id, state in errors.items()}
    assert set(by_model) == {behaviour for behaviour, error in CASES.items() if error is not None}
    for behaviour, state in by_model.items():
        assert CASES[behaviour] in state.error
        assert (state.errors, state.deaths) in ((2, 0), (0, 2)), behaviour
    assert by_model["exiting"].deaths == by_model["crashing"].deaths == 2


def test_no_more_units_are_in_flight_than_asked_for(executor: RayExecutor, tmp_path: Path) -> None:
    configs = [callables_job.config("slow", seed) for seed in range(8)]
    leased: list[int] = []
    sweep(
        callables_job.train, configs, store=tmp_path / "a.sqlite", batch=1, executor=executor,
        progress=lambda event: leased.append(event.progress.leased),
    )  # fmt: skip
    assert 1 < max(leased) <= 4


def test_impossible_wishes_are_refused_with_a_sentence(executor: RayExecutor) -> None:
    with pytest.raises(ValueError, match=r"64 CPU and 0 GPU, which no node has \(.*2 CPU"):
        RayExecutor(callables_job.train, cpus=64)
    with pytest.raises(ValueError, match="no node has"):
        RayExecutor(callables_job.train, gpus=0.25)
    with pytest.raises(ValueError, match=r"ray\.init was called before"):
        RayExecutor(callables_job.train, address="auto")
    lock = threading.Lock()
    with pytest.raises(ValueError, match=r"<lambda> cannot be sent to a worker .*lock.*top of a module"):
        RayExecutor(lambda batch: lock)


MINE = """
from isoscale import Run
from numbers_of_mine import FACTOR

def train(batch):
    return [Run(config, {"train_loss": FACTOR * config["seed"]}) for config in batch]
"""

SCRIPT = """
import sys
from isoscale import sweep
from isoscale._sweep.ray_executor import RayExecutor
import ray

store, address, folder, shipped = sys.argv[1:]
if shipped == "yes":
    executor = RayExecutor(len, address=address, working_dir=folder)
else:
    executor = RayExecutor(len, address=address)
sys.path.insert(0, folder)  # after ray.init: these workers do not search the driver's path for it
from mine import train
configs = [dict(rule="sp", optimizer="sgd", width=4, depth=1, seed=seed) for seed in range(8)]
with RayExecutor(train) as again:
    print([run["train_loss"] for run in sweep(train, configs, store=store, batch=2, executor=again)])
executor.close()
"""


def test_the_users_own_modules_reach_the_workers_by_working_dir(cluster: LocalCluster, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    (folder / "numbers_of_mine.py").write_text("FACTOR = 3.0\n")

    def said(shipped: str) -> str:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / f"{shipped}.sqlite"), cluster.address, str(folder)]
        done = subprocess.run([*command, shipped], capture_output=True, text=True, cwd="/")
        return done.stdout + done.stderr

    assert "[0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 21.0]" in said("yes")
    assert "No module named 'mine'" in (refused := said("no"))
    assert "install it there or give working_dir=" in refused
    assert WorkerStartError.__name__ in refused


# -- the command -------------------------------------------------------------------------------------------------------

SPEC = """
rules = ["sp", "mup"]
seeds = 2
[base]
width = 8
depth = 2
[sizes]
widths = [8, 16]
[optimizers.adamw]
lr = [0.001, 0.01, 10000.0]
[train]
steps = 6
batch_size = 16
"""


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    (folder / "spec.toml").write_text(SPEC)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "isoscale", "sweep", "spec.toml", "--batch", "3", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip


def test_the_command_gives_the_bits_of_a_local_run(cluster: LocalCluster, tmp_path: Path) -> None:
    local = command(tmp_path / "local", "--workers", "1")
    ray = command(tmp_path / "ray", "--executor", "ray", "--address", cluster.address, "--in-flight", "2")
    assert (local.returncode, ray.returncode) == (0, 0), ray.stderr
    assert "24/24 runs" in ray.stderr
    rows = [
        [encode(_timeless(run)) for run in Records.from_store(tmp_path / where / "runs.sqlite")]
        for where in ("local", "ray")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 24
    changed = [row._replace(checksum="") for row in rows[1]]
    assert rows[0] != changed


def _timeless(run):
    return dataclasses.replace(run, seconds=None)
