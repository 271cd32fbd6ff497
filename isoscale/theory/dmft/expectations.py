"""Gaussian averages of activations: closed forms where they exist, quadrature for every other activation.

Legend: Sigma (M, M) covariance of pre-activations h, Phi = E[phi(h_i) phi(h_j)], Phid = E[phi'(h_i) phi'(h_j)],
theta angle between points. Sources of the closed forms: Williams 1998 (erf), Cho & Saul 2009 (relu).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from isoscale.theory.mean_ode.activations import Activation

Pair = tuple[Tensor, Tensor]


def gaussian_kernels(phi: Activation, Sigma: Tensor, nodes: int = 101) -> Pair:
    """(Phi, Phid), each (M, M), for h ~ N(0, Sigma).

    Linear, erf and relu in closed form. Others by the trapezoid rule on the Gaussian weight with `nodes` nodes over
    +-9 standard deviations in each of two variables: accurate to rounding for analytic activations (1e-15 for tanh,
    where 64 Gauss-Hermite nodes reach 5e-6), and to about (step / activation's scale)^2 for kinked ones.
    """
    closed = CLOSED.get(phi.name)
    return closed(Sigma) if closed is not None else quadrature(phi, Sigma, nodes)


def _linear(Sigma: Tensor) -> Pair:
    return Sigma.clone(), torch.ones_like(Sigma)


def _erf(Sigma: Tensor) -> Pair:
    """torch.erf(h): 2/pi arcsin(2 Sigma_ij / sqrt((1 + 2 Sigma_ii)(1 + 2 Sigma_jj)))."""
    d = 1 + 2 * Sigma.diagonal()
    product = d[:, None] * d
    value = (2 / math.pi) * torch.arcsin((2 * Sigma / product.sqrt()).clamp(-1, 1))
    return value, (4 / math.pi) / (product - 4 * Sigma**2).sqrt()


def _relu(Sigma: Tensor) -> Pair:
    """Arc-cosine kernels of order 1 and 0."""
    root = Sigma.diagonal().clamp_min(0).sqrt()
    norm = root[:, None] * root
    cosine = torch.where(norm > 0, Sigma / norm.clamp_min(1e-300), torch.zeros_like(Sigma)).clamp(-1, 1)
    theta = torch.arccos(cosine)
    value = norm * (torch.sin(theta) + (math.pi - theta) * cosine) / (2 * math.pi)
    return value, (math.pi - theta) / (2 * math.pi)


CLOSED: dict[str, Callable[[Tensor], Pair]] = {"linear": _linear, "erf": _erf, "relu": _relu}


def quadrature(phi: Activation, Sigma: Tensor, nodes: int = 101) -> Pair:
    """(Phi, Phid) by the trapezoid rule: h_i = s_i z, h_j = s_j (rho z + sqrt(1 - rho^2) z')."""
    z = torch.linspace(-9, 9, nodes, dtype=Sigma.dtype, device=Sigma.device)
    weight = torch.exp(-z * z / 2)
    weight = weight / weight.sum()
    root = Sigma.diagonal().clamp_min(0).sqrt()
    Phi, Phid = torch.empty_like(Sigma), torch.empty_like(Sigma)
    first = root[:, None] * z  # (M, nodes)
    value = phi.value(first)
    left = torch.stack([value, phi.slope(first, value)]) * weight  # (2, M, nodes)
    for i in range(len(Sigma)):  # one row of pairs at a time: M nodes^2 numbers
        rho = (Sigma[i] / (root[i] * root).clamp_min(1e-300)).clamp(-1, 1)
        rest = (1 - rho * rho).clamp_min(0).sqrt()
        h = root[:, None, None] * (rho[:, None, None] * z[:, None] + rest[:, None, None] * z)
        a = phi.value(h)
        Phi[i] = (a @ weight) @ left[0, i]
        Phid[i] = (phi.slope(h, a) @ weight) @ left[1, i]
    return Phi, Phid
