"""A unit of work: configurations of one shape that are trained together, leased and finished as one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from isoscale._records.run import Config, digest

Status = Literal["queued", "leased", "done", "poisoned"]


@dataclass(frozen=True)
class Unit:
    """Configurations that one call of the training callable `train` (its importable name) turns into runs.

    `shape` is what the configurations share, as a label; `cost` is the expected work in any unit that is the same
    for all units (it orders the queue and weighs the remaining time, nothing else). Its id is the hash of what is
    trained and by whom, so the same work added twice is one unit.
    """

    train: str
    configs: tuple[Config, ...]
    shape: str
    cost: float

    @cached_property
    def id(self) -> str:
        return digest({"train": self.train, "configs": [dict(config) for config in self.configs]})

    @cached_property
    def identities(self) -> tuple[str, ...]:
        return tuple(digest(dict(config)) for config in self.configs)


@dataclass(frozen=True)
class UnitState:
    """What the store knows of a unit: `errors` and `deaths` count failed attempts, `error` is the last one's text."""

    id: str
    train: str
    shape: str
    size: int
    cost: float
    status: Status
    errors: int = 0
    deaths: int = 0
    error: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Holder:
    """Who holds leases: one driver process. `beats` grows while it lives; `slots` units may be in work at once."""

    token: str
    machine: str
    pid: int
    born: str
    beats: int
    slots: int


def label(config: Mapping[str, Any], leave_out: frozenset[str] = frozenset(), limit: int = 120) -> str:
    """`config` in one printable line ("width=64 depth=8 rule=mup"); control characters are escaped, long text cut."""
    parts = (f"{_show(name)}={_show(value)}" for name, value in config.items() if name not in leave_out)
    text = " ".join(parts)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _show(value: Any) -> str:
    text = str(value)[:60]
    return text if text.isprintable() else ascii(text)[1:-1]
