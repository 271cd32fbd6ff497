"""mode="explicit": the multipliers stay visible, applied by forward hooks; no name in the state dict changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from isoscale._plan.errors import PlanError
from isoscale._plan.facts import Structure
from isoscale._plan.naming import module_named
from isoscale._plan.settings import readout_multiplier, row_of, sizes_of
from isoscale._rules import ONE, Power, Rule

# Modules whose output is linear in all their own parameters, so a factor on it is a factor on them.
_LINEAR_IN_PARAMETERS: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
)
_FORWARDS = frozenset(module.forward for module in _LINEAR_IN_PARAMETERS)


@dataclass(frozen=True)
class Hook:
    """A factor on a module's output, or on its first input (a readout whose bias must not be multiplied)."""

    module: str
    side: Literal["output", "input"]
    factor: float
    why: str


class OutputTimes:
    """Forward hook: multiply the module's output (the first tensor of a tuple) by a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return output * self.factor
        if not isinstance(output, tuple):
            raise PlanError(
                f"a {type(module).__name__} that carries a multiplier returned a {type(output).__name__}: only a "
                'tensor, or a tuple whose first item is the branch, can be multiplied. Plan with mode="fold".'
            )
        return (output[0] * self.factor, *output[1:])


class InputTimes:
    """Forward pre-hook: multiply the module's first argument by a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        return (args[0] * self.factor, *args[1:])


@dataclass(frozen=True)
class Placement:
    """A hook and the part of each parameter's multiplier that it takes over from folding."""

    hook: Hook
    takes: Mapping[str, Power]


def place(
    structure: Structure, rule: Rule, optimizer: str, model: nn.Module, existing: Mapping[str, float] | None = None
) -> list[Placement]:
    """Where explicit mode can put multipliers; whatever no module's output carries stays folded.

    A branch is multiplied at the module whose output it is; a readout, or a weight with a multiplier of its own, at
    its own module if that is one of torch's linear ones. `existing[branch]` is what the model's code already applies to
    a branch that has no tails to divide it out of, target over base.
    """
    modules = dict(model.named_modules())
    applied = existing or {}
    uses: dict[str, int] = {}
    for branch in structure.branches:
        for tail in branch.tails:
            uses[tail] = uses.get(tail, 0) + 1
    found = []
    for stream in structure.streams.values():
        factor = rule.branch_multiplier.at(depth=stream.depth / stream.base_depth)
        for branch in stream.branches:
            # A tail of several branches is folded once; hooking some of them would leave it half done.
            if (
                branch.hook is not None
                and branch.hook in modules
                and factor != 1.0
                and all(uses[tail] == 1 for tail in branch.tails)
            ):
                needed = factor / applied.get(branch.name, 1.0)
                hook = Hook(branch.hook, "output", needed, f"branch {branch.name} of stream {stream.name}")
                found.append(Placement(hook, dict.fromkeys(branch.tails, rule.branch_multiplier)))
    own = (_own(path, module, structure, rule, optimizer) for path, module in modules.items())
    return (
        found + [placement for placement in own if placement is not None] + _tied(modules, structure, rule, optimizer)
    )


def _tied(modules: Mapping[str, nn.Module], structure: Structure, rule: Rule, optimizer: str) -> list[Placement]:
    """Tied readouts that no norm can carry: the multiplier goes to the input of the linear layer that is tied.

    An embedding and a readout have the same learning rate, eps and init ratio while the readout's multiplier is
    explicit, so one weight can be both.
    """
    handed = any(parameter.readout and parameter.role != "output" for parameter in structure.parameters.values())
    found = []
    for parameter in structure.parameters.values() if structure.refusals and not handed else ():
        for alias in parameter.aliases:
            path = alias.removesuffix(".weight")
            if path == alias or not isinstance(modules.get(path), nn.Linear) or parameter.role != "input":
                continue
            readout = replace(parameter, readout=True)
            factor = readout_multiplier(readout, rule, optimizer).at(**sizes_of(parameter, structure))
            found.append(Placement(Hook(path, "input", factor, f"readout tied to {parameter.name}"), {}))
    return found if len(found) == len(structure.refusals) else []


