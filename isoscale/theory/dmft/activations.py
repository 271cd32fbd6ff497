"""Activations phi with their slopes: named ones, and any differentiable function of the reader's own.

Legend: phi activation, h pre-activation (residual stream), a = phi(h).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from isoscale.theory.mean_ode.activations import ACTIVATIONS as SHARED
from isoscale.theory.mean_ode.activations import Activation

LINEAR = Activation("linear", lambda h: h, lambda h, a: torch.ones_like(h), odd=True)
ACTIVATIONS: Mapping[str, Activation] = {"linear": LINEAR, **SHARED}


class BadActivation(ValueError):
    """The activation has no derivative that the backward pass could use."""


def activation(phi: str | Activation | Callable[[Tensor], Tensor]) -> Activation:
    """The activation of that name, or the elementwise torch function `phi` with its slope by autograd.

    Raises `BadActivation` for unknown names, for functions that autograd cannot differentiate, and for functions
    that jump (their slope does not integrate to their rise: the sign, a rounding), whose response terms B, the
    mean derivatives of g = w phi'(h), autograd cannot see.
    """
    if isinstance(phi, Activation):
        return phi
    if isinstance(phi, str):
        if phi not in ACTIVATIONS:
            raise BadActivation(f"activation {phi!r} is not known; choose from {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[phi]
    found = Activation(getattr(phi, "__name__", "custom"), phi, lambda h, a: _slope(phi, h), odd=False)
    _check(found)
    return found


def _slope(phi: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
    with torch.enable_grad():
        point = h.detach().requires_grad_(True)
        value = phi(point)
        if not value.requires_grad:
            raise BadActivation(
                "the activation's output does not depend differentiably on its input: the backward pass needs "
                "phi'; use torch operations, or give Activation(name, value, slope, odd)"
            )
        (slope,) = torch.autograd.grad(value.sum(), point)
    return slope


def _check(found: Activation) -> None:
    grid = torch.linspace(-4.0123, 4.0456, 4001, dtype=torch.float64, device="cpu")
    value = found.value(grid)
    slope = found.slope(grid, value)
    if value.shape != grid.shape or not bool(torch.isfinite(value).all() and torch.isfinite(slope).all()):
        raise BadActivation(f"activation {found.name!r} must map tensors elementwise to finite values and slopes")
    gap = (value[-1] - value[0] - torch.trapezoid(slope, grid)).abs()
    if gap > 1e-3 * (1 + (value.max() - value.min())):
        raise BadActivation(
            f"activation {found.name!r} rises by {float(value[-1] - value[0]):.4g} on [-4, 4] where its slope "
            f"integrates to {float(torch.trapezoid(slope, grid)):.4g}: it jumps, and the limit needs phi'; smooth it"
        )
