"""Rescale a freshly built model to the planned initialisation: measured, in place, idempotent."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from isoscale._plan.errors import PlanError
from isoscale._plan.naming import matched
from isoscale._plan.settings import Setting
from isoscale._plan.sharding import whole

# A pool that was scaled once measures its target up to rounding; a factor this close to 1 (or to the folded
# multiplier) is rounding, not a difference.
_ROUNDING = 1e-6
# Same shape, ratio 1: a measured factor within so many standard errors is sampling noise and not worth a touch.
_STANDARD_ERRORS = 4.0


def initialise(settings: Sequence[Setting], model: nn.Module) -> nn.Module:
    """Scale every parameter to rms = base model's measured rms times the planned ratio; returns the model.

    Layers that share one planned setting are measured and scaled together (one factor a pool), so a small tensor's
    sampling noise does not become its scale, and a profile over layers is kept. At base size nothing is touched.
    """
    parameters = matched(settings, model, whole=True)
    on_meta = [name for name, parameter in parameters.items() if parameter.is_meta]
    if on_meta:
        raise PlanError(
            f"{on_meta[0]} (and {len(on_meta) - 1} more) is on the meta device: there is nothing to measure. "
            "Materialise and initialise the model first (model.to_empty(...), then the model's own init)."
        )
    if at_base(settings):
        return model
    wider = any(setting.fan_in != 1.0 or setting.fan_out != 1.0 for setting in settings)
    with torch.no_grad():
        for pool in _pools(settings):
            tensors = {setting.name: parameters[setting.name] for setting in pool}
            if pool[0].init == "random":
                _separate_clones(tensors)
            # A ramp like log(1..n) has another rms at another length, and that is its business.
            kept = pool[0].own_init or (pool[0].init == "fixed" and pool[0].std == 1.0)
            factor = 1.0 if kept else _factor(pool, tensors, wider)
            if factor != 1.0:
                for tensor in tensors.values():
                    tensor.mul_(factor)
    return model


def at_base(settings: Iterable[Setting]) -> bool:
    """Whether nothing grows: the plan is the user's own model."""
    return all(setting.fan_in == setting.fan_out == setting.depth == 1.0 for setting in settings)


def _pools(settings: Sequence[Setting]) -> list[list[Setting]]:
    """Parameters that one factor serves: equal shape, place and planned initialisation."""
    pools: dict[tuple[object, ...], list[Setting]] = {}
    for s in settings:
        place = (s.shape, s.role, s.stream, s.tail, s.readout)
        scale = (s.base_rms, s.base_mean, s.std, s.multiplier)
        pools.setdefault((place, scale), []).append(s)
    return list(pools.values())


def _factor(pool: Sequence[Setting], tensors: Mapping[str, Tensor], wider: bool) -> float:
    """What to multiply the pool by, 1 where nothing is to be done."""
    setting, count = pool[0], sum(tensor.numel() for tensor in tensors.values())
    current = math.sqrt(sum(_norm(tensor) ** 2 for tensor in tensors.values()) / count)
    if not math.isfinite(current):
        raise PlanError(f"{setting.name} holds inf or nan: init_ scales a freshly built model.")
    if (current == 0.0) != (setting.base_rms == 0.0):
        was, now = ("zero", "not zero") if setting.base_rms == 0.0 else ("not zero", "zero")
        raise PlanError(
            f"{setting.name} is {was} in the base model and {now} here (rms {setting.base_rms:.3g} and {current:.3g}): "
            "no ratio leads from one to the other. Call init_ on a freshly built model, before training or loading, "
            "and let the builder initialise alike at every size."
        )
    if current == 0.0:
        return 1.0
    return _snapped(setting.rms / current, setting, count, wider)


def _snapped(factor: float, setting: Setting, count: int, wider: bool) -> float:
    """The factor, made exact where the difference to 1 or to the folded multiplier is rounding or noise."""
    multiplier = setting.multiplier
    window = _ROUNDING
    if not wider and setting.init == "random":
        # Only depth grows: tensors have the base's shapes, and a difference within noise is the user's own draw. (Where
        # width grows even a tensor of equal shape may be drawn otherwise: torch's biases shrink with their fan-in.)
        numel = math.prod(setting.shape)
        window = max(window, _STANDARD_ERRORS * math.sqrt(0.5 / count + 0.5 / numel))
    if multiplier != 1.0:
        # "already done" (1) and "to be done" (the multiplier) must stay two answers.
        window = min(window, abs(math.log(multiplier)) / 3)
    for exact in (1.0, multiplier):
        if abs(math.log(factor / exact)) <= window:
            return exact
    return factor


def _norm(tensor: Tensor) -> float:
    """Euclidean norm in float64, of the whole tensor where it is sharded."""
    norm = torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64)
    return float(whole(norm))


def _separate_clones(tensors: Mapping[str, Tensor]) -> None:
    """Give layers that were copied from one another at construction their own draw.

    `nn.TransformerEncoder` deep-copies one layer: branches are then perfectly correlated and a sum of L of them grows
    like L instead of sqrt(L). A random signed permutation of the input axis keeps the distribution (every singular
    value too) and makes the copies independent for any input.
    """
    seen: dict[tuple[float, float], list[Tensor]] = {}
    for tensor in tensors.values():
        if tensor.numel() < 2:
            continue
        key = (_norm(tensor), float(whole(tensor.detach().sum(dtype=torch.float64))))
        if any(torch.equal(tensor, other) for other in seen.get(key, ())):
            tensor.copy_(_redrawn(tensor))
        else:
            seen.setdefault(key, []).append(tensor)


def _redrawn(tensor: Tensor) -> Tensor:
    if tensor.dim() < 2:
        return tensor[torch.randperm(tensor.numel(), device=tensor.device)]
    columns = tensor.shape[1]
    signs = torch.randint(0, 2, (columns,), device=tensor.device, dtype=torch.int64).mul_(2).sub_(1).to(tensor.dtype)
    order = torch.randperm(columns, device=tensor.device)
    centred = abs(float(tensor.double().mean())) * math.sqrt(tensor.numel()) <= 6 * float(tensor.double().std())
    shape = (1, columns, *(1,) * (tensor.dim() - 2))
    permuted = tensor[:, order]
    return permuted * signs.view(shape) if centred else permuted
