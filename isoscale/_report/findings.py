"""What a report says, as frozen records that turn into JSON: the statistics' results beside the runs they came from,
aggregated per size and hyperparameter value, so that the page's size does not grow with the number of seeds."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from isoscale._report.chart import Table

AxisName = Literal["width", "depth"]

GRAVITY = ("FAIL", "CANNOT TELL", "PASS")
"""Outcomes of a check, the worst first."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval. None: an end that nothing bounds, or a value that is only bounded."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high), where both ends are known."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def within(self, frame: tuple[float, float]) -> tuple[float, float] | None:
        """(low, high), an unknown end reaching to the frame; None where neither is known."""
        if self.low is None and self.high is None:
            return None
        return frame[0] if self.low is None else self.low, frame[1] if self.high is None else self.high


@dataclass(frozen=True)
class Point:
    """All seeds at one hyperparameter value: mean, least and largest loss of those that finished."""

    at: float
    loss: float | None
    least: float | None
    largest: float | None
    runs: int
    diverged: int


@dataclass(frozen=True)
class Curve:
    """Loss against the hyperparameter at one size. `optimum` and `edge` (the largest stable one) are values of the
    hyperparameter; `found` says whether the optimum has an interval on both sides, the sentence why it has not."""

    width: int
    depth: int
    points: tuple[Point, ...]
    optimum: Estimate | None = None
    optimum_loss: float | None = None
    found: bool = True
    sentence: str = ""
    edge: float | None = None
    edge_sentence: str = ""


@dataclass(frozen=True)
class Carried:
    """The proxy's hyperparameter used at `target` instead of the best there: the extra loss, in its own units and in
    percent of the best. Neither is there where it diverges, or cannot be told, as the sentence says."""

    target: str
    status: str
    sentence: str
    loss: Estimate | None = None
    percent: Estimate | None = None


@dataclass(frozen=True)
class AxisFacts:
    """One rule along one axis: the curves, how far the optimum moves (in `unit` per doubling of the size), and the
    fitted line as (size, hyperparameter) at its ends."""

    axis: AxisName
    held: str
    outcome: str
    sentence: str
    curves: tuple[Curve, ...]
    drift: Estimate | None = None
    line: tuple[tuple[float, float], ...] = ()
    unit: str = "octaves"
    carried: Carried | None = None

    def size(self, curve: Curve) -> int:
        """The size of `curve` along this axis."""
        return curve.width if self.axis == "width" else curve.depth


@dataclass(frozen=True)
class Spent:
    """What a tuning cost: floating-point operations and seconds of training, where the runs say so."""

    where: str
    runs: int
    flops: float | None
    seconds: float | None


@dataclass(frozen=True)
class RuleFacts:
    """One rule under one optimizer: the verdict, axis by axis, and the cost of tuning the proxy against tuning the
    largest model directly."""

    rule: str
    optimizer: str
    outcome: str
    sentence: str
    axes: tuple[AxisFacts, ...]
    proxy: Spent | None = None
    direct: Spent | None = None


@dataclass(frozen=True)
class Count:
    """How many runs of one rule under one optimizer, and how many diverged."""

    rule: str
    optimizer: str
    runs: int
    diverged: int


@dataclass(frozen=True)
class Ran:
    """What was run: settings that every run shared, those that varied, data, versions, counts."""

    runs: int
    diverged: int
    counts: tuple[Count, ...]
    data: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    shared: tuple[tuple[str, str], ...]
    varied: tuple[tuple[str, str], ...]
    flops: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Course:
    """A loss over training: after `steps` it was `loss`. `width` None is the limit of infinite width."""

    width: int | None
    steps: tuple[int, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True)
class LimitAt:
    """The limit of infinite width at one depth beside the runs of that depth: the limit's `points` (its error as least
    and largest), its best hyperparameter, the runs' curves; and training curves at the hyperparameter `shown`."""

    depth: int
    points: tuple[Point, ...]
    best: Estimate | None
    curves: tuple[Curve, ...]
    shown: float
    courses: tuple[Course, ...]
    sentence: str


@dataclass(frozen=True)
class SizeDistance:
    """How far the runs of a size are from the limit that they themselves point to."""

    width: int
    depth: int
    loss: float
    distance: Estimate


@dataclass(frozen=True)
class RuleOverlay:
    """One rule against its limit: `sentence` says what came out or why no limit is drawn; `best` is the best
    hyperparameter at infinite width and depth; `away` tells the distance of the runs, with or without a limit."""

    rule: str
    optimizer: str
    sentence: str
    limits: tuple[LimitAt, ...] = ()
    best: Estimate | None = None
    away: str = ""
    distances: tuple[SizeDistance, ...] = ()


@dataclass(frozen=True)
class CheckedLine:
    """One judged quantity along one axis: its exponent, the declared range, and what was made of it."""

    axis: str
    quantity: str
    exponent: Estimate
    declared: tuple[float, float]
    tolerance: float
    outcome: str
    sentence: str

    @property
    def off(self) -> Estimate:
        """The exponent from the nearest end of the declared range: 0 is as declared."""
        value = self.exponent.value
        if value is None:
            return Estimate(None)
        nearest = min(max(value, self.declared[0]), self.declared[1])
        ends = (None if end is None else end - nearest for end in (self.exponent.low, self.exponent.high))
        return Estimate(value - nearest, *ends)


@dataclass(frozen=True)
class CheckFacts:
    """A coordinate check as the page shows it: `causes` are its likely culprits, in words."""

    rule: str
    optimizer: str
    base: str
    steps: int
    seeds: int
    outcome: str
    lines: tuple[CheckedLine, ...]
    causes: tuple[str, ...] = ()

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(line.axis for line in self.lines))

    def along(self, axis: str) -> tuple[CheckedLine, ...]:
        """The lines of an axis, the worst first."""
        mine = [line for line in self.lines if line.axis == axis]
        return tuple(sorted(mine, key=lambda line: (GRAVITY.index(line.outcome), -abs(line.off.value or 0.0))))


@dataclass(frozen=True)
class ReportFacts:
    """Everything the page says. `log`: the hyperparameter is judged in octaves, else in its own units; `tolerance` is
    the drift per doubling that still counts as staying put. `tables` are further tables that the caller composed (the
    rule's rows, say); `overlay` holds the limits of the rules and `checks` coordinate checks, where the caller has
    them; `reproduce` the commands that make the same runs again."""

    title: str
    hyperparameter: str
    metric: str
    tolerance: float | None
    rules: tuple[RuleFacts, ...]
    ran: Ran
    log: bool = True
    reproduce: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = ()
    overlay: tuple[RuleOverlay, ...] = ()
    checks: tuple[CheckFacts, ...] = ()

    @property
    def optimizers(self) -> tuple[str, ...]:
        """The optimizers in the order of their first rule."""
        return tuple(dict.fromkeys(rule.optimizer for rule in self.rules))

    def under(self, optimizer: str) -> tuple[RuleFacts, ...]:
        """The rules judged under one optimizer."""
        return tuple(rule for rule in self.rules if rule.optimizer == optimizer)

    def to_json(self) -> str:
        """The facts as JSON text: infinities and NaN become null."""
        return json.dumps(_finite(asdict(self)), ensure_ascii=False, indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
