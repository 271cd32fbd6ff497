"""Fits of power laws in logarithms, with intervals.

Legend: L depth, M hidden width, D embedding dimension, N = L M; error rms(f_net - f_limit).

    linear      error   = a/L + b sqrt(D/N)                       (the bounds' form; a mixes bias and spread)
    quadrature  error^2 = (a/L + c D/N)^2 + b^2 D/N               (bias and independent spread: the true structure)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.stats import t as student

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and 95% interval (NaN where there is no way to tell)."""

    value: float
    se: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Fit:
    """A fitted law: coefficients by name, R^2 of the logarithms, number of shapes."""

    model: str
    coefficients: Mapping[str, Estimate]
    r2: float
    shapes: int


def slopes(y: ArrayLike, *xs: ArrayLike) -> tuple[Estimate, ...]:
    """Exponents of y ~ prod x_i^e_i, by least squares of the logarithms with t intervals.

    >>> round(slopes([1, 2, 4], [1, 4, 16])[0].value, 6)
    0.5
    """
    target = np.log(np.asarray(y, dtype=float))
    design = np.column_stack([np.ones_like(target), *(np.log(np.asarray(x, dtype=float)) for x in xs)])
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    free = len(target) - design.shape[1]
    if free < 1:
        return tuple(Estimate(float(value)) for value in solution[1:])
    variance = float(((target - design @ solution) ** 2).sum()) / free
    se = np.sqrt(np.diag(np.linalg.pinv(design.T @ design)) * variance)
    reach = float(student.ppf(0.975, free))
    return tuple(
        Estimate(float(v), float(s), float(v - reach * s), float(v + reach * s)) for v, s in zip(solution[1:], se[1:])
    )


def r_squared(y: Array, model: Array) -> float:
    """1 - SS_res / SS_tot of the logarithms."""
    log, predicted = np.log(y), np.log(model)
    return float(1 - ((log - predicted) ** 2).sum() / ((log - log.mean()) ** 2).sum())


def _linear(c: Array, L: Array, N: Array, D: Array) -> Array:
    return c[0] / L + c[1] * np.sqrt(D / N)


def _quadrature(c: Array, L: Array, N: Array, D: Array) -> Array:
    return np.sqrt((c[0] / L + c[2] * D / N) ** 2 + c[1] ** 2 * D / N)


MODELS: Mapping[str, tuple[Callable[[Array, Array, Array, Array], Array], tuple[str, ...]]] = {
    "linear": (_linear, ("a", "b")),
    "quadrature": (_quadrature, ("a", "b", "c")),
}


def fit_law(
    model: str,
    L: Sequence[float],
    M: Sequence[float],
    D: Sequence[float],
    squares: Sequence[Sequence[float]],
    *,
    resamples: int = 100,
    seed: int = 0,
) -> Fit:
    """Fit a law of `MODELS` to the logarithm of rms errors. `squares[i]` are shape i's squared errors a seed; the
    intervals are percentiles of refits on resampled seeds (so they leave out the choice of data and of the law)."""
    law, names = MODELS[model]
    l, d = np.asarray(L, dtype=float), np.asarray(D, dtype=float)
    n = l * np.asarray(M, dtype=float)
    values = [np.asarray(x, dtype=float) for x in squares]

    def fitted(rms: Array, start: Array) -> Array:
        residual = lambda c: np.log(law(c, l, n, d)) - np.log(rms)  # noqa: E731
        return np.asarray(least_squares(residual, start, bounds=(1e-9, np.inf), x_scale=start).x)

    rms = np.sqrt([x.mean() for x in values])
    b = float(np.exp(np.mean(np.log(rms) - 0.5 * np.log(d / n))))
    best = fitted(rms, np.array([b / 10, b, b / 10][: len(names)]))
    generator = np.random.default_rng(seed)
    again = np.array(
        [
            fitted(np.sqrt([x[generator.integers(len(x), size=len(x))].mean() for x in values]), np.maximum(best, 1e-6))
            for _ in range(resamples)
        ]
    ).reshape(resamples, len(names))
    coefficients = {
        name: Estimate(
            float(best[i]),
            *(
                (float(again[:, i].std(ddof=1)), *(float(q) for q in np.percentile(again[:, i], (2.5, 97.5))))
                if resamples > 1
                else ()
            ),
        )
        for i, name in enumerate(names)
    }
    return Fit(model, coefficients, r_squared(rms, law(best, l, n, d)), len(l))
