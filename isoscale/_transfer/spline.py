"""The curve around its minimum: a quadratic plus a random-walk of its curvature, with seed fixed effects.

    y[s, i] = a[s] + f(x[i]) + b[s] (x[i] - mean x) + noise,    f = quadratic + tau * (thrice integrated white noise)

A fixed local quadratic is the case tau = 0. Real curves lean: slow on the left, steep before the stability edge, and
a quadratic's minimum is then off by many of its standard errors, so that its interval misses. Here the third
derivative is white noise of unknown size tau (Wahba 1978: the smoothing spline of third order); tau is averaged over
with its marginal likelihood, the noise with a scaled chi-square, so that the interval holds what is not known of the
lean.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from isoscale._transfer.curve import Array

RELATIVE_TAU: Array = np.power(2.0, np.arange(-5, 6))  # change of curvature per unit of x, relative to the curvature
STEEPENING = 4.0  # units of x from the edge at which the third derivative's scale has doubled in variance terms
FAVOUR_QUADRATIC = 0.25  # prior of the relative tau: its density in log tau falls as this power
KNOTS_PER_POINT = 8
POOL = 0.25  # level at which seeds' slopes are called different (Bancroft's advice for preliminary tests)


@dataclass(frozen=True)
class Means:
    """Column means with the seeds' levels removed: `mean[i]` has covariance noise * `spread` (+ seeds' slopes), up to a
    common constant. `noise` is the variance of one run around it, on `df` degrees of freedom; `tilt` is the variance of
    the mean slope between seeds (0 where not seen), on `tilt_df`."""

    x: Array
    mean: Array
    spread: Array
    noise: float
    df: int
    tilt: float
    tilt_df: int
    seeds: int


def two_way(x: Array, y: Array) -> Means | None:
    """Additive least squares y = seed + column, nan for runs not there; None where no degree of freedom is left."""
    ran = ~np.isnan(y)
    ran = ran & (ran.sum(1) > 1)[:, None]
    keep = ran.any(1)
    y, ran = y[keep], ran[keep]
    n, seeds = len(x), len(y)
    df = int(ran.sum()) - seeds - n + 1
    if df < 1 or seeds < 2 or not ran.any(0).all():
        return None
    weight = ran / ran.sum(1, keepdims=True)
    information = np.diag(ran.sum(0).astype(np.float64)) - ran.T.astype(np.float64) @ weight
    spread = np.linalg.inv(information + np.full((n, n), seeds / n))
    filled = np.where(ran, y, 0.0)
    centred = filled - np.where(ran, (filled.sum(1) / ran.sum(1))[:, None], 0.0)
    mean = spread @ centred.sum(0)
    level = (np.where(ran, y - mean, 0.0)).sum(1) / ran.sum(1)
    residual = np.where(ran, y - mean - level[:, None], 0.0)
    rest = float((residual**2).sum())
    z = np.where(ran, x - (np.where(ran, x, 0.0).sum(1) / ran.sum(1))[:, None], 0.0)
    between = float((((residual * z).sum(1) ** 2) / (z**2).sum(1)).sum())
    # identical seeds carry no noise: keep the algebra well conditioned
    floor = 1e-18 + 1e-8 * float(np.ptp(mean)) ** 2
    if df <= seeds - 1:
        return Means(x, mean, spread, max(rest / df, floor), df, 0.0, seeds - 1, seeds)
    noise, slopes = max((rest - between) / (df - seeds + 1), floor), between / (seeds - 1)
    if stats.f.sf(slopes / noise, seeds - 1, df - seeds + 1) > POOL:
        return Means(x, mean, spread, max(rest / df, floor), df, 0.0, seeds - 1, seeds)
    tilt = max(0.0, slopes - noise) / float((z**2).sum(1).mean()) / seeds
    return Means(x, mean, spread, noise, df - seeds + 1, tilt, seeds - 1, seeds)


@dataclass(frozen=True)
class Spline:
    """Posterior of the curve: one `Fit` per relative size of tau with its weight, on a `grid` of positions."""

    grid: Array
    fits: tuple["Fit", ...]
    weights: Array
    tilt: float
    tilt_df: int
    df: float

    @property
    def rising(self) -> Array:
        """P(f' > 0) at every grid position: the distribution function of the minimum, if there is one minimum."""
        total = np.zeros(len(self.grid))
        for weight, fit in zip(self.weights, self.fits, strict=True):
            slope, variance = fit.mean(self.grid, 1), np.maximum(fit.variance(self.grid, 1), 1e-30)
            share = np.clip(self.tilt / variance, 0.0, 1.0)
            df = 1.0 / (share**2 / self.tilt_df + (1 - share) ** 2 / self.df)
            total += weight * stats.t.cdf(slope / np.sqrt(variance), df)
        return total

    def mean(self, positions: Array) -> Array:
        """Posterior mean of f (up to a constant)."""
        return np.asarray(sum(w * fit.mean(positions, 0) for w, fit in zip(self.weights, self.fits, strict=True)))

    def draws(self, positions: Array, count: int, seed: int = 0) -> Array:
        """[count, positions] draws of f, heavy-tailed as far as the noise itself is not known."""
        rng = np.random.default_rng(seed)
        which = rng.choice(len(self.weights), size=count, p=self.weights)
        tail = np.sqrt(self.df / rng.chisquare(self.df, count))
        out = np.empty((count, len(positions)))
        for k in np.unique(which):
            rows = np.flatnonzero(which == k)
            value, root = self.fits[k].mean(positions, 0), _root(self.fits[k].covariance(positions, 0))
            normal = rng.standard_normal((len(rows), len(positions)))
            out[rows] = value + tail[rows, None] * (normal @ root.T)
        return out


class Basis:
    """Quadratic columns and truncated quadratics (t - u)_+^2 / 2, whose random weights make f''' white noise."""

    def __init__(self, x: Array, edge: float | None, unit: float) -> None:
        self.unit, self.centre = unit, float(x.mean())
        end = float(x[-1]) if edge is None else edge
        knots = np.linspace(float(x[0]), end, KNOTS_PER_POINT * len(x) + 1) / unit
        step = float(knots[1] - knots[0])
        self.knots = knots[:-1] + step / 2
        self.weight = np.full(len(self.knots), np.sqrt(step))
        if edge is not None:
            nearest = float(np.diff(x).min()) / unit / 4
            self.weight *= 1 + (STEEPENING / np.maximum(edge / unit - self.knots, nearest)) ** 2

    def columns(self, positions: Array, derivative: int) -> tuple[Array, Array]:
        """(fixed [p, 3], random [p, knots]) columns of f (0) or f' (1), x in units of `unit`."""
        z = (positions - self.centre) / self.unit
        one, nil = np.ones_like(z), np.zeros_like(z)
        fixed = np.stack([one, z, z**2] if derivative == 0 else [nil, one, 2 * z], 1)
        reach = np.clip(positions[:, None] / self.unit - self.knots, 0.0, None)
        return fixed, self.weight * (reach**2 / 2 if derivative == 0 else reach)


@dataclass(frozen=True)
class Fit:
    """The Gaussian posterior for one tau, the noise integrated out."""

    basis: Basis
    ratio: float  # tau^2 / noise
    inverse: Array
    design: Array
    random: Array
    back: Array
    coefficients: Array
    residual: Array
    noise: float
    evidence: float

    def mean(self, positions: Array, derivative: int) -> Array:
        """Posterior mean of f (0) or f' (1, per `unit`)."""
        fixed, random = self.basis.columns(positions, derivative)
        return np.asarray(
            fixed @ self.coefficients + self.ratio * random @ self.random.T @ self.inverse @ self.residual
        )

    def variance(self, positions: Array, derivative: int) -> Array:
        """Posterior variance, position by position."""
        random, gain, shift = self._parts(positions, derivative)
        inner = (random**2).sum(1) - ((gain @ self.random) * random).sum(1)
        return np.asarray(self.noise * (self.ratio * inner + ((shift @ self.back) * shift).sum(1)))

    def covariance(self, positions: Array, derivative: int) -> Array:
        """Posterior covariance of the positions."""
        random, gain, shift = self._parts(positions, derivative)
        inner = random @ random.T - gain @ self.random @ random.T
        return np.asarray(self.noise * (self.ratio * inner + shift @ self.back @ shift.T))

    def _parts(self, positions: Array, derivative: int) -> tuple[Array, Array, Array]:
        fixed, random = self.basis.columns(positions, derivative)
        gain = self.ratio * random @ self.random.T @ self.inverse
        return random, gain, fixed - gain @ self.design


def smooth(means: Means, *, unit: float = 1.0, edge: float | None = None, points: int = 241) -> Spline:
    """Posterior of the curve through `means`. `edge` is the first diverged position to their right, if any: toward it
    curves steepen, and it stands as one vague observation above the rest. `unit`: one octave, or its like."""
    x, mean, spread = means.x, means.mean, means.spread
    z = (x - x.mean()) / unit
    tilt = means.tilt * unit**2
    spread = spread + tilt / means.noise * np.outer(z, z)
    height, width = float(np.ptp(mean)), float(np.ptp(x)) / unit
    curvature = max(abs(2 * float(np.polyfit(z, mean, 2)[0])), 4 * height / width**2, 1e-12)
    basis = Basis(x, edge, unit)
    if edge is not None:
        height = max(height, 0.1)
        x, mean = np.append(x, edge), np.append(mean, mean.min() + 2 * height)
        wider = np.zeros((len(x), len(x)))
        wider[:-1, :-1], wider[-1, -1] = spread, height**2 / means.noise
        spread = wider
    df = len(means.x) - 3 + means.df
    fits = tuple(_fit(basis, x, mean, spread, means, (k * curvature) ** 2 / means.noise, df) for k in RELATIVE_TAU)
    evidence = np.array([fit.evidence for fit in fits]) - FAVOUR_QUADRATIC * np.log(RELATIVE_TAU)
    weights = np.exp(evidence - evidence.max())
    keep = np.flatnonzero(weights > 1e-3 * weights.sum())
    weights = weights[keep] / weights[keep].sum()
    grid = np.linspace(x[0], x[-1], points)
    return Spline(grid, tuple(fits[k] for k in keep), weights, tilt, means.tilt_df, float(df))


def _fit(basis: Basis, x: Array, mean: Array, spread: Array, means: Means, ratio: float, df: int) -> Fit:
    fixed, random = basis.columns(x, 0)
    total = spread + ratio * random @ random.T
    inverse: Array = np.linalg.inv(total).astype(np.float64)
    information = fixed.T @ inverse @ fixed
    back: Array = np.linalg.inv(information).astype(np.float64)
    coefficients = back @ fixed.T @ inverse @ mean
    residual = mean - fixed @ coefficients
    noise = (float(residual @ inverse @ residual) + means.noise * means.df) / df
    evidence = -0.5 * (np.linalg.slogdet(total)[1] + np.linalg.slogdet(information)[1] + df * np.log(noise))
    return Fit(basis, ratio, inverse, fixed, random, back, coefficients, residual, noise, float(evidence))


def _root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float64)
