"""How a training figure comes about: configurations, their runs through a store, and what the runs say."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from isoscale import Records, Verdict, judge, sweep, train_batch

BATCH = 24  # runs of one shape that a worker takes at a time

Progress = Callable[[int, int], None]
Size = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """Where and how a figure's runs are made: `data` (a folder of images; None: the preset's own), `cache` (a folder
    that keeps the runs; None keeps nothing), `workers` (processes; 0: this one), `progress(done, total)`."""

    data: str | Path | None = None
    cache: str | Path | None = None
    workers: int = 2
    progress: Progress | None = None

    def images(self, chosen: Mapping[str, Any]) -> str:
        """The data of a preset: what the user brought, or what the preset names. ValueError where neither is."""
        if self.data is not None:
            return str(self.data)
        if "data" not in chosen:
            raise ValueError(
                f"this preset trains on {chosen['wants']}, which is not included: give the folder that holds it, "
                f"--data <folder>, or take the preset cpu"
            )
        return str(chosen["data"])

    def runs(self, configs: Iterable[Mapping[str, Any]]) -> Records:
        """Train what the cache does not hold."""
        wanted = list(configs)
        with ExitStack() as stack:
            kept = self.cache if self.cache is not None else stack.enter_context(TemporaryDirectory())
            Path(kept).mkdir(parents=True, exist_ok=True)
            return sweep(
                train_batch,
                wanted,
                store=Path(kept) / "bordelon2024.sqlite",
                workers=self.workers,
                batch=BATCH,
                progress=None if self.progress is None else _count(self.progress),
            )


def _count(progress: Progress) -> Callable[[Any], None]:
    """Tells of finished runs only."""

    def tell(event: Any) -> None:
        if event.kind in ("finished", "end"):
            progress(event.progress.runs_done, event.progress.runs)

    return tell


def powers(low: float, high: float, step: float = 1.0) -> tuple[float, ...]:
    """2^low, 2^(low + step), ... up to 2^high."""
    return tuple(2.0 ** (low + step * i) for i in range(round((high - low) / step) + 1))


def configurations(
    common: Mapping[str, Any], sizes: Iterable[Size], seeds: int, **axes: Sequence[Any]
) -> list[dict[str, Any]]:
    """Every size (width, depth) with every seed and every combination of the axes' values."""
    found = []
    for (width, depth), seed, values in product(sizes, range(seeds), product(*axes.values())):
        found.append({**common, "width": width, "depth": depth, "seed": seed, **dict(zip(axes, values, strict=True))})
    return found


def cross(widths: Sequence[int], depths: Sequence[int]) -> list[Size]:
    """Every depth at the first width and every width at the first depth."""
    return [*((widths[0], depth) for depth in depths), *((width, depths[0]) for width in widths[1:])]


@dataclass(frozen=True)
class Curve:
    """Mean log loss over seeds, back as a loss, against log2 of the hyperparameter `x` at one size, with nan where a
    seed diverged; where it is least, with its 95% interval (None where that end is not known), and `least` there."""

    rule: str
    width: int
    depth: int
    x: tuple[float, ...]
    loss: tuple[float, ...]
    status: str
    best: float | None
    low: float | None
    high: float | None
    least: float


@dataclass(frozen=True)
class Drift:
    """How the optimum of a rule moves along an axis: octaves per doubling with a 95% interval (None where fewer than
    three optima were found), isoscale's verdict and its sentence, and what carrying the smallest size's optimum to the
    largest costs, in percent of the best loss (None: not known); `used` are the sizes whose optimum was found."""

    rule: str
    axis: str
    sizes: tuple[int, ...]
    outcome: str
    sentence: str
    slope: float | None
    low: float | None
    high: float | None
    percent: float | None
    percent_low: float | None
    percent_high: float | None
    used: tuple[int, ...]


def curves(records: Records, verdicts: Iterable[Verdict]) -> tuple[Curve, ...]:
    """The curves behind verdicts."""
    found = []
    for verdict in verdicts:
        for optimum in verdict.optima:
            width, depth = optimum.size
            mine = records.select(rule=verdict.rule, optimizer=verdict.optimizer, width=width, depth=depth)
            values = mine.values(verdict.hyperparameter)
            losses = [
                [run.loss(verdict.metric) for run in mine.select(**{verdict.hyperparameter: value})] for value in values
            ]
            means = [_mean(each) for each in losses]
            least = optimum.loss if optimum.loss is not None else min(each for each in means if each == each)
            known = optimum.status == "found"
            x = tuple(math.log2(value) for value in values)
            found.append(
                Curve(
                    verdict.rule, width, depth, x, tuple(means), optimum.status, optimum.position if known else None,
                    optimum.low, optimum.high, least,
                )
            )  # fmt: skip
    return tuple(found)


def drifts(verdicts: Iterable[Verdict]) -> tuple[Drift, ...]:
    """The axes of verdicts, as flat rows."""
    found = []
    for verdict in verdicts:
        for axis in verdict.axes:
            slope, carried = axis.drift.slope, axis.regret
            price: tuple[float | None, ...] = (None, None, None)
            if carried is not None and carried.status == "measured":
                price = carried.percent, carried.percent_low, carried.percent_high
            found.append(
                Drift(
                    verdict.rule, axis.axis, axis.sizes, axis.outcome, axis.sentence,
                    *((None, None, None) if slope is None else (slope.estimate, slope.low, slope.high)),
                    *price, axis.drift.used,
                )
            )  # fmt: skip
    return tuple(found)


def judged(records: Records, **settings: Any) -> tuple[tuple[Curve, ...], tuple[Drift, ...]]:
    """Curves and drifts of records; `settings` go to isoscale's `judge`."""
    verdicts = judge(records, **settings)
    return curves(records, verdicts), drifts(verdicts)


def _mean(losses: Sequence[float]) -> float:
    if any(not math.isfinite(loss) or loss <= 0 for loss in losses):
        return math.nan
    return math.exp(sum(map(math.log, losses)) / len(losses))
