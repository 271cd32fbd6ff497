"""Where the branch constant is matched: at the smallest depth, or at the largest (a question of the reviewers).

A network without depth scaling has branches of one constant at all depths. Figure 1 sets it so that the rules agree
at the smallest depth; set so that they agree at the largest, by beta sqrt(L_min/L_max), it is the shallow ones that
differ: smaller branches train more slowly. Legend: L residual blocks, beta branch constant. The networks, data and
`depth_mup` runs of figure 1, at the base width, where `sp` and `mup` are the same training.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from isoscale import Records

from . import fig1
from .campaign import Curve, Drift, Place, Progress, judged
from .finding import Finding, Outcome, sign
from .ink import MARKERS, along, curve_panel, room_below, said, shade, size_ticks

PRESETS = fig1.PRESETS
DEEP, SHALLOW, SCALED = "sp, mup matched at the largest", "sp, mup matched at the smallest", "depth_mup"
RULES = (SHALLOW, DEEP, SCALED)


@dataclass(frozen=True)
class Gap:
    """Loss of `sp`/`mup` matched at the largest depth over that of `depth_mup`, less one, in percent: at the learning
    rate that is best for `depth_mup` (shared), and each at its own best (tuned); 95% intervals over paired seeds;
    `octaves` is how much higher its own best learning rate is."""

    depth: int
    shared: float
    shared_low: float
    shared_high: float
    tuned: float
    tuned_low: float
    tuned_high: float
    octaves: float


@dataclass(frozen=True)
class Facts:
    steps: int
    seeds: int
    beta: float
    curves: tuple[Curve, ...]
    drifts: tuple[Drift, ...]
    gaps: tuple[Gap, ...]


def facts(
    preset: str = "cpu",
    progress: Progress | None = None,
    *,
    data: str | Path | None = None,
    cache: str | Path | None = None,
    workers: int = 2,
) -> Facts:
    chosen, place = PRESETS[preset], Place(data, cache, workers, progress)
    depths, width = chosen["depths"], chosen["widths"][0]
    beta = math.sqrt(depths[0] / depths[-1])
    records = place.runs(designed(chosen, place, beta))
    runs = [replace(run, config=dict(run.config) | {"rule": name_of(run.config)}) for run in records]
    # At the largest depth the branches of depth_mup have this very constant: one training under two names.
    scaled = Records(tuple(runs)).select(rule=SCALED, depth=depths[-1])
    runs += [replace(run, config=dict(run.config) | {"rule": DEEP}) for run in scaled]
    told = Records(tuple(replace(run, config=unmatched(run.config)) for run in runs))
    drawn, drifts = judged(told, base=(width, depths[0]))
    gaps = tuple(gap(told.select(depth=depth), depth) for depth in depths)
    return Facts(chosen["train"]["steps"], chosen["seeds"], beta, drawn, drifts, gaps)


def designed(chosen: Mapping[str, Any], place: Place, beta: float) -> list[dict[str, Any]]:
    """Figure 1's depths under both its rules, and `mup` with the constant that fits the largest depth below it."""
    shallow = [*fig1.over_depth(chosen, place, "mup"), *fig1.over_depth(chosen, place, "depth_mup")]
    # muP in width has no exponent of depth: the constant alone says where it was matched.
    deep = [
        config | {"beta": beta}
        for config in fig1.over_depth(chosen, place, "mup")
        if config["depth"] < chosen["depths"][-1] and config["lr"] in chosen["lr"]
    ]
    return shallow + deep


def name_of(config: Mapping[str, Any]) -> str:
    """Which of RULES a configuration is."""
    if config["rule"] == "depth_mup":
        return SCALED
    return DEEP if "beta" in config else SHALLOW


