"""Finite networks: R of them at once by batched products, dense weights, the problem's training rule.

Legend: R networks, L blocks, N width, D input dimension, C outputs, W_in (R, N, D), w (R, C, N), blocks (R, N, N).
These are the networks that the limit speaks of, by hand-written backpropagation; `oracles.autograd_networks` trains
the same ones by automatic differentiation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isoscale.theory.dmft.blocks import Bias, Block, OneLayer, TwoLayer
from isoscale.theory.dmft.march import Progress, Trajectory, march
from isoscale.theory.dmft.matrices import Dense, Matrix
from isoscale.theory.dmft.norms import Norm
from isoscale.theory.dmft.planning import check_numbers
from isoscale.theory.dmft.problem import BadProblem, Problem


@dataclass(frozen=True, eq=False)
class Weights:
    """Initial weights of R networks: `W_in` (R, N, D), `blocks` L tuples of one or two (R, N, N), `w` (R, C, N)."""

    W_in: Tensor
    blocks: Sequence[tuple[Tensor, ...]]
    w: Tensor


def draw(problem: Problem, L: int, N: int, networks: int, seed: int = 0) -> Weights:
    """Gaussian weights: std 1 for W_in, w and the first of two layers, sig_w for the blocks' (outer) layer."""
    generator = torch.Generator("cpu").manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(networks, *shape, generator=generator, dtype=torch.float64, device="cpu").to(
            problem.X.device
        )

    inner = range(problem.layers_per_block - 1)
    blocks = [(*(normal(N, N) for _ in inner), problem.sig_w * normal(N, N)) for _ in range(L)]
    return Weights(normal(N, problem.X.shape[1]), blocks, normal(problem.C, N))


def block_of(problem: Problem, L: int, matrices: Sequence[Matrix], like: Tensor, b: float | None = None) -> Block:
    """A block of an L-block network on these matrices; `b` replaces the branch scale beta0 L^-alpha."""
    scale = problem.b(L) if b is None else b
    bias = Bias(like if problem.biases else None, problem.momentum, problem.decay)
    if problem.layers_per_block == 1:
        return OneLayer(matrices[0], bias, Norm(problem.norm), problem.phi, scale, problem.block_rate(L))
    rates = problem.block_rate(L), problem.inner_rate(L)
    return TwoLayer(matrices[0], matrices[1], bias, Norm(problem.norm), problem.phi, scale, *rates)


def train_networks(
    problem: Problem,
    depth: int,
    width: int,
    networks: int = 1,
    *,
    seed: int = 0,
    weights: Weights | None = None,
    rates: Tensor | None = None,
    centred: bool = False,
    branch: float | None = None,
    kernels: bool = False,
    progress: Progress | None = None,
) -> Trajectory:
    """Train `networks` networks of `depth` blocks and `width` neurons, each from its own draw; float64.

    `weights` replaces the draw; `rates` (R,) are learning rates eta0 one for each; `branch` replaces b = beta0
    L^-alpha; `centred` projects w off the initial features, so that f = 0 at the start. Memory: 2 R L N^2 numbers.
    Raises `BadProblem` for sizes below 1.
    """
    if min(depth, width, networks) < 1:
        raise BadProblem(f"depth = {depth}, width = {width}, networks = {networks} must be at least 1")
    if weights is None:
        check_numbers(
            2.0 * networks * depth * problem.layers_per_block * width**2,
            f"depth = {depth}, width = {width}, networks = {networks}",
            "dense weights grow as width^2; train fewer at once, or sample them in law: solve_limit with mode='iid'",
        )
    drawn = draw(problem, depth, width, networks, seed) if weights is None else weights
    h0 = (drawn.W_in @ problem.points.T / problem.points.shape[1] ** 0.5).transpose(1, 2)
    blocks = [
        block_of(problem, depth, [Dense(W, problem.momentum, problem.decay) for W in pair], h0, branch)
        for pair in drawn.blocks
    ]
    readout = (lambda phi: centre(drawn.w, phi)) if centred else (lambda phi: drawn.w)
    return march(problem, h0, readout, blocks, rates=rates, kernels=kernels, progress=progress)


def centre(w: Tensor, features: Tensor) -> Tensor:
    """w (R, C, S) made orthogonal to the features (R, M, S), with <w w> = 1 restored: then f = 0 as in the limit."""
    S = w.shape[-1]
    orthonormal = torch.linalg.svd(features, full_matrices=False)
    scale = orthonormal.S.amax(-1, keepdim=True)
    rows = orthonormal.Vh * (scale * 1e-10 < orthonormal.S)[:, :, None]
    rest = w - (w @ rows.transpose(1, 2)) @ rows
    norm = (rest * rest).mean(-1, keepdim=True).sqrt()
    if not bool((norm > 0.1).all()):
        raise BadProblem(
            f"width {S} leaves no room for a readout orthogonal to {features.shape[1]} features: "
            "raise the width or use center=False"
        )
    return rest / norm
