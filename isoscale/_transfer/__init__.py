"""The verdict: optima with intervals, stability edges, drift, regret, cost, from any collection of runs. No torch."""

from isoscale._transfer.axis import Axis, Bounds, Outcome
from isoscale._transfer.drift import Drift
from isoscale._transfer.edge import StabilityEdge
from isoscale._transfer.errors import RunsError
from isoscale._transfer.optimum import Optimum
from isoscale._transfer.regret import Cost, Regret
from isoscale._transfer.slope import Slope, slope
from isoscale._transfer.verdict import Verdict, judge

__all__ = [
    "Axis",
    "Bounds",
    "Cost",
    "Drift",
    "Optimum",
    "Outcome",
    "Regret",
    "RunsError",
    "Slope",
    "StabilityEdge",
    "Verdict",
    "judge",
    "slope",
]
