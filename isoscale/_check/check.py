"""What a check found, as one frozen record: lines with their exponents, likely causes, and the outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isoscale._check.causes import Cause
from isoscale._check.lines import Line, Outcome, worst
from isoscale._check.picture import figures
from isoscale._check.wording import wording
from isoscale._transfer.fact import Fact

EXIT: Mapping[Outcome, int] = {"PASS": 0, "SHOWN": 0, "FAIL": 1, "CANNOT TELL": 2}


@dataclass(frozen=True)
class Check(Fact):
    """A coordinate check: every line, the likely causes of failures, and the outcome.

    FAIL if any judged line fails, else CANNOT TELL if any cannot be told, else PASS. `print(check)` says it in words,
    `check.to_json()` keeps all of it.
    """

    rule: str
    optimizer: str
    lr: float | None
    steps: int
    seeds: int
    base: Mapping[str, Any]
    lines: tuple[Line, ...]
    causes: tuple[Cause, ...]
    outcome: Outcome
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """For CI: 0 PASS, 1 FAIL, 2 CANNOT TELL."""
        return EXIT[self.outcome]

    def along(self, axis: str) -> Outcome | None:
        """The outcome along "width" or "depth"; None where that axis was not checked."""
        return worst(line.outcome for line in self.lines if line.axis == axis)

    def select(
        self, *, axis: str | None = None, kind: str | None = None, moment: str | None = None, outcome: str | None = None
    ) -> tuple[Line, ...]:
        """The lines of an axis, a kind of quantity ("stream", "branch", "update", ...), a moment or an outcome."""
        return tuple(
            line
            for line in self.lines
            if axis in (None, line.axis)
            and kind in (None, line.quantity.kind)
            and moment in (None, line.quantity.moment)
            and outcome in (None, line.outcome)
        )

    def figure_specs(self) -> tuple[dict[str, Any], ...]:
        """One Vega-Lite specification an axis: every judged quantity against the size, logarithmic axes."""
        return figures(self.lines, f"{self.rule}, {self.optimizer}, {self.steps} steps")

    def table(self) -> str:
        """Every line, also those that pass and those that are shown and not judged."""
        return wording(self._head(), self.lines, self.causes, everything=True)

    def __str__(self) -> str:
        return wording(self._head(), self.lines, self.causes)

    def _head(self) -> str:
        return (
            f"coordinate check: {self.outcome}. Rule {self.rule} with {self.optimizer}, base {dict(self.base)}, "
            f"{self.steps} steps, {self.seconds:.1f} s"
        )
