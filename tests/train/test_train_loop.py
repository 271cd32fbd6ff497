"""The loop: equal to plain PyTorch at base size, the same every time, and divergence is a result."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from isoscale._train import load, prepare, train, train_batch, training
from isoscale._train.loop import one_thread
from isoscale._train.models import MODELS
from isoscale._train.schedule import batches, schedule

BASE = {
    "rule": "depth_mup",
    "optimizer": "adamw",
    "width": 16,
    "depth": 3,
    "base_width": 16,
    "base_depth": 3,
    "seed": 5,
    "lr": 2.0**-8,
    "steps": 30,
    "batch_size": 32,
}
FLAVOURS = {
    "sgd": {"lr": 0.05},
    "momentum": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    "nesterov": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True, "schedule": "linear"},
    "adam": {"optimizer": "adam", "beta1": 0.8, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.2},
    "adamw": {"weight_decay": 0.1, "eps": 1e-4, "schedule": "cosine"},
    "full batch": {"batch_size": None, "beta2": 0.99},
}


@pytest.fixture(autouse=True)
def _one_thread():
    """What is compared with the loop sums in the loop's order."""
    with one_thread():
        yield


def plain(config, fused):
    """What a PyTorch user would write for these settings, with no word of isoscale's loop."""
    data = load("digits")
    torch.manual_seed(config["seed"])
    model = MODELS["residual_mlp"].build(config["width"], config["depth"], inputs=(1, 8, 8), outputs=10)
    dtype = getattr(torch, config.get("dtype", "float32"))
    model.to(dtype)
    own = {"lr": config["lr"], "weight_decay": config.get("weight_decay", 0.0), "fused": fused}
    if config["optimizer"] == "sgd":
        own |= {"momentum": config.get("momentum", 0.0), "nesterov": config.get("nesterov", False)}
        optimizer = torch.optim.SGD(model.parameters(), **own)
    else:
        own |= {"betas": (config.get("beta1", 0.9), config.get("beta2", 0.999)), "eps": config.get("eps", 1e-8)}
        kind = torch.optim.Adam if config["optimizer"] == "adam" else torch.optim.AdamW
        optimizer = kind(model.parameters(), **own)
    factors = schedule(config.get("schedule", "constant"), config["steps"], config.get("warmup", 0.0))
    losses = []
    for factor, indices in zip(factors, batches(1437, config["batch_size"], config["seed"])):
        chosen = slice(None) if indices is None else indices
        loss = F.cross_entropy(model(data.x_train[chosen].to(dtype)), data.y_train[chosen])
        optimizer.param_groups[0]["lr"] = config["lr"] * factor
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, list(model.parameters())


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_at_base_size_the_loop_is_plain_pytorch_bit_for_bit(flavour) -> None:
    config = BASE | FLAVOURS[flavour]
    losses, parameters = plain(config, fused=True)
    setup = prepare(config)
    assert [loss.item() for _, loss in training(setup)] == losses
    assert all(torch.equal(a, b) for a, b in zip(setup.model.parameters(), parameters, strict=True))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_fused_step_is_the_plain_step_up_to_rounding(flavour) -> None:
    config = BASE | FLAVOURS[flavour] | {"dtype": "float64"}
    setup = prepare(config)
    losses = [loss.item() for _, loss in training(setup)]
    assert losses == pytest.approx(plain(config, fused=False)[0], rel=1e-9)


def test_settings_that_should_matter_do() -> None:
    """The negative control of the equalities above."""
    seen = {json.dumps(plain(BASE | FLAVOURS[flavour], fused=True)[0]) for flavour in FLAVOURS}
    assert len(seen) == len(FLAVOURS)


