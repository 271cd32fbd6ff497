"""Activations rho with their slopes, and the laws from which a block's output vectors v are drawn.

Legend: rho activation, p pre-activation, a = rho(p), v output vector of a hidden unit.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """`value(p)` is rho(p); `slope(p, a)` is rho'(p), given a = rho(p) as well since tanh' is cheapest from it."""

    name: str
    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    odd: bool


def _tanh_slope(p: Tensor, a: Tensor) -> Tensor:
    return 1 - a * a


ACTIVATIONS: Mapping[str, Activation] = {
    each.name: each
    for each in (
        Activation("tanh", torch.tanh, _tanh_slope, odd=True),
        Activation("erf", torch.erf, lambda p, a: (2 / math.sqrt(math.pi)) * torch.exp(-p * p), odd=True),
        Activation("relu", torch.relu, lambda p, a: (p > 0).to(p.dtype), odd=False),
        # Breaks the symmetry u -> -u on purpose: the 1/alpha term of the lazy limit comes back (claim C10).
        Activation("shifted_tanh", lambda p: torch.tanh(p + 0.7), _tanh_slope, odd=False),
    )
}


@dataclass(frozen=True)
class Law:
    """A law of mean 0 and variance 1 for the entries of v.

    `sample(x, t)` maps x uniform on (0, 1) to the t-th member of an orbit of `orbit` draws, each with the law,
    whose average is exactly 0. Particles that share u and run through an orbit of v have E[v rho(u.h)] = 0 to
    rounding, as the limit demands: "antithetic" for more laws than the symmetric ones.
    """

    name: str
    orbit: int
    sample: Callable[[Tensor, int], Tensor]
    rotation_invariant: bool


def _normal(x: Tensor, t: int) -> Tensor:
    return (1 - 2 * t) * torch.special.ndtri(x)


def _skewed(x: Tensor, t: int) -> Tensor:
    return torch.where((x + t / 3) % 1 < 1 / 3, math.sqrt(2), -1 / math.sqrt(2))


LAWS: Mapping[str, Law] = {
    each.name: each
    for each in (
        Law("normal", 2, _normal, rotation_invariant=True),
        # Two points, skewness 1/sqrt(2): breaks the symmetry v -> -v on purpose.
        Law("skewed", 3, _skewed, rotation_invariant=False),
    )
}
