"""How the mean ODE meets its own limits: alpha -> infinity (lazy), sigma_v -> 0 (subcritical), and which alpha a finite
net wants if it is to be lazy.

Legend: alpha block scale, K steps, f outputs; all differences are rms a coordinate.

Two solutions on the same particles share their sampling error, which cancels in the difference: this is the control
variate that makes differences of 1e-4 visible with a few thousand particles.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isoscale.theory.mean_ode.fits import Estimate, slopes
from isoscale.theory.mean_ode.lazy import lazy_ode
from isoscale.theory.mean_ode.march import March, march
from isoscale.theory.mean_ode.network import Net, train
from isoscale.theory.mean_ode.observables import block_motion
from isoscale.theory.mean_ode.particles import draw
from isoscale.theory.mean_ode.setting import BadSetting, Setting, reduced

FAR = 50.0
"""Stand-in for alpha = infinity, as a multiple of the largest alpha: its own distance is 1/2500 of that one's."""


@dataclass(frozen=True)
class LazyPoint:
    """At one alpha and step: rms distance to the lazy limit, relative pre-activation move, block nonlinearity."""

    alpha: float
    k: int
    distance: float
    move: float
    nonlinearity: float


def distance_to_lazy(
    setting: Setting,
    alphas: Sequence[float],
    steps: Iterable[int],
    *,
    particles: int = 8192,
    nodes: int = 4,
    seed: int = 0,
) -> tuple[LazyPoint, ...]:
    """Distance of the mean ODE at each alpha to its lazy limit, by the difference to a far larger alpha on the same
    antithetic particles. Falls as alpha^-2 when v -> -v, or u -> -u with odd rho, is a symmetry of the initial law: the
    term E[D^2 phi(delta, delta)]/(2 alpha) vanishes then; as alpha^-1 otherwise."""
    kept = sorted(set(steps))

    def solve(alpha: float, K: int) -> tuple[March, Tensor, Tensor]:
        scaled = reduced(setting.with_(alpha=alpha))
        U, V = draw(scaled, particles, nodes, seed=seed, antithetic=True)
        return march(scaled, U.clone(), V.clone(), K, tolerance=1e-7), U, V

    far = solve(FAR * max(alphas), kept[-1])[0]
    points = []
    for alpha in alphas:
        for k in kept:
            out, U, V = solve(alpha, k)
            if out.stopped is not None or far.stopped is not None:
                raise BadSetting(f"alpha = {alpha}: the solution stopped at {out.stopped or far.stopped}; lower eta")
            H = out.H[-1, 0]
            u0, v0, u, v = (x[0].transpose(1, 2) for x in (U, V, out.U, out.V))
            dp, p0, second, first = (float(x.sum()) for x in block_motion(setting, u0, v0, u, v, H))
            distance = float(((out.f[k, 0] - far.f[k, 0]) ** 2).mean().sqrt())
            points.append(LazyPoint(alpha, k, distance, (dp / p0) ** 0.5, (second / first) ** 0.5))
    return tuple(points)


def distance_to_subcritical(
    setting: Setting, ratios: Sequence[float], steps: int, *, particles: int = 8192, nodes: int = 4
) -> tuple[float, ...]:
    """|f(sigma_v) - f(0)| at sigma_v = ratio sqrt(D), on the same particles: second order in sigma_v (v -> -v)."""

    def solve(ratio: float) -> Tensor:
        scaled = reduced(setting.with_(sigma_v=ratio * setting.D**0.5))
        U, V = draw(scaled, particles, nodes, antithetic=True)
        return march(scaled, U, V, steps, tolerance=1e-8).f[-1, 0]

    zero = solve(0.0)
    return tuple(float(((solve(ratio) - zero) ** 2).mean().sqrt()) for ratio in ratios)


@dataclass(frozen=True)
class BestAlpha:
    """Per size LM: rms error to the exact lazy limit for every alpha, the best alpha and its error; `slope` of the
    least error in LM."""

    sizes: tuple[int, ...]
    alphas: tuple[float, ...]
    errors: tuple[tuple[float, ...], ...]
    best: tuple[float, ...]
    least: tuple[float, ...]
    slope: Estimate


def best_alpha(
    setting: Setting, sides: Sequence[int], alphas: Sequence[float], steps: int, *, seeds: int = 8
) -> BestAlpha:
    """Finite nets with L = M = side against the exact lazy limit: error^2 = (p/alpha^2)^2 + (q alpha)^2/(LM) is least
    at alpha ~ (LM)^(1/6), where it falls as (LM)^(-1/3); the bound of theorem 2 alone would say 1/4 and -1/4."""
    lazy = lazy_ode(setting, steps).require().f[steps]
    table = []
    for side in sides:
        nets = [Net(side, side, seed, alpha=alpha) for alpha in alphas for seed in range(seeds)]
        gaps = []
        for start in range(0, len(nets), max(1, 4096 // side)):
            out = train(setting, nets[start : start + max(1, 4096 // side)], steps)
            gaps.append((out.f[-1].double() - lazy).square().mean((-1, -2)))
        table.append(torch.cat(gaps).view(len(alphas), seeds).mean(1).sqrt())
    errors = torch.stack(table)
    where = errors.nan_to_num(nan=torch.inf).argmin(1)
    least = tuple(float(row[i]) for row, i in zip(errors, where))
    sizes = tuple(side * side for side in sides)
    return BestAlpha(
        sizes,
        tuple(alphas),
        tuple(tuple(float(x) for x in row) for row in errors),
        tuple(alphas[int(i)] for i in where),
        least,
        slopes(least, sizes)[0],
    )
