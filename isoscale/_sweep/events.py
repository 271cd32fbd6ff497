"""What a sweep tells while it runs and how it ends: facts for a display, and the errors with their sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isoscale._records.progress import Progress
from isoscale._records.unit import UnitState

Kind = Literal["start", "tick", "finished", "failed", "died", "poisoned", "end"]


class SweepError(RuntimeError):
    """The sweep stopped before its end; what finished is in the store."""


class PoisonedError(SweepError):
    """Everything else is done, but these units failed too often; `units` says which, with attempts and error."""

    def __init__(self, units: Sequence[UnitState], store: Path) -> None:
        self.units = tuple(units)
        runs = sum(unit.size for unit in units)
        shown = "".join(f"\n  {named(unit)}: {unit.error.splitlines()[0]}" for unit in units[:3] if unit.error)
        more = f"\n  ... and {len(units) - 3} more" if len(units) > 3 else ""
        super().__init__(
            f"{len(units)} units ({runs} runs) failed too often and are set aside; all others are in {store}. "
            f"Mend the cause, then run the same sweep with retry=True:{shown}{more}"
        )


@dataclass(frozen=True)
class Patience:
    """When to give up: attempts of a unit that raised, attempts whose worker died, seconds an attempt may take, and
    seconds after which another driver's silent lease is taken over."""

    errors: int = 3
    deaths: int = 5
    seconds: float | None = None
    lease: float = 60.0


@dataclass(frozen=True)
class Event:
    """Something happened in a sweep: the store's progress, and which unit (its shape's label) of how many runs.

    "finished", "failed" (it is tried again), "died" (its worker did; it is tried again) and "poisoned" (set aside)
    concern a unit; "start", "tick" (about once a second) and "end" do not.
    """

    kind: Kind
    progress: Progress
    unit: str = ""
    runs: int = 0
    seconds: float | None = None
    error: str = ""


def named(unit: UnitState) -> str:
    return f"unit {unit.id[:12]} ({unit.shape}, {unit.size} runs)"
