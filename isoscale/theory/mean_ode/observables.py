"""What moves in a trained block: the local update of the pre-activations, and how far the block is from linear.

Legend: u, v weights of hidden units (..., J, D) after training and u0, v0 before, h stream (..., n, D) after training,
p0 = u0.h/D, dp = (u - u0).h/D; mean over units, points and layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isoscale.theory.mean_ode.network import Net, forward, initial, train
from isoscale.theory.mean_ode.setting import Setting


@dataclass(frozen=True, eq=False)
class Motion:
    """Per net (R,): `update` rms(dp), `move` rms(dp)/rms(p0), `nonlinearity` |change of v rho(p) beyond first order|
    over |first order| at the same stream, `start` rms(h^L - h^0) at initialisation, `loss` after training."""

    update: Tensor
    move: Tensor
    nonlinearity: Tensor
    start: Tensor
    loss: Tensor


def block_motion(
    setting: Setting, u0: Tensor, v0: Tensor, u: Tensor, v: Tensor, h: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums over units and points of dp^2, p0^2, |second order|^2, |first order|^2; u, v (..., J, D), h (..., n, D)."""
    ht, D = h.transpose(-1, -2), setting.D
    p0, dp = u0 @ ht / D, (u - u0) @ ht / D
    a0 = setting.rho.value(p0)
    rise = setting.rho.value(p0 + dp) - a0
    first = setting.rho.slope(p0, a0) * dp
    dv = v - v0
    # |x dv + y v0|^2 for scalars x, y a unit and point, without forming the vectors.
    vv, vd, dd = ((x * y).sum(-1, keepdim=True) for x, y in ((v0, v0), (dv, v0), (dv, dv)))

    def squared(x: Tensor, y: Tensor) -> Tensor:
        return (x * x * dd + 2 * x * y * vd + y * y * vv).sum((-1, -2))

    return (dp * dp).sum((-1, -2)), (p0 * p0).sum((-1, -2)), squared(rise, rise - first), squared(a0, first)


def motion(setting: Setting, nets: Sequence[Net], steps: int, dtype: torch.dtype = torch.float32) -> Motion:
    """Train `nets` (all of one shape) for `steps` steps and measure what moved."""
    start = initial(setting, nets, dtype)
    first = forward(setting, nets, start).h
    out = train(setting, nets, steps, dtype=dtype, weights=type(start)(start.U.clone(), start.V.clone()))
    h = forward(setting, nets, out.weights).h[:-1]
    sums = [x.double().sum(0) for x in block_motion(setting, *start, *out.weights, h)]
    count = nets[0].L * nets[0].M * setting.n
    dp, p0, second, linear = sums
    return Motion(
        (dp / count).sqrt(),
        (dp / p0).sqrt(),
        (second / linear).sqrt(),
        ((first[-1] - first[0]).double() ** 2).mean((-1, -2)).sqrt(),
        out.loss[-1],
    )
