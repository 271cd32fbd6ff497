"""What a limit solver returns: a value, how wrong it may be, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

Kind = Literal["converged", "refused", "diverged", "unconverged"]
"""converged: within the stated error. refused: the theory gives no answer to trust. diverged: the dynamics
itself blew up. unconverged: the iteration stopped before its tolerance."""


class Unsolved(ValueError):
    """A value was required of a solution that has none to trust."""


@dataclass(frozen=True)
class Status:
    """How a solver ended: a kind for programs, a sentence for people."""

    kind: Kind
    sentence: str

    @property
    def ok(self) -> bool:
        return self.kind == "converged"


@dataclass(frozen=True)
class Solution(Generic[T]):
    """`value` with its estimated `error` and `status`.

    `error` maps the name of an observable to its estimated root-mean-square error, in the observable's units.
    When the status is not ok, `value` holds what may still be trusted (for dynamics: the steps before the
    failure), or None.
    """

    value: T | None
    error: Mapping[str, float]
    status: Status

    def require(self) -> T:
        """The value of a converged solution; `Unsolved` with the status's sentence otherwise."""
        if self.value is None or not self.status.ok:
            raise Unsolved(f"{self.status.kind}: {self.status.sentence}")
        return self.value
