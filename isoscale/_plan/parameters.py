"""The role of each parameter, decided: one way of being used, several that agree, a tied weight, or a refusal."""

import fnmatch
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from isoscale._plan.analysis import Analysis
from isoscale._plan.facts import Role, StructureError
from isoscale._plan.naming import listed
from isoscale._plan.roles import Fans, fans, role_of
from isoscale._plan.streams import template


@dataclass(frozen=True)
class Assigned:
    """A parameter's sizes and role; `tied`: it is also a readout, by another use. `notes` are for the user.

    `used`: the traced pass runs it. One that is not used is taken as its `sibling`, the same layer in another place
    (an expert that no token of the batch went to), if there is one.
    """

    fans: Fans
    tied: bool = False
    notes: tuple[str, ...] = ()
    used: bool = True
    sibling: str | None = None


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
        other = sibling(name, thin, target)
        if other is not None:
            like = decide(other, thin, target, told, widened)
            return replace(like, used=False, sibling=other, notes=())
        found = by_shape(shape, base_shape, "the traced forward pass does not use it; sizes are those of its shape")
        return Assigned(replace(found, role=told or found.role), used=told is not None)
    ways = fans(wide, narrow, name)
    troubled = [way for way in ways if way.trouble is not None]
    if told is not None:
        best = by_shape(shape, base_shape, "") if troubled else preferred(ways)
        return Assigned(replace(best, role=told, evidence=f"told by roles=; {best.evidence or 'sizes by shape'}"))
    if troubled:
        guess = by_shape(shape, base_shape, "")
        if not widened:
            return Assigned(by_shape(shape, base_shape, "no width changes; sizes are those of its shape"))
        raise StructureError(
            f"no role follows for {name} {shape}: {troubled[0].trouble}. Tell which of its fan-in and fan-out grow "
            f'with width: roles={{"{pattern(name)}": "{guess.role}"}} (that is what its shape says; or input, hidden, '
            "output, scalar)"
        )
    if len(ways) == 1:
        return Assigned(ways[0])
    return several(name, ways)


def pattern(name: str) -> str:
    """A glob for the same parameter of every block."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)


def sibling(name: str, thin: Analysis, target: Analysis) -> str | None:
    """The used parameter of the same name up to numbers and the same shapes that is nearest by name."""
    found = [
        other
        for other, shape in target.graph.shapes.items()
        if template(other) == template(name)
        and (shape, thin.graph.shapes[other]) == (target.graph.shapes[name], thin.graph.shapes[name])
        and target.uses[other]
        and thin.uses[other]
    ]
    return max(found, key=lambda other: common_start(other, name), default=None)


def common_start(first: str, second: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))


def unused(assigned: Mapping[str, Assigned]) -> list[str]:
    """What to say of parameters that the traced forward pass does not run."""
    notes = []
    followers = {name: item.sibling for name, item in assigned.items() if item.sibling is not None}
    bare = [name for name, item in assigned.items() if not item.used and item.sibling is None]
    if followers:
        pairs = [f"{name} like {other}" for name, other in followers.items()]
        notes.append(
            f"not used by the traced forward pass, and planned like the same layer elsewhere: {listed(pairs, 3)}"
        )
    if bare:
        notes.append(
            f"not used by the traced forward pass: {listed(bare, 4)}. Their roles are taken from their shapes and they "
            "count as outside of every branch; pass inputs= that run them, or tell roles="
        )
    return notes


def without_gradient(target: Analysis) -> list[str]:
    """What to say of parameters that the output depends on and no gradient reaches: a teacher, a moving average."""
    graph = target.graph
    read = reached = 0
    for index in graph.outputs:
        read |= graph.parametric[index]
        reached |= graph.ancestors[index]
    found = [name for name, leaf in graph.parameters.items() if (read & ~reached) >> leaf & 1]
    if not found:
        return []
    return [
        f"no gradient reaches {listed(found, 3)} (a teacher that follows a student, or a part cut off by detach or "
        "no_grad). Branches under no_grad are not seen, so a plan may start them at other scales than the layers that "
        "they are copies of: after plan.init_(model) copy the student's weights into them again"
    ]


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
        f"roles={{{pattern(name)!r}: {ways[0].role!r}}}"
    )


def preferred(ways: list[Fans]) -> Fans:
    return max(ways, key=lambda way: way.fan_in)
