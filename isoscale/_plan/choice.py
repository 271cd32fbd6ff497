"""Which optimizer takes which parameter: one for all, or several by role or by name."""

import fnmatch
import functools
import re
from collections.abc import Mapping, Sequence
from typing import get_args

from isoscale._plan.errors import PlanError
from isoscale._plan.facts import Parameter, Role
from isoscale._rules import UpdateScale, get_optimizer

Told = str | UpdateScale | Mapping[str, str | UpdateScale]
"""An optimizer's name, its update scale, or a mapping of roles and globs of names to either."""

_SEVERAL = re.compile(r"[^()]*=")


def canonical(optimizer: Told) -> str:
    """The choice as text: "adamw", or "hidden=muon; *=adamw"; every name in it is known to the rules.

    Raises UnknownName for an optimizer without a row, PlanError for an empty mapping.
    """
    if isinstance(optimizer, Mapping):
        if not optimizer:
            raise PlanError("optimizer={} names none: give a name, or {'hidden': 'muon', '*': 'adamw'}.")
        return canonical("; ".join(f"{pattern}={name}" for pattern, name in optimizer.items()))
    text = str(optimizer)
    parts = pairs(text)
    for _, name in parts:
        get_optimizer(name)
    return text if len(parts) == 1 and parts[0][0] == "*" else "; ".join(f"{each}={name}" for each, name in parts)


@functools.lru_cache(maxsize=64)
def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """(role or glob, optimizer) in the order in which they are tried."""
    if not _SEVERAL.match(text):
        return (("*", text),)
    found = []
    for part in text.split(";"):
        pattern, equals, name = (piece.strip() for piece in part.partition("="))
        if not (pattern and equals and name):
            raise PlanError(
                f"optimizer={text!r}: {part.strip()!r} is not role=optimizer, as in 'hidden=muon; *=adamw'."
            )
        found.append((pattern, name))
    return tuple(found)


def names(text: str) -> tuple[str, ...]:
    """The optimizers of the choice, each once."""
    return tuple(dict.fromkeys(name for _, name in pairs(text)))


def optimizer_of(text: str, parameter: Parameter) -> str:
    """The optimizer of one parameter: the first pattern that names its role or its name, and can take its shape.

    Raises PlanError where none does.
    """
    passed = []
    for pattern, name in pairs(text):
        if pattern != parameter.role and (
            pattern in get_args(Role) or not fnmatch.fnmatchcase(parameter.name, pattern)
        ):
            continue
        if not get_optimizer(name).matrices or len(parameter.shape) == 2:
            return name
        passed.append(name)
    if passed:
        raise PlanError(
            f"{passed[0]} takes matrices only, and {parameter.name} has shape {parameter.shape}: name one for the "
            f"rest, optimizer={{'hidden': {passed[0]!r}, '*': 'adamw'}}."
        )
    raise PlanError(f"optimizer={text!r} says nothing of {parameter.name} ({parameter.role}): add '*': 'adamw'.")


def one_of(given: str | None, chosen: Sequence[str]) -> str:
    """The optimizer meant by `for_optimizer`; raises PlanError where a plan has several and none is named."""
    if given is None and len(chosen) == 1:
        return chosen[0]
    if given is not None and given in chosen:
        return given
    calls = ", ".join(f"{name}=dict(lr=...)" for name in chosen)
    asked = "this plan has several optimizers" if given is None else f"for_optimizer={given!r} is none of this plan's"
    raise PlanError(
        f"{asked}: {', '.join(chosen)}. Each has its own learning rate: plan.optimizers(model, {calls}), or "
        f"plan.param_groups(model, lr=..., for_optimizer={chosen[0]!r}) for one of them."
    )
