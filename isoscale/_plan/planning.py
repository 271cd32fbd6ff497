"""plan(): from a builder and two sizes to what every parameter gets."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn

from isoscale._plan.plans import Plan


def plan(
    build: Callable[..., nn.Module],
    base: Mapping[str, Any],
    target: Mapping[str, Any],
    *,
    inputs: Any = None,
    rule: str = "depth_mup",
    optimizer: str = "adamw",
    mode: Literal["fold", "explicit"] = "fold",
    roles: Mapping[str, str] | None = None,
    postnorm: Literal["refuse", "allow"] = "refuse",
) -> Plan:
    """Plan the model `build(**target)` so that the hyperparameters tuned on `build(**base)` stay best."""
    raise NotImplementedError
