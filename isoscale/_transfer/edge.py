"""The stability edge: the largest hyperparameter at which training still holds together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isoscale._records.run import Run
from isoscale._transfer.curve import Array, LossCurve, Size
from isoscale._transfer.fact import Fact
from isoscale._transfer.scale import Scale


@dataclass(frozen=True)
class StabilityEdge(Fact):
    """Between `last_stable` and `first_unstable` (positions on the grid) most seeds begin to fail.

    A seed fails when it diverged, or when its curve of the metric ends above where it began. `position` is the middle
    of the two, `resolution` their distance. At "beyond the grid" no value failed; at "below the grid" all did.
    """

    width: int
    depth: int
    status: Literal["found", "beyond the grid", "below the grid"]
    sentence: str
    last_stable: float | None = None
    first_unstable: float | None = None
    position: float | None = None
    resolution: float | None = None
    value: float | None = None

    @property
    def size(self) -> Size:
        return self.width, self.depth


def failing(curve: LossCurve, metric: str, hyperparameter: str, scale: Scale) -> Array:
    """Per position, the share of seeds that diverged or ended above their own start."""
    share = np.zeros(len(curve.x))
    for at, x in enumerate(curve.x):
        runs = [run for run in curve.runs if scale.position(float(run.config[hyperparameter])) == x]
        share[at] = sum(_failed(run, metric) for run in runs) / len(runs)
    return share


def _failed(run: Run, metric: str) -> bool:
    if run.status == "diverged":
        return True
    curve = run.curves.get(metric)
    began_here = curve is not None and len(curve.step) > 1 and curve.step[0] == 0
    return bool(curve is not None and began_here and run.loss(metric) > curve.value[0])


def stability_edge(curve: LossCurve, scale: Scale, metric: str) -> StabilityEdge:
    """The edge of one size's curve, from the high end down: the first position from which every larger one fails."""
    width, depth = curve.size
    share = failing(curve, metric, scale.hyperparameter, scale)
    stable = np.flatnonzero(share <= 0.5)
    name = scale.hyperparameter
    if len(stable) == 0:
        first = float(curve.x[0])
        return StabilityEdge(
            width, depth, "below the grid", f"most seeds diverge at every {name}, down to {scale.say(first)}: "
            f"the edge lies below the grid", first_unstable=first,
        )  # fmt: skip
    last = int(stable[-1])
    if last == len(curve.x) - 1:
        top = float(curve.x[-1])
        return StabilityEdge(
            width, depth, "beyond the grid", f"no {name} up to {scale.say(top)} fails in most seeds", last_stable=top
        )
    low, high = float(curve.x[last]), float(curve.x[last + 1])
    return StabilityEdge(
        width, depth, "found",
        f"largest stable {name} {scale.say(low)}; at {scale.say(high)} most seeds fail",
        last_stable=low, first_unstable=high, position=(low + high) / 2, resolution=high - low, value=scale.value(low),
    )  # fmt: skip


def edge_positions(edges: Sequence[StabilityEdge]) -> tuple[list[Size], list[float], list[float]]:
    """(sizes, positions, standard errors of a uniform within its resolution) of the edges that were found."""
    found = [(e.size, e.position, e.resolution) for e in edges if e.position is not None and e.resolution is not None]
    return [f[0] for f in found], [f[1] for f in found], [f[2] / 12**0.5 for f in found]
