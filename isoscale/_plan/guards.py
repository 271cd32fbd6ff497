"""Guards: what silently undoes a plan during training is found before the first step, with the call that mends it."""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler, swa_utils

from isoscale._plan.errors import PlanError
from isoscale._plan.groups import TORCH_OPTIMIZERS, shape_factor
from isoscale._plan.naming import listed, matched, unwrapped
from isoscale._plan.settings import Setting
from isoscale._plan.sharding import local, process_group, summed, whole
from isoscale._rules import get_optimizer

_SAME = 1e-6
_MEND = "groups from plan.param_groups(model, lr=...)"


def per_group(settings: Sequence[Setting], optimizer: torch.optim.Optimizer, value: float) -> list[float]:
    """`value` times each live group's planned learning-rate ratio: the list that schedulers take for `max_lr`."""
    return [value * ratio for ratio in _rates(settings, optimizer.param_groups)]


def check_scheduler(settings: Sequence[Setting], scheduler: Any) -> None:
    """Raise PlanError where the scheduler gives groups rates that are not in the planned ratio.

    Why: a plan IS ratios between groups. A scalar `max_lr`, `min_lr`, `eta_min` or `swa_lr` is one absolute rate for
    all groups, so from then on every parameter trains at the base model's rate: the model silently falls back to
    the standard parameterization.
    """
    inner = _inner(scheduler)
    if inner:
        for each in inner:
            check_scheduler(settings, each)
        return
    groups = scheduler.optimizer.param_groups
    ratios = _rates(settings, groups)
    name = type(scheduler).__name__
    if isinstance(scheduler, lr_scheduler.OneCycleLR):
        found = [float(group["max_lr"]) for group in groups]
        _in_ratio(found, ratios, name, "max_lr", "OneCycleLR(optimizer, max_lr={}, ...)")
    elif isinstance(scheduler, lr_scheduler.CyclicLR):
        for what, rates in (("base_lr", scheduler.base_lrs), ("max_lr", scheduler.max_lrs)):
            _in_ratio(_floats(rates), ratios, name, what, f"CyclicLR(optimizer, {what}={{}}, ...)")
    elif isinstance(scheduler, swa_utils.SWALR):
        _in_ratio([float(g["swa_lr"]) for g in groups], ratios, name, "swa_lr", "SWALR(optimizer, swa_lr={}, ...)")
    elif isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        if any(scheduler.min_lrs):
            mend = "ReduceLROnPlateau(optimizer, min_lr={}, ...)"
            _in_ratio(_floats(scheduler.min_lrs), ratios, name, "min_lr", mend)
    elif isinstance(scheduler, lr_scheduler.CosineAnnealingLR | lr_scheduler.CosineAnnealingWarmRestarts):
        _eta_min(float(scheduler.eta_min), ratios, name)
    elif isinstance(scheduler, lr_scheduler.LambdaLR | lr_scheduler.MultiplicativeLR) and _several(scheduler):
        raise PlanError(f"{name} has one function per group: ratios drift apart. Give one function for all groups.")
    _in_ratio([float(group["lr"]) for group in groups], ratios, name, "lr", _MEND)


def check_optimizer(settings: Sequence[Setting], optimizers: Sequence[str], optimizer: torch.optim.Optimizer) -> None:
    """Raise PlanError where the live groups are no longer in the planned ratios (lr, eps, weight decay).

    Call it after building the optimizer, after loading a checkpoint, and whenever in doubt: it reads, never writes.
    """
    by_name = {setting.name: setting for setting in settings}
    groups = optimizer.param_groups
    leaders = _leaders(settings, groups)
    optimizer_name = (leaders[0].optimizer if leaders else "") or optimizers[0]
    _check_class(optimizer_name, optimizer)
    for group, leader in zip(groups, leaders):
        members = [by_name[unwrapped_in(by_name, name)] for name in group["param_names"]]
        foreign = [each.name for each in members if each.optimizer not in ("", optimizer_name)]
        if foreign:
            raise PlanError(
                f"{listed(foreign)} is in {type(optimizer).__name__} with {leaders[0].name}, and planned for another "
                "optimizer: its rate has other exponents. Make them with plan.optimizers(model, ...)."
            )
        mixed = [member.name for member in members if _numbers(member) != _numbers(leader)]
        if mixed:
            raise PlanError(
                f"{leader.name} and {listed(mixed)} share a parameter group and need different settings: build the "
                "groups with plan.param_groups(model, lr=...)."
            )
    independent = optimizer_name == "adamw_independent"
    shaped = [_shaped(leader, group) for leader, group in zip(leaders, groups)]
    ratio = {
        "lr": _rates(settings, groups),
        "eps": [leader.eps for leader in leaders],
        "weight_decay": [
            leader.decay / leader.lr if independent else leader.decay * factor
            for leader, factor in zip(leaders, shaped)
        ],
    }
    if any(isinstance(group.get("eps"), tuple) for group in groups):
        ratio.pop("eps")
    for what, ratios in ratio.items():
        # A group without decay (no_decay) is the user's choice, and SGD has no eps.
        live = [(float(group[what]), each) for group, each in zip(groups, ratios) if group.get(what)]
        _in_ratio([value for value, _ in live], [each for _, each in live], type(optimizer).__name__, what, _MEND)
    for what in ("eps", "weight_decay"):
        live_values = {group[what] for group in groups if what in group}
        if all(isinstance(value, float | int) for value in live_values):
            _not_overruled(optimizer, what, live_values)


