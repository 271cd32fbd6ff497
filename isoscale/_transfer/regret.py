"""What carrying the proxy's optimum to a larger size costs there, and what the tuning itself cost."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isoscale._transfer.curve import LossCurve, Size
from isoscale._transfer.fact import Fact
from isoscale._transfer.optimum import Optimum, fitted, unit_of
from isoscale._transfer.scale import Scale

DRAWS = 2000
POSITIONS = 61


@dataclass(frozen=True)
class Regret(Fact):
    """Loss at the target under the proxy's optimum, minus the best loss there.

    `difference`, `low`, `high` in units of the loss; `percent` (of the best loss) likewise, None where losses are not
    positive. The value carried is taken as given: it is what the user would run. Seeds are paired: their levels cancel.
    With status "diverges" the regret is infinite: `diverged` of `seeds` runs at the nearest value failed.
    """

    proxy: Size
    target: Size
    status: Literal["measured", "diverges", "cannot tell"]
    sentence: str
    position: float | None = None
    value: float | None = None
    best_loss: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    percent: float | None = None
    percent_low: float | None = None
    percent_high: float | None = None
    seeds: int = 0
    diverged: int = 0


def regret(proxy: Optimum, target: LossCurve, best: Optimum, scale: Scale, level: float = 0.95) -> Regret:
    """Regret of `proxy.position` on the curve of a larger size, whose own optimum is `best`.

    The curve's posterior is drawn; every draw has its own minimum, so the least of several noisy losses is not mistaken
    for the best loss. Where the carried value lies within the target's own interval, the lower end is 0.
    """
    where = f"width {target.size[0]}, depth {target.size[1]}"
    if proxy.status != "found" or proxy.position is None:
        return Regret(
            proxy.size, target.size, "cannot tell",
            f"the proxy (width {proxy.width}, depth {proxy.depth}) has no optimum to carry: {proxy.sentence}",
        )  # fmt: skip
    x, value = proxy.position, scale.value(proxy.position)
    step = float(np.median(np.diff(target.x))) if len(target.x) > 1 else 0.0
    beyond = x > target.x[-1] and bool(np.isinf(target.loss[:, -1]).any())  # diverges already below it
    if not (target.x[0] - step / 2 <= x <= target.x[-1] + step / 2 or beyond):
        return Regret(
            proxy.size, target.size, "cannot tell",
            f"{scale.hyperparameter} {scale.say(x)}, the proxy's best, was not run at {where}: extend the grid to it",
            x, value,
        )  # fmt: skip
    nearest = int(np.argmin(np.abs(target.x - x)))
    column = target.loss[:, nearest]
    seeds, diverged = int((~np.isnan(column)).sum()), int(np.isinf(column).sum())
    if diverged:
        return Regret(
            proxy.size, target.size, "diverges",
            f"the proxy's optimum, {scale.hyperparameter} {scale.say(x)}, diverges at {where} "
            f"in {diverged} of {seeds} seeds",
            x, value, seeds=seeds, diverged=diverged,
        )  # fmt: skip
    return _measure(proxy, target, best, scale, level)


def _measure(proxy: Optimum, target: LossCurve, best: Optimum, scale: Scale, level: float) -> Regret:
    assert proxy.position is not None
    x, value = proxy.position, scale.value(proxy.position)
    where = f"width {target.size[0]}, depth {target.size[1]}"
    fit = fitted(target, unit_of(target, scale), include=x)
    if fit is None:
        return Regret(proxy.size, target.size, "cannot tell", f"at {where}: {best.sentence}", x, value)
    ends = float(fit.means.x[0]), float(fit.means.x[-1])
    if not ends[0] - 1e-9 <= x <= ends[1] + float(np.diff(target.x).max()) / 2:
        return Regret(
            proxy.size, target.size, "cannot tell",
            f"between the proxy's optimum, {scale.hyperparameter} {scale.say(x)}, and the best of {where} some seeds "
            f"diverged: the loss there is not one curve", x, value,
        )  # fmt: skip
    at = min(max(x, ends[0]), ends[1])
    positions = np.append(np.linspace(*ends, POSITIONS), at)
    draws = fit.spline.draws(positions, DRAWS)
    above = draws[:, -1] - draws.min(1)
    mean = fit.spline.mean(positions)
    estimate = float(mean[-1] - mean.min())
    low, high = (float(q) for q in np.quantile(above, [(1 - level) / 2, (1 + level) / 2]))
    if best.low is None or best.high is None or best.low <= x <= best.high:
        low = 0.0
    columns = target.objective[:, fit.window.first : fit.window.last + 1]
    bottom = float(np.nanmean(columns)) + float(mean.min()) - float(fit.spline.mean(fit.means.x).mean())
    seeds = fit.means.seeds
    if not target.log:
        sentence = _sentence(scale, x, where, f"{estimate:.3g} more loss than its best", f"{low:.3g} to {high:.3g}")
        return Regret(proxy.size, target.size, "measured", sentence, x, value, bottom, estimate, low, high, seeds=seeds)
    best_loss = math.exp(bottom)
    percent, percent_low, percent_high = (100 * math.expm1(d) for d in (estimate, low, high))
    sentence = _sentence(
        scale,
        x,
        where,
        f"{_percent(percent)} more loss than its best {best_loss:.4g}",
        f"{_percent(percent_low)} to {_percent(percent_high)}",
    )
    return Regret(
        proxy.size, target.size, "measured", sentence, x, value, best_loss,
        best_loss * percent / 100, best_loss * percent_low / 100, best_loss * percent_high / 100,
        percent, percent_low, percent_high, seeds,
    )  # fmt: skip


def _sentence(scale: Scale, x: float, where: str, cost: str, interval: str) -> str:
    return f"the proxy's {scale.hyperparameter} {scale.say(x)} gives {where} {cost} (95% interval {interval})"


def _percent(value: float) -> str:
    return f"{value:.0f}%" if abs(value) >= 100 else f"{value:.2g}%"


@dataclass(frozen=True)
class Cost(Fact):
    """What tuning the proxy cost beside tuning the target directly: sums over the runs in the records; None where the
    runs do not say. The ratios are direct over proxy: how many times cheaper the proxy was."""

    proxy: Size
    target: Size
    proxy_runs: int
    target_runs: int
    proxy_flops: float | None
    target_flops: float | None
    proxy_seconds: float | None
    target_seconds: float | None
    flops_ratio: float | None
    seconds_ratio: float | None
    sentence: str


def cost(proxy: LossCurve, target: LossCurve) -> Cost:
    """The cost of both tunings."""
    flops = _total(run.flops for run in proxy.runs), _total(run.flops for run in target.runs)
    seconds = _total(run.seconds for run in proxy.runs), _total(run.seconds for run in target.runs)
    ratios = [b / a if a and b is not None else None for a, b in (flops, seconds)]
    parts = []
    if ratios[0] is not None:
        parts.append(f"{ratios[0]:.3g} times fewer FLOPs ({flops[0]:.3g} against {flops[1]:.3g})")
    if ratios[1] is not None:
        parts.append(f"{ratios[1]:.3g} times fewer seconds ({seconds[0]:.3g} against {seconds[1]:.3g})")
    said = " and ".join(parts) if parts else "the runs do not say what they cost"
    counts = len(proxy.runs), len(target.runs)
    sentence = (
        f"tuning at width {proxy.size[0]}, depth {proxy.size[1]} ({counts[0]} runs) instead of width {target.size[0]}, "
        f"depth {target.size[1]} ({counts[1]} runs): {said}"
    )
    return Cost(proxy.size, target.size, *counts, *flops, *seconds, ratios[0], ratios[1], sentence)


def _total(numbers: Iterable[float | None]) -> float | None:
    listed = list(numbers)
    known = [number for number in listed if number is not None]
    return float(sum(known)) if len(known) == len(listed) and known else None
