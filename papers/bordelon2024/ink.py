"""What the training figures look like: losses over a hyperparameter, a shade a size, optima with their intervals."""

import math
from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Any

from .campaign import Curve, Drift

MARKERS = "osD^vPX*"
LETTER = {"depth": "L", "width": "N"}
NAMES = {"sp": "standard (sp)", "mup": "muP in width (mup)", "depth_mup": "muP and 1/sqrt(L) (depth_mup)"}


def shade(at: int, count: int) -> Any:
    """Dark to light, so that the order shows in grey as well."""
    from matplotlib import colormaps

    return colormaps["viridis"](0.85 * at / max(1, count - 1))


def curve_panels(
    curves: Sequence[Curve],
    drifts: Sequence[Drift],
    rules: Sequence[str],
    figure: Any = None,
    *,
    xlabel: str = "log2 learning rate",
    ylabel: str = "training loss",
) -> Any:
    """A column a rule; depths at the base width in the first row, widths at the base depth in the second. `figure` may
    be a part of one (a `SubFigure`), which keeps its size."""
    from matplotlib.figure import Figure

    axes = [axis for axis in ("depth", "width") if any(drift.axis == axis for drift in drifts)]
    if isinstance(figure, Figure | NoneType):
        figure = Figure() if figure is None else figure
        figure.set_size_inches(3.6 * len(rules), 3.2 * len(axes))
        figure.set_layout_engine("constrained")
    panels = figure.subplots(len(axes), len(rules), sharex=True, sharey=True, squeeze=False)
    for row, axis in zip(panels, axes, strict=True):
        for panel, rule in zip(row, rules, strict=True):
            (drift,) = (each for each in drifts if (each.rule, each.axis) == (rule, axis))
            curve_panel(panel, along(curves, rule, axis), axis)
            panel.set_title(f"{NAMES.get(rule, rule)}\n{said(drift)}", fontsize="small")
        row[0].set_ylabel(ylabel)
        row[-1].legend(title=f"{axis} {LETTER[axis]}", fontsize="x-small", title_fontsize="x-small")
    for panel in panels[-1]:
        panel.set_xlabel(xlabel)
    room_below(panels.flat)
    return figure


def along(curves: Sequence[Curve], rule: str, axis: str) -> list[Curve]:
    """The curves of a rule along an axis, the other size at its smallest."""
    mine = [curve for curve in curves if curve.rule == rule]
    if axis == "depth":
        held = min(curve.width for curve in mine)
        return sorted((curve for curve in mine if curve.width == held), key=lambda curve: curve.depth)
    held = min(curve.depth for curve in mine)
    return sorted((curve for curve in mine if curve.depth == held), key=lambda curve: curve.width)


def curve_panel(panel: Any, curves: Sequence[Curve], axis: str) -> None:
    """Losses, and below them where each is least: a bar a size."""
    for at, curve in enumerate(curves):
        size = curve.depth if axis == "depth" else curve.width
        look = {"color": shade(at, len(curves)), "marker": MARKERS[at % len(MARKERS)], "markersize": 4}
        panel.semilogy(curve.x, curve.loss, linewidth=1.2, label=str(size), **look)
        if curve.best is not None and curve.low is not None and curve.high is not None:
            place = panel.get_xaxis_transform(), 0.03 + 0.13 * (len(curves) - 1 - at) / max(1, len(curves) - 1)
            panel.plot([curve.low, curve.high], [place[1]] * 2, color=look["color"], transform=place[0], linewidth=2)
            panel.plot([curve.best], [place[1]], transform=place[0], **look)


def room_below(panels: Iterable[Any]) -> None:
    """One logarithmic scale of losses for all panels, with room under the curves for the bars of the optima."""
    every = list(panels)
    limits = [limit for panel in every for limit in panel.get_ylim()]
    low, high = min(limits), max(limits)
    for panel in every:
        panel.set_ylim(low * (low / high) ** 0.22, high)
        plain_losses(panel)


def plain_losses(panel: Any) -> None:
    """Losses on a logarithmic axis as plain numbers: every tick where they span little, decades where much."""
    from matplotlib.ticker import FuncFormatter

    low, high = panel.get_ylim()
    decades = math.log10(high / low)
    shown = range(2, 10) if decades < 0.7 else (2, 5) if decades < 1.8 else ()

    def minor(value: float, _: Any) -> str:
        return f"{value:.2g}" if round(value / 10 ** math.floor(math.log10(value) + 1e-9)) in shown else ""

    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(FuncFormatter(minor))
    panel.tick_params(axis="y", which="both", labelsize="small")


def size_ticks(panel: Any, sizes: Sequence[int]) -> None:
    """Ticks at the sizes that were run."""
    from matplotlib.ticker import NullLocator

    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.xaxis.set_minor_locator(NullLocator())


def said(drift: Drift) -> str:
    """The drift in a line."""
    if drift.slope is None:
        return f"{drift.outcome}: drift not resolved"
    return f"{drift.outcome}: {drift.slope:+.2f} [{drift.low:+.2f}, {drift.high:+.2f}] octaves per doubling"
