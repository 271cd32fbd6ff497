"""From runs to curves: one rule under one optimizer at one size, loss by hyperparameter value and seed."""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoscale._records.run import Run
from isoscale._transfer.errors import RunsError
from isoscale._transfer.scale import Scale

Array = NDArray[np.float64]
Size = tuple[int, int]
"""(width, depth)."""

_IDENTITY = ("rule", "optimizer", "width", "depth", "seed")


@dataclass(frozen=True)
class LossCurve:
    """All runs of one (rule, optimizer, size). `loss[s, i]` is seed s at position x[i]: nan where it was not run, inf
    where it diverged. Lower is better: accuracies arrive as error rates. `log` says whether curves are fitted in log
    loss (every loss positive). `settings` are the hyperparameters held, the same for all these runs."""

    size: Size
    x: Array
    seeds: tuple[Any, ...]
    loss: Array
    log: bool
    settings: Mapping[str, Any]
    runs: tuple[Run, ...]

    @property
    def objective(self) -> Array:
        """What is fitted: log loss, or the loss itself where some loss is not positive."""
        if not self.log:
            return self.loss
        with np.errstate(divide="ignore"):
            return np.log(self.loss)

    @property
    def unstable(self) -> Array:
        """Per position, the share of seeds that diverged."""
        ran = ~np.isnan(self.loss)
        return np.asarray((np.isinf(self.loss) & ran).sum(0) / ran.sum(0), dtype=np.float64)

    def mean(self, at: int) -> float:
        """Mean loss over seeds at a grid position; inf if any diverged."""
        column = self.loss[:, at]
        return float(column[~np.isnan(column)].mean())


def curves(
    runs: Iterable[Run], scale: Scale, metric: str, may_differ: Collection[str] = ()
) -> dict[tuple[str, str], dict[Size, LossCurve]]:
    """Curves by (rule, optimizer), then by size. Settings other than rule, optimizer, size, seed and the hyperparameter
    must agree within a curve, and between the sizes of a rule unless named in `may_differ`."""
    everything = tuple(runs)
    if not everything:
        raise RunsError("there are no runs: a verdict needs a sweep's runs at several sizes (see isoscale.sweep)")
    grouped: dict[tuple[str, str], dict[Size, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in everything:
        _check(run, scale.hyperparameter, metric)
        size = (int(run.config["width"]), int(run.config["depth"]))
        grouped[str(run.config["rule"]), str(run.config["optimizer"])][size].append(run)
    found = {}
    for group, sizes in sorted(grouped.items()):
        members = [run for size in sizes.values() for run in size]
        log = all(_loss(run, metric) > 0 for run in members)
        found[group] = {size: _curve(group, size, sizes[size], scale, metric, log) for size in sorted(sizes)}
        _agree_between(group, found[group], may_differ)
    return found


def _check(run: Run, hyperparameter: str, metric: str) -> None:
    for name in (*_IDENTITY, hyperparameter):
        if name not in run.config:
            close = get_close_matches(name, list(run.config), n=1)
            hint = f"did you mean {close[0]!r}" if close else f"it has {', '.join(sorted(run.config))}"
            raise RunsError(
                f"a run's configuration has no {name!r}: {hint}. Name the one that was tuned: "
                "hyperparameter=..., --hyperparameter"
            )
    value = run.config[hyperparameter]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RunsError(
            f"{hyperparameter}={value!r} is not a number: only a numeric hyperparameter has an optimum to follow"
        )
    if metric not in run.metrics and run.status != "diverged":
        close = get_close_matches(metric, list(run.metrics), n=1)
        hint = f"did you mean {close[0]!r}" if close else f"it has {', '.join(sorted(run.metrics)) or 'none'}"
        raise RunsError(
            f"a run has no metric {metric!r}: {hint}. Name the one that was to be small: metric=..., --metric"
        )


def _loss(run: Run, metric: str) -> float:
    value = run.loss(metric)
    return value if math.isinf(value) or not metric.endswith("accuracy") else 1.0 - value


def _curve(group: tuple[str, str], size: Size, runs: Sequence[Run], scale: Scale, metric: str, log: bool) -> LossCurve:
    where = f"{group[0]}, {group[1]}, width {size[0]}, depth {size[1]}"
    settings = _common(runs, {*_IDENTITY, scale.hyperparameter}, where)
    values = sorted({float(run.config[scale.hyperparameter]) for run in runs})
    position = {value: scale.position(value) for value in values}
    seeds = tuple(sorted({run.config["seed"] for run in runs}, key=str))
    loss = np.full((len(seeds), len(values)), np.nan)
    for run in runs:
        seed, value = run.config["seed"], float(run.config[scale.hyperparameter])
        at = seeds.index(seed), values.index(value)
        if not math.isnan(loss[at]):
            raise RunsError(
                f"{where}: two runs of {scale.hyperparameter}={value:g}, seed {seed}: a repeated run is not a "
                f"second seed; keep one of them"
            )
        loss[at] = _loss(run, metric)
    return LossCurve(size, np.array([position[v] for v in values]), seeds, loss, log, settings, tuple(runs))


def _common(runs: Sequence[Run], free: Collection[str], where: str) -> dict[str, Any]:
    """The settings all runs share; a setting that varies makes the curve a mixture of several."""
    held: dict[str, Any] = {}
    for name in sorted({name for run in runs for name in run.config} - set(free)):
        values = {json.dumps(run.config.get(name), sort_keys=True): run.config.get(name) for run in runs}
        if len(values) > 1:
            listed = ", ".join(sorted(values))
            raise RunsError(
                f"{where}: the runs mix {name} = {listed}; one curve holds every other hyperparameter fixed. "
                f"Judge them one at a time: records.select({name}={next(iter(values.values()))!r})"
            )
        held[name] = next(iter(values.values()))
    return held


def _agree_between(group: tuple[str, str], sizes: Mapping[Size, LossCurve], may_differ: Collection[str]) -> None:
    names = sorted({name for curve in sizes.values() for name in curve.settings} - set(may_differ))
    for name in names:
        values = {json.dumps(curve.settings.get(name), sort_keys=True): size for size, curve in sizes.items()}
        if len(values) > 1:
            listed = ", ".join(f"{value} (width {size[0]}, depth {size[1]})" for value, size in values.items())
            raise RunsError(
                f"{group[0]}, {group[1]}: {name} differs between sizes: {listed}; then a moving optimum has two "
                f"causes. Keep it fixed, or say that it is meant: may_differ=({name!r},)"
            )
