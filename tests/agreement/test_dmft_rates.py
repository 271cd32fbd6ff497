"""Rates of the width-and-depth limit, each inside its interval on both sides; the long versions are in bench/."""

import math

import numpy as np
import torch

from isoscale.theory.dmft.lazy import lazy_limit
from isoscale.theory.dmft.linear import solve_linear
from isoscale.theory.dmft.network import train_networks
from isoscale.theory.dmft.problem import Problem
from isoscale.theory.dmft.solver import Sampling, sample_networks, solve_limit
from tests.theory.dmft.problems import small


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def slope(x: list[int], y: list[float]) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def test_the_error_of_networks_falls_as_the_root_of_width() -> None:
    problem, Ns = small(activation="linear", eta0=0.2), [32, 128, 512]
    exact = solve_linear(problem, 4).require().f
    errors = []
    for N in Ns:
        f = sample_networks(problem, 4, Sampling(N, 60, "iid", center=False, drop=1e-8, seed=N))[0].f
        errors.append(math.sqrt(np.mean([relative(each, exact) ** 2 for each in f])))
    assert -0.6 < slope(Ns, errors) < -0.4
    wrong = solve_linear(problem, 4, response=False).require().f
    misled = [math.sqrt(np.mean([relative(each, wrong) ** 2 for each in f]))]
    assert misled[0] > 1.5 * errors[-1]  # against the theory without responses the error stops falling


def test_wide_dense_networks_are_near_the_nonlinear_limit() -> None:
    problem = small(activation="tanh", steps=8, eta0=0.5)
    limit = solve_limit(problem, 6, sampling=Sampling(2048, 4)).require().f
    wrong = sample_networks(problem, 6, Sampling(2048, 4, response=False))[0].f.mean(0)
    nets = train_networks(problem, 6, 512, 6, centred=True).f
    assert relative(nets.mean(0), limit) < 0.05
    assert relative(nets.mean(0), wrong) > 2 * relative(nets.mean(0), limit)


def test_sampled_kernels_at_the_start_are_the_recursion() -> None:
    problem, L = small(activation="relu", steps=1, probes=None), 2
    K = lazy_limit(problem, L).require().K
    kernels = sample_networks(problem, L, Sampling(8192, 8), kernels=True)[0].kernels
    assert kernels is not None
    P = problem.P
    found = kernels.Phi_last[:, :P, :P] + kernels.G_first * problem.Kx
    shifted = found.clone()
    for l, (Phi, G) in enumerate(zip(kernels.Phi, kernels.G)):
        found = found + problem.b(L) ** 2 * G * Phi[:, :P, :P]
        neighbour = kernels.Phi[l + 1] if l + 1 < L else kernels.Phi_last
        shifted = shifted + problem.b(L) ** 2 * G * neighbour[:, :P, :P]
    assert relative(found.mean(0), K) < 0.015
    assert relative(shifted.mean(0), K) > 0.03  # phi(h^{l+1}) paired with g^{l+1}: off by one


def movement(problem: Problem, L: int) -> float:
    H, M = solve_linear(problem, L).require().H[-1], problem.M
    return relative(H[-M:, -M:], H[:M, :M])


def test_features_move_at_any_depth_unless_the_block_rate_is_wrong() -> None:
    problem = small(activation="linear", eta0=0.1, steps=6)
    assert 0.97 < movement(problem, 256) / movement(problem, 64) < 1.03
    frozen = problem.with_(alpha=1.0, lam=1.0)
    assert movement(frozen, 128) < 0.7 * movement(frozen, 4)


def best_log2(problem: Problem, L: int, low: float) -> float:
    grid = np.arange(low, 1.6, 0.5)
    found = [solve_linear(problem.with_(eta0=2.0**x), L).value for x in grid]
    losses = [float(v.loss[-1]) if v and len(v.loss) == problem.steps + 1 else math.inf for v in found]
    return float(grid[int(np.argmin(losses))])


def test_the_best_rate_transfers_over_depth_and_not_for_unscaled_blocks() -> None:
    scaled = small(activation="linear", steps=8, probes=None)
    unscaled = scaled.with_(alpha=0.0, lam=1.0)
    assert abs(best_log2(scaled, 16, -4) - best_log2(scaled, 2, -4)) <= 1
    assert best_log2(unscaled, 2, -4) - best_log2(unscaled, 16, -11) >= 3
