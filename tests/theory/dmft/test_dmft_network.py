"""Finite networks by hand-written backpropagation against automatic differentiation, term by term of the problem."""

import pytest
import torch

from isoscale.theory.dmft.network import draw, train_networks
from isoscale.theory.dmft.oracles import autograd_networks
from tests.theory.dmft.problems import small

BATCHES = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [1.0, 0, 0, 0], [0.25] * 4, [0, 0.5, 0.5, 0]]).double()
CASES = {
    "linear": {"activation": "linear"},
    "relu": {"activation": "relu", "gamma0": 0.3},
    "erf": {"activation": "erf", "beta0": 1.7},
    "neural ODE": {"alpha": 1.0},
    "unscaled": {"alpha": 0.0, "eta0": 0.05},
    "zero init": {"sig_w": 0.0},
    "three outputs": {"C": 3},
    "logistic": {"loss": "logistic"},
    "softmax": {"loss": "softmax", "C": 3},
    "momentum": {"momentum": 0.9, "eta0": 0.1},
    "minibatches": {"batches": BATCHES},
    "two layers": {"layers_per_block": 2},
    "two layers, rates": {"layers_per_block": 2, "alpha": 0.75, "inner_lam": 0.5, "sig_w": 0.5},
    "decay": {"decay": 0.05, "momentum": 0.5},
    "biases": {"biases": True, "momentum": 0.5, "decay": 0.02, "lam": 2.0},
    "biases, two layers": {"biases": True, "layers_per_block": 2, "C": 2},
    "schedule": {"schedule": torch.tensor([0.5, 1.0, 1.0, 0.6, 0.1]).double(), "momentum": 0.5, "decay": 0.02},
    "rate of W_in": {"input_lam": 0.2},
    "layer norm": {"norm": "layer", "momentum": 0.3},
    "rms norm, two layers": {"norm": "rms", "layers_per_block": 2, "C": 2},
    "own activation": {"activation": torch.nn.functional.silu},
}


@pytest.mark.parametrize("name", CASES)
def test_networks_equal_autograd(name: str) -> None:
    problem, L, N = small(**CASES[name]), 3, 7
    weights = draw(problem, L, N, networks=2, seed=1)
    expected = autograd_networks(problem, L, weights)
    found = train_networks(problem, L, N, weights=weights)
    assert float((found.f - expected).abs().max()) < 1e-12
    moved = float((expected[:, -1] - expected[:, 0]).abs().max())
    assert moved > 1e-2  # else the comparison would say nothing


def test_the_comparison_sees_every_term() -> None:
    problem = small()
    weights = draw(problem, 3, 7, networks=2, seed=1)
    found = train_networks(problem, 3, 7, weights=weights).f
    for wrong in (
        {"lam": 1.01},
        {"beta0": 1.01},
        {"gamma0": 1.01},
        {"decay": 1e-3},
        {"momentum": 0.01},
        {"input_lam": 1.01},
        {"schedule": torch.tensor([1, 1, 1, 1.01, 1.0])},
        {"norm": "layer"},
    ):
        assert float((autograd_networks(problem.with_(**wrong), 3, weights) - found).abs().max()) > 1e-6


def test_each_network_of_a_batch_has_its_own_rate_and_a_diverged_one_leaves_the_others_alone() -> None:
    problem = small(activation="relu", steps=8)
    weights = draw(problem, 3, 7, networks=1, seed=1)
    twice = type(weights)(weights.W_in.repeat(2, 1, 1), [(W.repeat(2, 1, 1),) for (W,) in weights.blocks],
                          weights.w.repeat(2, 1, 1))  # fmt: skip
    both = train_networks(problem, 3, 7, weights=twice, rates=torch.tensor([0.4, 1e5], dtype=torch.float64))
    alone = train_networks(problem, 3, 7, weights=weights)
    assert torch.equal(both.f[0], alone.f[0])
    assert both.alive[0].all()
    assert both.diverged_at() is not None
    assert torch.isinf(both.loss[1, -1])


def test_centring_starts_at_zero() -> None:
    problem = small(steps=0)
    assert float(train_networks(problem, 2, 16, centred=True).f.abs().max()) < 1e-14
    assert float(train_networks(problem, 2, 16).f.abs().max()) > 1e-2
