"""The base law: at base size a plan is plain PyTorch, bit for bit, in every number and every step."""

import functools

import pytest
import torch

from isoscale._plan import plan
from isoscale._plan.compose import compose
from isoscale._plan.facts import Structure
from isoscale._plan.groups import TORCH_OPTIMIZERS
from isoscale._plan.measure import Draws, measured
from isoscale._plan.structure import describe
from isoscale._rules import RULES, get_rule
from isoscale._train.models import MODELS

SIZE = {"width": 16, "depth": 2}
NETWORKS = {
    "residual_mlp": {"inputs": (6,), "outputs": 3},
    "preln_mlp": {"inputs": (6,), "outputs": 3, "zero_init": True},
    "conv_resnet_bn": {"inputs": (1, 6, 6), "outputs": 3},
    "vit": {"inputs": (1, 8, 8), "outputs": 3, "head_size": 8},
}


def build_of(network: str):
    def build(width: int, depth: int) -> torch.nn.Module:
        return MODELS[network].build(width, depth, **NETWORKS[network])

    return build


def trained(model: torch.nn.Module, optimizer: torch.optim.Optimizer, clip, steps: int = 8) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(steps):
        (example,) = model.example_inputs()
        loss = (model(torch.randn(16, *example.shape[1:], generator=generator)) - 0.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        clip(model)
        optimizer.step()
        found.append(float(loss.detach()))
    return found


@functools.cache
def structure_of(network: str) -> Structure:
    return measured(describe(build_of(network), SIZE, SIZE), Draws(build_of(network), SIZE))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_factor_is_exactly_one(network: str, rule: str) -> None:
    made = compose(structure_of(network), get_rule(rule), base=SIZE, target=SIZE, optimizer="adamw")
    for setting in made.settings:
        numbers = (
            setting.multiplier,
            setting.hooked,
            setting.std,
            setting.lr,
            setting.eps,
            setting.decay,
            setting.metric,
        )
        assert set(numbers) == {1.0}, setting.name
    torch.manual_seed(3)
    model = build_of(network)(**SIZE)
    assert len(made.param_groups(model, lr=0.1)) == 1


# Muon takes matrices only: with AdamW for the rest it is held to the same in tests/plan/test_several_optimizers.py.
ALONE = [name for name in TORCH_OPTIMIZERS if name not in ("adamw_independent", "muon")]


@pytest.mark.parametrize("optimizer", ALONE)
def test_training_is_plain_pytorchs_in_every_bit(optimizer: str) -> None:
    made = plan(build_of("preln_mlp"), SIZE, SIZE, optimizer=optimizer)
    runs, states = [], []
    own = {"eps": (1e-19, 1e-3)} if optimizer == "adafactor" else {}
    for planned in (True, False):
        torch.manual_seed(0)
        model = build_of("preln_mlp")(**SIZE)
        if planned:
            live = made.optimizer(made.init_(model), lr=0.01, weight_decay=0.03, **own)
        else:
            live = TORCH_OPTIMIZERS[optimizer](model.parameters(), lr=0.01, weight_decay=0.03, **own)
        clip = made.clip_grad_norm_ if planned else _torchs_clip
        runs.append(trained(model, live, lambda m, clip=clip: clip(m, 0.5)))
        states.append(model.state_dict())
    assert runs[0] == runs[1]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def _torchs_clip(model: torch.nn.Module, max_norm: float) -> torch.Tensor:
    return torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "preln_mlp"])
def test_other_networks_too(network: str) -> None:
    made = plan(build_of(network), SIZE, SIZE)
    runs = []
    for planned in (True, False):
        torch.manual_seed(0)
        model = build_of(network)(**SIZE)
        live = made.optimizer(made.init_(model), lr=0.01) if planned else torch.optim.AdamW(model.parameters(), lr=0.01)
        runs.append(trained(model, live, lambda m: None, steps=4))
    assert runs[0] == runs[1]


def test_sp_is_plain_pytorch_at_every_size() -> None:
    target = {"width": 32, "depth": 5}
    made = plan(build_of("preln_mlp"), SIZE, target, rule="sp")
    runs = []
    for planned in (True, False):
        torch.manual_seed(0)
        model = build_of("preln_mlp")(**target)
        live = made.optimizer(made.init_(model), lr=0.01) if planned else torch.optim.AdamW(model.parameters(), lr=0.01)
        runs.append(trained(model, live, lambda m: None, steps=4))
    assert runs[0] == runs[1]


def test_another_size_is_not_plain_pytorch() -> None:
    """Negative control: the comparison above sees a plan that does something."""
    target = {"width": 32, "depth": 5}
    made = plan(build_of("residual_mlp"), SIZE, target)
    runs = []
    for planned in (True, False):
        torch.manual_seed(0)
        model = build_of("residual_mlp")(**target)
        live = made.optimizer(made.init_(model), lr=0.01) if planned else torch.optim.AdamW(model.parameters(), lr=0.01)
        runs.append(trained(model, live, lambda m: None, steps=4))
    assert runs[0] != runs[1]


@pytest.mark.parametrize("mode", ["fold", "explicit"])
def test_planning_touches_no_random_state(mode: str) -> None:
    def build(width: int, depth: int) -> torch.nn.Module:
        torch.rand(7)  # a builder may draw beside its parameters
        return build_of("vit")(width, depth)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = plan(build, SIZE, {"width": 32, "depth": 3}, mode=mode)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert plan(build, SIZE, {"width": 32, "depth": 3}, mode=mode).digest == one.digest
