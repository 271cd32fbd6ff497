"""What is measured: a quantity that exists at every size, pooled over the layers that share a place."""

from dataclasses import dataclass
from typing import Literal

from isoscale._rules import Role

Kind = Literal["stream", "branch", "preactivation", "logits", "output", "update", "gradient"]
Moment = Literal["init", "change"]


@dataclass(frozen=True)
class Quantity:
    """One quantity: root mean square over coordinates, examples and the layers that `place` names.

    `moment`: at initialisation, or its change after the steps (for "update": the change that the parameter's own
    update makes at its op, with the op's other operands as they were at initialisation). `parameter`: whose op it is,
    with layer numbers as `*`. `stream`: the residual stream it belongs to, None outside; `deepens`: that stream gets
    more branches as the model gets deeper. `entry`: before any branch. `growing`: its head size grows with width.
    `fading`: what it is made of goes as width^-1/2 at initialisation, see `fading.py`.
    """

    kind: Kind
    moment: Moment
    place: str
    parameter: str | None = None
    role: Role | None = None
    stream: str | None = None
    tail: bool = False
    readout: bool = False
    entry: bool = False
    growing: bool = False
    deepens: bool = False
    fading: bool = False

    @property
    def label(self) -> str:
        """In words: "stream at 1/2, init"."""
        what = "change by its own update" if self.kind == "update" else self.moment
        return f"{self.kind} {self.place}, {what}"
