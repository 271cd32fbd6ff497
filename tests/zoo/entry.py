"""One model of the zoo: how to build it, two sizes, and what must be found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Entry:
    """`depths` are the (base, target) depths of the streams in order; `tails` some parameters that must be tails and
    `roles` some that must have a role (by glob). `refused` counts refused branches at the target, `error` is a part of
    the sentence with which the whole model must be refused. `postnorm` is passed on."""

    name: str
    build: Callable[..., nn.Module]
    base: Mapping[str, Any]
    target: Mapping[str, Any]
    inputs: Any
    depths: tuple[tuple[int, int], ...] = ()
    tails: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    refused: int = 0
    error: str | None = None
    postnorm: str = "refuse"
    told: Mapping[str, str] | None = None
    readout: tuple[str, ...] = ()
