"""Gaussian kernels of an activation: kap0 = E rho(a) rho(a'), kap1 = E rho'(a) rho'(a').

Legend: (a, a') centred Gaussian with variances v, w and covariance c.

erf: kap0 = (2/pi) asin(2c / sqrt((1+2v)(1+2w))), kap1 = (4/pi) / sqrt((1+2v)(1+2w) - 4c^2)   (Williams 1998).
ReLU: the arc-cosine kernels of order 1 and 0 (Cho and Saul 2009).
Others: Mehler's formula. With c_m(v) the m-th normalised Hermite coefficient of x -> rho(sqrt(v) x),
    kap0 = sum_m c_m(v) c_m(w) t^m,   t = c / sqrt(v w),   and kap1 = d kap0 / dc (Price) sums the same terms.
A pair costs a polynomial instead of a two-dimensional quadrature (the tests' oracle, `by_quadrature`).
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from isoscale.theory.mean_ode.activations import Activation

Kernels = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(v, w, c), broadcast together, to (kap0, kap1)."""

TERMS = 72
POINTS = 160


def erf_kernels(v: Tensor, w: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    product = (1 + 2 * v) * (1 + 2 * w)
    return (
        (2 / math.pi) * torch.asin(2 * c / product.sqrt()),
        (4 / math.pi) / (product - 4 * c * c).sqrt(),
    )


def relu_kernels(v: Tensor, w: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    size = (v * w).sqrt()
    # Rounding may push the cosine past 1, where the slope of acos is infinite.
    cosine = (c / size).clamp(-1 + 1e-14, 1 - 1e-14)
    angle = torch.acos(cosine)
    kap1 = (math.pi - angle) / (2 * math.pi)
    return size * torch.sin(angle) / (2 * math.pi) + c * kap1, kap1


@lru_cache
def _hermite() -> tuple[Tensor, Tensor]:
    """Gauss-Hermite nodes x (Q,), and weights times the normalised Hermite polynomials, (Q, TERMS)."""
    x, weight = np.polynomial.hermite_e.hermegauss(POINTS)
    values = np.empty((POINTS, TERMS))
    values[:, 0], values[:, 1] = 1, x
    for m in range(2, TERMS):
        values[:, m] = (x * values[:, m - 1] - math.sqrt(m - 1) * values[:, m - 2]) / math.sqrt(m)
    return torch.from_numpy(x), torch.from_numpy(weight[:, None] * values / math.sqrt(2 * math.pi))


def mehler_kernels(rho: Activation) -> Kernels:
    """Mehler's series for a smooth activation of bounded growth."""

    # c_m decays like exp(-pi sqrt(m / v) / 2) for tanh (its poles are at +-i pi/2): 72 terms serve v up to about 3.
    kept = torch.arange(1 if rho.odd else 0, TERMS, 2 if rho.odd else 1)

    def coefficients(v: Tensor) -> Tensor:
        x, weighted = _hermite()
        return rho.value(v.sqrt()[..., None] * x.to(v)) @ weighted[:, kept].to(v)

    def kernels(v: Tensor, w: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        size = (v * w).sqrt()
        t = c / size
        cv, cw = coefficients(v), coefficients(w)
        product = cv * cw
        kap0, kap1 = torch.zeros_like(t), torch.zeros_like(t)
        # Horner, on t^2 for an odd activation.
        ratio = t * t if rho.odd else t
        for i in range(len(kept) - 1, -1, -1):
            kap0 = kap0 * ratio + product[..., i]
            kap1 = kap1 * ratio + float(kept[i]) * product[..., i] if kept[i] else kap1
        return (kap0 * t if rho.odd else kap0), kap1 / size

    return kernels


def kernels_of(rho: Activation) -> Kernels:
    """The kernels of an activation: closed form where there is one, Mehler's series otherwise."""
    closed: Mapping[str, Kernels] = {"erf": erf_kernels, "relu": relu_kernels}
    return closed.get(rho.name) or mehler_kernels(rho)


def by_quadrature(rho: Activation, v: float, w: float, c: float, points: int = 120) -> tuple[float, float]:
    """(kap0, kap1) by a two-dimensional Gauss-Hermite rule: slow, obvious, for smooth activations."""
    x, weight = (torch.from_numpy(z) for z in np.polynomial.hermite_e.hermegauss(points))
    weight = weight / weight.sum()
    a = math.sqrt(v) * x[:, None].expand(points, points)
    b = c / math.sqrt(v) * x[:, None] + math.sqrt(max(w - c * c / v, 0.0)) * x[None, :]
    joint = weight[:, None] * weight[None, :]
    values = [rho.value(z) for z in (a, b)]
    slopes = [rho.slope(z, value) for z, value in zip((a, b), values)]
    return float((joint * values[0] * values[1]).sum()), float((joint * slopes[0] * slopes[1]).sum())
