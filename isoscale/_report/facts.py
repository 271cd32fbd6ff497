"""What a report says, as frozen records that turn into JSON: the statistics' results beside the runs they came from,
aggregated per size and hyperparameter value, so that the page's size does not grow with the number of seeds."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from isoscale._report.chart import Table

AxisName = Literal["width", "depth"]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high), where both ends are known and finite."""
        if self.low is None or self.high is None or not (math.isfinite(self.low) and math.isfinite(self.high)):
            return None
        return self.low, self.high


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
    """Loss against the hyperparameter at one size. `optimum` and `edge` are hyperparameter values; the sentence says
    why an optimum has no interval, or is missing."""

    width: int
    depth: int
    points: tuple[Point, ...]
    optimum: Estimate | None = None
    optimum_loss: float | None = None
    edge: float | None = None
    sentence: str = ""


@dataclass(frozen=True)
class AxisFacts:
    """One rule along one axis: the curves, how far the optimum moves (octaves per doubling of the size), and the fitted
    line as (size, hyperparameter) at its ends."""

    axis: AxisName
    held: str
    curves: tuple[Curve, ...]
    drift: Estimate | None
    outcome: str
    sentence: str
    line: tuple[tuple[float, float], ...] = ()

    def size(self, curve: Curve) -> int:
        """The size of `curve` along this axis."""
        return curve.width if self.axis == "width" else curve.depth


@dataclass(frozen=True)
class Spent:
    """What a tuning cost: floating-point operations and seconds of training, where the runs say so."""

    flops: float | None
    seconds: float | None
    runs: int


@dataclass(frozen=True)
class RuleFacts:
    """One rule under one optimizer: the verdict, axis by axis; what carrying costs (`regret`, a loss difference) at the
    largest size, with its share of the loss; the cost of tuning the proxy against tuning the largest model directly."""

    rule: str
    optimizer: str
    outcome: str
    sentence: str
    axes: tuple[AxisFacts, ...]
    regret: Estimate | None = None
    regret_share: Estimate | None = None
    regret_sentence: str = ""
    proxy: str = ""
    target: str = ""
    proxy_cost: Spent | None = None
    direct_cost: Spent | None = None
    cost_sentence: str = ""


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
class ReportFacts:
    """Everything the page says. `tables` are further tables (the rule's rows, say) that the caller composed;
    `reproduce` holds the commands that make the same runs again."""

    title: str
    hyperparameter: str
    metric: str
    tolerance: float | None
    rules: tuple[RuleFacts, ...]
    ran: Ran
    reproduce: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = ()

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
