"""Drift: how far an optimum, or an edge, moves per doubling of the size; what a missing optimum still says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from isoscale._transfer.edge import StabilityEdge, edge_positions
from isoscale._transfer.fact import Fact
from isoscale._transfer.optimum import Optimum
from isoscale._transfer.slope import Slope, line

AxisName = Literal["width", "depth"]
LEAST_SIZES = 3


@dataclass(frozen=True)
class Drift(Fact):
    """Units of x (octaves) per doubling of the axis's size, weighted by the optima's errors, with a scatter between
    sizes beyond them. `slope` is None with fewer than 3 optima found. `above` and `below` bound the drift by pairs of
    sizes of which one optimum is beyond the grid: drift > above, drift < below (None where nothing follows).
    """

    axis: AxisName
    slope: Slope | None
    used: tuple[int, ...]
    missing: tuple[int, ...]
    above: float | None = None
    below: float | None = None
    bound_sentence: str = ""


def drift(axis: AxisName, optima: Sequence[Optimum], level: float = 0.95) -> Drift:
    """The drift of the optima (all at one value of the other axis)."""
    found = [o for o in optima if o.status == "found"]
    missing = tuple(_along(o, axis) for o in optima if o.status != "found")
    used = tuple(_along(o, axis) for o in found)
    above, below, sentence = _bounds(axis, optima)
    fit = None
    if len(found) >= LEAST_SIZES:
        fit = line(
            [math.log2(size) for size in used],
            [o.position for o in found if o.position is not None],
            [o.standard_error for o in found if o.standard_error is not None],
            [o.df for o in found if o.df is not None],
            level=level,
        )
    return Drift(axis, fit, used, missing, above, below, sentence)


def edge_drift(axis: AxisName, edges: Sequence[StabilityEdge], level: float = 0.95) -> Slope | None:
    """Drift of the stability edge, each edge known to its grid's resolution; None with fewer than 3 found."""
    sizes, positions, errors = edge_positions(edges)
    if len(sizes) < LEAST_SIZES:
        return None
    along = [math.log2(width if axis == "width" else depth) for width, depth in sizes]
    return line(along, positions, errors, level=level)


def _along(optimum: Optimum, axis: AxisName) -> int:
    return optimum.width if axis == "width" else optimum.depth


def _bounds(axis: AxisName, optima: Sequence[Optimum]) -> tuple[float | None, float | None, str]:
    """The strongest bounds from pairs (optimum found, optimum only bounded): union bound of two 95% intervals."""
    above: float | None = None
    below: float | None = None
    sentences = {"above": "", "below": ""}
    for known in optima:
        if known.status != "found" or known.low is None or known.high is None:
            continue
        for other in optima:
            if other.status not in ("edge", "all diverged"):
                continue
            doublings = math.log2(_along(other, axis) / _along(known, axis))
            # x_other < other.high (side low) or > other.low (side high); divide by the signed distance
            if other.side == "low" and other.high is not None:
                bound, is_upper = (other.high - known.low) / doublings, doublings > 0
            elif other.side == "high" and other.low is not None:
                bound, is_upper = (other.low - known.high) / doublings, doublings < 0
            else:
                continue
            text = f"{axis} {_along(known, axis)}: {known.sentence}; {axis} {_along(other, axis)}: {other.sentence}"
            if is_upper and (below is None or bound < below):
                below, sentences["below"] = bound, text
            elif not is_upper and (above is None or bound > above):
                above, sentences["above"] = bound, text
    if below is not None and below < 0:
        return above, below, sentences["below"]
    return above, below, sentences["above"] or sentences["below"]
