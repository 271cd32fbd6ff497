"""One axis judged: do the optima stay as width (or depth) grows?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from isoscale._transfer.curve import LossCurve, Size
from isoscale._transfer.drift import AxisName, Drift, drift, edge_drift
from isoscale._transfer.edge import StabilityEdge
from isoscale._transfer.fact import Fact
from isoscale._transfer.optimum import Optimum
from isoscale._transfer.regret import Regret, regret
from isoscale._transfer.scale import Scale
from isoscale._transfer.slope import Slope

Outcome = Literal["transfers", "drifts", "cannot tell"]


@dataclass(frozen=True)
class Bounds(Fact):
    """What counts as transfer: drift within +-`tolerance` (units of x per doubling); a regret whose lower end exceeds
    `regret_percent` of the best loss (or is infinite) counts against it."""

    tolerance: float
    regret_percent: float
    level: float


@dataclass(frozen=True)
class Axis(Fact):
    """The verdict along one axis, the other size held at `held`; the regret is that at the largest size."""

    axis: AxisName
    held: int
    sizes: tuple[int, ...]
    outcome: Outcome
    sentence: str
    optima: tuple[Optimum, ...]
    edges: tuple[StabilityEdge, ...]
    drift: Drift
    edge_drift: Slope | None
    regret: Regret | None


def judge_axis(
    axis: AxisName,
    base: Size,
    curves: Mapping[Size, LossCurve],
    optima: Mapping[Size, Optimum],
    edges: Mapping[Size, StabilityEdge],
    scale: Scale,
    bounds: Bounds,
) -> Axis | None:
    """The verdict over the sizes that share the base's other size; None where only one size was run."""
    along, held = (0, base[1]) if axis == "width" else (1, base[0])
    members = sorted((size for size in curves if size[1 - along] == held), key=lambda size: size[along])
    if len(members) < 2:
        return None
    here = [optima[size] for size in members]
    moved = drift(axis, here, bounds.level)
    largest = members[-1]
    carried = None
    if base in members and base != largest:
        carried = regret(optima[base], curves[largest], optima[largest], scale, bounds.level)
    outcome, sentence = _decide(moved, here, carried, optima.get(base), scale, bounds)
    ends = tuple(edges[size] for size in members)
    return Axis(
        axis, held, tuple(size[along] for size in members), outcome, sentence, tuple(here), ends, moved,
        edge_drift(axis, ends, bounds.level), carried,
    )  # fmt: skip


def _decide(
    moved: Drift, optima: Sequence[Optimum], carried: Regret | None, base: Optimum | None, scale: Scale, bounds: Bounds
) -> tuple[Outcome, str]:
    """The decision: drift first, by any witness; transfer needs the largest size resolved."""
    found = f"{say_slope(moved.slope, scale, moved.axis)}" if moved.slope is not None else ""
    against = _against(moved, optima[-1], carried, base, found, scale, bounds)
    if against is not None:
        return "drifts", against
    censored = [o for o in optima if o.status in ("edge", "all diverged")]
    last = optima[-1]
    within = moved.slope is not None and -bounds.tolerance < moved.slope.low and moved.slope.high < bounds.tolerance
    unsure = carried is not None and carried.status == "diverges"
    if within and not censored and last.status == "found" and not unsure:
        price = f"; {carried.sentence}" if carried is not None and carried.status == "measured" else ""
        gap = f" (not resolved at {moved.axis} {_listed(moved.missing)})" if moved.missing else ""
        return "transfers", f"{found}, within +-{bounds.tolerance:g}{gap}{price}"
    return "cannot tell", _why_not(moved, optima, carried, found, scale, bounds)


