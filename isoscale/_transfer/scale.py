"""The axis a hyperparameter is judged on: log2 (the default; moves count in octaves) or linear."""

import math
from dataclasses import dataclass
from typing import Literal

from isoscale._transfer.errors import RunsError


@dataclass(frozen=True)
class Scale:
    """Positions of a hyperparameter: `position` maps a value to x, `value` maps back."""

    hyperparameter: str
    kind: Literal["log2", "linear"] = "log2"

    def __post_init__(self) -> None:
        if self.kind not in ("log2", "linear"):
            raise RunsError(f"scale={self.kind!r}: it is 'log2' (moves in octaves) or 'linear'")

    def position(self, value: float) -> float:
        """x of a hyperparameter value; a value that has no place on the scale is a mistake."""
        if not math.isfinite(value):
            raise RunsError(
                f"{self.hyperparameter}={value}: a curve needs finite values of the hyperparameter; drop that run"
            )
        if self.kind == "linear":
            return float(value)
        if value <= 0:
            raise RunsError(
                f"{self.hyperparameter}={value:g} has no log2, and the default scale counts octaves: "
                f"leave those runs out, or call judge(..., scale='linear')"
            )
        return math.log2(value)

    def value(self, position: float) -> float:
        """The hyperparameter value at x."""
        return 2.0**position if self.kind == "log2" else position

    @property
    def unit(self) -> str:
        """What one step of x is called."""
        return "octaves" if self.kind == "log2" else f"units of {self.hyperparameter}"

    def say(self, position: float) -> str:
        """The value at x, in words: '0.0032 (2^-8.3)'."""
        value = f"{self.value(position):.3g}"
        return f"{value} (2^{position:.2f})" if self.kind == "log2" else value
