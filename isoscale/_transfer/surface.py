"""The optimum of several hyperparameters at once, from a local quadratic in their logarithms."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isoscale._records.run import Run
from isoscale._transfer.curve import Array
from isoscale._transfer.errors import RunsError
from isoscale._transfer.fact import Fact

DRAWS = 2000
GRID = 9  # positions an axis at which a draw that is no bowl is looked at


@dataclass(frozen=True)
class Surface(Fact):
    """Where several hyperparameters are best together, inside of a box around `centre` (all in log2 of the value).

    "found": the fitted bowl has its bottom inside; "edge": it has not, and `position` is the least point of the box;
    "too few": there are not more points than coefficients. low, high: the interval at `level` of each, None where it
    reaches the box. `regret_high`: the loss given away by taking `position`, in percent, at most, at `level` (the box's
    own least point is compared, in each draw of the coefficients).
    """

    names: tuple[str, ...]
    status: Literal["found", "edge", "too few"]
    sentence: str
    position: tuple[float, ...] | None = None
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    regret_high: float | None = None
    points: int = 0
    seeds: int = 0
    level: float = 0.95


def fit_surface(
    runs: Iterable[Run], names: Sequence[str], metric: str, centre: Sequence[float], reach: float, level: float = 0.95
) -> Surface:
    """Least squares of log loss on the runs within `reach` octaves of `centre`, with an effect for each seed:

        log loss[s, i] = a_s + g . z_i + z_i . H z_i / 2 + noise,     z_i = log2(values) - centre

    Coefficients are drawn from their t distribution, and every draw has its own least point in the box. The noise is
    the larger of that between seeds and the misfit of the quadratic, so that a curve which leans widens the interval.
    Points at which a seed diverged are left out. Source: Box and Wilson, J. R. Stat. Soc. B 13 (1951).
    """
    x, y, seed = _table(runs, names, metric, np.asarray(centre, dtype=float), reach)
    design = _columns(x)
    points = len({tuple(row) for row in x.tolist()})
    seeds = len(set(seed.tolist()))
    if points <= design.shape[1] or len(y) <= design.shape[1] + seeds:
        said = f"{points} points that trained within {reach:g} octaves, and a quadratic has {design.shape[1] + 1} terms"
        return Surface(tuple(names), "too few", said, points=points, seeds=seeds, level=level)
    one = np.stack([(seed == s).astype(float) for s in sorted(set(seed.tolist()))], axis=1)
    within = design - one @ np.linalg.lstsq(one, design, rcond=None)[0]
    target = y - one @ np.linalg.lstsq(one, y, rcond=None)[0]
    coefficients, *_ = np.linalg.lstsq(within, target, rcond=None)
    free = len(y) - design.shape[1] - seeds
    noise = max(float(((target - within @ coefficients) ** 2).sum()) / free, _misfit(x, y, seed, design, coefficients))
    covariance = noise * np.linalg.pinv(within.T @ within)
    rng = np.random.default_rng(0)
    scale = np.sqrt(free / rng.chisquare(free, DRAWS))
    draws = coefficients + scale[:, None] * rng.multivariate_normal(np.zeros(len(coefficients)), covariance, DRAWS)
    best, inside = _least(coefficients[None], len(names), reach)
    least, _ = _least(draws, len(names), reach)
    return _told(
        tuple(names),
        np.asarray(centre, dtype=float),
        best[0],
        bool(inside[0]),
        least,
        draws,
        reach,
        points,
        seeds,
        level,
    )


def _table(
    runs: Iterable[Run], names: Sequence[str], metric: str, centre: Array, reach: float
) -> tuple[Array, Array, Array]:
    rows: dict[tuple[float, ...], list[tuple[float, int]]] = {}
    for run in runs:
        missing = [name for name in names if name not in run.config]
        if missing:
            raise RunsError(
                f"a run's configuration has no {', '.join(missing)}: name the hyperparameters that it varies"
            )
        z = np.log2([float(run.config[name]) for name in names]) - centre
        if float(np.abs(z).max()) <= reach + 1e-6:
            rows.setdefault(tuple(np.round(z, 9)), []).append((run.loss(metric), int(run.config["seed"])))
    kept = {z: each for z, each in rows.items() if all(0 < loss < math.inf for loss, _ in each)}
    flat = [(z, math.log(loss), seed) for z, each in sorted(kept.items()) for loss, seed in each]
    x = np.array([z for z, _, _ in flat]).reshape(len(flat), len(names))
    return x, np.array([y for _, y, _ in flat]), np.array([seed for *_, seed in flat])


def _columns(x: Array) -> Array:
    """z_i, then z_i z_j for i <= j."""
    count = x.shape[1]
    crossed = [x[:, i] * x[:, j] for i in range(count) for j in range(i, count)]
    return np.stack([*x.T, *crossed], axis=1) if len(x) else np.zeros((0, count + count * (count + 1) // 2))


def _misfit(x: Array, y: Array, seed: Array, design: Array, coefficients: Array) -> float:
    """Mean square of the points' mean residuals, times the seeds a point: what a quadratic cannot follow."""
    rest = y - design @ coefficients
    for s in set(seed.tolist()):
        rest[seed == s] -= rest[seed == s].mean()
    groups: dict[tuple[float, ...], list[float]] = {}
    for row, value in zip(x.tolist(), rest.tolist(), strict=True):
        groups.setdefault(tuple(row), []).append(value)
    free = max(1, len(groups) - design.shape[1] - 1)
    squares = [float(len(each) * np.mean(each) ** 2) for each in groups.values()]
    return float(math.fsum(squares) / free)


