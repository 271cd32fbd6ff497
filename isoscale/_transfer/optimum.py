"""The optimum of a hyperparameter at one size, with its interval, or the sentence why there is none."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from isoscale._transfer.curve import Array, LossCurve, Size
from isoscale._transfer.fact import Fact
from isoscale._transfer.scale import Scale
from isoscale._transfer.spline import Means, Spline, smooth, two_way

Status = Literal["found", "edge", "too noisy", "too few seeds", "too few points", "all diverged"]

REACH = 3.0  # units of x fitted on either side of the lowest point
LEAST_POINTS = 4  # positions without divergence that a curve needs
CLIFF = 2.0  # units of x: with an edge this close to the lowest point, smoothness alone may not bound the optimum ...
SEEN = 0.9  # ... the loss must be seen to rise, at this one-sided level
WIDEST = 2.0  # units of x: an interval wider than this says that the optimum was not found


@dataclass(frozen=True)
class Optimum(Fact):
    """Where a hyperparameter is best at one size.

    position, low, high: x (log2 by default) and its 95% interval; standard_error = (high - low) / (2 t). With status
    "found" all are finite. With "edge" the optimum lies at or beyond the grid's `side`, and only the bound away from
    that side is known: at side "low" it is `high`, at side "high" it is `low`. "all diverged" has a `high` bound only.
    `value` is the hyperparameter itself, `loss` the fitted mean loss there (geometric mean over seeds when fitted in
    log loss). `seeds` counts the seeds used, `df` the degrees of freedom of the noise.
    """

    width: int
    depth: int
    status: Status
    sentence: str
    position: float | None = None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    value: float | None = None
    loss: float | None = None
    side: Literal["low", "high"] | None = None
    seeds: int = 0
    df: float | None = None
    beside_edge: bool = False

    @property
    def size(self) -> Size:
        return self.width, self.depth


@dataclass(frozen=True)
class Window:
    """The positions fitted: a run of neighbours without a diverged seed around the lowest, `edge` the diverged one that
    ends them on the right."""

    first: int
    last: int
    lowest: int
    edge: int | None


def window(curve: LossCurve, unit: float, include: float | None = None) -> Window | None:
    """Neighbours of the lowest mean, up to the first diverged ones and within REACH units; wide enough to hold
    `include`. None where every position has a diverged seed."""
    stable = curve.unstable == 0
    if not stable.any():
        return None
    means = two_way(curve.x[stable], curve.objective[:, stable])
    column = means.mean if means is not None else np.nanmean(curve.objective[:, stable], axis=0)
    lowest = int(np.flatnonzero(stable)[int(np.argmin(column))])
    left = right = lowest
    last = len(curve.x) - 1
    reach_left = REACH * unit if include is None else max(REACH * unit, curve.x[lowest] - include + unit / 2)
    reach_right = REACH * unit if include is None else max(REACH * unit, include - curve.x[lowest] + unit / 2)
    while left > 0 and stable[left - 1] and (curve.x[lowest] - curve.x[left - 1] <= reach_left + 1e-9):
        left -= 1
    while right < last and stable[right + 1] and (curve.x[right + 1] - curve.x[lowest] <= reach_right + 1e-9):
        right += 1
    edge = right + 1 if right < last and not stable[right + 1] else None
    return Window(left, right, lowest, edge)


@dataclass(frozen=True)
class Fitted:
    """A size's curve as the statistics see it; kept beside its Optimum for the regret."""

    curve: LossCurve
    window: Window
    means: Means
    spline: Spline

    @property
    def edge(self) -> float | None:
        return None if self.window.edge is None else float(self.curve.x[self.window.edge])


def fitted(curve: LossCurve, unit: float, include: float | None = None) -> Fitted | None:
    """The spline around the lowest point; None where there is too little to fit."""
    at = window(curve, unit, include)
    if at is None or at.last - at.first + 1 < LEAST_POINTS:
        return None
    x = curve.x[at.first : at.last + 1]
    means = two_way(x, curve.objective[:, at.first : at.last + 1])
    if means is None:
        return None
    edge = None if at.edge is None else float(curve.x[at.edge])
    return Fitted(curve, at, means, smooth(means, unit=unit, edge=edge))


