"""Parameter groups for torch optimizers: few, merged by equal settings, every unit scaled."""

import fnmatch
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from isoscale._plan.errors import PlanError
from isoscale._plan.naming import listed, matched
from isoscale._plan.settings import Setting
from isoscale._rules import get_optimizer

# The class in torch that takes the step of a row of the rules' table, and settings that make it that row.
TORCH_OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamw_independent": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "adamax": torch.optim.Adamax,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
# Settings that carry a unit of the gradient or of the weight and have no column in the table.
_UNSCALED = {
    "initial_accumulator_value": "it has the unit of a squared gradient",
    "etas": "bounds on a step have the weight's unit",
    "lambd": "it has the unit of the learning rate's inverse",
}
_DECOUPLED = "decoupled_weight_decay"


def param_groups(
    settings: Sequence[Setting],
    optimizer: str,
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float | None,
    eps: float | None,
    no_decay: Sequence[str],
    other: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Groups of the model's trainable parameters with equal learning rate, eps and decay, in the model's order.

    The equation a group obeys: lr * lr_ratio, eps * eps_ratio, weight_decay * decay_ratio (for "adamw_independent"
    divided by the group's lr, since torch multiplies the decay by it). Names travel as `param_names`, the key torch
    itself uses. Raises PlanError for a setting the table has no scaling for.
    """
    defaults = _defaults(optimizer)
    _check_hyperparameters(optimizer, defaults, lr=lr, weight_decay=weight_decay, eps=eps, other=other)
    parameters = matched(settings, model)
    by_name = {setting.name: setting for setting in settings}
    decay = float(defaults.get("weight_decay", 0.0) if weight_decay is None else weight_decay)
    has_eps = get_optimizer(optimizer).eps
    base_eps = float(defaults["eps"] if eps is None else eps) if has_eps and "eps" in defaults | _given(eps) else None
    groups: dict[tuple[float | None, ...], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        if not parameter.requires_grad:
            continue
        setting = by_name[name]
        own_lr = lr * setting.lr
        own_decay = 0.0 if _any_match(name, no_decay) else decay * setting.decay
        if optimizer == "adamw_independent":
            own_decay = own_decay / own_lr
        own_eps = None if base_eps is None else base_eps * setting.eps
        group = groups.setdefault(
            (own_lr, own_decay, own_eps),
            {"params": [], "param_names": [], "lr": own_lr, "weight_decay": own_decay, **_given(own_eps), **other},
        )
        group["params"].append(parameter)
        group["param_names"].append(name)
    unused = [pattern for pattern in no_decay if not any(_any_match(name, [pattern]) for name in parameters)]
    if unused:
        raise PlanError(f"no_decay pattern {listed(map(repr, unused))} matches no parameter: see print(plan).")
    return list(groups.values())


def torch_optimizer(optimizer: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The torch optimizer that takes the planned step over the groups."""
    if optimizer not in TORCH_OPTIMIZERS:
        raise PlanError(
            f"torch has no optimizer for {optimizer!r}: give plan.param_groups(model, lr=...) to your implementation."
        )
    return TORCH_OPTIMIZERS[optimizer](groups)  # type: ignore[call-arg]


def _given(eps: float | None) -> dict[str, float]:
    return {} if eps is None else {"eps": eps}


def _any_match(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _defaults(optimizer: str) -> dict[str, Any]:
    """The optimizer's own defaults: eps=1e-8 has a unit too and must be scaled even if nobody wrote it."""
    if optimizer not in TORCH_OPTIMIZERS:
        return {}
    signature = inspect.signature(TORCH_OPTIMIZERS[optimizer])
    return {name: each.default for name, each in signature.parameters.items() if each.default is not each.empty}


def _check_hyperparameters(
    optimizer: str,
    defaults: Mapping[str, Any],
    *,
    lr: float,
    weight_decay: float | None,
    eps: float | None,
    other: Mapping[str, Any],
) -> None:
    if not lr > 0:
        raise PlanError(f"lr={lr!r}: the learning rate of the base model is a positive number.")
    if weight_decay is not None and not weight_decay >= 0:
        raise PlanError(f"weight_decay={weight_decay!r} is negative: it would grow the weights.")
    row = get_optimizer(optimizer)
    if eps is not None and not row.eps:
        raise PlanError(f"eps={eps!r}: {optimizer} has no eps; leave it out, or plan with optimizer='adamw'.")
    if eps is None and row.eps and defaults == {}:
        raise PlanError(f"{optimizer} is not torch's own, so its default eps is unknown: pass eps=... (it is scaled).")
    unknown = [name for name in other if defaults and name not in defaults]
    if unknown:
        raise PlanError(
            f"{listed(unknown)}: not a setting of torch.optim.{TORCH_OPTIMIZERS[optimizer].__name__}, which has "
            f"{', '.join(defaults)}."
        )
    for name, why in _UNSCALED.items():
        if other.get(name) not in (None, 0, 0.0, defaults.get(name)):
            raise PlanError(f"{name}={other[name]!r} cannot be carried over sizes: {why}. Leave it at its default.")
    if bool(other.get(_DECOUPLED)) != bool(defaults.get(_DECOUPLED, False)):
        raise PlanError(
            f"{_DECOUPLED}={other[_DECOUPLED]!r}: {optimizer} is planned with {row.decay} decay ({row.note})."
        )
