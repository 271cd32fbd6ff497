"""Guards: schedulers that overwrite ratios, groups that lost them, clipping that depends on the gauge."""

import math

import pytest
import torch
from torch.optim import lr_scheduler, swa_utils
from toys import built, facts

from isoscale._plan import PlanError
from isoscale._plan.compose import compose
from isoscale._plan.hooks import place
from isoscale._rules import get_rule

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 8}
STRUCTURE = facts(BASE, TARGET)


def planned(optimizer="adamw", mode="fold", rule="depth_mup", structure=STRUCTURE, target=TARGET):
    table = get_rule(rule)
    placements = place(structure, table, optimizer, built(0, **target)) if mode == "explicit" else ()
    return compose(structure, table, base=BASE, target=target, optimizer=optimizer, mode=mode, placements=placements)


@pytest.fixture
def live():
    plan = planned()
    return plan, plan.optimizer(built(0, **TARGET), lr=1e-2)


def ratios(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] / optimizer.param_groups[0]["lr"] for group in optimizer.param_groups]


KEEPS = {
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 7),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
    "step": lambda o: lr_scheduler.StepLR(o, 5, 0.3),
    "linear": lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 10),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, 30),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 5), lr_scheduler.CosineAnnealingLR(o, 20)], [5]
    ),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o),
}
BREAKS = {
    "OneCycleLR": (lambda o: lr_scheduler.OneCycleLR(o, 1e-2, 70), "max_lr"),
    "CyclicLR": (lambda o: lr_scheduler.CyclicLR(o, 1e-4, 1e-2, 5, cycle_momentum=False), "base_lr"),
    "SWALR": (lambda o: swa_utils.SWALR(o, 5e-3, 5), "swa_lr"),
    "ReduceLROnPlateau": (lambda o: lr_scheduler.ReduceLROnPlateau(o, min_lr=1e-3), "min_lr"),
    "CosineAnnealingLR": (lambda o: lr_scheduler.CosineAnnealingLR(o, 20, eta_min=1e-3), "eta_min"),
    "CosineAnnealingWarmRestarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 20, eta_min=1e-3),
        "eta_min",
    ),
}
MENDED = {
    "OneCycleLR": lambda o, plan: lr_scheduler.OneCycleLR(o, plan.per_group(o, 1e-2), 20),
    "CyclicLR": lambda o, plan: lr_scheduler.CyclicLR(
        o, plan.per_group(o, 1e-4), plan.per_group(o, 1e-2), 5, cycle_momentum=False
    ),
    "SWALR": lambda o, plan: swa_utils.SWALR(o, plan.per_group(o, 5e-3), 5),
    "ReduceLROnPlateau": lambda o, plan: lr_scheduler.ReduceLROnPlateau(o, min_lr=plan.per_group(o, 1e-4)),
}


def advance(optimizer, scheduler, steps: int = 15) -> None:
    for _ in range(steps):
        optimizer.step()
        scheduler.step(*([1.0] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))


