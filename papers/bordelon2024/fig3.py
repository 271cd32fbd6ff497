"""Figure 3: vision transformers with LayerNorm: the best learning rate, and the best schedule, stay wide and deep.

AdamW, a warm-up over a tenth of training, then a constant rate, a line to 0 or half a cosine to 0. Legend: N width
(heads of 8), L blocks of two branches. Without 1/sqrt(L) (`mup`) the cosine alone is swept, over depth.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from isoscale import Records

from .campaign import Curve, Drift, Place, Progress, Size, configurations, cross, judged, powers
from .finding import Finding, Outcome, moves, stays
from .ink import LETTER, MARKERS, along, curve_panel, room_below, said, shade

SCHEDULES = ("constant", "linear", "cosine")
CONTROL = "cosine without 1/sqrt(L)"
_CPU = {"warmup": 0.1, "evaluations": 1}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "widths": (8, 16), "depths": (1, 2), "lr": powers(-8, -5), "seeds": 2,
              "train": _CPU | {"steps": 3, "batch_size": 16, "patch": 4}},
    "cpu": {"data": "digits", "widths": (16, 32, 48), "depths": (2, 4, 8), "lr": powers(-8, -3), "seeds": 3,
            "train": _CPU | {"steps": 60, "batch_size": 32, "patch": 4}},
    "gpu": {"wants": "Tiny ImageNet or CIFAR-10", "widths": (64, 128, 256, 512), "depths": (3, 6, 12, 24),
            "lr": powers(-13, -5), "seeds": 3,
            "train": _CPU | {"steps": 8000, "batch_size": 128, "weight_decay": 0.05}},
    "full": {"wants": "ImageNet", "widths": (128, 256, 512, 1024), "depths": (3, 6, 12, 24), "lr": powers(-13, -5),
             "seeds": 3, "train": _CPU | {"steps": 50000, "batch_size": 256, "weight_decay": 0.05}},
}  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """One schedule (or the control): its curves and drifts."""

    name: str
    curves: tuple[Curve, ...]
    drifts: tuple[Drift, ...]


@dataclass(frozen=True)
class Ranking:
    """At one size, each schedule at its own best rate: geometric mean losses in the order of SCHEDULES; the best, and
    how many percent the second loses to it, with a 95% interval over paired seeds."""

    width: int
    depth: int
    loss: tuple[float, ...]
    best: str
    second: str
    margin: float
    low: float
    high: float


@dataclass(frozen=True)
class Facts:
    steps: int
    seeds: int
    schedules: tuple[Schedule, ...]
    rankings: tuple[Ranking, ...]


def facts(
    preset: str = "cpu",
    progress: Progress | None = None,
    *,
    data: str | Path | None = None,
    cache: str | Path | None = None,
    workers: int = 2,
) -> Facts:
    chosen, place = PRESETS[preset], Place(data, cache, workers, progress)
    records = place.runs(designed(chosen, place))
    scaled = records.select(rule="depth_mup")
    found = [Schedule(name, *judged(scaled.select(schedule=name))) for name in SCHEDULES]
    named = [replace(run, config=dict(run.config) | {"rule": CONTROL}) for run in records.select(rule="mup")]
    found.append(Schedule(CONTROL, *judged(Records(tuple(named)))))
    rankings = tuple(ranking(scaled, size) for size in cross(chosen["widths"], chosen["depths"]))
    return Facts(chosen["train"]["steps"], chosen["seeds"], tuple(found), rankings)


def designed(chosen: Mapping[str, Any], place: Place) -> list[dict[str, Any]]:
    """Every size and schedule under `depth_mup`, and the control."""
    widths, depths = chosen["widths"], chosen["depths"]
    common = {
        "model": "vit", "optimizer": "adamw", "base_width": widths[0], "base_depth": depths[0],
        "data": place.images(chosen), **chosen["train"],
    }  # fmt: skip
    every = configurations(
        common | {"rule": "depth_mup"}, cross(widths, depths), chosen["seeds"], schedule=SCHEDULES, lr=chosen["lr"]
    )
    deep = [(widths[0], depth) for depth in depths]
    return every + configurations(
        common | {"rule": "mup", "schedule": "cosine"}, deep, chosen["seeds"], lr=chosen["lr"]
    )


def ranking(records: Records, size: Size) -> Ranking:
    """The schedules at one size."""
    mine = records.select(width=size[0], depth=size[1])
    logs = {name: at_best(mine.select(schedule=name)) for name in SCHEDULES}
    best, second = sorted(SCHEDULES, key=lambda name: float(logs[name].mean()))[:2]
    gap = logs[second] - logs[best]
    half = float(stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / len(gap) ** 0.5)
    margin, low, high = (100 * math.expm1(float(gap.mean()) + each) for each in (0.0, -half, half))
    losses = tuple(math.exp(float(logs[name].mean())) for name in SCHEDULES)
    return Ranking(*size, losses, best, second, margin, low, high)


def at_best(records: Records) -> Any:
    """Log losses by seed at the rate where their mean is least."""
    rows = [[run.loss("train_loss") for run in records.select(lr=lr)] for lr in records.values("lr")]
    logs = [np.log(row) for row in rows if np.isfinite(row).all()]
    return min(logs, key=lambda row: float(row.mean()))


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What the paper claims, and what came out."""
    found = []
    for one in facts.schedules:
        if one.name == CONTROL:
            found.append(moves("without 1/sqrt(L) the best rate of the cosine moves with depth", one.drifts[0]))
            continue
        for drift in one.drifts:
            found.append(stays(f"{one.name}: the best learning rate stays over {drift.axis}", drift))
    return (*found, same_schedule(facts.rankings))


