"""kill -9 at random moments, a thousand times: workers, drivers, and the same under Ray where it is installed.

    python bench/faults/kills.py [--workers 500] [--drivers 300] [--ray-workers 150] [--ray-drivers 50]

Facts: bench/facts/faults_kills.json. After every campaign the store is read by SQL of its own (runs lost, doubled, of
units that are not done) and its records are compared, bit for bit, with what an undisturbed sweep gives.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "faults"))
import faults_job
from faults_job import PATIENCE, audit, configs, kill, parent, train, workers_of

from isoscale._records.codec import encode
from isoscale._records.records import Records
from isoscale._sweep.sweep import sweep

FACTS = Path(__file__).parents[1] / "facts" / "faults_kills.json"
UNITS = len(configs()) // 4


def wrong(path: Path) -> int:
    """Records that differ in a bit from an undisturbed sweep's, or are not there."""
    truth = {row.identity: row for row in (encode(faults_job.run_of(config)) for config in configs())}
    there = {row.identity: row for row in map(encode, Records.from_store(path))}
    return sum(there.get(identity) != row for identity, row in truth.items()) + len(there.keys() - truth.keys())


def kill_workers(path: Path, times: int, chance: random.Random) -> int:
    """Kill workers of a sweep that runs in this process; how many were killed before it ended."""
    os.environ["FAULTS_SLEEP"] = "0.15"
    job = threading.Thread(target=lambda: sweep(train, configs(), store=path, batch=4, patience=PATIENCE))
    job.start()
    killed: set[int] = set()
    while len(killed) < times and job.is_alive():
        time.sleep(chance.uniform(0.0, 0.3))
        if alive := [pid for pid in workers_of(os.getpid()) if pid not in killed]:
            victim = chance.choice(alive)
            kill(victim)
            killed.add(victim)
    job.join()
    return len(killed)


def kill_driver(path: Path, chance: random.Random, *more: str) -> bool:
    """Start a driver and kill it at a random moment; False where it had ended by itself."""
    process = subprocess.Popen([sys.executable, faults_job.__file__, str(path), "2", "Store", *more])
    while not (orphans := workers_of(process.pid)) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(chance.uniform(0.0, 0.6))
    orphans += workers_of(process.pid)
    over = process.poll() is not None
    if not over:
        kill(process.pid)
    process.wait()
    until = time.monotonic() + 10
    while any(parent(pid) is not None for pid in orphans) and time.monotonic() < until:
        time.sleep(0.02)
    if alive := [pid for pid in orphans if parent(pid) is not None]:
        raise SystemExit(f"workers {alive} outlived their driver {process.pid}")
    return not over


def workers_campaign(folder: Path, times: int) -> dict[str, Any]:
    done, faults, stores, chance = 0, [], 0, random.Random(1)
    bad = 0
    while done < times:
        path = folder / f"workers-{stores}.sqlite"
        done += kill_workers(path, min(60, times - done), chance)
        faults += audit(path)
        bad += wrong(path)
        stores += 1
        print(f"workers: {done} killed over {stores} sweeps, {len(faults)} faults, {bad} wrong", flush=True)
    return {"kills": done, "sweeps": stores, "faults": faults, "wrong_records": bad}


def drivers_campaign(folder: Path, times: int) -> dict[str, Any]:
    done, faults, stores, chance = 0, [], 0, random.Random(2)
    bad = 0
    os.environ["FAULTS_SLEEP"] = "0.05"
    while done < times:
        path = folder / f"drivers-{stores}.sqlite"
        finished = False
        while done < times and not finished:
            killed = kill_driver(path, chance)
            done += killed
            finished = not killed
            faults += audit(path) if path.exists() and path.stat().st_size else []
        sweep(train, configs(), store=path, workers=0, batch=4, patience=PATIENCE)
        faults += audit(path)
        bad += wrong(path)
        stores += 1
        print(f"drivers: {done} killed over {stores} sweeps, {len(faults)} faults, {bad} wrong", flush=True)
    return {"kills": done, "sweeps": stores, "faults": faults, "wrong_records": bad}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, count in (("workers", 500), ("drivers", 300), ("ray-workers", 150), ("ray-drivers", 50)):
        parser.add_argument(f"--{name}", type=int, default=count)
    asked = parser.parse_args()
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        facts["workers"] = workers_campaign(folder, asked.workers)
        facts["drivers"] = drivers_campaign(folder, asked.drivers)
        if find_spec("ray") is None:
            print("Ray is not installed: its part is left out (pip install 'isoscale[ray]')")
    facts["kills"] = sum(each["kills"] for each in facts.values())
    faults = [fault for each in facts.values() if isinstance(each, dict) for fault in each["faults"]]
    lost = sum(each["wrong_records"] for each in facts.values() if isinstance(each, dict))
    print(f"{facts['kills']} kills: {len(faults)} faults in stores, {lost} records lost, doubled or wrong")
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")
    sys.exit(bool(faults or lost))


if __name__ == "__main__":
    main()