def unmatched(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without its constant, which its new rule's name tells."""
    return {name: value for name, value in config.items() if name != "beta"}


def gap(records: Records, depth: int) -> Gap:
    """Both comparisons at one depth, over the rates that both ran."""
    losses = {}
    both = set(records.select(rule=DEEP).values("lr")) & set(records.select(rule=SCALED).values("lr"))
    for rule in (DEEP, SCALED):
        mine = records.select(rule=rule)
        rows = {lr: [run.loss("train_loss") for run in mine.select(lr=lr)] for lr in both}
        losses[rule] = {lr: np.log(row) for lr, row in rows.items() if np.isfinite(row).all()}
    best = {rule: min(rows, key=lambda lr, rows=rows: float(rows[lr].mean())) for rule, rows in losses.items()}
    shared = losses[DEEP].get(best[SCALED], np.full(len(losses[SCALED][best[SCALED]]), np.nan))
    scaled = losses[SCALED][best[SCALED]]
    return Gap(
        depth, *percent(shared - scaled), *percent(losses[DEEP][best[DEEP]] - scaled),
        math.log2(best[DEEP] / best[SCALED]),
    )  # fmt: skip


def percent(difference: Any) -> tuple[float, float, float]:
    """Mean of paired differences of log losses with its 95% interval, in percent."""
    mean = float(difference.mean())
    half = float(stats.t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / len(difference) ** 0.5)
    low, middle, high = (100 * math.expm1(each) for each in (mean - half, mean, mean + half))
    return middle, low, high


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What was said in the review, and what came out."""
    found = []
    for each in facts.gaps[:-1]:
        found.append(
            sign(
                f"matched at the largest depth, sp and mup train slower at depth {each.depth} and the same rate",
                each.shared_low, each.shared_high,
                f"{each.shared:+.0f}% [{each.shared_low:+.0f}, {each.shared_high:+.0f}]", positive=True,
            )
        )  # fmt: skip
    for each in facts.gaps[:-1]:
        gone: Outcome = "cannot tell"
        if each.tuned_low > 0:
            gone = "does not hold"
        elif each.tuned_high < each.shared:
            gone = "holds"
        found.append(
            Finding(
                f"the gap at depth {each.depth} is one of learning rate: a higher rate closes it", gone,
                f"each at its own best rate {each.tuned:+.0f}% [{each.tuned_low:+.0f}, {each.tuned_high:+.0f}], theirs "
                f"{each.octaves:g} octaves higher",
            )
        )  # fmt: skip
    return tuple(found)


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: losses of the three, then the gap at shared and own rates."""
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(14, 3.6)
    figure.set_layout_engine("constrained")
    *panels, right = figure.subplots(1, 4)
    for panel, rule in zip(panels, RULES, strict=True):
        curve_panel(panel, along(facts.curves, rule, "depth"), "depth")
        (drift,) = (each for each in facts.drifts if each.rule == rule)
        panel.set_title(f"{rule}\n{said(drift)}", fontsize="small")
        panel.set_xlabel("log2 learning rate")
    room_below(panels)
    panels[0].set_ylabel("training loss")
    panels[-1].legend(title="depth L", fontsize="x-small", title_fontsize="x-small")
    _gaps(right, facts)
    return figure


def _gaps(panel: Any, facts: Facts) -> None:
    depths = [each.depth for each in facts.gaps]
    both = (("at depth_mup's best rate", "shared", 0.97), ("each at its own best rate", "tuned", 1.03))
    for at, (name, kind, aside) in enumerate(both):
        middle, low, high = ([getattr(each, kind + end) for each in facts.gaps] for end in ("", "_low", "_high"))
        bars = [[m - l for m, l in zip(middle, low)], [h - m for m, h in zip(middle, high)]]
        panel.errorbar(
            [depth * aside for depth in depths], middle, bars, marker=MARKERS[at], color=shade(at, 2), capsize=3,
            markersize=4, linewidth=1.2, linestyle="-" if at == 0 else "--", label=name,
        )  # fmt: skip
    panel.axhline(0, color="0.6", linewidth=0.8)
    panel.set_xscale("log")
    size_ticks(panel, depths)
    panel.set(xlabel="depth L", ylabel="loss above depth_mup's (%)", title="the gap of small branches")
    panel.legend(fontsize="x-small")
