"""Two proxies judged: does the optimum of one hold at a wider and deeper one, and what should the target expect?"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from isoscale._transfer.axis import Outcome
from isoscale._transfer.curve import LossCurve, Size
from isoscale._transfer.errors import RunsError
from isoscale._transfer.fact import Fact
from isoscale._transfer.optimum import Fitted, Optimum, find_optimum, fitted, unit_of
from isoscale._transfer.regret import DRAWS, Regret, regret
from isoscale._transfer.scale import Scale

POSITIONS = 241
REACH = 6.0  # octaves beyond which a gap is read off the curve's end


@dataclass(frozen=True)
class Gap(Fact):
    """Loss the target is expected to lose to its own best value, in percent: mean and upper end at `level`.

    The optimum is taken to move as x(width, depth) = x_inf + a / width + b / depth, so that of the way from the proxy
    to the target a part 1 / `factor` lies between the two proxies; the loss rises about it as at the second one.
    """

    percent: float
    high: float
    factor: float
    level: float
    sentence: str


@dataclass(frozen=True)
class Shift(Fact):
    """How far an optimum moved from `one` to `other`, in units of x (octaves), with its interval at `level`.

    `outcome` is "drifts" where the interval excludes 0 and the estimate exceeds `tolerance`, or carrying costs more
    than `regret_percent` with confidence while the optima differ; "transfers" where the interval lies within
    +-tolerance or the cost of carrying is at most `regret_percent` with confidence; else "cannot tell". `gap` is None
    where nothing is known of the target.
    """

    hyperparameter: str
    one: Size
    other: Size
    outcome: Outcome
    sentence: str
    estimate: float | None
    low: float | None
    high: float | None
    tolerance: float
    regret_percent: float
    level: float
    regret: Regret
    gap: Gap | None
    optima: tuple[Optimum, Optimum]


def shift(
    one: LossCurve,
    other: LossCurve,
    scale: Scale,
    *,
    tolerance: float,
    regret_percent: float,
    factor: float = 1.0,
    level: float = 0.95,
) -> Shift:
    """Judge the step from the curve of a proxy to that of a second one.

    `tolerance` in units of x for the whole step. The interval of the difference is Welch's: the optima's errors are
    independent (measured: docs/how-a-search-decides.md), their degrees of freedom Satterthwaite's. `factor`: see `Gap`.
    """
    if not tolerance > 0 or not regret_percent > 0:
        raise RunsError(f"tolerance={tolerance}, regret_percent={regret_percent}: both are positive")
    first, second = find_optimum(one, scale, level), find_optimum(other, scale, level)
    carried = regret(first, other, second, scale, level)
    moved = _difference(first, second, level)
    outcome, sentence = _decide(moved, (first, second), carried, scale, tolerance, regret_percent)
    gap = None
    fit = fitted(other, unit_of(other, scale))
    if moved is not None and fit is not None and outcome != "drifts":
        gap = _gap(first, second, moved, fit, factor, level)
    ends = (None, None, None) if moved is None else moved[:3]
    return Shift(
        scale.hyperparameter, first.size, second.size, outcome, sentence, ends[0], ends[1], ends[2],
        tolerance, regret_percent, level, carried, gap, (first, second),
    )  # fmt: skip


def _difference(first: Optimum, second: Optimum, level: float) -> tuple[float, float, float, float] | None:
    """(estimate, low, high, df) of the optimum's move."""
    if first.status != "found" or second.status != "found":
        return None
    assert first.position is not None
    assert second.position is not None
    errors = [each.standard_error or 0.0 for each in (first, second)]
    variance = sum(error**2 for error in errors)
    parts = sum(error**4 / max(each.df or 1.0, 1.0) for error, each in zip(errors, (first, second), strict=True))
    df = variance**2 / parts if parts else 1e6
    half = math.sqrt(variance) * float(stats.t.ppf((1 + level) / 2, df))
    estimate = second.position - first.position
    return estimate, estimate - half, estimate + half, df


