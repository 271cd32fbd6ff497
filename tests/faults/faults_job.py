"""A small sweep to be disturbed: quick, deterministic from the configuration alone. Run as a script it is a driver.

python faults_job.py STORE [WORKERS] [STORE_CLASS]
"""

import math
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from isoscale._records.codec import Row
from isoscale._records.run import Config, Curve, Run, digest
from isoscale._records.store import Store
from isoscale._sweep.events import Patience
from isoscale._sweep.sweep import sweep

PATIENCE = Patience(deaths=1000)  # units here are innocent: the test kills their workers


def configs(lrs: int = 12, seeds: int = 4) -> list[Config]:
    return [
        {"rule": rule, "optimizer": "sgd", "width": width, "depth": 2, "seed": seed, "lr": 2.0**-lr}
        for rule in ("sp", "mup")
        for width in (8, 16, 32, 64, 128)
        for lr in range(lrs)
        for seed in range(seeds)
    ]


def train(batch: Sequence[Config]) -> list[Run]:
    """Runs whose every number comes from the hash of their configuration; about 30 ms a unit."""
    calls = os.environ.get("FAULTS_CALLS")
    if calls:
        with open(calls, "a") as file:
            file.write(digest([dict(config) for config in batch]) + "\n")
    time.sleep(float(os.environ.get("FAULTS_SLEEP", "0.03")))
    return [run_of(config) for config in batch]


def run_of(config: Config) -> Run:
    chance = random.Random(digest(dict(config)))
    diverged = config["lr"] >= 0.5
    loss = math.inf if diverged else chance.gauss(1.0, 0.1)
    curve = Curve(tuple(range(0, 50, 5)), tuple(math.nan if diverged else chance.random() for _ in range(10)))
    return Run(
        config,
        {"train_loss": loss, "test_loss": chance.random()},
        "diverged" if diverged else "finished",
        7 if diverged else None,
        steps=50,
        flops=chance.random() * 1e9,
        seconds=chance.random(),
        curves={"train_loss": curve},
        data={"name": "none", "sha256": "0" * 64},
    )


class SplitStore(Store):
    """The mutant: a unit's runs are committed one by one, and the unit itself after them.

    The pause stands for a slow disk: it makes the fault likely within a few kills, and changes nothing else.
    """

    def finish(self, id: str, rows: Sequence[Row], seconds: float) -> bool:
        for place, row in enumerate(rows):
            with self._write() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", (row.identity, id, place, *row[1:])
                )
            time.sleep(0.005)
        with self._write() as connection:
            connection.execute("UPDATE units SET status='done', holder=NULL, seconds=? WHERE id=?", (seconds, id))
        return True


def audit(path: Path) -> list[str]:
    """What is wrong in a store, by SQL of its own: runs lost, doubled, or of units that are not done."""
    connection = sqlite3.connect(path)
    try:
        queries = {
            "damaged": "SELECT * FROM pragma_integrity_check WHERE integrity_check != 'ok'",
            "lost": "SELECT u.id FROM units u WHERE status = 'done' "
            "AND size != (SELECT count(*) FROM runs r WHERE r.unit = u.id)",
            "partial": "SELECT DISTINCT u.id FROM units u JOIN runs r ON r.unit = u.id WHERE u.status != 'done'",
            "doubled": "SELECT config FROM runs GROUP BY config HAVING count(*) > 1",
            "astray": "SELECT identity FROM runs WHERE identity NOT IN (SELECT identity FROM members)",
        }
        return [f"{fault}: {row[0][:80]}" for fault, query in queries.items() for row in connection.execute(query)]
    finally:
        connection.close()


def workers_of(pid: int) -> list[int]:
    """The living worker processes of a driver."""
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [
        number for number in numbers if parent(number) == pid and b"_sweep.worker" in read(f"/proc/{number}/cmdline")
    ]


def parent(pid: int) -> int | None:
    """The parent of a living process; None where it is gone, or dead and not yet buried by init."""
    fields = read(f"/proc/{pid}/stat").decode().rpartition(")")[2].split()
    return int(fields[1]) if fields and fields[0] != "Z" else None


def read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""  # it ended while we looked, or is not there yet


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    kind = {"SplitStore": SplitStore}.get(sys.argv[3] if len(sys.argv) > 3 else "", Store)
    with kind(sys.argv[1]) as store:
        sweep(train, configs(), store=store, workers=int(sys.argv[2]), batch=4, patience=PATIENCE)
