"""Callables as users may write them. `train` behaves as the configuration's `model` says.

Run as a script it sweeps itself: python callables_job.py STORE BEHAVIOUR WORKERS; as `unguarded` it has no main guard.
"""

import os
import signal
import sys
import time

from isoscale._records.run import Run
from isoscale._sweep.events import Patience
from isoscale._sweep.sweep import sweep


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this works")


def config(behaviour, seed=0, width=4):
    return {"rule": "sp", "optimizer": "sgd", "width": width, "depth": 1, "seed": seed, "model": behaviour}


def right(batch):
    return [Run(config, {"train_loss": float(config["seed"])}) for config in batch]


def forked(batch):
    os.fork()  # and forgets that there are two now
    return right(batch)


def printing(batch):
    print("a word from the callable")
    os.write(1, b"and one from below\n")
    return right(batch)


def slow(batch):
    time.sleep(0.4)
    return right(batch)


def changing(batch):
    for config in batch:
        config["width"] = 1
    return right(batch)


def raising(batch):
    raise ValueError("boom")


def breaking(batch):
    raise Broken


def out_of_memory(batch):
    raise MemoryError


def leaving(batch):
    sys.exit(3)


BEHAVIOURS = {
    "right": right,
    "printing": printing,
    "forked": forked,
    "slow": slow,
    "nan": lambda batch: [Run(config, {"train_loss": float("nan")}, "diverged") for config in batch],
    "generator": lambda batch: (run for run in right(batch)),
    "shuffled": lambda batch: right(batch)[::-1],
    "raising": raising,
    "breaking": breaking,
    "out of memory": out_of_memory,
    "leaving": leaving,
    "interrupting": lambda batch: signal.raise_signal(signal.SIGTERM),
    "exiting": lambda batch: os._exit(3),
    "crashing": lambda batch: os.kill(os.getpid(), signal.SIGSEGV),
    "hanging": lambda batch: time.sleep(60),
    "too few": lambda batch: right(batch)[1:],
    "nothing": lambda batch: None,
    "numbers": lambda batch: [1.0 for _ in batch],
    "doubled": lambda batch: [right(batch)[0] for _ in batch],
    "other": lambda batch: [Run({**config, "lr": 1}, {"train_loss": 1.0}) for config in batch],
    "changing": changing,
    "unrecordable": lambda batch: [Run(config, {"train_loss": "low"}) for config in batch],
}


def train(batch):
    return BEHAVIOURS[batch[0]["model"]](batch)


def main(path, behaviour, workers):
    configs = [config(behaviour, seed) for seed in range(12)]
    patience = Patience(errors=1, deaths=1)
    records = sweep(train, configs, store=path, workers=int(workers), batch=1, patience=patience)
    sys.stdout.write(f"{len(records)} records\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
if sys.argv[0].endswith("unguarded.py"):
    main(*sys.argv[1:])
