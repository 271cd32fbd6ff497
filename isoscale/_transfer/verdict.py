"""Judge a sweep: does the tuned hyperparameter carry over as networks grow?"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from isoscale._records.run import Run
from isoscale._transfer.axis import Axis, Bounds, Outcome, judge_axis
from isoscale._transfer.curve import LossCurve, Size, curves
from isoscale._transfer.edge import StabilityEdge, stability_edge
from isoscale._transfer.errors import RunsError
from isoscale._transfer.fact import Fact
from isoscale._transfer.optimum import Optimum, find_optimum
from isoscale._transfer.regret import Cost, Regret, cost, regret
from isoscale._transfer.scale import Scale


@dataclass(frozen=True)
class Verdict(Fact):
    """What the runs say about one rule under one optimizer.

    `outcome` is "drifts" if any axis drifts, "transfers" if every varied axis transfers, else "cannot tell".
    `axes` holds those that were varied; `optima` and `edges` every size. `regret` and `cost` compare the `proxy` with
    the largest size (`target`; by width^2 depth).
    """

    rule: str
    optimizer: str
    hyperparameter: str
    metric: str
    scale: str
    bounds: Bounds
    outcome: Outcome
    sentence: str
    proxy: Size
    target: Size
    axes: tuple[Axis, ...]
    optima: tuple[Optimum, ...]
    edges: tuple[StabilityEdge, ...]
    regret: Regret
    cost: Cost
    runs: int

    def axis(self, name: str) -> Axis | None:
        """The verdict along "width" or "depth"; None where it was not varied."""
        return next((axis for axis in self.axes if axis.axis == name), None)


def judge(
    records: Iterable[Run],
    *,
    hyperparameter: str = "lr",
    metric: str = "train_loss",
    tolerance: float = 0.25,
    regret_percent: float = 10.0,
    scale: Literal["log2", "linear"] = "log2",
    base: Size | None = None,
    target: Size | None = None,
    may_differ: Collection[str] = (),
    level: float = 0.95,
) -> tuple[Verdict, ...]:
    """One verdict per (rule, optimizer) of the records, sorted by name.

    Along width (at the base depth) and along depth (at the base width) the optimum x of `hyperparameter` on `metric` is
    located at each size, and its drift dx / dlog2(size) estimated, each with an interval at `level`:

      drifts       the drift's interval excludes 0 and its estimate exceeds `tolerance` (octaves per doubling); or an
                   optimum beyond the grid implies it; or the proxy's optimum diverges at the largest size, or costs
                   there more than `regret_percent` with confidence while the optima differ
      transfers    the drift's interval lies within +-tolerance, and the largest size's optimum was found
      cannot tell  anything else, with what would settle it

    `base` is the proxy (width, depth); by default the runs' base_width and base_depth if those were run, otherwise the
    smallest. `target` is the size whose regret and cost are given; by default the largest by width^2 depth. Other
    hyperparameters must agree between the runs of a rule; name in `may_differ` those meant to change with size.
    Raises RunsError for runs that no curve can be made of.
    """
    if not tolerance > 0 or not regret_percent > 0 or not 0.5 < level < 1:
        raise RunsError(
            f"tolerance={tolerance}, regret_percent={regret_percent}, level={level}: the first two are positive, the "
            f"level lies between 0.5 and 1"
        )
    on = Scale(hyperparameter, scale)
    bounds = Bounds(tolerance, regret_percent, level)
    grouped = curves(records, on, metric, may_differ)
    return tuple(
        _verdict(rule, optimizer, sizes, on, metric, bounds, base, target)
        for (rule, optimizer), sizes in grouped.items()
    )


def _verdict(
    rule: str,
    optimizer: str,
    sizes: Mapping[Size, LossCurve],
    scale: Scale,
    metric: str,
    bounds: Bounds,
    base: Size | None,
    target: Size | None,
) -> Verdict:
    if len(sizes) < 2:
        only = next(iter(sizes))
        raise RunsError(
            f"{rule}, {optimizer}: every run has width {only[0]}, depth {only[1]}: transfer is judged between sizes; "
            f"sweep at least 3 widths or 3 depths"
        )
    proxy = _proxy(rule, optimizer, sizes, base)
    optima = {size: find_optimum(curve, scale, bounds.level) for size, curve in sizes.items()}
    edges = {size: stability_edge(curve, scale, metric) for size, curve in sizes.items()}
    judged = (judge_axis(name, proxy, sizes, optima, edges, scale, bounds) for name in ("width", "depth"))
    axes = tuple(axis for axis in judged if axis is not None)
    if not axes:
        listed = ", ".join(f"{width}x{depth}" for width, depth in sizes)
        raise RunsError(
            f"{rule}, {optimizer}: no two sizes share the proxy's width {proxy[0]} or depth {proxy[1]} "
            f"(there are {listed}): vary one at a time, or name another base=(width, depth)"
        )
    target = _largest(sizes) if target is None else _ran(rule, optimizer, sizes, "target", target)
    outcome = _overall(axes)
    said = ". ".join(f"Along {axis.axis} (at {_other(axis)}): {axis.outcome}: {axis.sentence}" for axis in axes)
    name = scale.hyperparameter
    headline = f"cannot tell whether {name} transfers" if outcome == "cannot tell" else f"{name} {outcome}"
    return Verdict(
        rule, optimizer, scale.hyperparameter, metric, scale.kind, bounds, outcome,
f"{rule} with {optimizer}: {headline}. {said}",
        proxy, target, axes, tuple(optima.values()), tuple(edges.values()),
        regret(optima[proxy], sizes[target], optima[target], scale, bounds.level),
        cost(sizes[proxy], sizes[target]), sum(len(curve.runs) for curve in sizes.values()),
    )  # fmt: skip


def _proxy(rule: str, optimizer: str, sizes: Mapping[Size, LossCurve], base: Size | None) -> Size:
    if base is not None:
        return _ran(rule, optimizer, sizes, "base", base)
    settings = next(iter(sizes.values())).settings
    said = settings.get("base_width"), settings.get("base_depth")
    for size in sizes:
        if size == said:
            return size
    return min(sizes, key=lambda size: (size[0] ** 2 * size[1], size))


def _ran(rule: str, optimizer: str, sizes: Collection[Size], name: str, size: Size) -> Size:
    if tuple(size) not in sizes:
        listed = ", ".join(f"({width}, {depth})" for width, depth in sizes)
        raise RunsError(f"{rule}, {optimizer}: {name}={tuple(size)} was not run; there are {listed}")
    return size[0], size[1]


def _largest(sizes: Collection[Size]) -> Size:
    return max(sizes, key=lambda size: (size[0] ** 2 * size[1], size))


def _overall(axes: Collection[Axis]) -> Outcome:
    outcomes = {axis.outcome for axis in axes}
    if "drifts" in outcomes:
        return "drifts"
    return "transfers" if outcomes == {"transfers"} else "cannot tell"


def _other(axis: Axis) -> str:
    return f"{'depth' if axis.axis == 'width' else 'width'} {axis.held}"
