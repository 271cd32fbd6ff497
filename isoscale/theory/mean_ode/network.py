"""Finite two-layer-perceptron ResNets, many at once: R nets x L layers x M units x D, by hand-written bmm.

Legend: see setting.py. U, V (L, R, M, D); h (L+1, R, n, D); a = rho(p), slope = rho'(p) (L, R, M, n).
Shapes may differ from net to net: units and layers that a net lacks are zero, and with an odd activation they stay
exactly zero, because a zero unit has a = q = 0 and so no gradient.

    b^L = W_U (f - y)/(n dout),  q_j = v_j.b^l/D,  b^{l-1} = b^l + (alpha/(L M)) sum_j u_j rho'(p_j) q_j
    u_j <- u_j - (eta_u/alpha) sum_i rho'(p_ij) q_ij h_i^{l-1},   v_j <- v_j - (eta_v/alpha) sum_i rho(p_ij) b_i^l
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from isoscale.theory.mean_ode.setting import BadSetting, Setting


@dataclass(frozen=True)
class Net:
    """One net: L layers of M hidden units and a seed; the scales, where not None, replace the setting's."""

    L: int
    M: int
    seed: int = 0
    alpha: float | None = None
    sigma_u: float | None = None
    sigma_v: float | None = None
    eta_u: float | None = None
    eta_v: float | None = None

    def __post_init__(self) -> None:
        if self.L < 1 or self.M < 1:
            raise BadSetting(f"L = {self.L}, M = {self.M}: a net has at least one layer of one unit")


class Weights(NamedTuple):
    """U and V, each (L, R, M, D)."""

    U: Tensor
    V: Tensor


class Pass(NamedTuple):
    """A forward pass: `f` (R, n, dout), `h` (L+1, R, n, D), `a` and `slope` (L, R, M, n)."""

    f: Tensor
    h: Tensor
    a: Tensor
    slope: Tensor


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trained nets: `steps` recorded (T,), `f` (T, R, n, dout), `h` (T, R, n, D) the last layer's stream, `loss`
    (K+1, R) (inf from where a net diverged), and the final `weights`."""

    nets: tuple[Net, ...]
    steps: tuple[int, ...]
    f: Tensor
    h: Tensor
    loss: Tensor
    weights: Weights


def scale_of(setting: Setting, nets: Sequence[Net], name: str, like: Tensor) -> Tensor:
    """The nets' values of alpha, sigma_u, sigma_v, eta_u or eta_v, shape (R, 1, 1)."""
    default = {"sigma_u": setting.std_u, "sigma_v": setting.std_v}.get(name) if name.startswith("sigma") else None
    values = [getattr(net, name) if getattr(net, name) is not None else default for net in nets]
    chosen = [getattr(setting, name) if value is None else value for value in values]
    return torch.tensor(chosen, dtype=torch.float64).to(like).view(-1, 1, 1)


def initial(setting: Setting, nets: Sequence[Net], dtype: torch.dtype = torch.float32) -> Weights:
    """Fresh weights. A net's draw depends on (seed, L, M, D) alone: not on its batch, nor on the dtype."""
    L, M, D = max(net.L for net in nets), max(net.M for net in nets), setting.D
    if not setting.rho.odd and any((net.L, net.M) != (L, M) for net in nets):
        raise BadSetting(
            f"activation {setting.activation!r} is not odd: zero units would get gradients, so shapes cannot be "
            "padded; train nets of one shape per call"
        )
    U, V = (torch.zeros(L, len(nets), M, D, dtype=dtype, device=setting.X.device) for _ in range(2))
    su, sv = (scale_of(setting, nets, name, setting.X).flatten().tolist() for name in ("sigma_u", "sigma_v"))
    for r, net in enumerate(nets):
        entropy = np.random.SeedSequence([net.seed, net.L, net.M, D]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(entropy >> np.uint64(1)))
        shape = (net.L, net.M, D)
        U[: net.L, r, : net.M] = (su[r] * torch.randn(shape, generator=generator, dtype=torch.float64)).to(U)
        if setting.law == "normal":
            v = torch.randn(shape, generator=generator, dtype=torch.float64)
        else:
            v = setting.v_law.sample(torch.rand(shape, generator=generator, dtype=torch.float64), 0)
        V[: net.L, r, : net.M] = (sv[r] * v).to(V)
    return Weights(U, V)


