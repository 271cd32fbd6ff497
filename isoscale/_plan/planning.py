"""plan(): from a builder and two sizes to what every parameter gets."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from isoscale._plan.analysis import Analysis
from isoscale._plan.choice import Told, canonical
from isoscale._plan.compose import compose, missing_logits
from isoscale._plan.errors import PlanError
from isoscale._plan.facts import Structure
from isoscale._plan.fused import share
from isoscale._plan.hooks import Placement, place, watch
from isoscale._plan.measure import Draws, measured
from isoscale._plan.naming import listed
from isoscale._plan.plans import Plan
from isoscale._plan.proof import prove
from isoscale._plan.sizes import Tracer, build_light
from isoscale._plan.structure import describe
from isoscale._rules import ONE, Rule, get_rule

LARGE_BASE = 50_000_000
"""Elements of a base model above which the numeric proof is left to plan.verify."""


def plan(
    build: Callable[..., nn.Module],
    base: Mapping[str, Any],
    target: Mapping[str, Any],
    *,
    inputs: Any = None,
    rule: str = "depth_mup",
    optimizer: Told = "adamw",
    mode: Literal["fold", "explicit"] = "fold",
    roles: Mapping[str, str] | None = None,
    postnorm: Literal["refuse", "allow"] = "refuse",
) -> Plan:
    """Plan the model `build(**target)` so that hyperparameters tuned on `build(**base)` stay best.

    Every parameter gets (multiplier, init std, lr, eps, decay) = ratio(fan-in, fan-out, depth), target over base, from
    the rule's table; multipliers are folded into the other four (mode="fold") or applied by forward hooks
    (mode="explicit"). At base size every ratio is exactly 1. Pure: nothing is trained, no random state is touched.

    build: callable(**size) -> nn.Module, in plain PyTorch; base, target: the same keys, e.g. dict(width=64, depth=4).
    inputs: an example batch (a tensor, a tuple of arguments or a dict of keyword arguments); None if the model has a
    method `example_inputs()`. optimizer: a name of the table, `UpdateScale("sign")` for one that is not in it, or
    several by role or glob, {"hidden": "muon", "*": "adamw"}; the first that fits and can take the shape. roles:
    overrides by glob, {"blocks.*.gate": "scalar"}.
    Raises PlanError (or StructureError, RuleError, UnknownName: all ValueError) with what, why and what mends it.
    Sources: arXiv 2203.03466 (width), 2309.16620 (depth), 2505.01618 (alpha = 1).
    """
    return Planner(build, base, inputs, rule, optimizer, mode, roles, postnorm).plan(target)


@dataclass(frozen=True)
class Planner:
    """Plans of several targets over one base: the base's initialisation is drawn once for all of them.

    `planner.plan(target)` is what `plan` with the same arguments gives. The builder must not change in between.
    """

    build: Callable[..., nn.Module]
    base: Mapping[str, Any]
    inputs: Any = None
    rule: str = "depth_mup"
    optimizer: Told = "adamw"
    mode: Literal["fold", "explicit"] = "fold"
    roles: Mapping[str, str] | None = None
    postnorm: Literal["refuse", "allow"] = "refuse"

    @cached_property
    def draws(self) -> Draws:
        """The base model's initialisations, built as they are asked for and kept as sums."""
        return Draws(self.build, self.base)

    def plan(self, target: Mapping[str, Any]) -> Plan:
        """The plan of one target size; see `isoscale.plan`."""
        build, base, inputs, mode, optimizer = self.build, self.base, self.inputs, self.mode, canonical(self.optimizer)
        _check_sizes(build, base, target)
        table = get_rule(self.rule)
        if mode not in ("fold", "explicit"):
            raise PlanError(f"mode={mode!r}: a multiplier is either folded or explicit: mode='fold' or 'explicit'.")
        if self.postnorm not in ("refuse", "allow"):
            raise PlanError(f"postnorm={self.postnorm!r}: depth scaling of a post-norm stream is 'refuse' or 'allow'.")
        if not isinstance(built := _light(build, base), nn.Module):
            raise PlanError(f"the builder returned a {type(built).__name__} at {dict(base)}, not a torch.nn.Module.")
        # A rule that leaves depth alone multiplies no branch: a norm on the stream is no trouble then.
        allowed = "allow" if table.branch_multiplier == ONE else self.postnorm
        structure = describe(build, base, target, inputs, roles=self.roles, postnorm=allowed)
        structure = measured(structure, self.draws)
        structure, shared = _shared(structure, table, build, target, inputs)
        placements = []
        if mode == "explicit":
            placements = _firing(structure, table, optimizer, build, target, inputs, _constants(structure))
        structure = _proved(structure, build, base, inputs, {placement.hook.module for placement in placements})
        return compose(
            structure,
            table,
            base=base,
            target=target,
            optimizer=optimizer,
            mode=mode,
            placements=placements,
            shared=shared,
        )


