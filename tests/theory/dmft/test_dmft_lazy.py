"""The lazy limit: closed forms against quadrature, both depths against each other, and the rich dynamics towards it."""

import math
from itertools import pairwise

import pytest
import torch

from isoscale.theory.dmft.activations import ACTIVATIONS
from isoscale.theory.dmft.expectations import gaussian_kernels, quadrature
from isoscale.theory.dmft.lazy import lazy_limit
from isoscale.theory.dmft.linear import solve_linear
from isoscale.theory.dmft.problem import BadProblem
from isoscale.theory.dmft.solver import Sampling, solve_limit
from tests.theory.dmft.problems import small


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize(("name", "tolerance"), [("linear", 1e-13), ("erf", 1e-13), ("relu", 2e-2)])
def test_closed_forms_are_the_integrals(name: str, tolerance: float) -> None:
    phi, Sigma = ACTIVATIONS[name], small().Kx
    closed = gaussian_kernels(phi, Sigma)
    integrals = quadrature(phi, Sigma, 101 if name != "relu" else 1001)
    assert all(float((a - b).abs().max()) < tolerance for a, b in zip(closed, integrals))


def test_quadrature_of_tanh_has_converged() -> None:
    phi, Sigma = ACTIVATIONS["tanh"], small().Kx
    assert all(float((a - b).abs().max()) < 1e-12 for a, b in zip(quadrature(phi, Sigma), quadrature(phi, Sigma, 201)))


@pytest.mark.parametrize("name", ["tanh", "relu", "erf"])
def test_depth_error_of_the_tangent_kernel_is_first_order(name: str) -> None:
    problem = small(activation=name, sig_w=0.8)
    deep = lazy_limit(problem, math.inf).require().K
    errors = [relative(lazy_limit(problem, L).require().K, deep) for L in (16, 32, 64)]
    assert errors[2] < 0.01
    assert all(-1.1 < math.log2(b / a) < -0.85 for a, b in pairwise(errors))


def test_linear_infinite_depth_in_closed_form() -> None:
    problem = small(activation="linear", beta0=0.7)
    K = lazy_limit(problem, math.inf).require().K
    assert relative(K, problem.Kx * math.exp(0.49) * (2 + 0.49)) < 1e-8
    ode = lazy_limit(problem.with_(alpha=1.0), math.inf).require().K
    assert relative(ode, problem.Kx * (2 + 0.49)) < 1e-8


def test_rich_dynamics_tend_to_lazy_ones_as_gamma0_squared() -> None:
    problem = small(activation="linear", momentum=0.3, eta0=0.15)
    limit = lazy_limit(problem, 4).require().f
    gaps = [relative(solve_linear(problem.with_(gamma0=g), 4).require().f, limit) for g in (0.02, 0.04)]
    assert 1.95 < math.log2(gaps[1] / gaps[0]) < 2.05
    wrong = lazy_limit(problem.with_(lam=1.05), 4).require().f
    assert relative(wrong, limit) > 10 * gaps[0]


def test_sampled_nonlinear_dynamics_tend_to_lazy_ones() -> None:
    problem = small(activation="erf", gamma0=0.02, C=2)
    limit = lazy_limit(problem, 3).require().f
    found = solve_limit(problem, 3, sampling=Sampling(4096, 4)).value
    assert found is not None
    assert relative(found.f, limit) < 0.02


def test_too_large_a_step_and_what_is_not_covered() -> None:
    assert lazy_limit(small(eta0=50.0), 3).status.kind == "diverged"
    with pytest.raises(BadProblem):
        lazy_limit(small(biases=True), 3)
    with pytest.raises(BadProblem):
        lazy_limit(small(alpha=0.2), math.inf)
