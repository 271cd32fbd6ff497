"""describe(): what a model is made of, at two sizes. The door between tracing and planning."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from isoscale._plan.facts import Attention, Branch, Parameter, Refusal, Role, Stream, Structure, StructureError

__all__ = ["Attention", "Branch", "Parameter", "Refusal", "Role", "Stream", "Structure", "StructureError", "describe"]


def describe(
    build: Callable[..., nn.Module],
    base: Mapping[str, Any],
    target: Mapping[str, Any],
    inputs: Any = None,
    *,
    roles: Mapping[str, str] | None = None,
    postnorm: str = "refuse",
) -> Structure:
    raise NotImplementedError