def _against(
    moved: Drift, last: Optimum, carried: Regret | None, base: Optimum | None, found: str, scale: Scale, bounds: Bounds
) -> str | None:
    """The sentence of the first witness against transfer; None where there is none."""
    fit, tolerance = moved.slope, bounds.tolerance
    if fit is not None and (fit.low > 0 or fit.high < 0) and abs(fit.estimate) > tolerance:
        return f"{found}: more than {tolerance:g}"
    if carried is not None and carried.status == "diverges" and 2 * carried.diverged > carried.seeds:
        return carried.sentence
    per = f"{scale.unit} per doubling of {moved.axis}"
    if moved.below is not None and moved.below < -tolerance:
        return f"the optimum falls by more than {-moved.below:.2f} {per}: {moved.bound_sentence}"
    if moved.above is not None and moved.above > tolerance:
        return f"the optimum rises by more than {moved.above:.2f} {per}: {moved.bound_sentence}"
    if carried is None:
        return None
    costly = carried.percent_low is not None and carried.percent_low > bounds.regret_percent
    if costly and base is not None and _apart(base, last):
        return f"{carried.sentence}, more than the {bounds.regret_percent:g}% allowed" + (f"; {found}" if found else "")
    return None


def _apart(one: Optimum, other: Optimum) -> bool:
    """Two optima differ by more than their errors: a costly carry by a badly known proxy is no drift."""
    errors = one.standard_error, other.standard_error
    if one.position is None or other.position is None or errors[0] is None or errors[1] is None:
        return False
    return abs(one.position - other.position) > 2 * math.hypot(errors[0], errors[1])


def say_slope(fit: Slope, scale: Scale, axis: str) -> str:
    """'the optimum moves by -0.02 octaves per doubling of depth (95% interval -0.10 to 0.06, 4 sizes)'."""
    return (
        f"the optimum moves by {fit.estimate:+.2f} {scale.unit} per doubling of {axis} "
        f"({100 * fit.level:g}% interval {fit.low:+.2f} to {fit.high:+.2f}, {fit.points} sizes)"
    )


def _why_not(
    moved: Drift, optima: Sequence[Optimum], carried: Regret | None, found: str, scale: Scale, bounds: Bounds
) -> str:
    """What is known, what is missing, and what would settle it."""
    unresolved = [f"{moved.axis} {size_of(o, moved.axis)}: {o.sentence}" for o in optima if o.status != "found"]
    if moved.slope is None:
        resolved = len(moved.used)
        start = f"{resolved} of {len(optima)} sizes have a resolved optimum, and a drift needs 3"
        if len(optima) < 3:
            return f"{start}: run another {moved.axis}" + (f"; {'; '.join(unresolved)}" if unresolved else "")
        return f"{start}; {'; '.join(unresolved)}"
    parts = [found]
    if unresolved:
        parts += unresolved
    if carried is not None and carried.status == "diverges":
        parts.append(carried.sentence)
    within = abs(moved.slope.low) < bounds.tolerance and abs(moved.slope.high) < bounds.tolerance
    if not within:
        parts.append(_remedy(moved.slope, optima, bounds))
    return "; ".join(parts)


def _remedy(fit: Slope, optima: Sequence[Optimum], bounds: Bounds) -> str:
    """How many seeds would bring the interval inside the tolerance (or away from 0), or that seeds would not help."""
    half = (fit.high - fit.low) / 2
    size = abs(fit.estimate)
    room = bounds.tolerance - size if size < bounds.tolerance else size
    seeds = max((o.seeds for o in optima if o.status == "found"), default=0)
    own = math.sqrt(max(fit.standard_error**2, 1e-12))
    errors = [o.standard_error for o in optima if o.standard_error is not None]
    typical = math.sqrt(sum(e * e for e in errors) / len(errors)) if errors else own
    if fit.scatter > typical:
        return "the optima scatter between sizes beyond their own errors, which more seeds do not cure: add sizes"
    need = math.ceil(seeds * (half / max(room, 0.1 * bounds.tolerance)) ** 2)
    want = max(need, seeds + 1)
    return f"the interval reaches past +-{bounds.tolerance:g}: about {want} seeds (now {seeds}) would settle it"


def size_of(optimum: Optimum, axis: AxisName) -> int:
    """The optimum's size along an axis."""
    return optimum.width if axis == "width" else optimum.depth


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(str(size) for size in sizes)