def test_independent_decay_is_not_multiplied_by_the_learning_rate_but_follows_the_schedule() -> None:
    config = BASE | {"optimizer": "adamw_independent", "weight_decay": 0.02, "lr": 1e-9, "schedule": "linear"}
    setup = prepare(config)
    before = [parameter.detach().clone() for parameter in setup.model.parameters()]
    for _ in training(setup):
        pass
    shrunk = math.prod(1 - 0.02 * factor for factor in schedule("linear", 30))
    for was, parameter in zip(before, setup.model.parameters(), strict=True):
        torch.testing.assert_close(parameter.detach(), was * shrunk, rtol=1e-5, atol=1e-6)


def test_the_same_configuration_gives_the_same_run() -> None:
    first, second = train(BASE), train(BASE)
    assert dataclasses.replace(first, seconds=None) == dataclasses.replace(second, seconds=None)
    assert train(BASE | {"seed": 6}).metrics != first.metrics


def test_a_fresh_process_gives_the_same_run_whatever_was_drawn_before() -> None:
    script = (
        "import json, sys, torch; torch.randn(7); from isoscale._train import train\n"
        "run = train(json.loads(sys.argv[1]))\n"
        "print(json.dumps([dict(run.metrics), run.curves['batch_loss'].value, run.data['sha256']]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, json.dumps(BASE)], capture_output=True, text=True, check=True
    ).stdout
    run = train(BASE)
    assert json.loads(answer) == [dict(run.metrics), list(run.curves["batch_loss"].value), run.data["sha256"]]


def test_training_leaves_the_generator_and_the_threads_as_they_were() -> None:
    state = torch.get_rng_state()
    torch.set_num_threads(2)
    train(BASE | {"steps": 3})
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == 2


def test_rules_and_learning_rates_share_their_noise_at_equal_size() -> None:
    large = BASE | {"width": 32, "depth": 6}
    models = [prepare(large | change).model for change in ({}, {"rule": "sp"}, {"lr": 0.5, "optimizer": "sgd"})]
    for tensors in zip(*(model.parameters() for model in models), strict=True):
        directions = [tensor / tensor.norm() for tensor in tensors]
        torch.testing.assert_close(directions[0], directions[1])
        torch.testing.assert_close(directions[0], directions[2])
    other = prepare(large | {"seed": 6}).model
    assert not torch.allclose(next(other.parameters()), next(models[0].parameters()))


def test_a_larger_size_starts_and_steps_as_the_plan_says() -> None:
    """Four times as deep, twice as wide: branches start at l^-1/2 and step at n^-1 l^-1/2 l^-1/2 of the base's rate."""
    plain, planned = (prepare(BASE | {"width": 32, "depth": 12, "rule": rule}) for rule in ("sp", "depth_mup"))
    pairs = zip(plain.model.blocks.parameters(), planned.model.blocks.parameters(), strict=True)
    assert all((ours.norm() / theirs.norm()).item() == pytest.approx(0.5, rel=0.02) for theirs, ours in pairs)
    rates = {name: g["lr"] for g in planned.optimizer.param_groups for name in g["param_names"]}
    assert rates["blocks.3.weight"] == pytest.approx(BASE["lr"] / 2 / 2 / 2)
    assert rates["stem.weight"] == BASE["lr"]


def hand_counted(width, depth):
    """Two operations per weight and example forward, four backward; no gradient goes to the input."""
    return 3 * 2 * 32 * (64 * width + depth * width**2 + width * 10) - 2 * 32 * 64 * width


def test_a_run_says_what_was_trained_on_what_and_at_which_cost() -> None:
    run = train(BASE)
    assert run.status == "finished"
    assert run.diverged_at is None
    assert run.steps == 30
    assert run.data == load("digits").record
    assert {"torch", "numpy", "python", "isoscale"} <= set(run.versions)
    assert run.flops == 30 * hand_counted(width=16, depth=3)
    assert train(BASE | {"width": 32, "depth": 6, "steps": 1}).flops == hand_counted(width=32, depth=6)
    assert run.seconds is not None
    assert run.seconds > 0


