"""The law of the optimum's move, fitted to runs of a few sizes, and the regret that it predicts for a proxy.

    x(width, depth) = x_inf + a / width + b / depth          x: log2 of the best value
    regret(proxy -> target) = exp(c (x_proxy + e - x_target)^2) - 1,     e ~ N(0, s^2 / seeds)

c: how fast log loss rises about the optimum; s: spread of an optimum found with one seed. The rates are those at which
networks under a rule with a limit approach it, 1 / width of means and Euler's 1 / depth (docs/choosing-a-proxy.md).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from isoscale._records.run import Run
from isoscale._transfer.curve import Array, LossCurve, Size, curves
from isoscale._transfer.errors import RunsError
from isoscale._transfer.fact import Fact
from isoscale._transfer.optimum import Optimum, find_optimum, fitted, unit_of
from isoscale._transfer.scale import Scale

DRAWS = 4000
MOST_LOG = 5.0  # a draw's regret is counted to e^5 at most


@dataclass(frozen=True)
class Law(Fact):
    """The law's coefficients with their covariance (x_inf, a, b), curvature c and its spread, one seed's spread s.

    `source` says what it was fitted to, `sizes` how many; a term that they cannot tell has the prior's spread.
    """

    width_term: float
    depth_term: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    curvature: float
    curvature_spread: float
    seed_spread: float
    sizes: int
    source: str


PRIOR = Law(
    0.0, 0.0, ((15.0**2, 0.0), (0.0, 0.5**2)), 0.04, 0.02, 0.5, 0,
    "no runs: the spread of this library's own measurements (residual MLPs and pre-LN networks on digits, AdamW: one "
    "seed knows the optimum to 0.5 octaves; it moved by 15 / width octaves, with depth by less than 0.5 / depth)",
)  # fmt: skip


@dataclass(frozen=True)
class Prediction(Fact):
    """Regret of tuning at `proxy` for `target`, as a fraction of the loss: expected, and its upper end at 95%."""

    proxy: Size
    target: Size
    seeds: int
    regret: float
    high: float


def fit_law(runs: Iterable[Run], *, hyperparameter: str = "lr", metric: str = "train_loss") -> Law:
    """Fit the law to the optima of the sizes in `runs` (one rule and optimizer), each weighted by its error.

    A prior keeps what few sizes cannot tell: a ~ N(0, 15^2), b ~ N(0, 0.5^2). Errors are widened where the law misses
    the optima by more than they allow. Raises RunsError for runs of several rules, or fewer than two resolved sizes.
    """
    grouped = curves(runs, Scale(hyperparameter), metric)
    if len(grouped) > 1:
        raise RunsError(f"runs of {', '.join(map(' '.join, grouped))}: a law is of one rule and optimizer; select one")
    ((rule, optimizer), sizes), = grouped.items()  # fmt: skip
    scale = Scale(hyperparameter)
    optima = {size: find_optimum(curve, scale) for size, curve in sizes.items()}
    found = {size: each for size, each in optima.items() if each.status == "found"}
    if len(found) < 2:
        raise RunsError(f"{len(found)} of {len(optima)} sizes have a resolved optimum: a law needs two, better four")
    theta, covariance = _least_squares(found)
    bends = [bend for size in found if (bend := _bend(sizes[size], scale)) is not None]
    curvature = float(np.median(bends)) if bends else PRIOR.curvature
    spread = float(np.std(bends)) if len(bends) > 2 else curvature / 2
    seeds = [(each.standard_error or 0.0) * math.sqrt(max(1, each.seeds)) for each in found.values()]
    named = ", ".join(f"{width}x{depth}" for width, depth in found)
    return Law(
        float(theta[1]), float(theta[2]),
        ((float(covariance[1, 1]), float(covariance[1, 2])), (float(covariance[2, 1]), float(covariance[2, 2]))),
        curvature, spread, float(np.median(seeds)), len(found),
        f"optima of {rule}, {optimizer} at {named}",
    )  # fmt: skip


def _least_squares(found: Mapping[Size, Optimum]) -> tuple[Array, Array]:
    """(x_inf, a, b) and their covariance: errors as weights, the prior as two further rows."""
    columns = np.array([[1.0, 1 / width, 1 / depth] for width, depth in found])
    x = np.array([each.position or 0.0 for each in found.values()])
    error = np.array([max(each.standard_error or 0.0, 0.02) for each in found.values()])
    prior = np.diag([0.0, 1 / PRIOR.covariance[0][0], 1 / PRIOR.covariance[1][1]])
    weighted = columns / error[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted + prior)
    theta = covariance @ weighted.T @ (x / error)
    free = len(x) - 3
    misfit = float((((x - columns @ theta) / error) ** 2).sum()) / free if free > 0 else 1.0
    return theta, covariance * max(1.0, misfit)


def predict(law: Law, proxy: Size, target: Size, seeds: int) -> Prediction:
    """The regret of the proxy's optimum, found with `seeds` seeds, at the target."""
    rng = np.random.default_rng(0)
    terms = rng.multivariate_normal([law.width_term, law.depth_term], np.asarray(law.covariance), DRAWS)
    step = np.array([1 / proxy[0] - 1 / target[0], 1 / proxy[1] - 1 / target[1]])
    offset = terms @ step + law.seed_spread / math.sqrt(seeds) * rng.standard_normal(DRAWS)
    curvature = np.maximum(law.curvature + law.curvature_spread * rng.standard_normal(DRAWS), 0.0)
    regrets = np.expm1(np.minimum(curvature * offset**2, MOST_LOG))
    return Prediction(proxy, target, seeds, float(regrets.mean()), float(np.quantile(regrets, 0.95)))


def _bend(curve: LossCurve, scale: Scale) -> float | None:
    """c of the fitted curve: half its second difference an octave about the bottom."""
    fit = fitted(curve, unit_of(curve, scale))
    if fit is None or not curve.log:
        return None
    x = np.linspace(float(fit.means.x[0]), float(fit.means.x[-1]), 201)
    mean = fit.spline.mean(x)
    bottom = int(np.argmin(mean))
    ends = [float(np.interp(x[bottom] + side, x, mean)) - float(mean[bottom]) for side in (-1.0, 1.0)]
    inside = [end for end, side in zip(ends, (-1.0, 1.0), strict=True) if x[0] <= x[bottom] + side <= x[-1]]
    return sum(inside) / len(inside) if inside else None