def _least(draws: Array, count: int, reach: float) -> tuple[Array, Array]:
    """The least point in the box of every row of coefficients, and whether it is the bottom of a bowl inside."""
    axis = np.linspace(-reach, reach, GRID)
    grid = np.stack(np.meshgrid(*[axis] * count, indexing="ij"), axis=-1).reshape(-1, count)
    values = draws @ _columns(grid).T
    found = grid[np.argmin(values, axis=1)].copy()
    inside = np.zeros(len(draws), dtype=bool)
    for at, row in enumerate(draws):
        hessian, gradient = _hessian(row, count), row[:count]
        if float(np.linalg.eigvalsh(hessian)[0]) > 1e-9:
            bottom = -np.linalg.solve(hessian, gradient)
            if float(np.abs(bottom).max()) <= reach:
                found[at], inside[at] = bottom, True
    return found, inside


def _hessian(row: Array, count: int) -> Array:
    hessian = np.zeros((count, count))
    place = count
    for i in range(count):
        for j in range(i, count):
            hessian[i, j] += row[place]
            hessian[j, i] += row[place]
            place += 1
    return hessian


def _told(
    names: tuple[str, ...], centre: Array, best: Array, inside: bool, least: Array, draws: Array, reach: float,
    points: int, seeds: int, level: float,
) -> Surface:  # fmt: skip
    tail = (1 - level) / 2
    ends = np.quantile(least, [tail, 1 - tail], axis=0)
    low = tuple(None if e <= -reach + 1e-6 else float(e + c) for e, c in zip(ends[0], centre, strict=True))
    high = tuple(None if e >= reach - 1e-6 else float(e + c) for e, c in zip(ends[1], centre, strict=True))
    here = draws @ _columns(best[None])[0]
    there = np.einsum("ij,ij->i", draws, _columns(least))
    regret = float(np.quantile(np.expm1(np.maximum(here - there, 0.0)), level)) * 100
    position = tuple(float(b + c) for b, c in zip(best, centre, strict=True))
    shown = ", ".join(f"{name} {2.0**p:.3g}" for name, p in zip(names, position, strict=True))
    where = "the bowl's bottom" if inside else "still falling toward"
    sure = f"{100 * level:g}% sure to be within {regret:.2g}% of the box's best"
    said = f"{where} {shown}; {sure} ({points} points, {seeds} seeds)"
    return Surface(names, "found" if inside else "edge", said, position, low, high, regret, points, seeds, level)
