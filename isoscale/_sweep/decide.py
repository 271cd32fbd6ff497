"""What a search runs next: a pure function of the runs it has, so that the same runs lead to the same search.

Positions are on a lattice of half octaves around the start: value = start * 2^(position / 2).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from isoscale._records.decision import Decision
from isoscale._records.records import Records
from isoscale._records.run import Config, digest

PER_OCTAVE = 2  # positions of the lattice
BRACKET = 4  # octaves on either side of the start that are looked at first, one position each
WINDOW = 1.5  # octaves on either side of the bracket's lowest that are run in full
NEAR = 1  # octaves on either side of the estimate that get more seeds
FIRST_SEEDS = 3
LEVEL = 0.97  # of an estimator's interval: looking again and again costs about two of the 97 (bench/search_coverage.py)
GROWTH = 1.5  # of the number of seeds from look to look: few looks, so that stopping at one of them biases little


class Estimate(Protocol):
    """What an estimator says of an optimum: the fields of `isoscale._transfer.Optimum`, positions in log2 of the value.
    `status` is "found" where low and high are its interval at LEVEL, "edge" where it lies beyond the runs at `side`."""

    @property
    def status(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def position(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def side(self) -> str | None: ...


Estimator = Callable[[Records], Estimate]


@dataclass(frozen=True)
class Axis:
    """A hyperparameter to be found on a log2 scale: where to start, and the values that are never left."""

    name: str
    start: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.start <= self.high < math.inf:
            raise ValueError(
                f"{self.name}: low={self.low:g}, start={self.start:g}, high={self.high:g}: the search counts octaves, "
                "so it needs 0 < low <= start <= high"
            )

    def value(self, position: int) -> float:
        return float(self.start * 2.0 ** (position / PER_OCTAVE))

    def nearest(self, x: float) -> int:
        """The lattice position nearest to log2 value `x`, within the limits."""
        wished = round((x - math.log2(self.start)) * PER_OCTAVE)
        return min(max(wished, self.first), self.last)

    @property
    def first(self) -> int:
        return -math.floor(math.log2(self.start / self.low) * PER_OCTAVE + 1e-9)

    @property
    def last(self) -> int:
        return math.floor(math.log2(self.high / self.start) * PER_OCTAVE + 1e-9)


@dataclass(frozen=True)
class Question:
    """What a search wants to know, and what it may spend: `budget` counts runs of full length, a run of a fraction of
    the steps as that fraction. `short` is the length of the first look, as a fraction of the steps."""

    base: Config
    axis: Axis
    metric: str
    precision: float
    budget: float
    short: float

    @property
    def steps(self) -> int | None:
        steps = self.base.get("steps")
        return steps if isinstance(steps, int) else None

    @property
    def brief(self) -> int | None:
        """Steps of the first look; None where it is of full length."""
        if self.steps is None or self.short >= 1:
            return None
        return max(1, round(self.steps * self.short))

    def identity(self, train: str) -> str:
        """The same search of the same callable, on any machine."""
        axis = [self.axis.name, self.axis.start, self.axis.low, self.axis.high]
        own = [self.metric, self.precision, self.budget, self.short]
        return digest({"train": train, "base": dict(self.base), "axis": axis, "own": own})

    def configs(self, decision: Decision) -> list[dict[str, Any]]:
        """The configurations that a decision asks for: every seed at every position, so that curves are paired."""
        at, seeds, steps = (decision.content[name] for name in ("positions", "seeds", "steps"))
        length = {} if steps is None else {"steps": steps}
        return [
            {**self.base, **length, self.axis.name: self.axis.value(position), "seed": seed}
            for seed in seeds
            for position in at
        ]


@dataclass(frozen=True)
class Seen:
    """Losses by position and seed, inf where a run diverged."""

    losses: Mapping[int, Mapping[int, float]]

    @property
    def positions(self) -> list[int]:
        return sorted(self.losses)

    @property
    def seeds(self) -> int:
        return max((seed for each in self.losses.values() for seed in each), default=-1) + 1

    @property
    def repeated(self) -> "Seen":
        """The positions that the first round of seeds ran at, without those that one seed looked at."""
        return Seen({p: each for p, each in self.losses.items() if len(each) >= FIRST_SEEDS})

    @property
    def stable(self) -> list[int]:
        """Positions at which every seed finished, left of the first beyond the lowest at which one did not."""
        finite = [p for p in self.positions if all(map(math.isfinite, self.losses[p].values()))]
        lowest = self._lowest(finite)
        broken = [p for p in self.positions if p not in finite and lowest is not None and p > lowest]
        return [p for p in finite if not broken or p < broken[0]]

    @property
    def lowest(self) -> int | None:
        return self._lowest([p for p in self.positions if all(map(math.isfinite, self.losses[p].values()))])

    def _lowest(self, positions: list[int]) -> int | None:
        """Of least loss, compared over the seeds that all positions share."""
        if not positions:
            return None
        common = set.intersection(*(set(self.losses[p]) for p in positions))
        return min(positions, key=lambda p: sum(self.losses[p][s] for s in common) / max(1, len(common)))


def seen(question: Question, runs: Records, steps: int | None) -> Seen:
    """The losses of the runs of this many steps."""
    losses: dict[int, dict[int, float]] = {}
    for run in runs:
        if steps is None or run.config.get("steps") == steps:
            position = question.axis.nearest(math.log2(run.config[question.axis.name]))
            losses.setdefault(position, {})[int(run.config["seed"])] = run.loss(question.metric)
    return Seen(losses)


def full_length(question: Question, runs: Records) -> Records:
    """The runs that the estimate is made of: those of all steps."""
    if question.brief is None:
        return runs
    return Records(tuple(run for run in runs if run.config.get("steps") == question.steps))


def decide(question: Question, runs: Records, spent: float, estimator: Estimator) -> Decision:
    """The next step of a search that has these runs and has spent the worth of so many full ones."""
    if question.brief is not None:
        short = seen(question, runs, question.brief)
        full = seen(question, runs, question.steps)
    else:
        short = full = seen(question, runs, question.steps)
    if question.brief is None or not full.losses:
        decision = _bracket(question, short)
        if decision is not None:
            return decision
    if full.seeds < FIRST_SEEDS:
        return _window(question, short, full)
    return _refine(question, full.repeated, spent, estimator(full_length(question, runs)))


def _bracket(question: Question, seen: Seen) -> Decision | None:
    """One seed, a position an octave, until the lowest has neighbours on both sides; None when it does."""
    axis, reach = question.axis, BRACKET * PER_OCTAVE
    if not seen.losses:
        at = _within(axis, range(-reach, reach + 1, PER_OCTAVE))
        length = "of full length" if question.brief is None else f"of {question.brief} steps"
        return _train(
            question, "bracket", at, [0], question.brief,
            f"look for the bottom with one seed, one value an octave from {_say(axis, at[0])} to {_say(axis, at[-1])}, "
            f"in runs {length}",
        )  # fmt: skip
    if seen.seeds > 1:
        return None
    lowest, there = seen.lowest, seen.positions
    if lowest is None or lowest == there[0]:
        side, wished = "low", range(there[0] - 2 * PER_OCTAVE, there[0], PER_OCTAVE)
    elif lowest == there[-1]:
        side, wished = "high", range(there[-1] + PER_OCTAVE, there[-1] + 2 * PER_OCTAVE + 1, PER_OCTAVE)
    else:
        return None
    at = _within(axis, wished)
    if not at:
        return None
    why = "every value diverged" if lowest is None else f"the lowest loss is at the {side} end, {_say(axis, lowest)}"
    return _train(question, "bracket", at, [0], question.brief, f"{why}: look two octaves further")


def _window(question: Question, short: Seen, full: Seen) -> Decision:
    """Several seeds in full around the bracket's lowest."""
    axis, lowest = question.axis, short.lowest
    if lowest is None:
        return Decision("stop", f"every value of {axis.name} down to {axis.low:g} diverged", {"status": "diverged"})
    reach = round(WINDOW * PER_OCTAVE)
    broken = [p for p in short.positions if p > lowest and not math.isfinite(min(short.losses[p].values()))]
    end = min([lowest + reach, *broken[:1]])
    at = _within(axis, range(lowest - reach, end + 1))
    return _train(
        question, "window", at, list(range(FIRST_SEEDS)), question.steps,
        f"the lowest loss of the first look is at {_say(axis, lowest)}: run {FIRST_SEEDS} seeds in full at "
        f"{len(at)} values within {WINDOW} octaves of it",
    )  # fmt: skip


