"""The search: the best value of a hyperparameter to a wished precision, with few runs. Every decision is recorded."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from isoscale._records.codec import plain_config
from isoscale._records.decision import Decision
from isoscale._records.records import Records
from isoscale._records.run import Config
from isoscale._records.store import Store
from isoscale._sweep.batches import Train
from isoscale._sweep.course import follow, hands
from isoscale._sweep.decide import Axis, Estimate, Estimator, Question, decide, full_length
from isoscale._sweep.events import Event
from isoscale._sweep.executor import Executor

Ending = Literal["precise", "budget", "limit", "diverged"]


@dataclass(frozen=True)
class Found:
    """How a search ended.

    `status`: "precise" (the interval is as narrow as was asked), "budget" (it is not, and the budget is spent), "limit"
    (the loss still falls at a limit of the axis) or "diverged" (every value did). `sentence` says it. `position`,
    `low`, `high` are log2 of the best value and its interval, None where not known; `value` is the best value. `runs`
    are those of full length, `spent` counts all in full ones, `flops` sums all (None where a run does not say).
    """

    status: Ending
    sentence: str
    position: float | None
    low: float | None
    high: float | None
    runs: Records
    spent: float
    flops: float | None
    decisions: tuple[Decision, ...]

    @property
    def value(self) -> float | None:
        return None if self.position is None else 2.0**self.position


def search(
    train: Train,
    base: Config,
    axis: Axis,
    *,
    store: Store | str | os.PathLike[str],
    estimate: Estimator,
    metric: str = "train_loss",
    precision: float = 0.25,
    budget: float = 400,
    short: float = 0.25,
    workers: int = 2,
    batch: int = 64,
    progress: Callable[[Event], None] | None = None,
    decided: Callable[[Decision], None] | None = None,
    executor: Executor | None = None,
) -> Found:
    """Find where `metric` is least along `axis`, to +-`precision` octaves (half width of the estimate's interval).

    `base` is a configuration without the axis and the seed. First one seed in short runs (`short` of base["steps"]),
    an octave apart, until the bottom is inside; then three seeds in full around it; then more seeds at the five values
    nearest to the estimate, half as many again each time, until the interval is narrow or `budget` (in full runs)
    is spent. All values share their seeds. `estimate` turns full runs into an interval at level 0.97
    (`isoscale._transfer` has one); how often the best value is within `precision` of the truth when a search stops was
    measured: docs/how-a-search-decides.md. Each decision is written to the store before it is carried out (and told to
    `decided`), so the same call after any interruption takes the same ones. Raises what `sweep` raises, and ValueError
    for a mistake in the arguments.
    """
    question = _question(base, axis, metric, precision, budget, short)
    with hands(train, store, workers, batch, progress, executor) as ours:
        runs, spent, taken = follow(
            ours,
            question.identity(ours.train),
            lambda runs, spent: decide(question, runs, spent, estimate),
            question.configs,
            lambda decision: _worth(question, decision),
            decided,
        )
    return _found(question, taken[-1], runs, spent, taken)


def _question(base: Config, axis: Axis, metric: str, precision: float, budget: float, short: float) -> Question:
    plain = plain_config(base, "base")
    given = sorted({axis.name, "seed"} & set(plain))
    if given:
        raise ValueError(f"base fixes {', '.join(given)}, which the search varies: leave it out of base")
    if not precision > 0 or not 0 < short <= 1 or not budget > 0:
        raise ValueError(
            f"precision={precision}, budget={budget}, short={short}: precision and budget are positive, short is a "
            "fraction of the steps, above 0 and at most 1 (1: the first look is of full length)"
        )
    return Question(plain, axis, metric, precision, budget, short)


def _worth(question: Question, decision: Decision) -> float:
    """Full runs that the decision's runs cost together."""
    count: int = len(decision.content["positions"]) * len(decision.content["seeds"])
    steps: int | None = decision.content["steps"]
    return count * (1.0 if steps is None or question.steps is None else steps / question.steps)


def _found(question: Question, stop: Decision, runs: Records, spent: float, decisions: tuple[Decision, ...]) -> Found:
    said = stop.content
    flops = [run.flops for run in runs]
    total = math.fsum(each for each in flops if each is not None) if None not in flops else None
    position, low, high = said.get("position"), said.get("low"), said.get("high")
    return Found(said["status"], stop.reason, position, low, high, full_length(question, runs), spent, total, decisions)


def search_each(
    train: Train,
    base: Config,
    axes: Sequence[Axis],
    *,
    estimate: Callable[[Axis], Callable[[Records], Estimate]],
    rounds: int = 3,
    **settings: Any,
) -> tuple[Mapping[str, float], tuple[Found, ...]]:
    """Several hyperparameters by coordinates: each in turn along its axis, the others held at their best so far.

    Ends when a round moves none, or after `rounds`. Best values stay on the half-octave lattices, so that a search
    along an axis whose neighbours did not move is the same search and costs nothing. Where hyperparameters trade
    against each other (a long diagonal valley) this takes many rounds: search along the product instead. `settings` go
    to `search`, `estimate(axis)` makes the estimator of each. Returns the values, and every search in order.
    """
    if not axes or len({axis.name for axis in axes}) < len(axes):
        raise ValueError(f"axes {[axis.name for axis in axes]}: name at least one hyperparameter, each once")
    best = {axis.name: axis.start for axis in axes}
    founds: list[Found] = []
    for _ in range(rounds):
        before = dict(best)
        for axis in axes:
            others = {name: value for name, value in best.items() if name != axis.name}
            found = search(train, {**base, **others}, axis, estimate=estimate(axis), **settings)
            founds.append(found)
            if found.position is not None:
                best[axis.name] = axis.value(axis.nearest(found.position))
        if best == before or len(axes) == 1:
            break
    return best, tuple(founds)