def forward(setting: Setting, nets: Sequence[Net], weights: Weights) -> Pass:
    """The forward pass of all nets; `h` holds every layer."""
    U, V = weights
    L, R, M, D = U.shape
    factor = scale_of(setting, nets, "alpha", U) / torch.tensor([net.L * net.M for net in nets]).to(U).view(-1, 1, 1)
    h = U.new_empty(L + 1, R, setting.n, D)
    a = U.new_empty(L, R, M, setting.n)
    slope = torch.empty_like(a)
    h[0] = (setting.W_E @ setting.X.T).T.to(U)
    for l in range(L):
        p = torch.bmm(U[l], h[l].transpose(1, 2)).mul_(1 / D)
        a[l] = setting.rho.value(p)
        slope[l] = setting.rho.slope(p, a[l])
        torch.add(h[l], torch.bmm(a[l].transpose(1, 2), V[l]).mul_(factor), out=h[l + 1])
    return Pass(h[L] @ setting.W_U.to(U) / D, h, a, slope)


def descend(setting: Setting, nets: Sequence[Net], weights: Weights, seen: Pass) -> None:
    """One step of gradient descent on all nets, in place: U and V move together, each by the old values of both."""
    U, V = weights
    L, D = U.shape[0], U.shape[3]
    alpha, eta_u, eta_v = (scale_of(setting, nets, name, U) for name in ("alpha", "eta_u", "eta_v"))
    factor = alpha / torch.tensor([net.L * net.M for net in nets]).to(U).view(-1, 1, 1)
    move_u, move_v = -eta_u / alpha, -eta_v / alpha
    b = (seen.f - setting.Y.to(U)) @ setting.W_U.to(U).T / (setting.n * setting.dout)
    for l in range(L - 1, -1, -1):
        sq = torch.bmm(V[l], b.transpose(1, 2)).mul_(seen.slope[l]).mul_(1 / D)
        V[l].baddbmm_(seen.a[l] * move_v, b)
        b = b + torch.bmm(sq.transpose(1, 2), U[l]).mul_(factor)
        U[l].baddbmm_(sq.mul_(move_u), seen.h[l])


def train(
    setting: Setting,
    nets: Sequence[Net],
    steps: int,
    *,
    record: Iterable[int] | None = None,
    dtype: torch.dtype = torch.float32,
    weights: Weights | None = None,
) -> Ensemble:
    """Train `nets` together for `steps` steps; f and h are kept at the steps of `record` (default: the last).

    Deterministic: a net's numbers in float64 do not depend on what it is batched with (up to rounding of padding).
    A diverged net has infinite loss and non-finite f from that step on; its neighbours are untouched.
    """
    if not nets:
        raise BadSetting("no nets to train: give at least one Net(L, M)")
    wanted = sorted({steps} if record is None else set(record))
    if wanted and (wanted[0] < 0 or wanted[-1] > steps):
        raise BadSetting(f"record = {wanted} must lie in 0..{steps}")
    weights = initial(setting, nets, dtype) if weights is None else weights
    f, h, loss = [], [], []
    for k in range(steps + 1):
        seen = forward(setting, nets, weights)
        loss.append(setting.loss(seen.f.double()).nan_to_num(nan=torch.inf))
        if k in wanted:
            f.append(seen.f)
            h.append(seen.h[-1].clone())
        if k < steps:
            descend(setting, nets, weights, seen)
    return Ensemble(tuple(nets), tuple(wanted), torch.stack(f), torch.stack(h), torch.stack(loss), weights)


def batches(nets: Sequence[Net], setting: Setting, memory: float = 2e8) -> list[list[int]]:
    """Indices of `nets` grouped for training together: equal shapes, and smaller ones padded to them where that is
    cheaper than a pass of their own. `memory` bounds the floats held by one batch.

    The cost of a layer is a constant (the calls) plus its arithmetic; the constant is worth about 30k
    multiply-adds of a product U.h (bench/mean_ode_batch.py), which decides what padding is worth.
    """
    ragged = setting.rho.odd
    width = 2 * setting.D + 2 * setting.n
    order = sorted(range(len(nets)), key=lambda i: (-nets[i].L, -nets[i].M))
    groups: list[list[int]] = []
    for i in order:
        net = nets[i]
        best = None
        for g, group in enumerate(groups):
            L, M = nets[group[0]].L, max(nets[j].M for j in group)
            same = all((nets[j].L, nets[j].M) == (net.L, net.M) for j in (group[0], group[-1]))
            room = L * (len(group) + 1) * max(M, net.M) * width <= memory
            if room and (same or (ragged and _worth(setting, L, M, len(group), net))):
                best = g
                break
        if best is None:
            groups.append([i])
        else:
            groups[best].append(i)
    return groups


CALL = 30_000.0


def _worth(setting: Setting, L: int, M: int, R: int, net: Net) -> bool:
    """Whether padding `net` into a batch of R nets of shape (L, M) costs less than starting a batch for it."""
    work = setting.n * setting.D
    padded = L * (max(M, net.M) * (R + 1) - M * R) * work
    alone = net.L * (CALL + net.M * work)
    return padded <= alone
