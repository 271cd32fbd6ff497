"""How far a store is, and how long the rest will take: facts for whoever draws them."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

START_UP = 4.0
"""Seconds that a worker's first unit takes longer: it imports torch, reads the data, makes the plans."""


@dataclass(frozen=True)
class Tally:
    """The units of one shape: work as expected (`cost`) and, for finished units, as measured (`seconds`)."""

    shape: str
    done_runs: int = 0
    done_cost: float = 0.0
    done_seconds: float = 0.0
    open_units: int = 0
    open_runs: int = 0
    open_cost: float = 0.0
    elapsed: float = 0.0
    done_units: int = 0


@dataclass(frozen=True)
class Progress:
    """Units by status, runs, worker-seconds spent, units in work at once, and the expected wall seconds that remain.

    `remaining` is None until a unit was measured. `rate` is runs per wall second, expected from here on.
    """

    units: int
    done: int
    leased: int
    queued: int
    poisoned: int
    runs: int
    runs_done: int
    slots: int
    spent: float
    remaining: float | None
    rate: float | None

    @property
    def complete(self) -> bool:
        return self.done == self.units


def expected_remaining(tallies: Sequence[Tally], slots: int) -> float | None:
    """Wall seconds until the open units are done, by measured seconds per run.

    A shape that was measured is believed, less what the first units of the workers took to start up. Another is read
    off the line through the measured shapes in log seconds per run against log cost per run, continued as the root of
    the cost: the middle between all overhead (seconds of any run are the same) and all arithmetic (in proportion).
    The open units share the slots, but no unit can be split: the longest one is a floor.
    """
    tallies = _without_start(tallies, slots)
    open_ = [tally for tally in tallies if tally.open_units]
    if not open_:
        return 0.0
    measured = sorted(
        (math.log(t.done_cost / t.done_runs), math.log(t.done_seconds / t.done_runs))
        for t in tallies
        if t.done_runs and t.done_cost > 0 and t.done_seconds > 0
    )
    if not measured:
        return None
    total, longest = 0.0, 0.0
    for tally in open_:
        if tally.done_runs and tally.done_seconds > 0:
            per_run = tally.done_seconds / tally.done_runs
        else:
            per_run = math.exp(_read_off(measured, math.log(max(tally.open_cost / tally.open_runs, 1e-300))))
        expected = max(per_run * tally.open_runs - tally.elapsed, 0.0)
        total += expected
        longest = max(longest, expected / tally.open_units)
    busy = max(1, min(slots, sum(tally.open_units for tally in open_)))
    return max(total / busy, longest)


def _without_start(tallies: Sequence[Tally], slots: int) -> list[Tally]:
    """The tallies with START_UP off the first unit of every worker, at most three quarters of what was measured.

    Which units were first is not kept: all that was measured shrinks by one factor, which nears 1 as it grows.
    """
    spent = sum(tally.done_seconds for tally in tallies)
    starts = START_UP * min(max(1, slots), sum(tally.done_units for tally in tallies))
    factor = max(1 - starts / spent, 0.25) if spent > 0 else 1.0
    return [replace(tally, done_seconds=tally.done_seconds * factor) for tally in tallies]


def _read_off(points: Sequence[tuple[float, float]], x: float) -> float:
    at = bisect_left(points, (x, -math.inf))
    if at == 0:
        return points[0][1] + (x - points[0][0]) / 2
    if at == len(points):
        return points[-1][1] + (x - points[-1][0]) / 2
    (x0, y0), (x1, y1) = points[at - 1], points[at]
    return y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def progress_of(rows: Sequence[tuple[Any, ...]], slots: int) -> Progress:
    """Progress from rows of (shape, status, units, runs, cost, seconds, seconds since they were leased)."""
    units = dict.fromkeys(("done", "leased", "queued", "poisoned"), 0)
    runs = runs_done = 0
    spent = 0.0
    shapes: dict[str, dict[str, float]] = {}
    for shape, status, count, size, cost, seconds, elapsed in rows:
        units[status] += count
        runs += size
        facts: dict[str, float] = shapes.setdefault(shape, {})
        if status == "done":
            runs_done += size
            spent += seconds
            facts.update(done_units=count, done_runs=size, done_cost=cost, done_seconds=seconds)
        elif status != "poisoned":
            for name, value in (("open_units", count), ("open_runs", size), ("open_cost", cost)):
                facts[name] = facts.get(name, 0) + value
            if status == "leased":
                facts["elapsed"] = elapsed
    remaining = expected_remaining([_tally(shape, facts) for shape, facts in shapes.items()], slots)
    open_runs = sum(facts.get("open_runs", 0) for facts in shapes.values())
    return Progress(
        units=sum(units.values()),
        **units,
        runs=runs,
        runs_done=runs_done,
        slots=slots,
        spent=spent,
        remaining=remaining,
        rate=open_runs / remaining if remaining else None,
    )


def _tally(shape: str, facts: Mapping[str, float]) -> Tally:
    return Tally(
        shape=shape,
        done_units=int(facts.get("done_units", 0)),
        done_runs=int(facts.get("done_runs", 0)),
        done_cost=facts.get("done_cost", 0.0),
        done_seconds=facts.get("done_seconds", 0.0),
        open_units=int(facts.get("open_units", 0)),
        open_runs=int(facts.get("open_runs", 0)),
        open_cost=facts.get("open_cost", 0.0),
        elapsed=facts.get("elapsed", 0.0),
    )
