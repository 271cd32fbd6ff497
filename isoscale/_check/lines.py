"""One quantity along one axis: its fitted exponent against the declared one, as a frozen record with a sentence."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import t

from isoscale._check.demands import Axis, Range
from isoscale._check.quantity import Quantity
from isoscale._transfer import Slope, slope
from isoscale._transfer.fact import Fact

Outcome = Literal["PASS", "FAIL", "CANNOT TELL", "SHOWN"]

_GRAVITY: tuple[Outcome, ...] = ("SHOWN", "PASS", "CANNOT TELL", "FAIL")
FEWEST = 3
MARGIN = 0.25
"""Half of the smallest power, 1/2, by which a parameterization goes wrong: further off, the exponent is nearer to that
of a wrong one."""

UNALIGNED = 0.4
"""The same for an update that fades with width: a sum over fewer numbers than there are examples and positions is in
part a random one, which fades as width^-1/2 until the width is larger. An update that fades more slowly than this may
be on its way."""

RESOLVED = 0.1
"""Half of an interval that more seeds need not make narrower."""


@dataclass(frozen=True)
class Line(Fact):
    """One quantity along one axis: its size at every size of the model, and the exponent that fits.

    values[i][j]: root mean square at sizes[i] from seed j. `slope`: the exponent with its interval, None where none can
    be fitted. `declared`: the range of exponents that the rule gives; `tolerance` is added at both of its ends.
    """

    axis: Axis
    quantity: Quantity
    sizes: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    slope: Slope | None
    declared: Range | None
    tolerance: float
    outcome: Outcome
    sentence: str

    @property
    def excess(self) -> float:
        """How far the exponent is above (positive) or below (negative) the declared range; 0 inside of it."""
        if self.declared is None:
            return 0.0
        if self.slope is None:
            return math.inf if self.outcome == "FAIL" else 0.0
        low, high = self.declared
        return max(self.slope.estimate - high, 0.0) + min(self.slope.estimate - low, 0.0)


def worst(outcomes: Iterable[Outcome]) -> Outcome | None:
    """FAIL before CANNOT TELL before PASS; None where there is nothing."""
    return max(outcomes, key=_GRAVITY.index, default=None)


def judged(
    axis: Axis,
    quantity: Quantity,
    sizes: Sequence[float],
    values: Sequence[Sequence[float]],
    declared: Range | None,
    tolerance: float,
    family: int = 1,
    floor: float = MARGIN,
) -> Line:
    """Fit the exponent over all sizes and seeds, and decide with its interval AND the tolerance.

    PASS: the exponent is within `tolerance` of the declared range, its whole interval within MARGIN. FAIL: the exponent
    is further off than MARGIN (below the range: than `floor`), also between the two largest sizes, and its whole
    interval further than `tolerance`, an interval that holds for all `family` lines of the axis together (Bonferroni):
    else the noisiest of many lines would fail by chance. Else CANNOT TELL: small networks come to their powers with
    corrections of 1/size, which a wrong power outlives.
    The interval is that of a straight line through every (size, seed), seeds being independent: scatter between seeds
    and curvature over sizes both widen it.
    """
    grid = tuple(tuple(map(float, row)) for row in values)

    def line(fit: Slope | None, outcome: Outcome, sentence: str) -> Line:
        return Line(axis, quantity, tuple(map(float, sizes)), grid, fit, declared, tolerance, outcome, sentence)

    finite = [all(math.isfinite(value) for value in row) for row in grid]
    if not all(finite):
        at = ", ".join(f"{size:g}" for size, good in zip(sizes, finite) if not good)
        outcome: Outcome = "FAIL" if finite[0] and declared is not None else "CANNOT TELL"
        return line(
            None, outcome if declared is not None else "SHOWN", f"not a number at {axis} {at}: training diverged"
        )
    if not any(value > 0 for row in grid for value in row):
        return line(None, "SHOWN", "zero at every size")
    if not all(value > 0 for row in grid for value in row):
        at = ", ".join(f"{size:g}" for size, row in zip(sizes, grid) if not all(value > 0 for value in row))
        return line(None, "SHOWN" if declared is None else "CANNOT TELL", f"zero at {axis} {at}: no exponent")
    if len(set(sizes)) < FEWEST:
        return line(None, "SHOWN" if declared is None else "CANNOT TELL", f"an exponent needs {FEWEST} sizes")
    fit = slope([size for size, row in zip(sizes, grid) for _ in row], [v for row in grid for v in row])
    if declared is None:
        return line(fit, "SHOWN", "not judged")
    low, high = declared
    over, under = fit.estimate - high, low - fit.estimate
    if max(over, under) <= tolerance and fit.high <= high + MARGIN and fit.low >= low - MARGIN:
        return line(fit, "PASS", "within the tolerance")
    last, half = (
        between_last_two(sizes, grid),
        fit.standard_error * float(t.ppf(1 - (1 - fit.level) / 2 / family, fit.df)),
    )
    going = f"goes as {axis}^{fit.estimate:.2f}"
    if over > MARGIN and over - half > tolerance:
        if last > high + MARGIN:
            return line(fit, "FAIL", f"{going}, and may go as {axis}^{high:g} at most")
        return line(fit, "CANNOT TELL", f"{going}, at the end as {axis}^{last:.2f}: it may settle; check larger sizes")
    if under > floor and under - half > tolerance:
        if last < low - floor:
            return line(fit, "FAIL", f"{going}, and should go as {axis}^{low:g} at least")
        return line(fit, "CANNOT TELL", f"{going}, at the end as {axis}^{last:.2f}: it may settle; check larger sizes")
    if fit.high - fit.low <= 2 * RESOLVED:
        return line(fit, "CANNOT TELL", f"{going}, between right and wrong: check larger sizes")
    return line(fit, "CANNOT TELL", "the interval is too wide to tell: more seeds, or sizes further apart")


def between_last_two(sizes: Sequence[float], values: Sequence[Sequence[float]]) -> float:
    """The exponent between the two largest sizes alone: what is left there of a transient of small networks."""
    order = sorted(range(len(sizes)), key=lambda index: sizes[index])[-2:]
    means = [sum(math.log2(value) for value in values[index]) / len(values[index]) for index in order]
    return (means[1] - means[0]) / math.log2(sizes[order[1]] / sizes[order[0]])