def _check_sizes(build: Callable[..., nn.Module], base: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    if not callable(build):
        raise PlanError(f"build={build!r} is not callable: give the function (or class) that makes the model.")
    for name, size in (("base", base), ("target", target)):
        if not isinstance(size, Mapping) or not size:
            raise PlanError(f"{name}={size!r}: a size is a dict of the builder's arguments, dict(width=64, depth=4).")
    if set(base) != set(target):
        raise PlanError(
            f"base and target have different keys: only in base: {sorted(set(base) - set(target))}, only in target: "
            f"{sorted(set(target) - set(base))}. A ratio needs both ends; give every key in both."
        )
    smaller = [
        f"{key}={target[key]} (base {base[key]})"
        for key in base
        if isinstance(base[key], int) and isinstance(target[key], int) and target[key] < base[key]
    ]
    if smaller:
        raise PlanError(
            f"the target is smaller than the base: {listed(smaller)}. Hyperparameters are tuned small and carried up; "
            "swap base and target, or choose a smaller base."
        )
    try:
        signature = inspect.signature(build)
    except (TypeError, ValueError):
        return
    for size in (base, target):
        try:
            signature.bind(**size)
        except TypeError as error:
            known = list(signature.parameters)
            close = [difflib.get_close_matches(key, known, 1) for key in size if key not in known]
            hint = f" Did you mean {close[0][0]!r}?" if close and close[0] else ""
            raise PlanError(
                f"the builder cannot be called with {dict(size)}: {error}; it takes {signature}.{hint}"
            ) from error


def _proved(
    structure: Structure, build: Callable[..., nn.Module], base: Mapping[str, Any], inputs: Any, hooked: set[str]
) -> Structure:
    """Check on the spot, in float64 at base size, that multiplying the tails multiplies the branches.

    Raises PlanError where it does not and something is folded. Where the check itself cannot run (a kernel without
    float64, a base too large to run for real) the structure carries a warning that says so.
    """
    sampled = {each.base_names: each.sampled for each in structure.parameters.values()}
    if sum(sampled.values()) > LARGE_BASE:
        return _warned(structure, "the fold is not proved, the base is large: plan.verify(build, inputs, size=...)")
    try:
        proof = prove(build, base, inputs, structure)
    except Exception as error:
        return _warned(structure, f"the fold is not proved, the check cannot run: {type(error).__name__}: {error}")
    handed = any(parameter.readout and parameter.role != "output" for parameter in structure.parameters.values())
    folded = handed or any(branch.tails and branch.hook not in hooked for branch in structure.branches)
    if proof.idle and folded:
        return _warned(structure, "the fold is not proved: on this batch at base size no branch moves the output")
    if not proof.holds and folded:
        raise PlanError(
            f"the folded multipliers are not the branches' multipliers ({proof}): the traced tails are wrong for this "
            "model, and training with them would be wrong without a sign. Please report the model; mode='explicit' "
            "multiplies by hooks where branches are modules."
        )
    return structure


def _shared(
    structure: Structure, rule: Rule, build: Callable[..., nn.Module], target: Mapping[str, Any], inputs: Any
) -> tuple[Structure, dict[str, float]]:
    """Serve attentions whose queries, keys and values are one weight, where a growing head size asks for a factor."""
    factors = [missing_logits(attention, rule) for attention in structure.attentions]
    if not any(f != 1.0 and each.refusal is not None for f, each in zip(factors, structure.attentions)):
        return structure, {}
    traced = Tracer(build, inputs)(target)
    analysis = Analysis(traced.graph, traced.residuals, traced.residuals.outermost())
    return share(structure, analysis, factors)


def _light(build: Callable[..., nn.Module], size: Mapping[str, Any]) -> nn.Module:
    """The model without its memory, built beside everybody's random numbers."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        return build_light(build, size)


def _warned(structure: Structure, sentence: str) -> Structure:
    return replace(structure, warnings=(*structure.warnings, sentence))


def _constants(structure: Structure) -> dict[str, float]:
    """What the model's code already multiplies refused branches by, target over base (their tails cannot tell)."""
    found: dict[str, float] = {}
    for branch in structure.branches:
        if branch.refusal is None or branch.hook is None or branch.before == (branch.constant,):
            continue
        if len(branch.before) != 1:
            raise PlanError(
                f"the code multiplies branch {branch.name} by {branch.constant:.4g}, and the base's branches of that "
                f"kind by {list(branch.before) or 'nothing that is known'}: what is there already cannot be told. End "
                "the branch with a linear layer."
            )
        found[branch.name] = branch.constant / branch.before[0]
    return found


def _firing(
    structure: Structure,
    rule: Rule,
    optimizer: str,
    build: Callable[..., nn.Module],
    target: Mapping[str, Any],
    inputs: Any,
    existing: Mapping[str, float],
) -> list[Placement]:
    """Hooks that really fire on the target model, traced under fake tensors."""
    placements = place(structure, rule, optimizer, _light(build, target), existing)
    fired: list[set[str]] = []

    def watched(**size: Any) -> nn.Module:
        model = build(**size)
        fired.append(watch([placement.hook for placement in placements], model))
        return model

    Tracer(watched, inputs)(target)
    return [placement for placement in placements if placement.hook.module in set().union(*fired)]
