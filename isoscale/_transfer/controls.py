"""The common ways to read an optimum off a sweep, kept as controls: tests show where their intervals miss."""

import numpy as np
from scipy import stats

from isoscale._transfer.curve import Array

Interval = tuple[float, float]


def local_quadratic(x: Array, y: Array, reach: int = 3, level: float = 0.95) -> Interval | None:
    """Least-squares parabola through the lowest mean and `reach` neighbours on either side, seed fixed effects, delta
    method, t quantile. `y` is [seed, x] without gaps; None where the parabola has no minimum."""
    lowest = int(np.argmin(y.mean(0)))
    part = slice(max(0, lowest - reach), lowest + reach + 1)
    z, losses = x[part] - x[lowest], y[:, part]
    stable = np.isfinite(losses).all(0)
    z, losses = z[stable], losses[:, stable]
    if len(z) < 4:
        return None
    columns = np.stack([z, z**2], 1)
    centred = columns - columns.mean(0)
    mean = losses.mean(0)
    b = np.linalg.solve(centred.T @ centred, centred.T @ (mean - mean.mean()))
    if b[1] <= 0:
        return None
    residual = losses - losses.mean(1, keepdims=True) - centred @ b
    df = losses.shape[0] * (len(z) - 1) - 2
    covariance = np.linalg.inv(centred.T @ centred) * float((residual**2).sum()) / df / losses.shape[0]
    best = -b[0] / (2 * b[1])
    gradient = np.array([-1 / (2 * b[1]), b[0] / (2 * b[1] ** 2)])
    half = float(np.sqrt(gradient @ covariance @ gradient) * stats.t.ppf((1 + level) / 2, df))
    return float(x[lowest] + best - half), float(x[lowest] + best + half)


def percentile_bootstrap(
    x: Array, y: Array, rng: np.random.Generator, count: int = 400, reach: int = 3, level: float = 0.95
) -> Interval:
    """Resample seeds with replacement, fit a parabola to each mean curve, take the quantiles of its minima."""
    found = []
    for _ in range(count):
        mean = y[rng.integers(0, len(y), len(y))].mean(0)
        lowest = int(np.argmin(mean))
        part = slice(max(0, lowest - reach), lowest + reach + 1)
        z, m = x[part], mean[part]
        z, m = z[np.isfinite(m)], m[np.isfinite(m)]
        c = np.polyfit(z - x[lowest], m, 2) if len(z) > 2 else np.zeros(3)
        found.append(x[lowest] - c[1] / (2 * c[0]) if c[0] > 0 else x[lowest])
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