def unit_of(curve: LossCurve, scale: Scale) -> float:
    """One octave; on a linear scale two steps of the grid."""
    if scale.kind == "log2" or len(curve.x) < 2:
        return 1.0
    return 2 * float(np.median(np.diff(curve.x)))


def find_optimum(curve: LossCurve, scale: Scale, level: float = 0.95) -> Optimum:
    """The optimum of one curve: where P(f' > 0) crosses 1/2, its interval where that crosses (1 -+ level) / 2."""
    width, depth = curve.size
    low_end, high_end = scale.say(float(curve.x[0])), scale.say(float(curve.x[-1]))
    name = scale.hyperparameter
    if bool((curve.unstable > 0.5).all()):
        return Optimum(
            width, depth, "all diverged",
            f"every value of {name} from {low_end} to {high_end} diverged: the optimum lies below the grid; "
            f"extend it below {low_end}",
            high=float(curve.x[0]), side="low", seeds=len(curve.seeds),
        )  # fmt: skip
    unit = unit_of(curve, scale)
    fit = fitted(curve, unit)
    if fit is None:
        return _unfit(curve, scale, unit)
    return _read(fit, scale, unit, level)


def _unfit(curve: LossCurve, scale: Scale, unit: float) -> Optimum:
    width, depth = curve.size
    at = window(curve, unit)
    seeds = len(curve.seeds)
    if at is None or at.last - at.first + 1 < LEAST_POINTS:
        count = 0 if at is None else at.last - at.first + 1
        where = "" if at is None else f" around {scale.say(float(curve.x[at.lowest]))}"
        advice = (
            "add values to the grid" if len(curve.x) < LEAST_POINTS else "extend the grid to lower values or refine it"
        )
        return Optimum(
            width, depth, "too few points",
            f"only {count} neighbouring values of {scale.hyperparameter}{where} ran without a diverged seed, and a "
            f"curve needs {LEAST_POINTS}: {advice}", seeds=seeds,
        )  # fmt: skip
    best = float(curve.x[at.lowest])
    return Optimum(
        width, depth, "too few seeds",
        f"the lowest loss is at {scale.hyperparameter} = {scale.say(best)}, but {seeds} seed{'s' * (seeds > 1)} "
        f"cannot tell noise from curve: an interval needs 2 seeds that share the grid, better 3",
        position=best, value=scale.value(best), loss=curve.mean(at.lowest), seeds=seeds,
    )  # fmt: skip


def _read(fit: Fitted, scale: Scale, unit: float, level: float) -> Optimum:
    curve, at, x = fit.curve, fit.window, fit.means.x
    width, depth = curve.size
    grid, rising = fit.spline.grid, fit.spline.rising
    centre = _median(grid, rising, float(curve.x[at.lowest]))
    tail = (1 - level) / 2
    below, above = np.flatnonzero(rising[: centre + 1] <= tail), np.flatnonzero(rising[centre:] >= 1 - tail)
    low = float(grid[below[-1]]) if len(below) else None
    high = float(grid[centre + above[0]]) if len(above) else None
    if fit.edge is not None:  # smoothness says little so near a cliff: the bound must be seen, or be the edge
        near = fit.edge - float(x[at.lowest - at.first]) <= CLIFF * unit
        seen = _seen_to_rise(fit, SEEN) if near else float(grid[0])
        high = fit.edge if high is None or high > x[-1] else min(max(high, seen), fit.edge)
    position = min(float(grid[centre]), float(x[-1]))  # never beyond the last value that was seen to train
    value = scale.value(position)
    loss = _loss_at(fit, position)
    say, name = scale.say, scale.hyperparameter
    found = Optimum(
        width, depth, "too noisy", _noisy(fit, scale, unit, position, low, high),
        position, low, high, None, value, loss, None, fit.means.seeds, fit.spline.df,
    )  # fmt: skip
    if low is not None and high is not None:
        if high - low > WIDEST * unit:
            return found
        beside = fit.edge is not None and high == fit.edge
        note = f"; it lies next to the stability edge at {say(high)}" if beside else ""
        sentence = (
            f"best {name} {say(position)}, {100 * level:g}% interval {scale.value(low):.3g} to {scale.value(high):.3g} "
            f"({high - low:.2f} {scale.unit} wide, {fit.means.seeds} seeds){note}"
        )
        error = (high - low) / (2 * float(stats.t.ppf(1 - tail, fit.spline.df)))
        return replace(found, status="found", sentence=sentence, standard_error=error, beside_edge=beside)
    side = _side(fit, unit, centre, low, high)
    if side is None:
        return found
    step = float(np.median(np.diff(curve.x)))
    end, bound, further = (float(curve.x[0]), high, -4 * step) if side == "low" else (float(curve.x[-1]), low, 4 * step)
    known = "" if bound is None else f" (the optimum is {'below' if side == 'low' else 'above'} {say(bound)})"
    sentence = (
        f"the loss is still falling toward the {side} end of the grid at {name} {say(end)}{known}: "
        f"extend the grid to {say(end + further)}"
    )
    return replace(found, status="edge", sentence=sentence, side=side)


