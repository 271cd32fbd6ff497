"""A claim of the paper beside what was measured: holds, does not hold, or cannot tell at this scale."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .campaign import Drift

Outcome = Literal["holds", "does not hold", "cannot tell"]


@dataclass(frozen=True)
class Finding:
    claim: str
    verdict: Outcome
    sentence: str

    def __str__(self) -> str:
        return f"{self.claim}\n  {self.verdict}: {self.sentence}"


def stays(claim: str, drift: Drift) -> Finding:
    """A claim that an optimum does not move: isoscale's verdict as it stands."""
    verdicts: dict[str, Outcome] = {"transfers": "holds", "drifts": "does not hold"}
    return Finding(claim, verdicts.get(drift.outcome, "cannot tell"), told(drift))


def moves(claim: str, drift: Drift) -> Finding:
    """A claim that an optimum moves."""
    verdicts: dict[str, Outcome] = {"drifts": "holds", "transfers": "does not hold"}
    return Finding(claim, verdicts.get(drift.outcome, "cannot tell"), told(drift))


def sign(claim: str, low: float, high: float, sentence: str, *, positive: bool) -> Finding:
    """A claim about the sign of a number with a 95% interval."""
    if low > 0 or high < 0:
        return Finding(claim, "holds" if (low > 0) == positive else "does not hold", sentence)
    return Finding(claim, "cannot tell", sentence)


def told(drift: Drift) -> str:
    """The drift, and the price of carrying, in a sentence."""
    sizes = f"{drift.axis} {drift.sizes[0]} to {drift.sizes[-1]}"
    price = ""
    if drift.percent is not None and drift.percent_low is not None and drift.percent_high is not None:
        price = (
            f"; the smallest's best costs the largest {drift.percent:.1f}% "
            f"[{drift.percent_low:.1f}, {drift.percent_high:.1f}] more loss"
        )
    if drift.slope is None or drift.low is None or drift.high is None:
        return f"{sizes}: {drift.sentence}{price}"
    if drift.outcome == "drifts" and drift.low <= 0 <= drift.high:  # another witness than the slope
        return f"{sizes}: {drift.sentence}{price}"
    lost = [str(size) for size in drift.sizes if size not in drift.used]
    if lost:
        sizes = f"{drift.axis} {drift.used[0]} to {drift.used[-1]}, not resolved at {' and '.join(lost)}"
    moved = f"{drift.slope:+.2f} octaves per doubling [{drift.low:+.2f}, {drift.high:+.2f}]"
    return f"{sizes}: {moved}{price}"


def of(drifts: Iterable[Drift], rule: str, axis: str) -> Drift:
    """The one drift of a rule along an axis."""
    (found,) = (drift for drift in drifts if (drift.rule, drift.axis) == (rule, axis))
    return found


def text(findings: Sequence[Finding]) -> str:
    """Every finding, one under the other."""
    return "\n\n".join(map(str, findings))