def same_schedule(rankings: Sequence[Ranking]) -> Finding:
    """Is the schedule that is best at the base size best everywhere? A size where another is better with confidence
    speaks against it; where the base's leads everywhere with confidence, it holds."""
    first = rankings[0].best
    against = [each for each in rankings if each.best != first and each.low > 0]
    sure = all(each.best == first and each.low > 0 for each in rankings)
    verdict: Outcome = "does not hold" if against else "holds" if sure else "cannot tell"
    rows = (
        f"{each.width}x{each.depth}: {each.best}, {each.second} {each.margin:+.0f}% [{each.low:+.0f}, {each.high:+.0f}]"
        for each in rankings
    )
    return Finding("the best schedule is the same at every width and depth", verdict, "; ".join(rows))


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: a column a schedule, depths above, widths below; then the
    control, and the schedules against each other."""
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(13.5, 6.4)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(2, 4)
    for column, one in enumerate(facts.schedules):
        for row, axis in enumerate(("depth", "width")):
            if axis == "width" and one.name == CONTROL:
                continue
            panel, rule = panels[row][column], one.curves[0].rule
            curve_panel(panel, along(one.curves, rule, axis), axis)
            (drift,) = (each for each in one.drifts if each.axis == axis)
            panel.set_title(f"{one.name}\n{said(drift)}", fontsize="small")
            panel.set_xlabel("log2 learning rate")
            panel.legend(title=f"{axis} {LETTER[axis]}", fontsize="x-small", title_fontsize="x-small")
    room_below([*panels[0], *panels[1][:3]])
    for row in panels:
        row[0].set_ylabel("training loss")
    _ranks(panels[1][3], facts.rankings)
    return figure


def _ranks(panel: Any, rankings: Sequence[Ranking]) -> None:
    for at, name in enumerate(SCHEDULES):
        losses = [each.loss[at] for each in rankings]
        look = {"marker": MARKERS[at], "color": shade(at, len(SCHEDULES)), "linestyle": ":", "markersize": 5}
        panel.semilogy(range(len(rankings)), losses, label=name, **look)
    panel.set_xticks(range(len(rankings)), [f"{each.width}x{each.depth}" for each in rankings], fontsize="small")
    panel.set(xlabel="width x depth", ylabel="training loss, best rate", title="schedules, each at its best rate")
    panel.legend(fontsize="x-small")
    room_below([panel])