def _seen_to_rise(fit: Fitted, level: float) -> float:
    """The first position right of the lowest whose mean loss is above it beyond the noise (paired by seed): with one
    minimum, the optimum is left of it. The edge where there is none."""
    means, lowest = fit.means, fit.window.lowest - fit.window.first
    quantile = float(stats.t.ppf(level, means.df))
    for at in range(lowest + 1, len(means.x)):
        rise = means.mean[at] - means.mean[lowest]
        spread = means.spread[at, at] + means.spread[lowest, lowest] - 2 * means.spread[at, lowest]
        if rise > quantile * np.sqrt(means.noise * spread):
            return float(means.x[at])
    assert fit.edge is not None
    return fit.edge


def _side(
    fit: Fitted, unit: float, centre: int, low: float | None, high: float | None
) -> Literal["low", "high"] | None:
    """The end of the grid that the optimum leans on; None where the curve is merely too noisy."""
    at, x = fit.window, fit.curve.x
    if low is None and at.first == 0:
        near = high is not None and high - x[0] <= WIDEST * unit
        if near or (high is not None and (at.lowest == 0 or centre == 0)):
            return "low"
    if high is None and at.last == len(x) - 1:
        near = low is not None and x[-1] - low <= WIDEST * unit
        if near or (low is not None and (at.lowest == at.last or centre == len(fit.spline.grid) - 1)):
            return "high"
    return None


def _noisy(fit: Fitted, scale: Scale, unit: float, position: float, low: float | None, high: float | None) -> str:
    left = scale.say(low) if low is not None else "the low end of what was fitted"
    right = scale.say(high) if high is not None else "the high end of what was fitted"
    seeds = fit.means.seeds
    if low is not None and high is not None:
        need = int(np.ceil(seeds * ((high - low) / (WIDEST * unit / 2)) ** 2))
        advice = f"about {need} seeds would halve what is allowed ({WIDEST * unit:g} {scale.unit})"
    else:
        advice = "more seeds, longer runs or a wider grid are needed"
    return (
        f"the curve is flat or noisy around {scale.hyperparameter} {scale.say(position)}: its optimum lies anywhere "
        f"from {left} to {right} with {seeds} seeds; {advice}"
    )


def _median(grid: Array, rising: Array, lowest: float) -> int:
    """The crossing of 1/2 nearest to the lowest mean; an end of the grid where there is none."""
    crossing = np.flatnonzero((rising[:-1] < 0.5) & (rising[1:] >= 0.5))
    if len(crossing):
        return int(crossing[np.argmin(np.abs(grid[crossing] - lowest))]) + 1
    return 0 if rising[0] >= 0.5 else len(grid) - 1


def _loss_at(fit: Fitted, position: float) -> float:
    """Fitted loss at x, at the seeds' common level over the fitted positions."""
    curve, at = fit.curve, fit.window
    columns = curve.objective[:, at.first : at.last + 1]
    level = float(np.nanmean(columns)) - float(fit.spline.mean(fit.means.x).mean())
    value = float(fit.spline.mean(np.array([position]))[0]) + level
    return float(np.exp(value)) if curve.log else value
