"""Optimizers beyond Adam and SGD: several in one plan, Muon's own factor for the shape, classes told by the user."""

import json
import math

import pytest
import torch
from torch import nn
from toys import Toy, built, facts

from isoscale._plan import Plan, PlanError, plan
from isoscale._plan.choice import canonical
from isoscale._plan.compose import compose
from isoscale._rules import UnknownName, UpdateScale, get_optimizer, get_rule

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 8}
STRUCTURE, AT_BASE = facts(BASE, TARGET), facts(BASE, BASE)
BOTH = {"hidden": "muon", "*": "adamw"}


def planned(optimizer, structure=STRUCTURE, target=TARGET) -> Plan:
    return compose(structure, get_rule("depth_mup"), base=BASE, target=target, optimizer=canonical(optimizer))


def group_of(groups, name: str) -> dict:
    return next(group for group in groups if name in group["param_names"])


def test_matrices_go_to_muon_and_the_rest_to_adamw() -> None:
    made, model = planned(BOTH), built(0, **TARGET)
    muon, adamw = (made.param_groups(model, lr=lr, for_optimizer=n) for n, lr in (("muon", 0.02), ("adamw", 1e-3)))
    names = [{name for group in groups for name in group["param_names"]} for groups in (muon, adamw)]
    assert names[0] == {f"blocks.{i}.{layer}.weight" for i in range(8) for layer in ("expand", "contract")}
    assert names[0] | names[1] == {name for name, _ in model.named_parameters()}
    assert not names[0] & names[1]
    # By hand: l^(a-1) = 1/2 in a branch, times the folded l^-1/2 = 1/2 at its tail; AdamW's row is as ever.
    assert group_of(muon, "blocks.0.expand.weight")["lr"] == pytest.approx(0.01)
    assert group_of(muon, "blocks.0.contract.weight")["lr"] == pytest.approx(0.005)
    alone = planned("adamw").param_groups(model, lr=1e-3)
    assert group_of(adamw, "head.weight")["lr"] == group_of(alone, "head.weight")["lr"]


def test_several_optimizers_ask_which_one() -> None:
    made, model = planned(BOTH), built(0, **TARGET)
    for call in (made.param_groups, made.optimizer):
        with pytest.raises(PlanError, match=r"several optimizers: adamw, muon.*plan\.optimizers"):
            call(model, lr=1e-3)
    with pytest.raises(PlanError, match="for_optimizer='sgd' is none of this plan's"):
        made.param_groups(model, lr=1e-3, for_optimizer="sgd")
    with pytest.raises(PlanError, match="given are adamw: give the settings of each"):
        made.optimizers(model, adamw={"lr": 1e-3})
    with pytest.raises(PlanError, match=r"muon takes matrices only, and .*: name one for the rest"):
        planned("muon")
    with pytest.raises(PlanError, match="says nothing of"):
        planned({"hidden": "muon"})
    with pytest.raises(UnknownName, match="did you mean 'muon'"):
        planned({"hidden": "muom", "*": "adamw"})


def test_the_choice_is_kept_in_the_file() -> None:
    made = planned(BOTH)
    again = Plan.from_json(made.to_json())
    assert again == made
    assert again.optimizer_name == "hidden=muon; *=adamw"
    assert again["blocks.0.expand.weight"].optimizer == "muon"
    assert planned(again.optimizer_name) == made
    first = next(iter(plan_rows(made.to_json())))
    assert {"optimizer", "base_shape"} <= set(first)


def plan_rows(text: str) -> list[dict]:
    return json.loads(text)["plan"]["settings"]


