"""Which exponent each quantity has to have: read off a rule's own exponents, nothing is written down here.

At finite size a quantity is a sum of powers of the size, and the slope of a sum lies between the exponents of its
terms: so a demand is a range, and both its ends are exponents of the rule.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from isoscale._check.quantity import Quantity
from isoscale._rules import Rule, Scaling, get_rule

Axis = Literal["width", "depth"]
AXES: tuple[Axis, ...] = ("width", "depth")
Range = tuple[float, float]

_SAFE: dict[Axis, str] = {"width": "mup", "depth": "depth_mup"}
_STILL = Fraction(0)


@dataclass(frozen=True)
class Demands:
    """Exponents demanded of every quantity, for one rule and optimizer.

    Along an axis in which the rule learns features its own exponents are the demands (stable and maximal). Where it
    does not (sp, ntk; mup in depth) they are those of the rule that mends it, `reference(axis)`: a network under sp
    is told to be unstable, not to be as unstable as sp has to be.
    """

    rule: Rule
    optimizer: str

    def reference(self, axis: Axis) -> Rule:
        """The rule whose exponents are demanded along `axis`."""
        regime = self.rule.width if axis == "width" else self.rule.depth
        return self.rule if regime == "feature-learning" else get_rule(_SAFE[axis])

    def of(self, quantity: Quantity, axis: Axis) -> Range | None:
        """The demanded range of the quantity's exponent; None for what is shown and not judged."""
        if quantity.kind == "gradient":
            return None
        return self._width(quantity) if axis == "width" else self._depth(quantity)

    @cached_property
    def _along(self) -> dict[Axis, tuple[Rule, Scaling]]:
        """The demanded rule of each axis with its exponents, solved for once."""
        rules = {axis: self.reference(axis) for axis in AXES}
        return {axis: (rule, rule.scaling(self.optimizer)) for axis, rule in rules.items()}

    def _width(self, quantity: Quantity) -> Range:
        rule, scaling = self._along["width"]
        starts, moves = scaling.initial, scaling.update
        # A random sum at initialisation fades with the width (a bias of the readout does not).
        fades = [starts["output"], _STILL]
        if quantity.kind == "update":
            # A scalar's step has no power of width in it: neither of its fans grows.
            step = _STILL if quantity.role == "scalar" else moves[quantity.role or "hidden"]
            return _hull([step, *(step + start for start in fades if quantity.fading)])
        if quantity.kind == "output" or quantity.fading:
            # The first steps answer to the output that they find.
            return _hull(fades if quantity.moment == "init" else [*fades, moves["output"], scaling.propagated])
        own = starts if quantity.moment == "init" else moves
        # A random sum over the head size, divided by the size itself: all of it at initialisation, and what comes from
        # the stream's change until queries and keys are aligned by training.
        random = [starts["hidden"] + rule.attention.fan_in] if quantity.kind == "logits" and quantity.growing else []
        return _hull([own["input"], own["hidden"], *random])

    def _depth(self, quantity: Quantity) -> Range:
        rule, scaling = self._along["depth"]
        branch, inner = rule.branch_multiplier.depth, scaling.inner_update
        if not quantity.deepens:
            branch, inner = _STILL, dict.fromkeys(inner, _STILL)
        # At initialisation the stream is its entry plus the sum of all branches; what the branches make of a change
        # on its way through them fades in the same way.
        stream = [_STILL] if quantity.entry else [_STILL, scaling.stream_initial]
        # A weight's update times the update of what feeds it: the first to be seen where a branch starts at nothing
        # (layer scale, zero initialisation). What each update makes alone is judged by itself.
        both = 2 * inner["hidden"]
        if quantity.kind == "update":
            own = inner[quantity.role or "hidden"] + (branch if quantity.tail else _STILL)
            return _hull([own + start for start in stream])
        if quantity.kind == "branch":
            moved = [branch + inner["hidden"], branch + both] if quantity.moment == "change" else []
            return _hull([*moved, *(branch + start for start in stream)])
        if quantity.moment == "init":
            return _hull(stream)
        if quantity.kind in ("preactivation", "logits"):
            # Moved by the stream that feeds it and by its own weight.
            return _hull([*stream, inner["hidden"], both])
        return _hull([max(scaling.stream_update.values()) + start for start in stream])


def _hull(exponents: Iterable[Fraction]) -> Range:
    found = list(exponents)
    return float(min(found)), float(max(found))
