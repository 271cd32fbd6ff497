"""The role of each parameter, decided: one way of being used, several that agree, a tied weight, or a refusal."""

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from isoscale._plan.analysis import Analysis
from isoscale._plan.facts import Role, StructureError
from isoscale._plan.roles import Fans, fans, role_of


@dataclass(frozen=True)
class Assigned:
    """A parameter's sizes and role; `tied`: it is also a readout, by another use. `notes` are for the user."""

    fans: Fans
    tied: bool = False
    notes: tuple[str, ...] = ()


def overrides(roles: Mapping[str, str] | None, names: tuple[str, ...]) -> dict[str, Role]:
    """Roles told by the user, by full parameter name; a later glob wins."""
    found: dict[str, Role] = {}
    for glob, role in (roles or {}).items():
        if role not in get_args(Role):
            raise StructureError(
                f"roles={{{glob!r}: {role!r}}}: a role is one of {', '.join(get_args(Role))} (which of fan-in and "
                "fan-out grow with width)"
            )
        matched = fnmatch.filter(names, glob)
        if not matched:
            raise StructureError(
                f"roles: no parameter matches {glob!r}; the model has {', '.join(names[:6])}"
                + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            )
        for name in matched:
            found[name] = role  # type: ignore[assignment]
    return found


def by_shape(wide: tuple[int, ...], narrow: tuple[int, ...], evidence: str) -> Fans:
    """Sizes as torch's own initialisers count them: the first axis is fan-out, the others fan-in."""
    if len(wide) < 2:
        first, second = math.prod(wide), math.prod(narrow)
        return Fans(role_of(False, first != second), 1, first, 1, second, evidence)
    fan_in, base_in = math.prod(wide[1:]), math.prod(narrow[1:])
    role = role_of(fan_in != base_in, wide[0] != narrow[0])
    return Fans(role, fan_in, wide[0], base_in, narrow[0], evidence)


def assign(thin: Analysis, target: Analysis, told: Mapping[str, Role], widened: bool) -> dict[str, Assigned]:
    """Roles of all parameters from their uses at the same depth and two widths."""
    return {name: decide(name, thin, target, told.get(name), widened) for name in target.graph.shapes}


def decide(name: str, thin: Analysis, target: Analysis, told: Role | None, widened: bool) -> Assigned:
    shape, base_shape = target.graph.shapes[name], thin.graph.shapes[name]
    wide, narrow = target.uses[name], thin.uses[name]
    if not wide or not narrow:
        found = by_shape(shape, base_shape, "the traced forward pass does not use it; sizes are those of its shape")
        note = f"{name} is not used by the traced forward pass: its role is taken from its shape"
        return Assigned(replace(found, role=told or found.role), False, () if told else (note,))
    ways = fans(wide, narrow, name)
    troubled = [way for way in ways if way.trouble is not None]
    if told is not None:
        best = by_shape(shape, base_shape, "") if troubled else preferred(ways)
        return Assigned(replace(best, role=told, evidence=f"told by roles=; {best.evidence or 'sizes by shape'}"))
    if troubled:
        if not widened:
            return Assigned(by_shape(shape, base_shape, "no width changes; sizes are those of its shape"))
        raise StructureError(
            f'no role follows for {name}: {troubled[0].trouble}. Tell it: roles={{{name!r}: "hidden"}} (or input, '
            "output, scalar)"
        )
    if len(ways) == 1:
        return Assigned(ways[0])
    return several(name, ways)


def several(name: str, ways: list[Fans]) -> Assigned:
    """One weight, several uses: tied embeddings keep the input role, equal roles agree, others are refused."""
    kinds = {way.role for way in ways}
    if kinds == {"input", "output"}:
        table = next(way for way in ways if way.role == "input")
        head = next(way for way in ways if way.role == "output")
        evidence = f"{table.evidence}; tied: {head.evidence}, whose multiplier goes to the norm before it"
        return Assigned(replace(table, evidence=evidence), True)
    if len(kinds) == 1:
        best = preferred(ways)
        return Assigned(best, False, (f"{name} is used with different growth by several ops; taken: {best.evidence}",))
    listed = "; ".join(f"{way.role}: {way.evidence}" for way in ways)
    raise StructureError(
        f"{name} has several roles: {listed}. One weight can not follow two rules; untie it, or tell which one counts: "
        f"roles={{{name!r}: {ways[0].role!r}}}"
    )


def preferred(ways: list[Fans]) -> Fans:
    return max(ways, key=lambda way: way.fan_in)
