"""Three solvers of the linear limit that share no step: the march over time, the stacked fixed point, and sampling with
orthonormal fields; and infinite depth against finite depths."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from isoscale.theory.dmft import solver
from isoscale.theory.dmft.blocks import Block
from isoscale.theory.dmft.linear import solve_linear
from isoscale.theory.dmft.network import block_of
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.dmft.riccati import solve_linear_deep
from isoscale.theory.dmft.solver import Sampling, sample_networks, solve_limit
from tests.theory.dmft.problems import small
from tests.theory.dmft.stacked import stacked_linear

BATCHES = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [1.0, 0, 0, 0], [0.25] * 4, [0, 0.5, 0.5, 0]]).double()
CASES = {
    "plain": {},
    "weak noise, fast blocks": {"sig_w": 0.7, "lam": 2.0, "gamma0": 0.5},
    "neural ODE": {"alpha": 1.0},
    "zero init": {"sig_w": 0.0},
    "momentum": {"momentum": 0.5, "eta0": 0.1},
    "minibatches": {"batches": BATCHES},
    "logistic": {"loss": "logistic"},
}


def linear(**changes: object) -> Problem:
    return small(**{"activation": "linear", "eta0": 0.2, **changes})


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", CASES)
def test_the_march_equals_sampling_with_orthonormal_fields(name: str) -> None:
    problem = linear(**CASES[name])
    exact = solve_linear(problem, 3).require()
    trajectory, _, source = sample_networks(
        problem, 3, Sampling(width=512, replicas=1, mode="srht", drop=1e-11), kernels=True
    )
    assert source.sentence() == ""
    assert relative(trajectory.f[0], exact.f) < 1e-9
    kernels = trajectory.kernels
    assert kernels is not None
    assert relative(kernels.H_last[0], exact.H[-1]) < 1e-9
    if name != "minibatches":  # there the march holds g at every step, sampling one column for each point of the batch
        T, P = problem.steps, problem.P
        assert relative(kernels.G[1][0].reshape(T, P, T, P)[:, 0, :, 0], exact.G[2]) < 1e-9


@pytest.mark.parametrize("name", ["plain", "weak noise, fast blocks", "zero init"])
def test_the_march_equals_the_stacked_fixed_point(name: str) -> None:
    problem = linear(**CASES[name], steps=4)
    exact = solve_linear(problem, 3).require()
    f, H, G = stacked_linear(problem, 3)
    for found, expected in ((exact.f[:, :, 0], f), (exact.H, H), (exact.G, G)):
        assert np.abs(found.numpy() - expected).max() < 1e-9


def test_the_comparison_sees_dropped_responses_and_a_missing_block() -> None:
    problem = linear()
    exact = solve_linear(problem, 3).require().f
    assert relative(solve_linear(problem, 3, response=False).require().f, exact) > 1e-2
    assert relative(solve_linear(problem, 2, branch=problem.b(3)).require().f, exact) > 1e-2


def test_a_gradient_paired_with_the_wrong_layer_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted:
        """Learns with g^l where g^{l+1} belongs: the commonest mistake."""

        def __init__(self, block: Block) -> None:
            self._block, self.matrices = block, block.matrices
            self.forward, self.learn = block.forward, block.learn

        def backward(self, g: Tensor, columns: Tensor) -> Tensor:
            out = self._block.backward(g, columns)
            self.matrices[0].backward(out)
            return out

    monkeypatch.setattr(solver, "block_of", lambda *args: Shifted(block_of(*args)))
    problem = linear()
    wrong = sample_networks(problem, 3, Sampling(width=512, replicas=1, drop=1e-11))[0].f[0]
    assert relative(wrong, solve_linear(problem, 3).require().f) > 1e-3


@pytest.mark.parametrize("name", ["plain", "neural ODE", "zero init", "momentum", "logistic"])
def test_infinite_depth_is_the_extrapolation_of_finite_depths(name: str) -> None:
    problem = linear(**CASES[name])
    finite = problem.with_(sig_w=0.0) if name == "neural ODE" else problem
    a, b, c = (solve_linear(finite, L).require().f for L in (32, 64, 128))
    once, twice = 2 * c - b, ((8 * c - 6 * b + a) / 3)
    deep = solve_linear_deep(problem).require().f
    errors = [relative(f, deep) for f in (c, once, twice)]
    assert errors[2] < 1e-4
    assert errors[2] < 0.2 * errors[1] < 0.04 * errors[0]


def test_depth_error_is_first_order_and_responses_survive_depth() -> None:
    problem = linear(eta0=0.1)
    deep = solve_linear_deep(problem).require().f
    errors = [relative(solve_linear(problem, L).require().f, deep) for L in (16, 32, 64)]
    assert all(1.8 < a / b < 2.1 for a, b in pairwise(errors))
    without = solve_linear_deep(problem, response=False).require().f
    assert 0.02 < relative(without, deep) < 0.3


def test_overflow_and_slow_blowup_are_results() -> None:
    fast = solve_linear(linear(eta0=30.0, steps=12), 4)
    assert fast.status.kind == "diverged"
    assert fast.value is not None
    assert bool(torch.isfinite(fast.value.f).all())
    assert solve_linear_deep(linear(eta0=30.0, steps=12)).status.kind == "diverged"


@pytest.mark.parametrize("wrong", [{"activation": "tanh"}, {"C": 2}, {"biases": True}, {"layers_per_block": 2}])
def test_what_the_closed_equations_do_not_cover_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadProblem, match="use solve_limit"):
        solve_linear(linear(**wrong), 2)


def test_infinite_depth_needs_a_scaling_with_a_limit() -> None:
    for wrong in ({"alpha": 0.0}, {"alpha": 1.0, "lam": 1.0}):
        with pytest.raises(BadProblem):
            solve_linear_deep(linear(**wrong))


def test_repeated_points_are_no_trouble() -> None:
    """A point given twice is the same as one point of twice the weight."""
    base = linear(probes=None)
    X, Y = torch.cat([base.X, base.X[:1]]), torch.cat([base.Y, base.Y[:1]])
    repeated = Problem(X, Y, 5, 0.2, activation="linear")
    weights = torch.tensor([2.0, 1, 1, 1]).double().expand(5, 4) / 5
    expected = solve_linear(base.with_(batches=weights), 3).require().f
    assert relative(solve_linear(repeated, 3).require().f[:, :4], expected) < 1e-12
    sampled = solve_limit(repeated, 3, sampling=Sampling(width=512, replicas=1, drop=1e-10)).value
    assert sampled is not None
    assert relative(sampled.f[:, :4], expected) < 1e-8
