"""The page docs/theory/responses.md, where it needs no long run: the first step at infinite depth, by hand."""

import math

import pytest
import torch

from isoscale.theory.dmft.linear import solve_linear
from isoscale.theory.dmft.network import train_networks
from isoscale.theory.dmft.riccati import solve_linear_deep
from tests.theory.dmft.problems import small


@pytest.mark.parametrize("beta0", [0.5, 1.0])
def test_the_first_step_is_the_tangent_kernel_and_without_responses_it_is_not(beta0: float) -> None:
    problem = small(activation="linear", steps=1, gamma0=1e-3, beta0=beta0)
    push = problem.eta0 * problem.Kx[:, : problem.P] @ (problem.Y / problem.P)
    full = solve_linear_deep(problem).require().f[1]
    truncated = solve_linear_deep(problem, response=False).require().f[1]
    growth = math.exp(beta0**2)
    assert torch.allclose(full, (2 + beta0**2) * growth * push, rtol=1e-5)
    assert torch.allclose(truncated, 2 * growth * push, rtol=1e-5)


def test_dense_networks_take_the_full_step() -> None:
    problem = small(activation="linear", steps=1, gamma0=0.05)
    full, truncated = (solve_linear(problem, 16, response=r).require().f[1] for r in (True, False))
    nets = train_networks(problem, 16, 128, 48, centred=True).f[:, 1]
    share = (nets * full).sum((1, 2)) / (full**2).sum()
    mean, se = float(share.mean()), float(share.std() / len(share) ** 0.5)
    assert abs(mean - 1) < 4 * se
    assert abs(mean - float((truncated * full).sum() / (full**2).sum())) > 10 * se