def _not_overruled(optimizer: torch.optim.Optimizer, what: str, live: set[float]) -> None:
    """Raise where a value given to the optimizer's constructor does nothing, since every group has its own."""
    own = inspect.signature(type(optimizer)).parameters.get(what)
    given = optimizer.defaults.get(what)
    if own is None or given is None or given == own.default or not live or live == {float(given)}:
        return
    raise PlanError(
        f"{what}={given:g} was given to {type(optimizer).__name__}(...), and the groups, which have {what} "
        f"{sorted(live)}, overrule it: it is never used. Give it to plan.param_groups(model, lr=..., {what}={given:g})."
    )


def unwrapped_in(known: Mapping[str, object], name: str) -> str:
    """The plan's name for a live one; raises PlanError where the plan has none."""
    for candidate in (name, unwrapped(name)):
        if candidate in known:
            return candidate
    raise PlanError(f"the optimizer holds {name!r}, which is not in the plan: build its groups with plan.param_groups.")


def clip_grad_norm_(settings: Sequence[Setting], model: nn.Module, max_norm: float) -> Tensor:
    """Scale all gradients so that their planned norm is at most `max_norm`; see `Plan.clip_grad_norm_`."""
    if not max_norm > 0:
        raise PlanError(f"max_norm={max_norm!r}: a norm is clipped to a positive number.")
    parameters = matched(settings, model)
    weights = {setting.name: math.sqrt(setting.metric) for setting in settings}
    held = [(parameter.grad, weights[name]) for name, parameter in parameters.items() if parameter.grad is not None]
    shards = process_group(model)
    if not held and shards is None:
        return torch.tensor(0.0)
    gradients = [local(gradient) for gradient, _ in held]
    if any(gradient is not mine for (gradient, _), mine in zip(held, gradients)):
        # Of a sharded tensor the norm over all shards (a collective), whatever its placement is.
        norms = [whole(torch.linalg.vector_norm(gradient)) for gradient, _ in held]
    elif len({gradient.device for gradient in gradients}) == 1:
        norms = list(torch._foreach_norm(gradients))
    else:
        norms = [gradient.norm() for gradient in gradients]
    terms = [norm * weight for norm, (_, weight) in zip(norms, held)]
    total = torch.linalg.vector_norm(torch.stack(terms)) if terms else torch.zeros(())
    if shards is not None:
        total = summed(total.square(), shards).sqrt()
    # The same arithmetic as torch.nn.utils.clip_grad_norm_, so that at base size the bits are the same too.
    coefficient = torch.clamp(max_norm / (total + 1e-6), max=1.0)
    if gradients:
        torch._foreach_mul_(gradients, coefficient)
    return total


def _numbers(setting: Setting) -> tuple[float, float, float]:
    return setting.lr, setting.eps, setting.decay


def _leaders(settings: Sequence[Setting], groups: Iterable[Mapping[str, Any]]) -> list[Setting]:
    """For each live group the setting of its first parameter."""
    by_name = {setting.name: setting for setting in settings}
    found = []
    for index, group in enumerate(groups):
        names = group.get("param_names")
        if not names:
            raise PlanError(
                f"parameter group {index} has no param_names, so its planned ratio is unknown: build the groups with "
                "plan.param_groups(model, lr=...)."
            )
        found.append(by_name[unwrapped_in(by_name, names[0])])
    return found