def _refine(question: Question, full: Seen, spent: float, found: Estimate) -> Decision:
    """Stop, extend, or more seeds near the estimate."""
    half = None if found.status != "found" or found.low is None or found.high is None else (found.high - found.low) / 2
    axis, seeds = question.axis, full.seeds
    if half is not None and half <= question.precision:
        reason = f"the interval's half width is {half:.3f} octaves, at most the {question.precision:g} asked for"
        return _stop("precise", f"{reason}: {found.sentence}", found)
    end = _end(full, found)
    if end is not None:
        side, at = end, full.positions
        wished = range(at[0] - PER_OCTAVE, at[0]) if side == "low" else range(at[-1] + 1, at[-1] + PER_OCTAVE + 1)
        further = _within(axis, wished)
        if further and spent + len(further) * seeds <= question.budget:
            reason = f"the bottom is not closed on the {side} side: extend the values by an octave with the same seeds"
            return _train(question, "extend", further, list(range(seeds)), question.steps, reason)
        if not further:
            limit = axis.low if side == "low" else axis.high
            return _stop("limit", f"the bottom is at the limit {axis.name} = {limit:g}: {found.sentence}", found)
    at = _near(axis, full, found)
    more = max(2, math.ceil(seeds * (GROWTH - 1)))
    affordable = int((question.budget - spent) // max(1, len(at)))
    if not at or min(more, affordable) < 1:
        said = "no interval" if half is None else f"a half width of {half:.3f} octaves"
        return _stop(
            "budget", f"{spent:.0f} of {question.budget:g} runs are spent, with {said}: {found.sentence}", found
        )
    more = min(more, affordable)
    known = "there is no interval yet" if half is None else f"the interval's half width is {half:.3f} octaves"
    return _train(
        question, "seeds", at, list(range(seeds, seeds + more)), question.steps,
        f"{known}: {more} more seeds at {len(at)} values from {_say(axis, at[0])} to {_say(axis, at[-1])}",
    )  # fmt: skip


def _end(full: Seen, found: Estimate) -> str | None:
    """The side on which the runs do not close the bottom in; a diverged value closes it on the right."""
    if found.status == "edge" and found.side in ("low", "high"):
        return found.side
    lowest, at = full.lowest, full.positions
    if lowest is None or lowest == at[0]:
        return "low"
    return "high" if lowest == at[-1] else None


def _near(axis: Axis, full: Seen, found: Estimate) -> list[int]:
    """The values nearest to the estimate at which every seed so far finished: those say most a run (measured)."""
    lowest = full.lowest
    if lowest is None:
        return []
    centre = lowest if found.position is None else axis.nearest(found.position)
    stable = sorted(full.stable, key=lambda p: (abs(p - centre), p))
    return sorted(stable[: 2 * NEAR * PER_OCTAVE + 1])


def _within(axis: Axis, positions: range) -> list[int]:
    return [p for p in positions if axis.first <= p <= axis.last]


def _train(question: Question, kind: str, at: list[int], seeds: list[int], steps: int | None, reason: str) -> Decision:
    return Decision(kind, reason, {"positions": at, "seeds": seeds, "steps": steps})


def _stop(status: str, reason: str, found: Estimate) -> Decision:
    interval = {"position": found.position, "low": found.low, "high": found.high}
    return Decision("stop", reason, {"status": status, **interval})


def _say(axis: Axis, position: int) -> str:
    value = axis.value(position)
    return f"{axis.name} {value:.3g} (2^{math.log2(value):.2f})"
