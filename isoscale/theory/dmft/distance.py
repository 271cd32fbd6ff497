"""How far runs are from their own infinite-width, infinite-depth limit, and which larger proxy would be half as far.

Legend: N width, L depth; m metric (a final loss) averaged over seeds, at each size's best setting of the rest.

    m(N, L) = m_inf + a / sqrt(N) + c / L        (fitted by weighted least squares; distance = |a / sqrt(N) + c / L|)

The rates are those of the limit theory (docs/theory/dmft.md): outputs of one network fluctuate as N^-1/2 and Euler's
method in depth errs as 1/L. A seed mean alone may converge as 1/N: choose `width_power=1` for it, and compare the
misfits. Nothing here knows the model: it holds as far as the fit does, and says so where it does not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from isoscale._records.records import Records
from isoscale._records.run import Run
from isoscale.theory.solution import Solution, Status


@dataclass(frozen=True)
class Size:
    """A size that was run: seed mean of the metric, its standard error, distance to the limit and its error."""

    width: int
    depth: int
    mean: float
    se: float
    distance: float
    distance_se: float


@dataclass(frozen=True)
class Proxy:
    """A proxy at most half as far from the limit as the largest one run; `cost` in units of that one's N^2 L."""

    width: int
    depth: int
    distance: float
    cost: float


@dataclass(frozen=True)
class Distance:
    """The fit: limit m_inf, width term a, depth term c, their standard errors, every size, and the cheapest proxy that
    halves the distance of the largest size (None where the distance is within its error of zero). `misfit` is chi^2
    per degree of freedom (nan if none are left): about 1 where the two terms suffice."""

    limit: float
    limit_se: float
    width_term: float
    width_se: float
    depth_term: float
    depth_se: float
    misfit: float
    sizes: tuple[Size, ...]
    halved_by: Proxy | None


def distance_to_limit(
    records: Records, *, metric: str = "train_loss", width_power: float = 0.5, hyperparameter: str = "lr"
) -> Solution[Distance]:
    """Fit m_inf, a and c to runs of several widths and depths (legend above), for any model.

    Runs must differ in width, depth, seed and `hyperparameter` only (the best value of each size counts; names that
    the runs lack are fine); select first. A dimension that never varies gets no term: the limit is then that of the
    other one alone, and the sentence says so. Raises ValueError for fewer than three sizes or mixed configurations.
    """
    table = _seed_means(records, metric, hyperparameter)
    if len(table) < 3:
        raise ValueError(
            f"{len(table)} size(s) with a finite {metric}: three terms need at least three sizes (width, depth); "
            "run more proxies, or select a rule that does not diverge"
        )
    sizes = sorted(table)
    N, L = (np.array([size[i] for size in sizes], dtype=float) for i in (0, 1))
    mean, se = (np.array([table[size][i] for size in sizes]) for i in (0, 1))
    columns, varied = [np.ones(len(sizes))], []
    for name, values in (("width", N**-width_power), ("depth", 1 / L)):
        if len(set(values)) > 1:
            columns.append(values)
            varied.append(name)
    X = np.stack(columns, axis=1)
    free = len(sizes) - X.shape[1]
    if free < 0 or np.linalg.matrix_rank(X) < X.shape[1]:
        raise ValueError(
            "widths and depths of the runs vary together: their two terms cannot be told apart; add a size"
        )
    weight = 1 / se
    covariance = np.linalg.inv((X * weight[:, None] ** 2).T @ X)
    theta = covariance @ (X * weight[:, None] ** 2).T @ mean
    misfit = float((((mean - X @ theta) * weight) ** 2).sum() / free) if free else math.nan
    covariance *= max(1.0, misfit if free else 1.0)  # a bad fit widens its own errors
    return _told(sizes, mean, se, theta, covariance, X, varied, misfit, width_power)


