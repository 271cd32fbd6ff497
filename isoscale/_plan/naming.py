"""Which tensor of a model is which row of the plan: fully qualified names, wrappers' prefixes removed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from torch import nn

from isoscale._plan.errors import PlanError
from isoscale._plan.sharding import flattened, sharded_flat

# torch.compile, activation checkpointing and FSDP put a segment anywhere; DDP and DataParallel one in front.
_WRAPPER_SEGMENTS = frozenset({"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"})
_OUTER_SEGMENT = "module"
_SHOWN = 8


class Shaped(Protocol):
    """A row of a plan as far as matching needs it."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


def unwrapped(name: str) -> str:
    """The name as the bare model has it: `module._orig_mod.fc.weight` is `fc.weight`."""
    segments = [segment for segment in name.split(".") if segment not in _WRAPPER_SEGMENTS]
    while segments and segments[0] == _OUTER_SEGMENT:
        segments = segments[1:]
    return ".".join(segments)


def matched(rows: Sequence[Shaped], model: nn.Module, *, whole: bool = False) -> dict[str, nn.Parameter]:
    """The model's parameters by the plan's names, in the model's order; an error names every difference.

    whole: their values are wanted and not only their names, which FSDP1's local pieces do not have.
    """
    found = dict(model.named_parameters())
    planned = {row.name: tuple(row.shape) for row in rows}
    if flat := flattened(model):
        raise PlanError(
            f"{flat} holds many parameters in one flat tensor (FSDP with use_orig_params=False), and a plan gives them "
            "different learning rates: wrap with FullyShardedDataParallel(model, use_orig_params=True), or use "
            "torch.distributed.fsdp.fully_shard(model)."
        )
    local = sharded_flat(model)
    if set(found) != set(planned):
        # Only now: a user's own submodule may really be called "module".
        renamed = {unwrapped(name): parameter for name, parameter in found.items()}
        if len(renamed) == len(found):
            found = renamed
    missing = [f"{name} {shape} is not in the model" for name, shape in planned.items() if name not in found]
    extra = [f"{name} {tuple(found[name].shape)} is not in the plan" for name in found if name not in planned]
    other = [
        f"{name} is {tuple(found[name].shape)} in the model and {shape} in the plan"
        for name, shape in planned.items()
        if name in found and tuple(found[name].shape) != shape and id(found[name]) not in local
    ]
    pieces = any(
        id(found[name]) in local and tuple(found[name].shape) != shape
        for name, shape in planned.items()
        if name in found
    )
    if whole and pieces and not (missing or extra or other):
        raise PlanError(
            "FullyShardedDataParallel keeps local pieces of the parameters, whose size cannot be measured: call "
            "plan.init_(model) before wrapping, or inside `with FullyShardedDataParallel.summon_full_params(model):`."
        )
    if missing or extra or other:
        raise PlanError(
            f"the model is not the planned one: {listed([*other, *missing, *extra])}. Every factor belongs to one "
            "parameter of one size, so nothing was changed. Build the model at the plan's target size, or plan again "
            "with isoscale.plan(build, base, target=<this model's size>)."
        )
    return found


def module_named(model: nn.Module, path: str) -> nn.Module:
    """The submodule with the plan's path, wrappers' prefixes removed."""
    for name, module in model.named_modules():
        if name == path:
            return module
    for name, module in model.named_modules():
        if unwrapped(name) == path and name.split(".")[-1] not in _WRAPPER_SEGMENTS:
            return module
    raise PlanError(f"the model has no module {path!r}, which carries a multiplier of the plan: build it again.")


def listed(items: Iterable[str], shown: int = _SHOWN) -> str:
    """`a; b; c and 5 more`."""
    all_items = list(items)
    text = "; ".join(all_items[:shown])
    return text if len(all_items) <= shown else f"{text} and {len(all_items) - shown} more"


def close(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """A sentence with the known names (used in errors)."""
    return listed(sorted(known), 12) if known else "none"