def _decide(
    moved: tuple[float, float, float, float] | None,
    optima: tuple[Optimum, Optimum],
    carried: Regret,
    scale: Scale,
    tolerance: float,
    bound: float,
) -> tuple[Outcome, str]:
    name = scale.hyperparameter
    if carried.status == "diverges" and 2 * carried.diverged > carried.seeds:
        return "drifts", carried.sentence
    beyond = _beyond(optima, tolerance)
    if beyond is not None:
        return "drifts", f"the best {name} moves by more than {tolerance:g} {scale.unit}: {beyond}"
    if moved is None:
        unresolved = next(each for each in optima if each.status != "found")
        where = f"width {unresolved.width}, depth {unresolved.depth}"
        return "cannot tell", f"no optimum to compare at {where}: {unresolved.sentence}"
    estimate, low, high, _ = moved
    said = f"the best {name} moves by {estimate:+.2f} {scale.unit} (95% interval {low:+.2f} to {high:+.2f})"
    apart = low > 0 or high < 0
    if apart and abs(estimate) > tolerance:
        return "drifts", f"{said}, more than {tolerance:g}"
    if apart and carried.percent_low is not None and carried.percent_low > bound:
        return "drifts", f"{said}; {carried.sentence}, more than the {bound:g}% allowed"
    cheap = carried.percent_high is not None and carried.percent_high <= bound
    price = f"; {carried.sentence}" if carried.percent is not None else ""
    if -tolerance < low and high < tolerance:
        return "transfers", f"{said}, within +-{tolerance:g}{price}"
    if cheap:
        return "transfers", f"{said}{price}: at most the {bound:g}% allowed, wherever the optimum lies"
    return "cannot tell", f"{said}, which reaches past +-{tolerance:g}{price}: more runs would narrow it (--budget)"


def _beyond(optima: tuple[Optimum, Optimum], tolerance: float) -> str | None:
    """The second optimum lies beyond its runs, and so farther from the first than the tolerance."""
    first, second = optima
    if first.low is None or first.high is None or second.status not in ("edge", "all diverged"):
        return None
    if second.side == "low" and second.high is not None and second.high < first.low - tolerance:
        return second.sentence
    if second.side == "high" and second.low is not None and second.low > first.high + tolerance:
        return second.sentence
    return None


def _gap(
    first: Optimum, second: Optimum, moved: tuple[float, float, float, float], fit: Fitted, factor: float, level: float
) -> Gap:
    """With errors u, v of the two optima: offset = -factor (x2 - x1) + (1 - factor) u + factor v, drawn from t."""
    rng = np.random.default_rng(0)
    u, v = ((each.standard_error or 0.0) * rng.standard_t(max(each.df or 1.0, 2.1), DRAWS) for each in (first, second))
    offsets = -factor * moved[0] + (1 - factor) * u + factor * v
    x = np.linspace(float(fit.means.x[0]), float(fit.means.x[-1]), POSITIONS)
    mean = fit.spline.mean(x)
    bottom = int(np.argmin(mean))
    above = np.interp(x[bottom] + np.clip(offsets, -REACH, REACH), x, mean - mean[bottom])
    scale = 100.0 if fit.curve.log else 100.0 / max(abs(float(mean[bottom])), 1e-300)
    percents = np.expm1(above) * 100 if fit.curve.log else above * scale
    percent, high = float(percents.mean()), float(np.quantile(percents, level))
    sentence = (
        f"expected loss gap at the target {percent:.2g}% (below {high:.2g}% at {100 * level:g}%), if the optimum moves "
        f"as a / width + b / depth and the loss rises about it as at width {second.width}, depth {second.depth}"
    )
    return Gap(percent, high, factor, level, sentence)


def factor_to(second: tuple[float, float], target: tuple[float, float]) -> float:
    """How many times the step to the second proxy the whole way to the target is, under a / width + b / depth.

    `second`, `target`: growth of width and depth over the base. (1 - 1/R) / (1 - 1/r) an axis; the larger of the two.

    >>> factor_to((2, 2), (4, 2)), factor_to((2, 2), (1e9, 1e9))
    (1.5, 1.999999998)
    """
    parts = [(1 - 1 / whole) / (1 - 1 / step) for step, whole in zip(second, target, strict=True) if step > 1]
    return max(parts, default=1.0)
