"""The gauge law: a power of two moved between a multiplier and a parameter leaves float32 training bit for bit alone.

mode="explicit" and mode="fold" are two gauges of one plan. With growth ratios that are powers of four every factor of
the table is a power of two, and scaling by one is exact in binary floating point: 20 losses must be equal in all bits.
"""

import pytest
import torch

from isoscale._plan import Plan, plan
from isoscale._train.models import MODELS

BASE, TARGET = {"width": 8, "depth": 1}, {"width": 32, "depth": 4}
NETWORKS = {
    "residual_mlp": {"inputs": (6,), "outputs": 3},
    "preln_mlp": {"inputs": (6,), "outputs": 3},
    "conv_resnet": {"inputs": (1, 6, 6), "outputs": 3},
    "gpt": {"inputs": (8,), "outputs": 11, "head_size": 4},
}
# eps and decay are large, so that forgetting to move one shows in 20 steps.
SETTINGS = {
    "sgd": {"lr": 0.05},
    "sgd, momentum, coupled decay": {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
    "sgd, nesterov, coupled decay": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "adam": {"lr": 0.01, "eps": 1e-3},
    "adam, coupled decay": {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.1},
    "adamw": {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.5},
    "adamw_independent": {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.01},
    "nadam": {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.1},
    "rmsprop": {"lr": 0.003, "eps": 1e-3, "weight_decay": 0.1},
    "adagrad": {"lr": 0.03, "eps": 1e-3, "weight_decay": 0.1},
    "adafactor": {"lr": 0.03, "eps": (1e-19, 1e-1), "weight_decay": 0.5},
}


def build_of(network: str):
    def build(width: int, depth: int) -> torch.nn.Module:
        return MODELS[network].build(width, depth, **NETWORKS[network])

    return build


def planned(network: str, optimizer: str, mode: str, rule: str) -> Plan:
    return plan(build_of(network), BASE, TARGET, rule=rule, optimizer=optimizer, mode=mode)


def losses(made: Plan, network: str, hyperparameters: dict, steps: int = 20, tamper=None, clip=None) -> list[float]:
    torch.manual_seed(0)
    model = made.init_(build_of(network)(**TARGET))
    optimizer = made.optimizer(model, **hyperparameters)
    if tamper is not None:
        tamper(optimizer.param_groups)
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(steps):
        (example,) = model.example_inputs()
        if example.is_floating_point():
            batch = torch.randn(16, *example.shape[1:], generator=generator)
            target = torch.randn(16, NETWORKS[network]["outputs"], generator=generator)
        else:
            batch = torch.randint(11, (16, *example.shape[1:]), generator=generator)
            target = torch.randn(16, *example.shape[1:], 11, generator=generator)
        loss = (model(batch) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            made.clip_grad_norm_(model, clip)
        optimizer.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize("rule", ["depth_mup", "completep"])
@pytest.mark.parametrize("name", SETTINGS)
def test_moving_a_power_of_two_leaves_every_bit(name: str, rule: str) -> None:
    optimizer = name.split(",")[0]
    explicit = planned("preln_mlp", optimizer, "explicit", rule)
    folded = planned("preln_mlp", optimizer, "fold", rule)
    assert any(setting.hooked != 1.0 for setting in explicit.settings)
    assert all(setting.multiplier == 1.0 for setting in explicit.settings)
    assert all(setting.hooked == 1.0 for setting in folded.settings)
    one, other = (losses(each, "preln_mlp", SETTINGS[name]) for each in (explicit, folded))
    assert one == other
    assert one[-1] != one[0]


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "preln_mlp"])
@pytest.mark.parametrize("name", ["sgd, momentum, coupled decay", "adamw"])
def test_moving_a_power_of_two_leaves_every_bit_of_other_networks(network: str, name: str) -> None:
    optimizer = name.split(",")[0]
    runs = [
        losses(planned(network, optimizer, mode, "completep"), network, SETTINGS[name]) for mode in ("explicit", "fold")
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_clipping_is_the_same_in_both_gauges(name: str) -> None:
    """The threshold bites at every step; the norm's last bits may differ (a sum in another order of sizes)."""
    runs = [
        losses(planned("preln_mlp", name, mode, "depth_mup"), "preln_mlp", SETTINGS[name], clip=0.01)
        for mode in ("explicit", "fold")
    ]
    unclipped = losses(planned("preln_mlp", name, "fold", "depth_mup"), "preln_mlp", SETTINGS[name])
    assert runs[0] == pytest.approx(runs[1], rel=1e-6)
    assert abs(runs[0][-1] - unclipped[-1]) > 1e-3 * unclipped[-1]


def _eps_forgotten(groups: list[dict]) -> None:
    for group in groups:
        group["eps"] = 1e-3


def _decay_forgotten(groups: list[dict]) -> None:
    for group in groups:
        group["weight_decay"] = 0.5


def _lr_off_by_one_factor(groups: list[dict]) -> None:
    smallest = min(groups, key=lambda group: group["lr"])
    smallest["lr"] *= 2
    smallest["weight_decay"] /= 2


@pytest.mark.parametrize("tamper", [_eps_forgotten, _decay_forgotten, _lr_off_by_one_factor])
def test_a_forgotten_factor_shows(tamper) -> None:
    """Negative control of the law: each piece of the algebra, left out, changes the losses by more than rounding."""
    made = planned("preln_mlp", "adamw", "fold", "depth_mup")
    right = losses(made, "preln_mlp", SETTINGS["adamw"])
    wrong = losses(made, "preln_mlp", SETTINGS["adamw"], tamper=tamper)
    assert max(abs(a - b) / a for a, b in zip(right, wrong)) > 1e-3
