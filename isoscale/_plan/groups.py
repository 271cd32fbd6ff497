"""Parameter groups for torch optimizers: few, merged by equal settings, every unit scaled."""

import fnmatch
import inspect
import math
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
    "adafactor": torch.optim.Adafactor,
    # Since torch 2.9.
    **({"muon": torch.optim.Muon} if "Muon" in vars(torch.optim) else {}),
}
# Settings that carry a unit of the gradient or of the weight and have no column in the table.
_UNSCALED = {
    "initial_accumulator_value": "it has the unit of a squared gradient",
    "etas": "bounds on a step have the weight's unit",
    "lambd": "it has the unit of the learning rate's inverse",
}
_DECOUPLED = "decoupled_weight_decay"
_LARGEST_EPS1 = 1e-15
"""Of torch's Adafactor: the squared gradient is clamped by eps1 in one place and by eps1^2 in another."""


def param_groups(
    settings: Sequence[Setting],
    optimizer: str,
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float | None,
    eps: float | tuple[float, float] | None,
    no_decay: Sequence[str],
    other: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Groups of one optimizer's trainable parameters with equal learning rate, eps and decay, in the model's order.

    The equation a group obeys: lr * lr_ratio, eps * eps_ratio, weight_decay * decay_ratio (for "adamw_independent"
    divided by the group's lr, since torch multiplies the decay by it). Names travel as `param_names`, the key torch
    itself uses. Raises PlanError for a setting the table has no scaling for.
    """
    defaults = _defaults(optimizer)
    _check_hyperparameters(optimizer, defaults, lr=lr, weight_decay=weight_decay, eps=eps, other=other)
    parameters = matched(settings, model)
    by_name = {setting.name: setting for setting in settings}
    decay = float(defaults.get("weight_decay", 0.0) if weight_decay is None else weight_decay)
    base_eps = defaults.get("eps") if eps is None else eps
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        setting = by_name[name]
        if not parameter.requires_grad or setting.optimizer not in ("", optimizer):
            continue
        shaped = shape_factor(setting, other.get("adjust_lr_fn")) if "adjust_lr_fn" in defaults else 1.0
        own_lr = lr * setting.lr / shaped
        own_decay = 0.0 if _any_match(name, no_decay) else decay * setting.decay * shaped
        if optimizer == "adamw_independent":
            own_decay = own_decay / own_lr
        own_eps = _scaled_eps(base_eps, setting, optimizer)
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


def shape_factor(setting: Setting, adjust: str | None) -> float:
    """What torch's Muon multiplies the learning rate of a matrix by on its own, target over base.

    "original" (its default): max(1, rows / columns)^1/2; "match_rms_adamw": 0.2 max(rows, columns)^1/2. The plan's
    rates are for singular values of 1 and hold the shape already: the factor is divided out, or it would count twice.
    """
    if not setting.base_shape:
        raise PlanError(
            f"{setting.name} has shape {setting.shape} and is no plain matrix at the base size: torch's Muon "
            "multiplies its rate by a factor for the shape that is unknown there. Give it to another optimizer."
        )
    now, base = (_adjustment(shape, adjust) for shape in (setting.shape, setting.base_shape))
    return now / base


def _adjustment(shape: tuple[int, ...], adjust: str | None) -> float:
    rows, columns = shape
    if adjust == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


def _scaled_eps(eps: Any, setting: Setting, optimizer: str) -> Any:
    row = get_optimizer(optimizer)
    if row.floor and eps is not None:
        # The second is a floor on the weight's own rms and has its unit; the first is too small to matter.
        return (float(eps[0]), float(eps[1]) * (1.0 if setting.own_init else setting.std))
    return float(eps) * setting.eps if row.eps and eps is not None else None


def torch_optimizer(optimizer: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The torch optimizer that takes the planned step over the groups."""
    if optimizer not in TORCH_OPTIMIZERS:
        raise PlanError(
            f"torch has no optimizer for {optimizer!r}: give plan.param_groups(model, lr=...) to your implementation."
        )
    return TORCH_OPTIMIZERS[optimizer](groups)  # type: ignore[call-arg]


def _given(eps: Any) -> dict[str, Any]:
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
    eps: float | tuple[float, float] | None,
    other: Mapping[str, Any],
) -> None:
    if not lr > 0:
        raise PlanError(f"lr={lr!r}: the learning rate of the base model is a positive number.")
    if weight_decay is not None and not weight_decay >= 0:
        raise PlanError(f"weight_decay={weight_decay!r} is negative: it would grow the weights.")
    row = get_optimizer(optimizer)
    if row.floor:
        first = (eps if isinstance(eps, tuple) else (None, None))[0]
        if defaults and (first is None or not 0 < first <= _LARGEST_EPS1):
            raise PlanError(
                f"eps={eps!r}: torch's Adafactor clamps one squared gradient by eps1 and another by eps1^2, so eps1 "
                "has no unit that could be carried over sizes, and its default is not small. Make it too small to "
                "matter: eps=(1e-19, 1e-3)."
            )
    elif eps is not None and not row.eps:
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