def test_curves_start_at_the_start_and_end_with_the_metrics() -> None:
    run = train(BASE | {"evaluations": 3})
    assert run.curves["test_loss"].step == (0, 10, 20, 30)
    assert run.curves["test_loss"].value[-1] == run.metrics["test_loss"]
    assert run.curves["test_accuracy"].value[-1] == run.metrics["test_accuracy"]
    assert run.curves["train_loss"].value[0] > run.curves["train_loss"].value[-1]
    assert len(run.curves["batch_loss"].value) == 30
    assert run.metrics["smoothed_train_loss"] == pytest.approx(sum(run.curves["batch_loss"].value[-3:]) / 3)


def test_the_final_train_loss_is_the_whole_train_splits() -> None:
    setup = prepare(BASE)
    for _ in training(setup):
        pass
    whole = F.cross_entropy(setup.model(setup.data.x_train), setup.data.y_train).item()
    assert train(BASE).metrics["train_loss"] == pytest.approx(whole, rel=1e-6)


def test_divergence_is_a_result_with_its_step() -> None:
    config = BASE | {"optimizer": "sgd", "lr": 100.0, "steps": 100}
    run = train(config)
    assert run.status == "diverged"
    assert run.metrics["train_loss"] == run.metrics["test_loss"] == run.metrics["smoothed_train_loss"] == math.inf
    assert run.metrics["test_accuracy"] == 0.0
    losses = [loss.item() for _, loss in training(prepare(config))]
    first = next(i for i, loss in enumerate(losses, 1) if not loss <= 1000 * max(1.0, losses[0]))
    assert run.diverged_at == run.steps == first
    assert all(math.isfinite(value) for curve in run.curves.values() for value in curve.value)


def test_divergence_that_only_the_last_evaluation_sees_is_a_result() -> None:
    run = train(BASE | {"optimizer": "sgd", "lr": 1e30, "steps": 1})
    assert (run.status, run.diverged_at) == ("diverged", 1)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("preln_mlp", "teacher"),
        ("conv_resnet", "digits"),
        ("conv_resnet_bn", "digits"),
        ("vit", "digits"),
        ("gpt", "text"),
    ],
)
def test_every_model_learns_at_a_planned_size(model, data) -> None:
    sizes = {"width": 32, "depth": 2, "base_width": 16, "base_depth": 1, "lr": 2.0**-6}
    run = train(BASE | sizes | {"model": model, "data": data, "evaluations": 1})
    assert run.status == "finished"
    assert run.curves["train_loss"].value[-1] < 0.95 * run.curves["train_loss"].value[0]
    assert ("train_accuracy" in run.metrics) == (data != "teacher")


def test_classes_can_be_learnt_by_square_error() -> None:
    run = train(BASE | {"loss": "mse"})
    assert run.curves["train_loss"].value[-1] < run.curves["train_loss"].value[0]


def test_a_batch_of_configurations_gives_their_runs_in_order() -> None:
    configs = [BASE | {"seed": seed, "steps": 3} for seed in (2, 1)]
    assert [run.config for run in train_batch(configs)] == configs
    assert train_batch([]) == []


def test_small_gamma0_is_lazy_at_the_rate_of_theory() -> None:
    """From a zero readout, features move as gamma0^2 under gradient flow, while the function learns alike."""

    def moved(gamma0):
        setup = prepare(
            BASE
            | {"optimizer": "sgd", "lr": 0.02, "gamma0": gamma0, "batch_size": None, "zero_readout": True}
            | {"dtype": "float64", "width": 32, "base_width": 32, "loss": "mse"}
        )
        weight = setup.model.blocks[0].weight
        before = weight.detach().clone()
        losses = [loss.item() for _, loss in training(setup)]
        return (weight.detach() - before).norm().item(), losses[-1] / losses[0]

    (far, _), (near, learnt), (nearest, limit) = moved(1.0), moved(0.1), moved(0.05)
    assert math.log2(near / nearest) == pytest.approx(2.0, abs=0.1)
    assert far > 20 * near
    assert learnt == pytest.approx(limit, rel=0.01)
    assert learnt < 0.9
