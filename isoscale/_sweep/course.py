"""The course of a strategy: decide, record, carry out, until a decision says stop; the same again after any break."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from isoscale._records.decision import Decision
from isoscale._records.records import Records
from isoscale._records.store import Store
from isoscale._sweep.batches import Train, name_of
from isoscale._sweep.events import Event
from isoscale._sweep.executor import Executor, InProcess
from isoscale._sweep.local import Processes
from isoscale._sweep.sweep import sweep

Heard = Callable[[Decision], None] | None


@dataclass(frozen=True)
class Hands:
    """What carries a strategy's decisions out: the store and a way to train configurations into it."""

    train: str
    store: Store
    run: Callable[[Sequence[dict[str, Any]]], Records]


@contextmanager
def hands(
    train: Train,
    store: Store | str | os.PathLike[str],
    workers: int,
    batch: int,
    progress: Callable[[Event], None] | None,
    executor: Executor | None,
) -> Iterator[Hands]:
    """Hands for the length of the block; the caller's store and executor stay open."""
    opened = store if isinstance(store, Store) else Store(store)
    logs = opened.path.absolute().with_suffix(".logs")
    used: Executor = executor or (InProcess(train) if workers == 0 else Processes(train, workers, logs))

    def run(configs: Sequence[dict[str, Any]]) -> Records:
        size = min(batch, max(1, math.ceil(len(configs) / used.slots)))
        return sweep(train, configs, store=opened, batch=size, progress=progress, executor=used)

    try:
        yield Hands(name_of(train), opened, run)
    finally:
        if executor is None:
            used.close()
            with suppress(OSError):
                logs.rmdir()
        if opened is not store:
            opened.close()


def follow(
    hands: Hands,
    identity: str,
    decide: Callable[[Records, float], Decision],
    configs: Callable[[Decision], Sequence[dict[str, Any]]],
    worth: Callable[[Decision], float],
    heard: Heard = None,
) -> tuple[Records, float, tuple[Decision, ...]]:
    """The runs, their worth in full runs, and the decisions, the last of which says stop.

    `decide` is a pure function of the runs so far and what they cost; each decision is in the store before it is
    carried out, and one that is there already goes before what would be decided today.
    """
    runs, spent = Records(), 0.0
    taken: list[Decision] = []
    while True:
        recorded = hands.store.decisions(identity)
        place = len(taken)
        decision = recorded[place] if place < len(recorded) else None
        if decision is None:
            decision = hands.store.decide(identity, place, decide(runs, spent))
        taken.append(decision)
        if heard is not None:
            heard(decision)
        if decision.kind == "stop":
            return runs, spent, tuple(taken)
        runs = runs + hands.run(configs(decision))
        spent += worth(decision)
