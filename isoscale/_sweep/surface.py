"""Several hyperparameters by a local quadratic design: a response surface, moved to the bottom, in place of a grid."""

import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from isoscale._records.codec import plain_config
from isoscale._records.decision import Decision
from isoscale._records.records import Records
from isoscale._records.run import Config, digest
from isoscale._records.store import Store
from isoscale._sweep.batches import Train
from isoscale._sweep.course import Heard, follow, hands
from isoscale._sweep.decide import FIRST_SEEDS, PER_OCTAVE, Axis
from isoscale._sweep.events import Event
from isoscale._sweep.executor import Executor

Place = tuple[int, ...]
STEP = 2  # lattice positions from the design's centre to its faces: one octave
LOOK = {True: 4, False: 2}  # octaves on either side that the first look goes: the first axis, the others
MOST_MOVES = 8
MOST_AXES = 4


class Bowl(Protocol):
    """What an estimator says of a design: the fields of `isoscale._transfer.surface.Surface`."""

    @property
    def status(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def position(self) -> tuple[float, ...] | None: ...
    @property
    def low(self) -> tuple[float | None, ...]: ...
    @property
    def high(self) -> tuple[float | None, ...]: ...
    @property
    def regret_high(self) -> float | None: ...


Fit = Callable[[Records, tuple[float, ...], float], Bowl]
"""(runs of full length, centre in log2, reach in octaves) -> Bowl."""


@dataclass(frozen=True)
class Bottom:
    """How a surface search ended: "precise", "budget" or "diverged". `values` by name, `spent` in full runs."""

    status: str
    sentence: str
    values: Mapping[str, float] | None
    runs: Records
    spent: float
    decisions: tuple[Decision, ...]


def search_surface(
    train: Train,
    base: Config,
    axes: Sequence[Axis],
    *,
    store: Store | str | os.PathLike[str],
    fit: Fit,
    metric: str = "train_loss",
    precision: float = 0.25,
    regret: float = 1.0,
    budget: float = 400,
    short: float = 0.25,
    workers: int = 2,
    batch: int = 64,
    progress: Callable[[Event], None] | None = None,
    decided: Heard = None,
    executor: Executor | None = None,
) -> Bottom:
    """Find where `metric` is least along 2 to 4 axes at once, with few runs; hyperparameters may trade off.

    First short runs of one seed, axis by axis; then a face-centred design (centre, faces and corners an octave away,
    3^k points for two axes) in full with three seeds; the design moves to the fitted least point until that is inside;
    then more seeds on it, until every interval is within +-`precision` octaves, or the point is within `regret` percent
    of the best with confidence (a flat valley has no precise bottom, and needs none), or `budget` full runs are spent.
    `fit` turns runs into a fitted bowl (`isoscale._transfer.surface.fit_surface`). Decisions are in the store before
    they are carried out. Raises ValueError for a mistake in the arguments.
    """
    plain = plain_config(base, "base")
    names = [axis.name for axis in axes]
    if not 2 <= len(names) <= MOST_AXES or len(set(names)) < len(names):
        raise ValueError(f"axes {names}: two to {MOST_AXES} hyperparameters, each once; `search` does one")
    given = sorted({*names, "seed"} & set(plain))
    if given:
        raise ValueError(f"base fixes {', '.join(given)}, which the search varies: leave it out of base")
    if not (precision > 0 and regret > 0 and budget > 0 and 0 < short <= 1):
        raise ValueError(f"precision={precision}, regret={regret}, budget={budget}, short={short}: all above 0")
    question = Valley(plain, tuple(axes), metric, precision, regret, budget, short)
    with hands(train, store, workers, batch, progress, executor) as ours:
        runs, spent, taken = follow(
            ours, question.identity(ours.train), lambda runs, spent: question.decide(runs, spent, fit),
            question.configs, question.worth, decided,
        )  # fmt: skip
    stop = taken[-1].content
    at = stop.get("position")
    values = None if at is None else dict(zip(names, (2.0**each for each in at), strict=True))
    return Bottom(stop["status"], taken[-1].reason, values, question.full(runs), spent, taken)


@dataclass(frozen=True)
class Valley:
    """What is asked, and the decisions: pure functions of the runs."""

    base: Config
    axes: tuple[Axis, ...]
    metric: str
    precision: float
    regret: float
    budget: float
    short: float

    @property
    def steps(self) -> int | None:
        steps = self.base.get("steps")
        return steps if isinstance(steps, int) else None

    @property
    def brief(self) -> int | None:
        """Steps of the first look; None where there are none to shorten."""
        return None if self.steps is None else max(1, round(self.steps * self.short))

    def identity(self, train: str) -> str:
        axes = [[axis.name, axis.start, axis.low, axis.high] for axis in self.axes]
        own = [self.metric, self.precision, self.regret, self.budget, self.short]
        return digest({"surface": train, "base": dict(self.base), "axes": axes, "own": own})

    def configs(self, decision: Decision) -> list[dict[str, Any]]:
        """Every seed at every place."""
        length = {} if decision.content["steps"] is None else {"steps": decision.content["steps"]}
        return [
            {**self.base, **length, **self.at(place), "seed": seed}
            for seed in decision.content["seeds"]
            for place in decision.content["places"]
        ]

    def at(self, place: Sequence[int]) -> dict[str, float]:
        return {axis.name: axis.value(position) for axis, position in zip(self.axes, place, strict=True)}

    def worth(self, decision: Decision) -> float:
        count = len(decision.content["places"]) * len(decision.content["seeds"])
        steps: int | None = decision.content["steps"]
        return count * (1.0 if steps is None or self.steps is None else steps / self.steps)

    def full(self, runs: Records) -> Records:
        return Records(tuple(run for run in runs if self.steps is None or run.config.get("steps") == self.steps))

    def decide(self, runs: Records, spent: float, fit: Fit) -> Decision:
        """The next step of a search that has these runs."""
        centre: Place = tuple(0 for _ in self.axes)
        short = self._means(runs, self.brief)
        for which in range(len(self.axes)):
            wished = self._line(centre, which)
            if any(place not in short for place in wished):
                return self._look(which, wished)
            best = min(wished, key=lambda place: short[place])
            if not math.isfinite(short[best]):
                return Decision("stop", f"every value of {self.axes[which].name} diverged", {"status": "diverged"})
            centre = best
        full = self.full(runs)
        means = self._means(full, self.steps)
        for _ in range(MOST_MOVES):
            design = self._design(centre)
            if any(place not in means for place in design):
                seeds = list(range(FIRST_SEEDS))
                if spent + len(design) * FIRST_SEEDS > self.budget:
                    return Decision("stop", f"{spent:.0f} of {self.budget:g} runs are spent", {"status": "budget"})
                return self._run(
                    "design", design, seeds, f"a quadratic design of {len(design)} points round {self._say(centre)}"
                )
            found = fit(full, self._log2(centre), STEP / PER_OCTAVE)
            onward = self._moved(centre, found, means)
            if onward == centre:
                return self._refine(centre, design, found, runs, spent)
            centre = onward
        return self._refine(centre, self._design(centre), fit(full, self._log2(centre), STEP / PER_OCTAVE), runs, spent)

    def _moved(self, centre: Place, found: Bowl, means: Mapping[Place, float]) -> Place:
        """The next centre: toward the fitted least point; an octave down the first axis where too much diverged."""
        if found.status == "found":
            return centre
        if found.status == "too few" or found.position is None:
            return (self._inside(0, centre[0] - STEP), *centre[1:])
        wished = [axis.nearest(position) for axis, position in zip(self.axes, found.position, strict=True)]
        moved = tuple(max(c - STEP, min(c + STEP, w)) for c, w in zip(centre, wished, strict=True))
        return moved

    def _refine(self, centre: Place, design: list[Place], found: Bowl, runs: Records, spent: float) -> Decision:
        pairs = zip(found.low, found.high, strict=True)
        halves = [None if low is None or high is None else (high - low) / 2 for low, high in pairs]
        narrow = found.status == "found" and all(half is not None and half <= self.precision for half in halves)
        flat = found.regret_high is not None and found.regret_high <= self.regret
        if narrow or flat:
            return self._stop("precise", found.sentence, found)
        seeds = 1 + max(int(run.config["seed"]) for run in self.full(runs))
        living = [place for place in design if math.isfinite(self._means(self.full(runs), self.steps)[place])]
        more = min(max(1, seeds // 2), int((self.budget - spent) // max(1, len(living))))
        if more < 1 or not living:
            return self._stop("budget", f"{spent:.0f} of {self.budget:g} runs are spent: {found.sentence}", found)
        return self._run("seeds", living, list(range(seeds, seeds + more)), f"{more} more seeds: {found.sentence}")

    def _line(self, centre: Place, which: int) -> list[Place]:
        """Places of the first look along one axis, an octave apart."""
        reach = LOOK[which == 0] * PER_OCTAVE
        positions = {self._inside(which, centre[which] + offset) for offset in range(-reach, reach + 1, PER_OCTAVE)}
        return [(*centre[:which], position, *centre[which + 1 :]) for position in sorted(positions)]

    def _design(self, centre: Place) -> list[Place]:
        """Centre, faces and corners, within the limits."""
        corners = list(itertools.product((-STEP, STEP), repeat=len(self.axes)))
        faces = [
            tuple(sign * STEP * (i == j) for j in range(len(self.axes)))
            for i in range(len(self.axes))
            for sign in (-1, 1)
        ]
        offsets = [tuple(0 for _ in self.axes), *faces, *corners]
        places = [
            tuple(self._inside(i, c + o) for i, (c, o) in enumerate(zip(centre, offset, strict=True)))
            for offset in offsets
        ]
        return list(dict.fromkeys(places))

    def _inside(self, which: int, position: int) -> int:
        return min(max(position, self.axes[which].first), self.axes[which].last)

    def _means(self, runs: Records, steps: int | None) -> dict[Place, float]:
        """Mean log loss by place, over the seeds; inf where one diverged."""
        found: dict[Place, list[float]] = {}
        for run in runs:
            if steps is None or run.config.get("steps") == steps:
                place = tuple(axis.nearest(math.log2(run.config[axis.name])) for axis in self.axes)
                loss = run.loss(self.metric)
                found.setdefault(place, []).append(math.log(loss) if 0 < loss < math.inf else math.inf)
        return {place: sum(each) / len(each) for place, each in found.items()}

    def _log2(self, place: Place) -> tuple[float, ...]:
        return tuple(math.log2(axis.value(position)) for axis, position in zip(self.axes, place, strict=True))

    def _look(self, which: int, places: list[Place]) -> Decision:
        name = self.axes[which].name
        return self._run("look", places, [0], f"look along {name} with one seed in short runs", self.brief)

    def _run(self, kind: str, places: list[Place], seeds: list[int], reason: str, steps: int | None = None) -> Decision:
        content = {"places": [list(place) for place in places], "seeds": seeds, "steps": steps or self.steps}
        return Decision(kind, reason, content)

    def _stop(self, status: str, reason: str, found: Bowl) -> Decision:
        position = None if found.position is None else list(found.position)
        return Decision(
            "stop", reason, {"status": status, "position": position, "low": list(found.low), "high": list(found.high)}
        )

    def _say(self, place: Place) -> str:
        return ", ".join(f"{name} {value:.3g}" for name, value in self.at(place).items())
