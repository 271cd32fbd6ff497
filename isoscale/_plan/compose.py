"""From the facts of a structure and a rule to a plan, or to the sentence why there is none."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from isoscale._plan.choice import names
from isoscale._plan.errors import PlanError
from isoscale._plan.facts import Attention, Branch, Structure
from isoscale._plan.hooks import Placement, merged
from isoscale._plan.naming import listed
from isoscale._plan.plans import Plan
from isoscale._plan.settings import leaves_alone, settle
from isoscale._plan.streams import template
from isoscale._rules import Rule


def compose(
    structure: Structure,
    rule: Rule,
    *,
    base: Mapping[str, Any],
    target: Mapping[str, Any],
    optimizer: str,
    mode: Literal["fold", "explicit"] = "fold",
    placements: Sequence[Placement] = (),
    shared: Mapping[str, float] | None = None,
) -> Plan:
    """The plan of a structure under a rule.

    `placements` are the hooks that explicit mode uses instead of folding; `shared` are factors of attention logits that
    several parameters carry together (`fused.share`).
    """
    hooks, hooked = merged(placements)
    _refuse(structure, rule, optimizer, {hook.module for hook in hooks})
    logits = {name: missing_logits(each, rule) for each in structure.attentions for name in each.fold}
    logits.update(shared or {})
    return Plan(
        rule=rule.name,
        optimizer_name=optimizer,
        mode=mode,
        base=dict(base),
        target=dict(target),
        settings=settle(structure, rule, optimizer, hooked, logits),
        hooks=hooks,
        depths={name: (stream.base_depth, stream.depth) for name, stream in structure.streams.items()},
        warnings=structure.warnings,
    )


def missing_logits(attention: Attention, rule: Rule) -> float:
    """What the rule's logit scale asks for over what the model has, where the head size grows; else 1."""
    if leaves_alone(rule):
        return 1.0
    factor = rule.logits.at(fan_in=attention.size / attention.base_size) / attention.existing
    return 1.0 if abs(factor - 1.0) < 1e-9 else factor


def _refuse(structure: Structure, rule: Rule, optimizer: str, hooked: set[str]) -> None:
    """Raise where a multiplier that this rule needs can neither be folded nor hooked."""
    found = _branches(structure, rule, hooked)
    tied = any(hook in hooked for parameter in structure.parameters.values() for hook in _modules_of(parameter.aliases))
    if rule.entry("output", False, names(optimizer)[0]).multiplier.fan_in != 0 and _wider(structure) and not tied:
        found += [
            f'{refusal}; the readout must shrink with width: plan with mode="explicit", which multiplies the input of '
            "the linear layer that the weight is tied to, or untie the two"
            for refusal in structure.refusals
        ]
    found += [
        f"{attention.refusal}; with a head size growing from {attention.base_size} to {attention.size} the logits need "
        "1/size instead of 1/sqrt(size): keep the head size fixed and let the number of heads grow with width"
        for attention in structure.attentions
        if attention.refusal is not None and missing_logits(attention, rule) != 1.0
    ]
    if found:
        raise PlanError(f"rule {rule.name!r} needs multipliers that cannot be placed: {listed(found, 3)}.")


def _branches(structure: Structure, rule: Rule, hooked: set[str]) -> list[str]:
    """One sentence for each reason why branches can not be multiplied, however many have it."""
    alike: dict[tuple[str, str, str, bool], list[Branch]] = {}
    for stream in structure.streams.values():
        needed = rule.branch_multiplier.at(depth=stream.depth / stream.base_depth) != 1.0
        for branch in stream.branches if needed else ():
            if branch.refusal is not None and branch.hook not in hooked:
                refusal = branch.refusal
                key = (template(refusal.module), refusal.op, template(refusal.why), branch.hook is not None)
                alike.setdefault(key, []).append(branch)
    found = []
    for (*_, hookable), branches in alike.items():
        mend = (
            'plan with mode="explicit", which multiplies by a forward hook'
            if hookable
            else "end it with a linear layer, or make it a submodule (its output is then multiplied by a hook: "
            'mode="explicit")'
        )
        more = f", and of {len(branches) - 1} more branches like it" if len(branches) > 1 else ""
        found.append(f"that of {branches[0].refusal}{more}; the branch must shrink with depth: {mend}")
    return found


def _modules_of(names: Sequence[str]) -> list[str]:
    return [name.rpartition(".")[0] for name in names]


def _wider(structure: Structure) -> bool:
    return any(p.fan_in != p.base_fan_in or p.fan_out != p.base_fan_out for p in structure.parameters.values())
