"""Compiling, exporting, copying, averaging, checkpointing and autocast leave a planned model's training alone."""

import copy

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from isoscale import Plan, plan
from isoscale._train.models import MODELS

BASE, TARGET = {"width": 16, "depth": 1}, {"width": 64, "depth": 4}


def build(width: int, depth: int) -> nn.Module:
    return MODELS["preln_mlp"].build(width, depth, inputs=(6,), outputs=3)


PLANS = {mode: plan(build, BASE, TARGET, mode=mode) for mode in ("fold", "explicit")}
X, Y = torch.linspace(-1, 1, 96).reshape(16, 6), torch.linspace(0, 1, 48).reshape(16, 3)
# Said by torch.compile of its own doing.
COMPILING = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
MODES = pytest.mark.parametrize("mode", ["fold", "explicit"])


def fresh(made: Plan) -> nn.Module:
    torch.manual_seed(0)
    return made.init_(build(**TARGET))


def losses(made: Plan, model: nn.Module, steps: int = 4, autocast: bool = False) -> list[float]:
    optimizer = made.optimizer(model, lr=0.02, weight_decay=0.1, eps=1e-4)
    made.check_optimizer(optimizer)
    found = []
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = (model(X) - Y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        made.clip_grad_norm_(model, 1.0)
        optimizer.step()
        found.append(loss.item())
    return found


@COMPILING
@MODES
def test_compiled_whole(mode: str) -> None:
    made = PLANS[mode]
    compiled = torch.compile(fresh(made), fullgraph=True, backend="aot_eager")
    assert losses(made, compiled) == pytest.approx(losses(made, fresh(made)), rel=1e-5)
    assert next(iter(compiled.state_dict())).startswith("_orig_mod.")


@COMPILING
@MODES
def test_initialised_after_compiling(mode: str) -> None:
    made = PLANS[mode]
    torch.manual_seed(0)
    compiled = made.init_(torch.compile(build(**TARGET), fullgraph=True, backend="aot_eager"))
    assert losses(made, compiled) == pytest.approx(losses(made, fresh(made)), rel=1e-5)


@MODES
def test_exported(mode: str) -> None:
    model = fresh(PLANS[mode]).eval()
    program = torch.export.export(model, (X,))
    assert torch.allclose(program.module()(X), model(X), rtol=1e-5, atol=1e-6)
    assert sorted(program.state_dict) == sorted(model.state_dict())


@MODES
def test_copied(mode: str) -> None:
    made = PLANS[mode]
    model = fresh(made)
    assert losses(made, copy.deepcopy(model)) == losses(made, model)
    assert len(made.remove_hooks(copy.deepcopy(model))) == len(made.hooks)


@MODES
def test_averaged(mode: str) -> None:
    made = PLANS[mode]
    model = fresh(made)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    losses(made, model)
    average.update_parameters(model)
    assert torch.equal(average(X), model(X)), "the first update takes the weights as they are"
    assert {name for group in made.param_groups(average, lr=0.1) for name in group["param_names"]} == {
        name for name, _ in model.named_parameters()
    }


@MODES
def test_a_checkpoint_holds_plain_weights_only(mode: str) -> None:
    made = PLANS[mode]
    model, plain = fresh(made), build(**TARGET)
    assert list(model.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(model.state_dict())
    Plan.from_json(made.to_json()).attach_hooks(plain)  # the plan travels beside the weights
    assert losses(made, plain) == losses(made, model)


@MODES
def test_activation_checkpointing(mode: str) -> None:
    made = PLANS[mode]
    model = fresh(made)
    kind = type(model.blocks[0])
    apply_activation_checkpointing(model, check_fn=lambda module: isinstance(module, kind))
    assert any("_checkpoint_wrapped_module" in name for name, _ in model.named_modules())
    assert losses(made, model) == losses(made, fresh(made))
    torch.manual_seed(0)
    late = build(**TARGET)
    apply_activation_checkpointing(late, check_fn=lambda module: isinstance(module, kind))
    assert losses(made, made.init_(late)) == losses(made, fresh(made))


def test_folding_is_exact_under_autocast() -> None:
    """Growth by powers of four: every factor is a power of two, which bfloat16 holds exactly too."""
    runs = [losses(made, fresh(made), autocast=True) for made in PLANS.values()]
    assert runs[0] == pytest.approx(runs[1], rel=1e-6)
    plain = losses(PLANS["fold"], fresh(PLANS["fold"]))
    assert runs[0] != plain
    assert runs[0] == pytest.approx(plain, rel=0.05)


def test_a_plan_of_another_kind_is_seen() -> None:
    """Negative control: the comparisons above see the multipliers."""
    made = PLANS["explicit"]
    model = fresh(made)
    made.remove_hooks(model)
    assert losses(made, model) != pytest.approx(losses(made, fresh(made)), rel=1e-3)
