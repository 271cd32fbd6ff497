"""Straight lines with honest intervals: the exponent of a power law, and the drift of an optimum."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from isoscale._transfer.curve import Array
from isoscale._transfer.errors import RunsError
from isoscale._transfer.fact import Fact


@dataclass(frozen=True)
class Slope(Fact):
    """A fitted slope with its interval at `level` (t quantile on `df` degrees of freedom).

    `scatter` is the standard deviation between points beyond their own errors (0 where the errors suffice).
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    df: float
    intercept: float
    scatter: float
    points: int
    level: float = 0.95


def slope(
    sizes: Sequence[float], values: Sequence[float], errors: Sequence[float] | None = None, *, level: float = 0.95
) -> Slope:
    """Exponent p of values ~ sizes^p, least squares of log2 values on log2 sizes.

    `errors` are standard errors of log2 values (that is, relative errors / ln 2); without them every point counts the
    same and the scatter about the line is the error. Needs 3 sizes and positive values; raises RunsError otherwise.
    """
    for name, numbers in (("sizes", sizes), ("values", values)):
        wrong = [float(number) for number in numbers if not (math.isfinite(number) and number > 0)]
        if wrong:
            raise RunsError(
                f"{name} holds {wrong[0]:g}: a log-log slope needs positive, finite numbers; drop or mend it"
            )
    return line([math.log2(s) for s in sizes], [math.log2(v) for v in values], errors, level=level)


def line(
    x: Sequence[float],
    y: Sequence[float],
    errors: Sequence[float] | None = None,
    dfs: Sequence[float] | None = None,
    *,
    level: float = 0.95,
) -> Slope:
    """Weighted least squares y = a + b x + u + e with var e = errors^2 known on `dfs` degrees of freedom and var u the
    scatter between points, by Paule and Mandel's moment equation; Satterthwaite's df between the two.

    The points' errors are taken as independent: seeds shared by all sizes move every optimum alike, which a slope does
    not see; to the extent that they do not, they are in the errors.
    """
    if not len(x) == len(y) == (len(x) if errors is None else len(errors)):
        raise RunsError(f"{len(x)} sizes, {len(y)} values: a slope needs one value (and error) a size")
    if len(set(x)) < 3:
        raise RunsError(f"{len(set(x))} different sizes: a slope with an interval needs 3; add a size")
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    own = np.zeros(len(xs)) if errors is None else np.asarray(errors, dtype=np.float64) ** 2
    free = len(xs) - 2

    def fit(scatter: float) -> tuple[float, float, float, float]:
        w = 1.0 / np.maximum(own + scatter, 1e-300)
        centre = float((w * xs).sum() / w.sum())
        spread = float((w * (xs - centre) ** 2).sum())
        b = float((w * (xs - centre) * ys).sum() / spread)
        a = float((w * ys).sum() / w.sum()) - b * centre
        return a, b, float((w * (ys - a - b * xs) ** 2).sum()), spread

    if errors is None:
        a, b, rest, spread = fit(1.0)
        scatter = rest / free
        variance, df = scatter / spread, float(free)
    else:
        scatter = _paule_mandel(lambda v: fit(v)[2], free, float(np.var(ys)) + float(own.max()))
        a, b, _, spread = fit(scatter)
        variance, df = 1.0 / spread, _df(xs, own, scatter, dfs, free)
    half = math.sqrt(variance) * float(stats.t.ppf((1 + level) / 2, df))
    return Slope(b, b - half, b + half, math.sqrt(variance), df, a, math.sqrt(scatter), len(xs), level)


def _paule_mandel(statistic: Callable[[float], float], free: int, top: float) -> float:
    """The scatter at which the weighted residual sum of squares equals its degrees of freedom, at least 0."""
    if statistic(0.0) <= free:
        return 0.0
    while statistic(top) > free:
        top *= 4
    return float(optimize.brentq(lambda v: statistic(v) - free, 0.0, top))


def _df(xs: Array, own: Array, scatter: float, dfs: Sequence[float] | None, free: int) -> float:
    """Satterthwaite: the slope's variance is a sum of parts, each known on its own degrees of freedom."""
    w = 1.0 / np.maximum(own + scatter, 1e-300)
    centre = float((w * xs).sum() / w.sum())
    share = (w * (xs - centre)) ** 2 / float((w * (xs - centre) ** 2).sum()) ** 2
    each = np.full(len(xs), 1e6) if dfs is None else np.asarray(dfs, dtype=np.float64)
    parts = share * own
    between = float((share * scatter).sum())
    whole = float(parts.sum()) + between
    return float(whole**2 / ((parts**2 / each).sum() + between**2 / free))
