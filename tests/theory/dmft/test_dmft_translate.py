"""The theory's problem for a user's residual MLP is that network: same weights, same training, same outputs."""

import math
from dataclasses import replace

import pytest
import torch

from isoscale._train.loop import training
from isoscale._train.schedule import batches, schedule
from isoscale._train.settings import parse
from isoscale._train.setup import prepare
from isoscale.theory.dmft.course import limit_course, train_course
from isoscale.theory.dmft.network import Weights, draw
from isoscale.theory.dmft.oracles import autograd_networks
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.dmft.solver import Sampling, solve_limit
from isoscale.theory.dmft.translate import Examples, eta_of, problem_of, why_not
from tests.theory.dmft.problems import small

CONFIG = {
    "rule": "depth_mup", "optimizer": "sgd", "width": 24, "depth": 4, "base_width": 8, "base_depth": 2, "seed": 3,
    "lr": 0.05, "model": "residual_mlp", "data": "digits", "steps": 6, "batch_size": 16, "dtype": "float64",
}  # fmt: skip
CASES = {
    "depth_mup": {},
    "mup, momentum": {"rule": "mup", "momentum": 0.9, "lr": 0.01},
    "completep, schedule, momentum": {"rule": "completep", "schedule": "cosine", "warmup": 0.3, "momentum": 0.5},
    "umup, tanh, gamma0": {"rule": "umup", "activation": "tanh", "gamma0": 0.5},
    "depth_alpha, decay, beta": {"rule": "depth_alpha(3/4)", "weight_decay": 0.1, "beta": 0.5, "momentum": 0.3},
    "teacher, mean_field, zero init": {"rule": "mean_field", "data": "teacher", "zero_init": True},
    "mse on classes, gelu": {"loss": "mse", "activation": "gelu"},
}


def translated(config: dict) -> tuple[Problem, Weights, torch.Tensor]:
    """The problem, the user's initial weights in its units, and the user's outputs at all examples at the end."""
    setup = prepare(config)
    settings, data, model = setup.settings, setup.data, setup.model
    examples = Examples(data.x_train, data.y_train, data.outputs, settings.loss)
    order = batches(len(data.x_train), settings.batch_size, settings.seed)
    factors = schedule(settings.schedule, settings.steps, settings.warmup)
    problem = problem_of(settings.model_dump(), examples, [next(order) for _ in factors], factors)
    N, unfolded = settings.width, (settings.depth / settings.base_depth) ** problem.alpha  # the plan folds b into W
    weights = Weights(
        (model.stem.weight.detach() * problem.X.shape[1] ** 0.5)[None].clone(),
        [((unfolded * block.weight.detach() * N**0.5)[None].clone(),) for block in model.blocks],
        (model.readout.weight.detach() * N / settings.base_width**0.5)[None].clone(),
    )
    for _ in training(setup):
        pass
    return problem, weights, model(data.x_train).detach()


@pytest.mark.parametrize("name", CASES)
def test_the_users_network_is_the_problems(name: str) -> None:
    config = CONFIG | CASES[name]
    problem, weights, expected = translated(config)
    found = autograd_networks(problem, config["depth"], weights)
    if config.get("zero_init"):  # blocks start at zero: their std is in the problem, the draw was the user's
        assert problem.sig_w == 0
    assert float((found[0, -1] - expected).abs().max()) < 1e-9
    assert float((found[0, -1] - found[0, 0]).abs().max()) > 1e-2
    wrong = problem.with_(input_lam=2 * problem.input_lam)
    assert float((autograd_networks(wrong, config["depth"], weights)[0, -1] - expected).abs().max()) > 1e-5


def test_rates_turn_into_each_other() -> None:
    parsed = parse(CONFIG | {"optimizer": "sgd"}).model_dump()
    classes = Examples(torch.ones(2, 3), torch.tensor([0, 1]), 10)
    assert eta_of(parsed, classes) == pytest.approx(0.05 * 8)
    assert eta_of(parsed, replace(classes, asked="mse")) == pytest.approx(0.05 * 8 / 5)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"model": "vit"}, "architecture"), ({"optimizer": "adamw"}, "adamw"), ({"rule": "sp"}, "sp"),
     ({"rule": "ntk"}, "ntk"), ({"rule": "someone's"}, "someone's"), ({"nesterov": True}, "nesterov")],
)  # fmt: skip
def test_what_has_no_limit_is_told(change: dict, word: str) -> None:
    config = parse(CONFIG | {"momentum": 0.9}).model_dump() | change
    assert word in (why_not(config) or "")
    with pytest.raises(BadProblem):
        problem_of(config, Examples(torch.ones(2, 2), torch.ones(2, 1), 1), [None], [1.0])
    assert why_not(parse(CONFIG).model_dump()) is None


def test_a_course_is_training_with_the_start_taken_off() -> None:
    """Against autograd with targets shifted by f_0 (f - f_0 on Y has the residuals of f on Y + f_0)."""
    drawn = small(C=2, probes=None, momentum=0.5, batches=torch.eye(5, 4).double() + 0.1, norm="rms")
    weights = draw(drawn, 3, 16, 1, seed=5)
    start = autograd_networks(drawn, 3, weights)[0, 0]
    path = autograd_networks(drawn.with_(Y=drawn.Y + start), 3, weights)[0] - start
    eta = torch.tensor([drawn.eta0, 1e6], dtype=torch.float64)
    found = train_course(drawn, 3, 16, eta, watch=(0, 2, 5), dtype=torch.float64, seed=5)
    assert torch.allclose(found[0], drawn.loss_of(path)[[0, 2, 5]], atol=1e-10)
    assert math.isinf(float(found[1, -1]))


def test_the_course_tends_to_the_limit() -> None:
    """Extrapolated widths against the one-pass solver, within the error stated (x3) and nearer than one width alone."""
    task = small(activation="tanh", probes=None, steps=6)
    exact = solve_limit(task, 3, sampling=Sampling(8192, 4)).require()
    found = limit_course([task] * 64, 3, [task.eta0, 1e6], watch=(0, 3, 6), width=64).require()
    gap = (found.loss[0] - exact.loss[[0, 3, 6]]).abs()
    assert bool((gap <= 3 * found.error[0] + 1e-6).all()), (gap, found.error)
    assert float(found.error[0, -1]) < 0.1 * float(exact.loss[-1])
    assert math.isinf(float(found.loss[1, -1]))
    single = torch.stack([train_course(task, 3, 16, torch.tensor([task.eta0]), watch=(6,), seed=i) for i in range(64)])
    assert float((single.mean() - exact.loss[6]).abs()) > 2 * float(gap[-1])