def _told(
    sizes: list[tuple[int, int]], mean: np.ndarray, se: np.ndarray, theta: np.ndarray, covariance: np.ndarray,
    X: np.ndarray, varied: list[str], misfit: float, power: float,
) -> Solution[Distance]:  # fmt: skip
    terms = {name: (float(theta[1 + i]), math.sqrt(covariance[1 + i, 1 + i])) for i, name in enumerate(varied)}
    gap = X[:, 1:] @ theta[1:]
    gap_se = np.sqrt(np.einsum("ij,jk,ik->i", X[:, 1:], covariance[1:, 1:], X[:, 1:]))
    rows = tuple(
        Size(n, l, float(m), float(s), float(abs(g)), float(e))
        for (n, l), m, s, g, e in zip(sizes, mean, se, gap, gap_se)
    )
    a, c = terms.get("width", (0.0, 0.0)), terms.get("depth", (0.0, 0.0))
    largest = max(range(len(sizes)), key=lambda i: (sizes[i][0] ** 2 * sizes[i][1], sizes[i]))
    seen = abs(gap[largest]) > 2 * gap_se[largest]
    halved = _cheapest(sizes[largest], float(abs(gap[largest])), a[0], c[0], power) if seen else None
    value = Distance(float(theta[0]), math.sqrt(covariance[0, 0]), *a, *c, misfit, rows, halved)
    missing = [name for name in ("width", "depth") if name not in varied]
    notes = [f"{name} never varies: the limit is taken at that {name}" for name in missing]
    if not seen:
        notes.append("the largest size is within its error of the limit")
    error = {"limit": value.limit_se}
    if misfit > 1 and chi2.sf(misfit * (len(sizes) - X.shape[1]), len(sizes) - X.shape[1]) < 1e-3:
        sentence = (
            f"chi^2 per degree of freedom is {misfit:.1f}: two terms do not describe these runs; use larger sizes"
        )
        return Solution(value, error, Status("unconverged", "; ".join([sentence, *notes])))
    return Solution(value, error, Status("converged", "; ".join([f"{len(sizes)} sizes fitted", *notes])))


def _cheapest(size: tuple[int, int], gap: float, a: float, c: float, power: float) -> Proxy | None:
    """Least N^2 L with |a| N^-power + |c| / L <= gap / 2: terms of opposite sign must not be let to cancel."""
    best: Proxy | None = None
    steps = [2 ** (k / 4) for k in range(41)]
    for wider in steps:
        for deeper in steps:
            N, L = math.ceil(size[0] * wider), math.ceil(size[1] * deeper)
            far = abs(a) * N**-power + abs(c) / L
            cost = N * N * L / (size[0] ** 2 * size[1])
            if far <= gap / 2 and (best is None or cost < best.cost):
                best = Proxy(N, L, far, cost)
    return best


def _seed_means(records: Records, metric: str, hyperparameter: str) -> dict[tuple[int, int], tuple[float, float]]:
    """Seed mean and its standard error at the best hyperparameter of each size; a size whose every value diverges is
    left out. Sizes with one seed get the pooled scatter of the others."""
    groups: dict[tuple[int, int], dict[object, list[float]]] = {}
    rest: Mapping[str, object] | None = None
    for run in records:
        common = {k: v for k, v in run.config.items() if k not in ("width", "depth", "seed", hyperparameter)}
        if rest is not None and common != rest:
            differing = sorted(k for k in {*common, *rest} if common.get(k) != rest.get(k))
            raise ValueError(
                f"runs differ in {', '.join(differing)}: a limit belongs to one configuration; select first"
            )
        rest = common
        size = (int(run["width"]), int(run["depth"]))
        groups.setdefault(size, {}).setdefault(_setting(run, hyperparameter), []).append(run.loss(metric))
    chosen: dict[tuple[int, int], list[float]] = {}
    for size, settings in groups.items():
        finite = [losses for losses in settings.values() if all(math.isfinite(x) for x in losses)]
        if finite:
            chosen[size] = min(finite, key=lambda losses: sum(losses) / len(losses))
    spreads = [np.var(losses, ddof=1) for losses in chosen.values() if len(losses) > 1]
    if chosen and not spreads:
        raise ValueError("no size has two seeds: without scatter between seeds there are no errors; add seeds")
    pooled = float(np.mean(spreads)) if spreads else 0.0
    floor = 1e-12 * max((abs(x) for losses in chosen.values() for x in losses), default=1.0)
    return {
        size: (float(np.mean(x)), max(math.sqrt(_variance(x, pooled) / len(x)), floor, 1e-300))
        for size, x in chosen.items()
    }


def _variance(losses: list[float], pooled: float, worth: float = 4.0) -> float:
    """Variance between seeds, drawn towards that of all sizes as if `worth` more seeds had shown it: few seeds alone
    give variances that are by chance far too small."""
    own = float(np.var(losses, ddof=1)) if len(losses) > 1 else 0.0
    return ((len(losses) - 1) * own + worth * pooled) / (len(losses) - 1 + worth)


def _setting(run: Run, hyperparameter: str) -> object:
    return run.config.get(hyperparameter)
