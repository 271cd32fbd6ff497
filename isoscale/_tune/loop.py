"""Search on the proxy, verify on the second: until the verdict is clear or the budget is spent."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoscale._records.records import Records
from isoscale._records.store import Store
from isoscale._sweep.decide import LEVEL, Axis
from isoscale._sweep.display import duration
from isoscale._sweep.executor import Executor
from isoscale._sweep.search import Found, search, search_each
from isoscale._transfer.curve import LossCurve, curves
from isoscale._transfer.optimum import Optimum, find_optimum
from isoscale._transfer.scale import Scale
from isoscale._transfer.shift import Shift, factor_to, shift
from isoscale._tune.job import Job
from isoscale._tune.narrate import Narrator
from isoscale._tune.sizes import Keys, doublings, spelled

NARROWER = 1.5  # each further round asks for an interval so many times as narrow
ROUNDS = 3
SEVERITY = ("transfers", "cannot tell", "drifts")
Size = Mapping[str, Any]
Value = tuple[float, float | None, float | None, str]


@dataclass(frozen=True)
class Result:
    """What the loop found: (value, low, high, sentence) by name, how each moved, and everything that was run."""

    values: Mapping[str, Value]
    shifts: tuple[Shift, ...]
    proxy_runs: Records
    second_runs: Records
    warnings: tuple[str, ...] = ()

    def cost(self, target_flops: int) -> dict[str, Any]:
        """Runs, FLOPs and seconds spent, and the FLOPs of the proxy's full runs at the target's size."""
        spent = [*self.proxy_runs, *self.second_runs]
        flops = math.fsum(run.flops or 0.0 for run in spent)
        direct = float(target_flops) * sum(run.steps for run in self.proxy_runs)
        seconds = math.fsum(run.seconds or 0.0 for run in spent)
        saving = direct / flops if flops else None
        said = (
            "" if saving is None else f"; the proxy's runs at the target's size would take {saving:.3g} times as much"
        )
        return {
            "runs": len(spent),
            "flops": flops,
            "seconds": seconds,
            "direct_flops": direct,
            "times_cheaper": saving,
            "sentence": f"{len(spent)} runs, {flops:.3g} FLOPs, {duration(seconds)} of one worker in all{said}",
        }


@dataclass
class Loop:
    """One job's searches and the verdict on them."""

    job: Job
    config: Mapping[str, Any]
    keys: Keys
    axes: Sequence[Axis]
    metric: str
    precision: float
    tolerance: float
    regret_percent: float
    budget: float
    narrator: Narrator
    batch: int

    def run(self, base: Size, second: Size, target: Size, store: Store, executor: Executor) -> Result:
        """Rounds of ever narrower intervals until no hyperparameter is in doubt that more runs could settle."""
        self.narrator.stage(f"search {', '.join(axis.name for axis in self.axes)} at {spelled(base)}")
        precision = self.precision
        for place in range(ROUNDS):
            best, founds = self._search(base, precision, store, executor)
            if place == 0:
                self.narrator.stage(f"verify at {spelled(second)}: does the optimum stay?")
            seconds = {name: self._second(name, best, second, precision, store, executor) for name in best}
            shifts = tuple(self._judge(founds[name], seconds[name], name, base, second, target) for name in best)
            for each in shifts:
                self.narrator.note(f"{each.hyperparameter} {each.outcome}: {each.sentence}")
            both = [*founds.values(), *seconds.values()]
            unclear = any(each.outcome == "cannot tell" for each in shifts)
            if not unclear or any(found.status != "precise" for found in both) or place == ROUNDS - 1:
                break
            precision /= NARROWER
            self.narrator.note(f"not clear yet: both optima to +-{precision:.2g} octaves")
        values = {name: self._value(founds[name], name, best) for name in best}
        warnings = tuple(
            f"{name}: the search ended with {found.status}: {found.sentence}"
            for name, found in founds.items()
            if found.status != "precise"
        )
        return Result(values, shifts, self._all(base, store), self._all(second, store), warnings)

    def _search(
        self, size: Size, precision: float, store: Store, executor: Executor
    ) -> tuple[dict[str, float], dict[str, Found]]:
        """The best values at the base and the last search along each axis."""
        best, founds = search_each(
            self.job, self._at(size), self.axes, estimate=self._estimator,
            **self._settings(precision, store, executor),
        )  # fmt: skip
        last: dict[str, Found] = {}
        for place, found in enumerate(founds):
            last[self.axes[place % len(self.axes)].name] = found
        return dict(best), last

    def _second(
        self, name: str, best: Mapping[str, float], second: Size, precision: float, store: Store, executor: Executor
    ) -> Found:
        """The optimum along one axis at the second size, the others where they are best at the base."""
        axis = next(axis for axis in self.axes if axis.name == name)
        others = {other: value for other, value in best.items() if other != name}
        begin = Axis(name, min(max(best[name], axis.low), axis.high), axis.low, axis.high)
        config = {**self._at(second), **others}
        return search(
            self.job, config, begin, estimate=self._estimator(begin), **self._settings(precision, store, executor)
        )

    def _settings(self, precision: float, store: Store, executor: Executor) -> dict[str, Any]:
        return {
            "metric": self.metric, "precision": precision, "budget": self.budget, "store": store, "executor": executor,
            "progress": self.narrator.progress, "decided": self.narrator.decided, "batch": self.batch,
        }  # fmt: skip

    def _at(self, size: Size) -> dict[str, Any]:
        """A configuration at a size, without seed and hyperparameters."""
        (width, depth), (base_width, base_depth) = self.keys.numbers(size), self.keys.numbers(dict(self.job.base))
        named = {"width": width, "depth": depth, "base_width": base_width, "base_depth": base_depth}
        return {**self.config, **named, "size": [list(item) for item in size.items()]}

    def _estimator(self, axis: Axis) -> Callable[[Records], Optimum]:
        return lambda runs: find_optimum(self._curve(runs, axis.name), Scale(axis.name), LEVEL)

    def _curve(self, runs: Records, name: str) -> LossCurve:
        (by_size,) = curves(runs, Scale(name), self.metric).values()
        (curve,) = by_size.values()
        return curve

    def _judge(self, one: Found, other: Found, name: str, base: Size, second: Size, target: Size) -> Shift:
        growth = self.keys.growth(second, base)
        return shift(
            self._curve(one.runs, name), self._curve(other.runs, name), Scale(name),
            tolerance=self.tolerance * doublings(growth), regret_percent=self.regret_percent,
            factor=factor_to(growth, self.keys.growth(target, base)),
        )  # fmt: skip

    def _value(self, found: Found, name: str, best: Mapping[str, float]) -> Value:
        """The value to use, with the interval at 95%."""
        if len(found.runs) == 0:
            return best[name], None, None, found.sentence
        optimum = find_optimum(self._curve(found.runs, name), Scale(name))
        if optimum.value is None:
            return best[name], None, None, optimum.sentence
        low, high = (None if end is None else 2.0**end for end in (optimum.low, optimum.high))
        return optimum.value, low, high, optimum.sentence

    def _all(self, size: Size, store: Store) -> Records:
        """Every run of this training at a size, short ones too."""
        wanted = self._at(size)
        same = ("task", "rule", "optimizer", "size", "batch_size", "schedule", "warmup")
        return Records(
            tuple(run for run in store.records() if all(run.config.get(name) == wanted[name] for name in same))
        )


def worst(shifts: Sequence[Shift]) -> tuple[str, str]:
    """The outcome of all hyperparameters together, and what is said of each."""
    outcome = max((each.outcome for each in shifts), key=SEVERITY.index)
    return outcome, "; ".join(f"{each.hyperparameter} {each.outcome}: {each.sentence}" for each in shifts)
