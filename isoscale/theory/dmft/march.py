r"""The march through training: one forward and one backward pass a step, no iteration over time.

Legend: R replicas, S neurons, T steps, M points, P training points, C outputs, L blocks; h^0 = W_in x / sqrt D input
fields (R, M, S), w readout (R, C, S), g backward fields (R, m, S) with m = batch x C, omega = eta0 gamma0 p Delta.

    f = <w phi(h^L)> / gamma0,   g^L = w o phi'(h^L),
    h^0_mu += sum_nu Kx[mu, nu] sum_c omega_nu,c g^0_nu,c,   w_c += sum_nu omega_nu,c phi(h^L_nu)

The same march runs finite networks (dense matrices) and the limit (conditioned ones): only the matrices differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isoscale.theory.dmft.blocks import Block
from isoscale.theory.dmft.matrices import BROKEN, Descent
from isoscale.theory.dmft.norms import Norm
from isoscale.theory.dmft.problem import Problem

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True, eq=False)
class Kernels:
    """Neuron averages over all points and steps, index a = (t, mu), t-major; for gradients (t, mu, c).

    `Phi[l]` (R, n, n) is <x x'> of what block l's matrix acts on, `G[l]` <y y'> of what its transpose acts on (for two
    layers a block: inner and outer in turn); `Phi_last` <phi(h^L) phi(h^L)>, `H_last` <h^L h^L>, `G_first` <g^0 g^0>.
    """

    Phi: Sequence[Tensor]
    G: Sequence[Tensor]
    Phi_last: Tensor
    H_last: Tensor
    G_first: Tensor


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Outputs `f` (R, T+1, M, C), training loss (R, T+1), `alive` (R, T+1): false from where a replica diverged."""

    f: Tensor
    loss: Tensor
    alive: Tensor
    kernels: Kernels | None = None

    def diverged_at(self) -> int | None:
        """The first step at which some replica had diverged."""
        lost = ~self.alive.all(0)
        return int(lost.int().argmax()) if bool(lost.any()) else None


@dataclass(eq=False)
class _Ends:
    """Fields kept for the kernels that no matrix holds."""

    h: list[Tensor] = field(default_factory=list)
    phi: list[Tensor] = field(default_factory=list)
    g: list[Tensor] = field(default_factory=list)


def march(
    problem: Problem,
    h0: Tensor,
    readout: Callable[[Tensor], Tensor],
    blocks: Sequence[Block],
    *,
    rates: Tensor | None = None,
    kernels: bool = False,
    progress: Progress | None = None,
) -> Trajectory:
    """Train R replicas for `problem.steps` steps from input fields `h0` (R, M, S).

    `readout(phi(h^L(0)))` returns w at the start (R, C, S): it may look at the features, to centre the outputs.
    `rates` (R,) replaces eta0, one for each replica. A replica whose fields leave all bounds is taken out and its
    outputs from there on are infinite.
    """
    R, M, S = h0.shape
    phi, C, P, T = problem.phi, problem.C, problem.P, problem.steps
    eta = (torch.full((R,), problem.eta0, dtype=torch.float64, device=h0.device) if rates is None else rates).to(h0)
    Kx, p = problem.Kx.to(h0), problem.weights.to(h0)
    inputs = Descent(h0, problem.momentum, problem.decay)
    w: Descent | None = None
    f, alive = h0.new_zeros(R, T + 1, M, C), torch.ones(R, T + 1, dtype=torch.bool, device=h0.device)
    ends, norm = _Ends(), Norm(problem.norm)
    for t in range(T + 1):
        h = inputs.value
        for block in blocks:
            h = block.forward(h)
        n = norm.forward(h)
        features = phi.value(n)
        w = w or Descent(readout(features), problem.momentum, problem.decay)
        f[:, t] = torch.bmm(features, w.value.transpose(1, 2)) / (S * problem.gamma0)
        alive[:, t:] &= (_unbroken(blocks, R, h0) & (f[:, t].abs().amax((1, 2)) < BROKEN))[:, None]
        if kernels:
            ends.h.append(h)
            ends.phi.append(features)
        if t == T:
            break
        batch = p[t].nonzero()[:, 0]
        delta = p[t, batch, None] * problem.residual(f[:, t, :P])[:, batch]
        omega = torch.where(
            alive[:, t, None, None], problem.gamma0 * eta[:, None, None] * delta, torch.zeros_like(delta)
        )
        columns = batch.repeat_interleave(C)
        g = (phi.slope(n, features)[:, batch, None] * w.value[:, None]).reshape(R, -1, S)
        g = norm.backward(g, columns)
        for block in reversed(blocks):
            g = block.backward(g, columns)
        flat = omega.reshape(R, -1)
        factor = problem.factors[t]
        for block in blocks:
            block.learn(flat, columns, factor)
        inputs.push(problem.input_lam * torch.bmm(Kx[:, columns] * flat[:, None, :], g), factor)
        w.push(torch.bmm(omega.transpose(1, 2), features[:, batch]), factor)
        if kernels:
            ends.g.append(g)
        if progress is not None:
            progress(t + 1, T)
    f = torch.where(alive[:, :, None, None], f, torch.inf)
    loss = torch.where(alive, problem.loss_of(torch.where(alive[:, :, None, None], f, 0.0)), torch.inf)
    return Trajectory(f, loss, alive, _kernels(blocks, ends) if kernels else None)


def _unbroken(blocks: Sequence[Block], R: int, like: Tensor) -> Tensor:
    broken = torch.zeros(R, dtype=torch.bool, device=like.device)
    for block in blocks:
        for matrix in block.matrices:
            broken |= matrix.broken
    return ~broken


def _kernels(blocks: Sequence[Block], ends: _Ends) -> Kernels:
    both = [matrix.kernels() for block in blocks for matrix in block.matrices]
    last = [_averages(x) for x in (ends.phi, ends.h, ends.g)]
    return Kernels([x for x, _ in both], [y for _, y in both], *last)


def _averages(fields: list[Tensor]) -> Tensor:
    every = torch.cat(fields, dim=1)
    return torch.bmm(every, every.transpose(1, 2)) / every.shape[-1]