@pytest.mark.parametrize("name", KEEPS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_schedulers_that_keep_ratios_pass_and_do(live, name: str) -> None:
    plan, optimizer = live
    before = ratios(optimizer)
    scheduler = KEEPS[name](optimizer)
    plan.check_scheduler(scheduler)
    advance(optimizer, scheduler)
    assert ratios(optimizer) == pytest.approx(before, rel=1e-9)
    plan.check_scheduler(scheduler)
    plan.check_optimizer(optimizer)


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_schedulers_that_overwrite_ratios_are_caught_with_the_call_that_mends(live, name: str) -> None:
    plan, optimizer = live
    before = ratios(optimizer)
    scheduler, what = BREAKS[name][0](optimizer), BREAKS[name][1]
    with pytest.raises(PlanError, match=rf"{name} .*{what}.*Mend: "):
        plan.check_scheduler(scheduler)
    # Negative control: it is really so, and the live groups show it too.
    advance(optimizer, scheduler, 50)
    assert ratios(optimizer) != pytest.approx(before, rel=1e-3)
    with pytest.raises(PlanError, match="lr"):
        plan.check_optimizer(optimizer)


@pytest.mark.parametrize("name", MENDED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_mending_call_mends(live, name: str) -> None:
    plan, optimizer = live
    before = ratios(optimizer)
    scheduler = MENDED[name](optimizer, plan)
    plan.check_scheduler(scheduler)
    advance(optimizer, scheduler)
    assert ratios(optimizer) == pytest.approx(before, rel=1e-9)


def test_a_bad_scheduler_inside_a_composed_one_is_found(live) -> None:
    plan, optimizer = live
    parts = [lr_scheduler.LinearLR(optimizer, 0.1), lr_scheduler.CosineAnnealingLR(optimizer, 9, eta_min=1e-4)]
    with pytest.raises(PlanError, match="eta_min"):
        plan.check_scheduler(lr_scheduler.ChainedScheduler(parts, optimizer))


def test_per_group_functions_are_refused(live) -> None:
    plan, optimizer = live
    several = [(lambda step, i=i: 1.0) for i in range(len(optimizer.param_groups))]
    with pytest.raises(PlanError, match="one function per group"):
        plan.check_scheduler(lr_scheduler.LambdaLR(optimizer, several))


def test_where_nothing_grows_every_scheduler_is_fine() -> None:
    plan = planned(structure=facts(BASE, BASE), target=BASE)
    optimizer = plan.optimizer(built(0, **BASE), lr=1e-2)
    for make, _ in BREAKS.values():
        plan.check_scheduler(make(optimizer))


@pytest.mark.parametrize("what", ["lr", "eps", "weight_decay"])
def test_live_groups_that_lost_their_ratio_are_named(live, what: str) -> None:
    plan, optimizer = live
    plan.check_optimizer(optimizer)
    for group in optimizer.param_groups:
        group[what] *= 2  # all together is the user's right: another base value
    plan.check_optimizer(optimizer)
    optimizer.param_groups[1][what] *= 1.1
    with pytest.raises(PlanError, match=rf"AdamW gives the groups {what}"):
        plan.check_optimizer(optimizer)


def test_a_plain_optimizer_or_another_class_is_refused(live) -> None:
    """A peer was silently a no-op: the optimizer never saw its groups."""
    plan, _ = live
    model = built(0, **TARGET)
    with pytest.raises(PlanError, match="no param_names"):
        plan.check_optimizer(torch.optim.AdamW(model.parameters()))
    with pytest.raises(PlanError, match=r"need different settings"):
        plan.check_optimizer(torch.optim.AdamW(model.named_parameters()))
    with pytest.raises(PlanError, match=r"the optimizer is SGD"):
        plan.check_optimizer(torch.optim.SGD(plan.param_groups(model, lr=1e-2)))
    plan.check_optimizer(torch.optim.Adam(plan.param_groups(model, lr=1e-2), decoupled_weight_decay=True))
    with pytest.raises(PlanError, match="the optimizer is RAdam"):
        plan.check_optimizer(torch.optim.RAdam(plan.param_groups(model, lr=1e-2)))


@pytest.mark.parametrize("what", [{"weight_decay": 0.3}, {"eps": 1e-4}])
def test_a_value_that_the_groups_overrule_is_told(what: dict) -> None:
    plan, model = planned(), built(0, **TARGET)
    (name,) = what
    with pytest.raises(PlanError, match=rf"{name}=.* was given to AdamW.*param_groups\(model, lr=\.\.\., {name}="):
        plan.check_optimizer(torch.optim.AdamW(plan.param_groups(model, lr=1e-2), **what))
    plan.check_optimizer(torch.optim.AdamW(plan.param_groups(model, lr=1e-2, **what)))
    plan.check_optimizer(torch.optim.AdamW(plan.param_groups(model, lr=1e-2), lr=9.0, betas=(0.8, 0.9)))


def test_a_restored_optimizer_passes(live) -> None:
    plan, optimizer = live
    again = plan.optimizer(built(1, **TARGET), lr=5.0)
    again.load_state_dict(optimizer.state_dict())
    plan.check_optimizer(again)


def with_gradients(plan, seed: int = 0):
    model = plan.init_(built(seed, **TARGET))
    torch.manual_seed(9)
    model(torch.randn(32, 6)).square().mean().backward()
    return model


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_clipped_norm_is_the_same_in_every_gauge(optimizer: str) -> None:
    folded, explicit = planned(optimizer), planned(optimizer, "explicit")
    assert explicit.hooks
    norms, plain = [], []
    for plan in (folded, explicit):
        model = with_gradients(plan)
        plain.append(float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])))
        norms.append(float(plan.clip_grad_norm_(model, 1e-3)))
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    # Negative control: torch's norm of the same two networks is not the same.
    assert abs(math.log(plain[0] / plain[1])) > 0.1


