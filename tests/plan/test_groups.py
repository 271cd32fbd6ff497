"""plan.param_groups: few groups, every unit scaled, nothing silently dropped."""

import math

import pytest
import torch
from toys import Toy, built, facts

from isoscale._plan import PlanError
from isoscale._plan.choice import canonical
from isoscale._plan.compose import compose
from isoscale._plan.groups import TORCH_OPTIMIZERS
from isoscale._rules import OPTIMIZERS, REFUSED_OPTIMIZERS, UnknownName, get_rule

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 8}
STRUCTURE = facts(BASE, TARGET)
AT_BASE = facts(BASE, BASE)


def planned(optimizer="adamw", rule="depth_mup", structure=STRUCTURE):
    return compose(structure, get_rule(rule), base=BASE, target=TARGET, optimizer=canonical(optimizer))


def of(groups: list[dict], name: str) -> dict:
    return next(group for group in groups if name in group["param_names"])


def test_groups_are_few_and_hold_every_parameter_once() -> None:
    model = built(0, **TARGET)
    groups = planned().param_groups(model, lr=1e-3)
    assert len(groups) <= 7
    names = [name for group in groups for name in group["param_names"]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    held = {id(parameter) for group in groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}
    keys = [(group["lr"], group["weight_decay"], group["eps"]) for group in groups]
    assert len(set(keys)) == len(keys)


def test_the_numbers_are_the_tables() -> None:
    """Width x4, depth x4, depth_mup, AdamW with torch's decay; the branch's 1/2 and the readout's 1/4 are folded."""
    groups = planned().param_groups(built(0, **TARGET), lr=1e-3, weight_decay=0.1, eps=1e-6)
    expected = {  # lr, eps, decay ratios by hand from the table of docs/theory/rules.md
        "stem.weight": (1, 1 / 4, 1),
        "blocks.3.norm.weight": (1 / 2, 1 / 8, 2),
        "blocks.3.expand.weight": (1 / 8, 1 / 8, 8),
        "blocks.3.contract.weight": (1 / 16, 1 / 4, 16),
        "blocks.3.contract.bias": (1 / 4, 1 / 4, 4),
        "head.weight": (1 / 4, 1, 4),
        "head.bias": (1, 1, 1),
    }
    for name, (lr, eps, decay) in expected.items():
        group = of(groups, name)
        found = group["lr"] / 1e-3, group["eps"] / 1e-6, group["weight_decay"] / 0.1
        assert found == pytest.approx((lr, eps, decay), rel=1e-12), name


def test_sgd_has_its_own_exponents_and_no_eps() -> None:
    groups = planned("sgd").param_groups(built(0, **TARGET), lr=0.1, weight_decay=1e-2, momentum=0.9, nesterov=True)
    assert all("eps" not in group and group["momentum"] == 0.9 and group["nesterov"] for group in groups)
    # In front of the tail's fold l^(2a-1) = 1; folding 1/2 gives 1/4, and L2 decay 4.
    tail, hidden, stem = (of(groups, f"{n}.weight") for n in ("blocks.0.contract", "blocks.0.expand", "stem"))
    assert (tail["lr"], hidden["lr"], stem["lr"]) == pytest.approx((0.1 / 4, 0.1, 0.4))
    assert (tail["weight_decay"], stem["weight_decay"]) == pytest.approx((4e-2, 1e-2 / 4))
    with pytest.raises(PlanError, match="sgd has no eps"):
        planned("sgd").param_groups(built(0, **TARGET), lr=0.1, eps=1e-8)


def test_every_call_gives_fresh_dicts() -> None:
    """torch.optim writes into the dicts that it is given."""
    plan, model = planned(), built(0, **TARGET)
    first = plan.param_groups(model, lr=1e-3)
    before = [dict(group) for group in plan.param_groups(model, lr=1e-3)]
    optimizer = torch.optim.AdamW(first)
    optimizer.param_groups[0]["lr"] = 123.0
    optimizer.param_groups[0]["params"].clear()
    after = plan.param_groups(model, lr=1e-3)
    assert [group["lr"] for group in after] == [group["lr"] for group in before]
    assert [len(group["params"]) for group in after] == [len(group["params"]) for group in before]


def test_defaults_have_units_too() -> None:
    """eps=1e-8 and AdamW's weight_decay=0.01 are scaled though nobody wrote them."""
    groups = planned().param_groups(built(0, **TARGET), lr=1e-3)
    assert of(groups, "stem.weight")["eps"] == pytest.approx(1e-8 / 4)
    assert of(groups, "blocks.0.expand.weight")["weight_decay"] == pytest.approx(0.01 * 8)
    rmsprop = planned("rmsprop").param_groups(built(0, **TARGET), lr=1e-3)
    assert of(rmsprop, "stem.weight")["eps"] == pytest.approx(1e-8 / 4)
    assert all(group["weight_decay"] == 0.0 for group in rmsprop)


@pytest.mark.parametrize("lr", [1e-3, 1e-1])
def test_independent_decay_does_not_depend_on_the_rate_or_the_size(lr: float) -> None:
    model = built(0, **TARGET)
    optimizer = planned("adamw_independent").optimizer(model, lr=lr, weight_decay=1e-2)
    for group in optimizer.param_groups:
        assert group["lr"] * group["weight_decay"] == pytest.approx(1e-2, rel=1e-12)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, before[name] * 0.99, rtol=1e-6), name


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_of_the_table_takes_a_step(name: str) -> None:
    plan, model = planned({"hidden": "muon", "*": "adamw"} if name == "muon" else name), built(0, **TARGET)
    plan.init_(model)
    if name == "muon":
        every = plan.optimizers(model, muon={"lr": 0.02}, adamw={"lr": 1e-3, "weight_decay": 0.1})
        model(*model.example_inputs()).square().mean().backward()
        for optimizer in every.values():
            plan.check_optimizer(optimizer)
            optimizer.step()
        assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
        return
    more = {"eps": 1e-6} if OPTIMIZERS[name].eps else {"eps": (1e-19, 1e-3)} if OPTIMIZERS[name].floor else {}
    if name not in TORCH_OPTIMIZERS:
        assert plan.param_groups(model, lr=1e-3, weight_decay=0.1, **more)
        with pytest.raises(PlanError, match="torch has no optimizer"):
            plan.optimizer(model, lr=1e-3, weight_decay=0.1, **more)
        return
    optimizer = plan.optimizer(model, lr=1e-3, weight_decay=0.1, **more)
    plan.check_optimizer(optimizer)
    model(*model.example_inputs()).square().mean().backward()
    optimizer.step()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.parametrize("name", [*sorted(REFUSED_OPTIMIZERS), "adamww"])
