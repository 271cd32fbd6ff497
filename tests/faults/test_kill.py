"""kill -9 of workers and drivers at random moments: nothing lost, nothing doubled, the same records bit for bit."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import faults_job
import pytest
from faults_job import PATIENCE, audit, configs, kill, parent, read, train, workers_of

from isoscale._records.codec import encode
from isoscale._records.records import Records
from isoscale._sweep.sweep import sweep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")

KILLS = 50


@pytest.fixture(scope="module")
def undisturbed() -> list:
    """The rows an undisturbed sweep must give: computed here, without a store or a worker."""
    return [encode(faults_job.run_of(config)) for config in configs()]


def driver(store: Path, kind: str = "Store", sleep: str = "0.03") -> subprocess.Popen:
    environment = {**os.environ, "FAULTS_SLEEP": sleep}
    return subprocess.Popen([sys.executable, faults_job.__file__, str(store), "2", kind], env=environment)


def test_fifty_killed_workers_lose_nothing_double_nothing_and_change_no_bit(
    tmp_path: Path, undisturbed: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls, chance, results = tmp_path / "runs.sqlite", tmp_path / "calls", random.Random(20), []
    monkeypatch.setenv("FAULTS_CALLS", str(calls))
    monkeypatch.setenv("FAULTS_SLEEP", "0.1")  # long enough that the last kill comes before the end
    job = threading.Thread(
        target=lambda: results.append(sweep(train, configs(), store=path, batch=4, patience=PATIENCE))
    )
    job.start()
    killed: set[int] = set()
    while len(killed) < KILLS and job.is_alive():
        if len(killed) % 2:  # every other kill comes soon after a unit began, however slow the machine starts workers
            wait_for_a_call(calls, job)
        time.sleep(chance.uniform(0.0, 0.1 if len(killed) % 2 else 0.25))
        alive = [pid for pid in workers_of(os.getpid()) if pid not in killed]
        if alive:
            victim = chance.choice(alive)
            kill(victim)
            killed.add(victim)
    job.join()
    assert len(killed) == KILLS, "the sweep ended before the last kill"
    assert audit(path) == []
    assert [encode(run) for run in results[0]] == undisturbed
    broken_off = len(calls.read_text().split()) - len(configs()) // 4
    assert broken_off >= 5, f"only {broken_off} of the kills fell into a unit: too few to tell"


def wait_for_a_call(calls: Path, job: threading.Thread) -> None:
    before = len(read(calls))
    while job.is_alive() and len(read(calls)) == before:
        time.sleep(0.005)


def kill_drivers(path: Path, kind: str, times: int, chance: random.Random) -> list[str]:
    """Start a driver and kill it at a random moment, again and again; the faults seen in the store after each."""
    faults = []
    for _ in range(times):
        process = driver(path, kind)
        while not (orphans := workers_of(process.pid)) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.5))
        orphans += workers_of(process.pid)
        kill(process.pid)
        process.wait()
        if path.exists() and path.stat().st_size:
            faults += audit(path)
        deadline = time.monotonic() + 5
        while any(parent(pid) is not None for pid in orphans):
            assert time.monotonic() < deadline, "a worker outlived its driver"
            time.sleep(0.02)
    return faults


def test_killed_drivers_leave_a_whole_store_and_the_same_command_goes_on(tmp_path: Path, undisturbed: list) -> None:
    path = tmp_path / "runs.sqlite"
    assert kill_drivers(path, "Store", 8, random.Random(21)) == []
    start = time.monotonic()
    assert driver(path, sleep="0").wait() == 0
    assert time.monotonic() - start < PATIENCE.lease / 2, "waited for the lease of a driver that is gone"
    assert audit(path) == []
    assert sorted(encode(run) for run in Records.from_store(path)) == sorted(undisturbed)


def test_a_store_that_commits_runs_outside_the_units_transaction_is_seen(tmp_path: Path) -> None:
    """The negative control of the tests above: the same disturbance, a mutant store, and the audit must object."""
    faults: list[str] = []
    for attempt in range(6):
        faults += kill_drivers(tmp_path / f"{attempt}.sqlite", "SplitStore", 5, random.Random(22 + attempt))
        if faults:
            break
    assert any(fault.startswith("partial") for fault in faults)


def test_two_drivers_share_a_store_and_train_nothing_twice(
    tmp_path: Path, undisturbed: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = tmp_path / "runs.sqlite", tmp_path / "calls"
    monkeypatch.setenv("FAULTS_CALLS", str(calls))
    drivers = [driver(path, sleep="0.01") for _ in range(2)]
    assert [process.wait() for process in drivers] == [0, 0]
    assert audit(path) == []
    assert sorted(encode(run) for run in Records.from_store(path)) == sorted(undisturbed)
    done = calls.read_text().split()
    assert len(done) == len(set(done)) == len(configs()) // 4