def test_gradients_are_scaled_to_the_threshold_and_never_up() -> None:
    plan = planned()
    model = with_gradients(plan)
    before = plan.clip_grad_norm_(model, 1e9)
    untouched = [parameter.grad.clone() for parameter in model.parameters()]
    assert float(plan.clip_grad_norm_(model, 1e9)) == float(before)
    plan.clip_grad_norm_(model, float(before) / 4)
    for parameter, gradient in zip(model.parameters(), untouched):
        assert torch.allclose(parameter.grad, gradient / 4, rtol=1e-4)
    with pytest.raises(PlanError, match="positive"):
        plan.clip_grad_norm_(model, 0.0)


def test_at_base_size_clipping_is_torchs_bit_for_bit() -> None:
    plan = planned(structure=facts(BASE, BASE), target=BASE)
    models = [built(0, **BASE), built(0, **BASE)]
    for model in models:
        model(torch.linspace(-1, 1, 30).reshape(5, 6)).square().mean().backward()
    ours = plan.clip_grad_norm_(models[0], 0.01)
    theirs = torch.nn.utils.clip_grad_norm_(models[1].parameters(), 0.01)
    assert torch.equal(ours, theirs)
    for one, other in zip(models[0].parameters(), models[1].parameters()):
        assert torch.equal(one.grad, other.grad)


def slope(values: list[float]) -> float:
    """Of log2(value) over doublings."""
    x = torch.arange(len(values), dtype=torch.float64)
    y = torch.tensor(values, dtype=torch.float64).log2()
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


@pytest.mark.parametrize("axis", ["width", "depth"])
def test_a_threshold_keeps_its_meaning_over_sizes(axis: str) -> None:
    """The planned norm's declared rate over size is 0, torch's norm grows.

    Looked at after 20 steps: at the start the readout's random output, which fades as n^-1/2, moves every norm.
    """
    torch.manual_seed(5)
    x, y = torch.randn(64, 6), torch.randn(64, 3)
    base = {"width": 32, "depth": 2}
    ours, plain = [], []
    for growth in (1, 2, 4, 8):
        target = {**base, axis: base[axis] * growth}
        structure = facts(base, target)
        plan = compose(structure, get_rule("depth_mup"), base=base, target=target, optimizer="adamw")
        norms = torch.tensor([norms_after(plan, built(seed, **target), x, y, 20) for seed in range(3)]).mean(0)
        ours.append(float(norms[0]))
        plain.append(float(norms[1]))
    assert abs(slope(ours)) < 0.1
    assert slope(plain) > 0.2


def norms_after(plan, model, x, y, steps: int) -> tuple[float, float]:
    """The planned norm and torch's, of the gradient after some training."""
    optimizer = plan.optimizer(plan.init_(model), lr=3e-3)
    for _ in range(steps):
        optimizer.step()
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return float(plan.clip_grad_norm_(model, 1e9)), float(torch.nn.utils.get_total_norm(gradients))


class Wrapped(torch.optim.Optimizer):
    """As Accelerate wraps one."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    param_groups = property(lambda self: self.optimizer.param_groups)
    defaults = property(lambda self: self.optimizer.defaults)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_inside_a_trainers_own_is_the_one_that_counts(kind) -> None:
    made, model = planned(), built(0, **TARGET)
    wrapped = Wrapped(kind(made.param_groups(model, lr=0.1), lr=0.1))
    if kind is torch.optim.AdamW:
        made.check_optimizer(wrapped)
    else:
        with pytest.raises(PlanError, match="the optimizer is SGD"):
            made.check_optimizer(wrapped)