class Uneven(nn.Module):
    """A matrix whose fan-out grows faster than its fan-in: where factors for the shape differ."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.stem = nn.Linear(6, width)
        self.up = nn.Linear(width, wide)
        self.head = nn.Linear(wide, 3)

    def forward(self, x):
        return self.head(torch.relu(self.up(torch.relu(self.stem(x)))))

    def example_inputs(self):
        return (torch.linspace(-1, 1, 30).reshape(5, 6),)


SMALL, LARGE = {"width": 16, "wide": 16}, {"width": 32, "wide": 128}


@pytest.mark.parametrize("adjust", [None, "original", "match_rms_adamw"])
def test_muons_own_factor_for_the_shape_does_not_count_twice(adjust: str | None) -> None:
    """Whatever torch multiplies by, the change of the layer's output keeps the base model's size."""
    made = plan(Uneven, SMALL, LARGE, rule="mup", optimizer={"up.weight": "muon", "*": "adamw"})
    moved = []
    for size, recipe in (
        (SMALL, plan(Uneven, SMALL, SMALL, optimizer={"up.weight": "muon", "*": "adamw"})),
        (LARGE, made),
    ):
        torch.manual_seed(0)
        model = recipe.init_(Uneven(**size))
        settings = {"lr": 0.05, "weight_decay": 0.0, "adjust_lr_fn": adjust}
        optimizer = recipe.optimizers(model, muon=settings, adamw={"lr": 1e-3})["muon"]
        recipe.check_optimizer(optimizer)
        before = model.up.weight.detach().clone()
        hidden = torch.relu(model.stem(*model.example_inputs()))
        model(*model.example_inputs()).square().mean().backward()
        optimizer.step()
        moved.append(float(((model.up.weight - before) @ hidden.T).detach().square().mean().sqrt()))
    assert 0.5 < moved[1] / moved[0] < 2.0
    naive = {None: 2.0, "original": 2.0, "match_rms_adamw": math.sqrt(8.0)}[adjust]
    (group,) = made.param_groups(Uneven(**LARGE), lr=0.05, for_optimizer="muon", adjust_lr_fn=adjust)
    # The rate for singular values of 1 is (n_out / n_in)^1/2 = 2 here; torch's factor is divided out of it.
    assert group["lr"] == pytest.approx(0.05 * 2.0 / naive)


def test_double_scaling_is_detected() -> None:
    made, model = planned({"hidden": UpdateScale("orthogonal"), "*": "adamw"}), built(0, **TARGET)
    groups = made.param_groups(model, lr=0.02, for_optimizer="update_scale(orthogonal)")
    with pytest.raises(PlanError, match="would count twice"):
        made.check_optimizer(torch.optim.Muon(groups))


def test_an_optimizer_under_the_wrong_class_is_seen() -> None:
    made, model = planned(UpdateScale("sign", eps="entry")), built(0, **TARGET)
    groups = made.param_groups(model, lr=1e-3, eps=1e-8)
    made.check_optimizer(torch.optim.AdamW(made.param_groups(model, lr=1e-3, eps=1e-8)))
    with pytest.raises(PlanError, match=r"steps of scale 'sign'.*those of SGD are gradient"):
        made.check_optimizer(torch.optim.SGD([{k: v for k, v in group.items() if k != "eps"} for group in groups]))
    mixed = planned(BOTH)
    every = [group for name in ("muon", "adamw") for group in mixed.param_groups(model, lr=1e-3, for_optimizer=name)]
    with pytest.raises(PlanError, match="planned for another optimizer"):
        mixed.check_optimizer(
            torch.optim.AdamW([{k: v for k, v in g.items() if k != "adjust_lr_fn"} for g in every[::-1]])
        )


@pytest.mark.parametrize(
    ("told", "row"),
    [
        (UpdateScale("sign", eps="entry"), "adamw"),
        (UpdateScale("gradient"), "sgd"),
        (UpdateScale("relative", decay="before_trust", eps="entry"), "lamb"),
        (UpdateScale("natural", eps="squared_norm"), "kfac"),
        (UpdateScale("orthogonal", eps="norm"), "soap"),
    ],
)
def test_a_class_told_by_hand_is_the_row_of_its_kind(told: UpdateScale, row: str) -> None:
    mine, known = planned(told), planned(row)
    for one, other in zip(mine.settings, known.settings, strict=True):
        assert (one.std, one.lr, one.eps, one.decay) == (other.std, other.lr, other.eps, other.decay)
    assert get_optimizer(str(told)) == told.row


def test_an_unknown_optimizer_is_asked_for_its_class() -> None:
    with pytest.raises(
        UnknownName, match=r'how large its step is, optimizer=UpdateScale\("sign"\).*orthogonal: singular'
    ):
        planned("schedule_free")
    with pytest.raises(UnknownName, match=r"unknown update scale 'sing'.*did you mean 'sign'"):
        UpdateScale("sing")
    with pytest.raises(UnknownName, match="unknown unit of eps 'entries'"):
        UpdateScale("sign", eps="entries")
    with pytest.raises(UnknownName, match="unknown decay"):
        get_optimizer("update_scale(sign, decay=l2)")


def test_adafactor_needs_a_negligible_eps1_and_scales_its_floor() -> None:
    made, model = planned("adafactor"), built(0, **TARGET)
    for eps in (None, (None, 1e-3), (1e-8, 1e-3)):
        with pytest.raises(PlanError, match=r"no unit that could be carried.*eps=\(1e-19, 1e-3\)"):
            made.param_groups(model, lr=1e-3, eps=eps)
    groups = made.param_groups(model, lr=1e-3, eps=(1e-19, 1e-3))
    # std n^-1/2 = 1/2 and the folded l^-1/2 = 1/2: the floor on the weight's rms has the weight's unit.
    assert group_of(groups, "blocks.0.contract.weight")["eps"] == (1e-19, pytest.approx(1e-3 / 4))
    assert group_of(groups, "blocks.0.contract.weight")["lr"] == pytest.approx(1e-3 / 4)


def test_at_base_size_two_optimizers_are_the_users_own() -> None:
    made = planned(BOTH, AT_BASE, BASE)
    runs = []
    for by_plan in (True, False):
        model = built(0, **BASE)
        if by_plan:
            every = made.optimizers(made.init_(model), muon={"lr": 0.02}, adamw={"lr": 1e-3}).values()
        else:
            inner = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("blocks")]
            rest = [p for p in model.parameters() if not any(p is each for each in inner)]
            every = (torch.optim.Muon(inner, lr=0.02), torch.optim.AdamW(rest, lr=1e-3))
        for _ in range(3):
            loss = (model(*model.example_inputs()) - 0.5).square().mean()
            model.zero_grad()
            loss.backward()
            for optimizer in every:
                optimizer.step()
        runs.append(loss.item())
    assert runs[0] == runs[1]
    assert isinstance(model, Toy)
