"""Mistakes are told by name, value and remedy; losses and their derivatives fit together."""

import pytest
import torch

from isoscale.theory.dmft.activations import BadActivation, activation
from isoscale.theory.dmft.problem import BadProblem, Problem
from tests.theory.dmft.problems import small

X, Y = torch.eye(3).double(), torch.ones(3, 1).double()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"X": X * float("nan")}, "finite"),
        ({"Y": Y[:2]}, "shapes"),
        ({"Y": Y[:, 0]}, "targets a column"),
        ({"gamma0": 0.0}, "lazy_limit"),
        ({"eta0": -1.0}, "eta0"),
        ({"momentum": 1.0}, "momentum"),
        ({"loss": "logistic", "Y": 2 * Y}, r"\+1 or -1"),
        ({"loss": "softmax"}, "one-hot"),
        ({"loss": "hinge"}, "hinge"),
        ({"batches": torch.ones(2, 3)}, "one row a step"),
        ({"layers_per_block": 3}, "layers_per_block"),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], sentence: str) -> None:
    fields: dict[str, object] = {"X": X, "Y": Y, "steps": 4, "eta0": 0.1, **changes}
    with pytest.raises(BadProblem, match=sentence):
        Problem(**fields)  # type: ignore[arg-type]


def test_an_activation_needs_a_derivative() -> None:
    for bad, sentence in ((torch.sign, "jumps"), (torch.round, "jumps"), (lambda h: h.detach() ** 2, "differentiabl")):
        with pytest.raises(BadActivation, match=sentence):
            activation(bad)
    with pytest.raises(BadActivation, match="choose"):
        activation("tanhh")
    silu = activation(torch.nn.functional.silu)
    h = torch.tensor([0.3], dtype=torch.float64)
    assert float(silu.slope(h, silu.value(h))) == pytest.approx(0.64778, abs=1e-5)


@pytest.mark.parametrize("loss", ["mse", "logistic", "softmax"])
def test_residuals_are_minus_the_gradient_of_the_loss(loss: str) -> None:
    problem = small(loss=loss, C=3 if loss == "softmax" else 1)
    f = torch.randn(problem.M, problem.C, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    point = f.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(problem.loss_of(point), point)
    assert float((gradient[: problem.P] + problem.residual(f[: problem.P]) / problem.P).abs().max()) < 1e-14
    assert float(gradient[problem.P :].abs().max()) == 0
