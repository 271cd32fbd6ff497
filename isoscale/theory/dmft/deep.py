"""Infinite depth for nonlinear networks: extrapolation in 1/L of sampled finite depths, with an error bar.

Legend: L blocks, f outputs at infinite width, c_k coefficients, w weights 1/variance.

    f(L) = f(infinity) + c_1 / L + c_2 / L^2 + ...        (alpha = 1/2: Euler-Maruyama of weak order 1 in dtau = 1/L)

The limit at alpha in (1/2, 1] is a mean-field ODE without initial blocks, the same for every sig_w: it is solved with
sig_w = 0, where only h^0 and w are random and Sobol points apply. Source: docs/theory/dmft.md sections 2 and 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isoscale.theory.dmft.march import Progress
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.dmft.solver import Limit, Sampling, solve_limit
from isoscale.theory.solution import Solution, Status


@dataclass(frozen=True, eq=False)
class DeepLimit:
    """Outputs `f` (T+1, M, C) and `loss` (T+1,) at infinite width and depth; `spread` the standard error of f;
    `depths` and the finite-depth limits `shallow` it was extrapolated from; `slope` (T+1, M, C) is c_1."""

    f: Tensor
    loss: Tensor
    spread: Tensor
    slope: Tensor
    depths: tuple[int, ...]
    shallow: tuple[Limit, ...]


def solve_deep(
    problem: Problem,
    *,
    depths: Sequence[int] = (8, 16, 32),
    sampling: Sampling | None = None,
    memory_limit: float | None = None,
    progress: Progress | None = None,
) -> Solution[DeepLimit]:
    """The joint limit of infinite width and depth, for alpha in [1/2, 1], nonlinear networks included.

    Sampled at every depth of `depths` (at least 2) and extrapolated by least squares in 1/L, independent draws at each
    depth; three or more depths use 1/L and 1/L^2 where the sampling noise allows to see the second term.
    `error`: "sampling" (rms standard error of f), "depth" (rms difference of the fits with and without the highest
    term; how far the extrapolation itself may be off), "f" (both, added in quadrature).
    """
    Ls = sorted(set(depths))
    if len(Ls) < 2 or Ls[0] < 1:
        raise BadProblem(f"depths = {tuple(depths)}: extrapolation needs at least two different depths of 1 or more")
    inner = _at_infinity(problem)
    base = sampling or Sampling(mode="sobol" if inner.sig_w == 0 and inner.layers_per_block == 1 else "srht")
    if base.replicas < 2:
        raise BadProblem("replicas = 1: the error bar of the extrapolation comes from replicas; use at least 2")
    shallow: list[Limit] = []
    for i, L in enumerate(Ls):
        found = solve_limit(inner, L, sampling=replace(base, seed=base.seed + 104729 * i), memory_limit=memory_limit)
        if found.value is None or found.status.kind == "diverged":
            return Solution(None, {}, Status("diverged", f"at depth {L}: {found.status.sentence}"))
        shallow.append(found.value)
        if progress is not None:
            progress(i + 1, len(Ls))
    return _extrapolated(problem, Ls, shallow)


def _at_infinity(problem: Problem) -> Problem:
    """The problem whose depth extrapolation has the same limit and the least noise."""
    if not 0.5 <= problem.alpha <= 1:
        raise BadProblem(
            f"alpha = {problem.alpha}: infinite depth has a limit with learning blocks for alpha in [1/2, 1] only "
            "(below, the stream explodes; above, blocks need a rate growing faster than L)"
        )
    if problem.alpha == 0.5:
        return problem
    if problem.lam is not None:
        raise BadProblem(
            "lam is L^(2 alpha - 1) at infinite depth: leave it None (a fixed one stops the blocks learning)"
        )
    return problem.with_(sig_w=0.0)


def _extrapolated(problem: Problem, Ls: Sequence[int], shallow: Sequence[Limit]) -> Solution[DeepLimit]:
    values = torch.stack([each.f.cpu() for each in shallow])
    noise = _row([float((each.spread**2).mean().sqrt()) for each in shallow])
    inverse = 1 / _row(Ls)
    linear, linear_error = _fit(inverse, values, noise, 1)
    f, error, order = linear, linear_error, 1
    truncation = _rms(linear[0] - values[-1]) * float(inverse[-1] * 2)  # one order less: c_1/L times 2/L
    if len(Ls) > 2:
        quadratic, quadratic_error = _fit(inverse, values, noise, 2)
        gap = _rms(quadratic[0] - linear[0])
        if gap > 2 * quadratic_error:  # the second term is seen above the noise
            f, error, order, truncation = quadratic, quadratic_error, 2, gap * float(inverse[0])
        else:
            truncation = min(truncation, gap)
    spread = torch.full_like(f[0], error)
    loss = problem.loss_of(f[0])
    value = DeepLimit(f[0], loss, spread, f[1], tuple(Ls), tuple(shallow))
    total = float((error**2 + truncation**2) ** 0.5)
    errors = {"sampling": error, "depth": truncation, "f": total}
    size = _rms(f[0])
    if total > 0.1 * size:
        sentence = (
            f"error {total:.2g} exceeds a tenth of the outputs' size {size:.2g}: raise width, or take deeper depths"
        )
        return Solution(value, errors, Status("unconverged", sentence))
    sentence = (
        f"order {order} in 1/L from depths {', '.join(map(str, Ls))}: relative error {total / max(size, 1e-300):.1e}"
    )
    return Solution(value, errors, Status("converged", sentence))


def _fit(inverse: Tensor, values: Tensor, noise: Tensor, order: int) -> tuple[Tensor, float]:
    """Weighted least squares of values (depths, ...) in powers of 1/L: coefficients (order + 1, ...), and the standard
    error of the constant that `noise` (depths,) implies."""
    design = inverse[:, None] ** torch.arange(order + 1, device="cpu")
    weight = 1 / noise.clamp_min(1e-12 * float(values.abs().max().clamp_min(1e-300)))
    solve = torch.linalg.pinv(weight[:, None] * design) * weight
    coefficients = torch.tensordot(solve, values, dims=1)
    return coefficients, float(((solve[0] * noise) ** 2).sum().sqrt())


def _rms(x: Tensor) -> float:
    return float((x * x).mean().sqrt())


def _row(values: Sequence[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64, device="cpu")