def merged(placements: Sequence[Placement]) -> tuple[tuple[Hook, ...], dict[str, Power]]:
    """One hook per module and side, and all the powers that hooks take over."""
    hooks: dict[tuple[str, str], Hook] = {}
    taken: dict[str, Power] = {}
    for placement in placements:
        hook = placement.hook
        before = hooks.get((hook.module, hook.side))
        if before is not None:
            hook = replace(hook, factor=before.factor * hook.factor, why=f"{before.why}; {hook.why}")
        hooks[hook.module, hook.side] = hook
        for name, power in placement.takes.items():
            taken[name] = taken.get(name, ONE) * power
    return tuple(hooks.values()), taken


def attach(hooks: Sequence[Hook], model: nn.Module) -> list[str]:
    """Put the hooks on the model where they are not on it yet; returns the paths of hooked modules.

    torch.compile would otherwise take what it compiled for the same class without hooks (a model at base size, say),
    and leave every multiplier out: by default it does not look whether a module has hooks. What was compiled without
    looking is forgotten.
    """
    if hooks and torch._dynamo.config.skip_nnmodule_hook_guards:
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        torch.compiler.reset()
    for hook in hooks:
        module = module_named(model, hook.module)
        if hook.side == "output" and not _ours(module._forward_hooks, OutputTimes):
            module.register_forward_hook(OutputTimes(hook.factor))
        if hook.side == "input" and not _ours(module._forward_pre_hooks, InputTimes):
            module.register_forward_pre_hook(InputTimes(hook.factor))
    return [hook.module for hook in hooks]


def detach(model: nn.Module) -> list[str]:
    """Take every hook of this kind off the model; returns the paths of the modules that had one."""
    found = []
    for path, module in model.named_modules():
        for registered, kind in ((module._forward_hooks, OutputTimes), (module._forward_pre_hooks, InputTimes)):
            ours = [key for key, hook in registered.items() if isinstance(hook, kind)]
            for key in ours:
                del registered[key]
            found += [path] * bool(ours)
    return found


def _ours(registered: Mapping[int, Any], kind: type) -> bool:
    return any(isinstance(hook, kind) for hook in registered.values())


def _own(path: str, module: nn.Module, structure: Structure, rule: Rule, optimizer: str) -> Placement | None:
    """The hook for the multipliers of a module's own parameters, if one factor on its output or input says it all."""
    prefix = f"{path}." if path else ""
    own = {name: structure.parameters.get(prefix + name) for name, _ in module.named_parameters("", False)}
    if type(module).forward not in _FORWARDS:
        return None
    powers, factors = {}, {}
    for name, parameter in own.items():
        if parameter is None:
            return None
        total = row_of(parameter, rule, optimizer).multiplier * readout_multiplier(parameter, rule, optimizer)
        powers[name] = total / rule.branch_multiplier if parameter.tail else total
        factors[name] = powers[name].at(**sizes_of(parameter, structure))
    values = set(factors.values())
    if not values - {1.0}:
        return None
    why = f"multiplier of {', '.join(prefix + name for name, value in factors.items() if value != 1.0)}"
    if len(values) == 1:
        return Placement(Hook(path, "output", values.pop(), why), {prefix + name: powers[name] for name in own})
    weight_only = all((value == 1.0) == (name != "weight") for name, value in factors.items())
    if weight_only and isinstance(module, nn.Linear | _ConvNd):
        return Placement(Hook(path, "input", factors["weight"], why), {f"{prefix}weight": powers["weight"]})
    return None


def watch(hooks: Sequence[Hook], model: nn.Module) -> set[str]:
    """A set that collects paths of hooked modules whose forward runs (`MultiheadAttention.out_proj`'s never does)."""
    seen: set[str] = set()

    def note(path: str) -> Callable[..., None]:
        return lambda module, args: seen.add(path)

    for hook in hooks:
        module_named(model, hook.module).register_forward_pre_hook(note(hook.module))
    return seen