def test_optimizers_outside_the_table_are_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(UnknownName, match=name):
        planned(name)


def test_settings_without_a_scaling_are_refused() -> None:
    model = built(0, **TARGET)
    with pytest.raises(PlanError, match=r"initial_accumulator_value=0\.1 cannot be carried"):
        planned("adagrad").param_groups(model, lr=1e-3, initial_accumulator_value=0.1)
    with pytest.raises(PlanError, match="decoupled_weight_decay=True"):
        planned("adam").param_groups(model, lr=1e-3, decoupled_weight_decay=True)
    with pytest.raises(PlanError, match=r"momentum: not a setting of torch\.optim\.AdamW"):
        planned().param_groups(model, lr=1e-3, momentum=0.9)
    for lr in (0.0, -1.0, math.nan):
        with pytest.raises(PlanError, match="positive number"):
            planned().param_groups(model, lr=lr)
    with pytest.raises(PlanError, match="negative"):
        planned().param_groups(model, lr=1.0, weight_decay=-1.0)


def test_frozen_parameters_and_no_decay() -> None:
    model = built(0, **TARGET)
    model.stem.requires_grad_(False)
    groups = planned().param_groups(model, lr=1e-3, weight_decay=0.1, no_decay=("*.bias", "*norm*"))
    names = [name for group in groups for name in group["param_names"]]
    assert not [name for name in names if name.startswith("stem")]
    assert of(groups, "blocks.1.norm.weight")["weight_decay"] == 0.0
    assert of(groups, "head.bias")["weight_decay"] == 0.0
    assert of(groups, "head.weight")["weight_decay"] > 0
    with pytest.raises(PlanError, match=r"no_decay pattern '\*\.biass' matches no parameter"):
        planned().param_groups(model, lr=1e-3, no_decay=("*.biass",))


def test_at_base_size_there_is_one_group_with_the_users_numbers() -> None:
    for name in OPTIMIZERS:
        if OPTIMIZERS[name].matrices:
            continue
        eps = 1e-6 if OPTIMIZERS[name].eps else (1e-19, 1e-3) if OPTIMIZERS[name].floor else None
        plan = compose(AT_BASE, get_rule("depth_mup"), base=BASE, target=BASE, optimizer=name)
        model = built(0, **BASE)
        (group,) = plan.param_groups(model, lr=0.3, weight_decay=0.7, eps=eps)
        assert group["lr"] == 0.3
        assert group.get("eps") == eps
        decay = group["weight_decay"] * group["lr"] if name == "adamw_independent" else group["weight_decay"]
        assert decay == pytest.approx(0.7, rel=1e-15)
        assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]


def test_a_model_with_other_parameters_is_refused() -> None:
    with pytest.raises(PlanError, match=r"stem\.weight is \(32, 6\) in the model"):
        planned().param_groups(Toy(32, 8), lr=1e-3)
