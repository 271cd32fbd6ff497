"""The one-pass solver has the exact law of a finite network: ensembles of narrow networks against dense training.

At N = 24 every matrix meets more fields than it has rows, so finite-width effects of every order are large. Means and
second moments of all outputs are compared, gated at |z| < 4.5 with one more try on fresh seeds; each kind of mistake
that the solver could make is made on purpose and must be seen.
"""

import pytest
import torch
from torch import Tensor

from isoscale.theory.dmft.network import train_networks
from isoscale.theory.dmft.problem import Problem
from isoscale.theory.dmft.solver import Sampling, sample_networks
from tests.theory.dmft.problems import small

N, L, R = 24, 3, 1500
GATE = 4.5
BATCHES = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [1.0, 0, 0, 0], [0.25] * 4, [0, 0.5, 0.5, 0]]).double()
CASES = {
    "tanh": {},
    "relu": {"activation": "relu"},
    "linear": {"activation": "linear", "eta0": 0.2},
    "momentum": {"momentum": 0.5, "eta0": 0.2},
    "minibatches": {"batches": BATCHES},
    "neural ODE": {"alpha": 1.0},
    "zero init": {"sig_w": 0.0},
    "logistic": {"loss": "logistic", "activation": "relu"},
    "softmax": {"loss": "softmax", "C": 3},
    "three outputs": {"C": 3},
    "two layers": {"layers_per_block": 2},
    "layer norm": {"norm": "layer", "activation": "relu"},
    "rms norm, schedule": {"norm": "rms", "schedule": torch.linspace(1, 0.2, 5)},
    "decay and biases": {"decay": 0.1, "biases": True, "momentum": 0.3},
}


def largest_z(problem: Problem, seed: int, depth: int = L, response: bool = True) -> float:
    sampling = Sampling(width=N, replicas=R, mode="iid", center=False, drop=1e-10, seed=seed, response=response)
    ours = sample_networks(problem, depth, sampling, branch=problem.b(L))[0].f.flatten(1)
    dense = train_networks(problem, L, N, R, seed=seed + 10**6).f.flatten(1)
    return max(_z(ours, dense), _z(ours**2, dense**2))


def _z(a: Tensor, b: Tensor) -> float:
    moving = b.var(0) > 1e-20
    z = (a.mean(0) - b.mean(0)) / ((a.var(0) + b.var(0)) / R).sqrt()
    return float(z[moving].abs().max())


@pytest.mark.parametrize("name", CASES)
def test_narrow_networks_have_the_law_of_dense_ones(name: str) -> None:
    problem = small(**CASES[name])
    assert largest_z(problem, 0) < GATE or largest_z(problem, 1) < GATE


def test_dropped_responses_are_seen() -> None:
    assert largest_z(small(), 0, response=False) > 2 * GATE


def test_one_block_less_is_seen() -> None:
    assert largest_z(small(), 0, depth=L - 1) > 2 * GATE


def test_a_missing_norm_is_seen() -> None:
    problem = small(norm="layer", activation="relu")
    sampling = Sampling(width=N, replicas=R, mode="iid", center=False, drop=1e-10)
    ours = sample_networks(problem.with_(norm="none"), L, sampling)[0].f.flatten(1)
    assert _z(ours, train_networks(problem, L, N, R, seed=10**6).f.flatten(1)) > 2 * GATE


def test_a_wrong_block_rate_is_seen() -> None:
    problem = small(alpha=1.0)
    sampling = Sampling(width=N, replicas=R, mode="iid", center=False, drop=1e-10)
    ours = sample_networks(problem.with_(lam=1.0), L, sampling)[0].f.flatten(1)
    dense = train_networks(problem, L, N, R, seed=10**6).f.flatten(1)
    assert _z(ours, dense) > 2 * GATE