def _rates(settings: Sequence[Setting], groups: Sequence[Mapping[str, Any]]) -> list[float]:
    """The planned ratio of each live group's learning rate."""
    return [leader.lr / _shaped(leader, group) for leader, group in zip(_leaders(settings, groups), groups)]


def _shaped(setting: Setting, group: Mapping[str, Any]) -> float:
    """What the optimizer itself multiplies the group's rate by for its shape, target over base (torch's Muon)."""
    return shape_factor(setting, group["adjust_lr_fn"]) if "adjust_lr_fn" in group else 1.0


def _several(scheduler: Any) -> bool:
    return len({id(function) for function in scheduler.lr_lambdas}) > 1


def _inner(scheduler: Any) -> list[Any]:
    composed = isinstance(scheduler, lr_scheduler.SequentialLR | lr_scheduler.ChainedScheduler)
    return list(scheduler._schedulers) if composed else []


def _floats(values: Iterable[Any]) -> list[float]:
    return [float(value) for value in values]


def _in_ratio(found: Sequence[float], ratios: Sequence[float], who: str, what: str, mend: str) -> None:
    """Raise unless found[i] / ratios[i] is one number for all groups."""
    units = [value / ratio for value, ratio in zip(found, ratios)]
    if not units or max(units) - min(units) <= _SAME * max(abs(unit) for unit in units):
        return
    planned = [f"{max(found) * ratio:.6g}" for ratio in ratios] if "{}" in mend else []
    raise PlanError(
        f"{who} gives the groups {what} {[float(f'{value:.4g}') for value in found]}, and the plan's ratios are "
        f"{[float(f'{ratio:.4g}') for ratio in ratios]}: the ratios are the plan, without them wide and deep models "
        f"train at the base model's rate. Mend: {mend.format('[' + ', '.join(planned) + ']')}"
        + (f" which is plan.per_group(optimizer, {max(found):.6g})." if planned else ".")
    )


def _eta_min(eta_min: float, ratios: Sequence[float], name: str) -> None:
    if eta_min == 0.0 or len(set(ratios)) == 1:
        return
    raise PlanError(
        f"{name} ends at eta_min={eta_min:g} for every group, which are in the ratios "
        f"{[float(f'{ratio:.4g}') for ratio in ratios]}: the floor is one absolute rate and breaks them. Mend: "
        "eta_min=0, or a floor as a fraction of each group's own rate: LambdaLR(optimizer, lambda step: floor + "
        "(1 - floor) * (1 + math.cos(math.pi * step / steps)) / 2)."
    )


def _bare(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer itself inside those that trainers put around it (Accelerate's, Lightning's)."""
    inner = getattr(optimizer, "optimizer", None)
    return _bare(inner) if isinstance(inner, torch.optim.Optimizer) else optimizer


def _check_class(optimizer_name: str, wrapped: torch.optim.Optimizer) -> None:
    optimizer = _bare(wrapped)
    expected = TORCH_OPTIMIZERS.get(optimizer_name)
    if expected is None:
        _check_scale(optimizer_name, optimizer)
        return
    if type(optimizer) is expected:
        return
    decoupled = bool(optimizer.defaults.get("decoupled_weight_decay"))
    if expected is torch.optim.AdamW and type(optimizer) is torch.optim.Adam and decoupled:
        return
    raise PlanError(
        f"the plan is for {optimizer_name!r} ({expected.__name__}) and the optimizer is {type(optimizer).__name__}: "
        f"each optimizer has its own exponents. Use torch.optim.{expected.__name__}, or plan again with optimizer=..."
    )


def _check_scale(optimizer_name: str, optimizer: torch.optim.Optimizer) -> None:
    """Raise where an optimizer that torch does have is used under an update scale that is not its own."""
    row = get_optimizer(optimizer_name)
    if any("adjust_lr_fn" in group for group in optimizer.param_groups):
        raise PlanError(
            f"the plan is for {optimizer_name!r}, whose rates hold the shape of a matrix, and "
            f"{type(optimizer).__name__} multiplies them by a factor for the shape too (adjust_lr_fn): it would "
            "count twice. Plan with optimizer={'hidden': 'muon', '*': 'adamw'}, which divides torch's factor out."
        )
    known = {get_optimizer(name).scale for name, kind in TORCH_OPTIMIZERS.items() if type(optimizer) is kind}
    if known and row.scale not in known:
        raise PlanError(
            f"the plan is for steps of scale {row.scale!r} ({optimizer_name}), and those of {type(optimizer).__name__} "
            f"are {listed(sorted(known))}: each has its own exponents. Plan again with optimizer=..."
        )
