"""Slow and obvious: networks trained by automatic differentiation. For tests and documentation.

Legend: see problem.py and network.py.
"""

import torch
from torch import Tensor

from isoscale.theory.dmft.network import Weights
from isoscale.theory.dmft.problem import Problem


def autograd_networks(problem: Problem, depth: int, weights: Weights) -> Tensor:
    """Outputs f (R, T+1, M, C) of the same networks, every gradient by torch.autograd, one update a line."""
    N, D = weights.W_in.shape[1:]
    b, lam = problem.b(depth), problem.block_rate(depth)
    two = problem.layers_per_block == 2
    block_rates = [problem.inner_rate(depth), lam] if two else [lam]
    parameters = [weights.W_in, weights.w, *(W for pair in weights.blocks for W in pair)]
    rates = [problem.input_lam, 1.0, *(rate for _ in weights.blocks for rate in block_rates)]
    if problem.biases:
        parameters += [torch.zeros_like(weights.w[:, 0]) for _ in weights.blocks]
        rates += [lam for _ in weights.blocks]
    parameters = [parameter.clone().requires_grad_(True) for parameter in parameters]
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    outputs = []
    for t in range(problem.steps + 1):
        f = _forward(problem, depth, parameters, b, N, D)
        outputs.append(f.detach())
        if t == problem.steps:
            break
        gradients = torch.autograd.grad(_objective(problem, f, problem.weights[t]), parameters)
        with torch.no_grad():
            for parameter, velocity, rate, gradient in zip(parameters, velocities, rates, gradients):
                step = -problem.eta0 * problem.gamma0**2 * N * rate * gradient
                velocity.mul_(problem.momentum).add_(step - problem.decay * parameter)
                parameter.add_(velocity, alpha=problem.factors[t])
    return torch.stack(outputs, dim=1)


def _forward(problem: Problem, depth: int, parameters: list[Tensor], b: float, N: int, D: int) -> Tensor:
    layers = problem.layers_per_block
    W_in, w, *rest = parameters
    blocks, biases = rest[: depth * layers], rest[depth * layers :]
    phi = problem.phi.value
    h = problem.points @ W_in.transpose(1, 2) / D**0.5
    for l in range(depth):
        if layers == 1:
            branch = phi(_norm(problem, h)) @ blocks[l].transpose(1, 2) / N**0.5
        else:
            k = _norm(problem, h) @ blocks[2 * l].transpose(1, 2) / N**0.5
            branch = phi(k) @ blocks[2 * l + 1].transpose(1, 2) / N**0.5
        h = h + b * (branch + biases[l][:, None, :] if biases else branch)
    return phi(_norm(problem, h)) @ w.transpose(1, 2) / (problem.gamma0 * N)


def _norm(problem: Problem, h: Tensor) -> Tensor:
    if problem.norm == "none":
        return h
    rest = h - h.mean(-1, keepdim=True) if problem.norm == "layer" else h
    return rest / (rest * rest).mean(-1, keepdim=True).sqrt()


def _objective(problem: Problem, f: Tensor, p: Tensor) -> Tensor:
    """Sum over networks of sum_mu p_mu loss_mu."""
    f, Y = f[:, : problem.P], problem.Y
    if problem.loss == "mse":
        each = 0.5 * ((Y - f) ** 2).sum(-1)
    elif problem.loss == "logistic":
        each = torch.log1p(torch.exp(-Y * f)).sum(-1)
    else:
        each = -(Y * (f - torch.logsumexp(f, -1, keepdim=True))).sum(-1)
    return (each * p).sum()
