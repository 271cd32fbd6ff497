"""The league table: how far the best learning rate moves in width and in depth, and what carrying it costs.

One task (pre-LN residual MLP, digits, AdamW), one harness. Rules change the parameterization; laws keep plain PyTorch
or muP and predict how the optimum moves: the Step Law fits a power law of the optimum to small scales and extrapolates
("Predictable Scale: Part I", arXiv 2503.04715); architecture-aware scaling multiplies the rate of muP by depth^(-3/2)
("Principled Architecture-aware Scaling of Hyperparameters", arXiv 2402.17440; derived there without residuals).
Legend: x log2 of the learning rate of the base network; a drift is in octaves per doubling.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from isoscale import Records, Verdict, judge

from ..bordelon2024.campaign import Place, Progress, Size, configurations, cross, powers

NAMES: Mapping[str, str] = {
    "sp": "sp (plain PyTorch)",
    "sp_full_align": "per-layer rates in sp, full alignment",
    "mup": "mup (width only)",
    "depth_mup": "depth_mup (1/sqrt(L)); u-muP's rule",
    "completep": "CompleteP (1/L)",
    "step law": "Step Law: power law of sp's optimum",
    "architecture-aware": "mup with rates by L^(-3/2)",
}
RULES = ("sp", "sp_full_align", "mup", "depth_mup", "completep")
ARCHITECTURE_AWARE = -1.5
_TRAIN = {"schedule": "cosine", "evaluations": 2, "batch_size": 128}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"widths": (4, 6, 8), "depths": (1, 2, 3), "target": (6, 3), "lr": powers(-9, -3, 2.0), "seeds": 2,
              "train": _TRAIN | {"steps": 3, "batch_size": 16}},
    "cpu": {"widths": (32, 64, 128), "depths": (3, 6, 12, 24), "target": (64, 24), "lr": powers(-10, -3.5, 0.5),
            "seeds": 3, "train": _TRAIN | {"steps": 100}},
    "gpu": {"widths": (32, 64, 128, 256, 512), "depths": (3, 6, 12, 24, 48), "target": (256, 48),
            "lr": powers(-12, -3, 0.5), "seeds": 5, "train": _TRAIN | {"steps": 400}},
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One way to carry the learning rate: drifts (value, low, high) that it leaves over, the loss lost at the target in
    percent of its own best (value, low, high; empty where not known), the training loss `reached` there with the
    carried rate (nan: not known), and the FLOPs of tuning that it needs."""

    name: str
    width: tuple[float, ...]
    depth: tuple[float, ...]
    percent: tuple[float, ...]
    reached: float
    outcome: str
    flops: float


@dataclass(frozen=True)
class Facts:
    base: tuple[int, int]
    target: tuple[int, int]
    seeds: int
    steps: int
    direct_flops: float
    rows: tuple[Row, ...]


def facts(
    preset: str = "cpu",
    progress: Progress | None = None,
    *,
    data: str | Path | None = None,
    cache: str | Path | None = None,
    workers: int = 2,
) -> Facts:
    """Train every rule at every size, judge them, and apply the laws to the same runs."""
    chosen, place = PRESETS[preset], Place(data, cache, workers, progress)
    base = (chosen["widths"][0], chosen["depths"][0])
    sizes = [*cross(chosen["widths"], chosen["depths"]), chosen["target"]]
    common = {
        "model": "preln_mlp", "optimizer": "adamw", "data": str(data or "digits"), "base_width": base[0],
        "base_depth": base[1], **chosen["train"],
    }  # fmt: skip
    records = place.runs(
        [
            config
            for rule in RULES
            for config in configurations({**common, "rule": rule}, sizes, chosen["seeds"], lr=chosen["lr"])
        ]
    )
    verdicts = {verdict.rule: verdict for verdict in judge(records)}
    spent = {
        size: sum(run.flops or 0.0 for run in records.select(rule="sp", width=size[0], depth=size[1])) for size in sizes
    }
    rows = [_rule(verdicts[rule], spent[base]) for rule in RULES]
    small = cross(chosen["widths"][:-1], chosen["depths"][:-1])
    rows.append(step_law(records, verdicts["sp"], small, chosen["target"], sum(spent[size] for size in small)))
    rows.append(architecture_aware(records, verdicts["mup"], base, chosen["target"], spent[base]))
    return Facts(
        base, chosen["target"], chosen["seeds"], chosen["train"]["steps"], spent[chosen["target"]], tuple(rows)
    )


def _rule(verdict: Verdict, flops: float) -> Row:
    slopes = {axis.axis: axis.drift.slope for axis in verdict.axes}
    width, depth = (_three(slopes.get(name)) for name in ("width", "depth"))
    regret = verdict.regret
    known = regret.status == "measured" and regret.percent is not None
    percent = (regret.percent, regret.percent_low, regret.percent_high) if known else ()
    reached = regret.best_loss * (1 + regret.percent / 100) if known else math.nan
    return Row(verdict.rule, width, depth, tuple(map(float, percent)), reached, regret.status, flops)


def _three(slope: Any) -> tuple[float, ...]:
    return () if slope is None else (slope.estimate, slope.low, slope.high)


def step_law(records: Records, verdict: Verdict, small: Sequence[Size], target: Size, flops: float) -> Row:
    """log2 lr = c + a log2 width + b log2 depth, fitted to the optima of the small scales, carried to the target.

    What it leaves over of a drift is the drift of all scales less its own exponent; the interval is the drift's."""
    found = {optimum.size: optimum.position for optimum in verdict.optima if optimum.position is not None}
    used = [size for size in small if size in found]
    if len(used) < 3:
        return Row("step law", (), (), (), math.nan, "cannot tell", flops)
    matrix = np.array([[1.0, math.log2(width), math.log2(depth)] for width, depth in used])
    fit, *_ = np.linalg.lstsq(matrix, np.array([found[size] for size in used]), rcond=None)
    at = float(fit @ [1.0, math.log2(target[0]), math.log2(target[1])])
    return _law("step law", records, verdict, target, at, {"width": float(fit[1]), "depth": float(fit[2])}, flops)


def architecture_aware(records: Records, verdict: Verdict, base: Size, target: Size, flops: float) -> Row:
    """The base's best rate times (depth ratio)^(-3/2), under muP."""
    found = {optimum.size: optimum.position for optimum in verdict.optima}
    start = found[base]
    at = math.nan if start is None else start + ARCHITECTURE_AWARE * math.log2(target[1] / base[1])
    laws = {"width": 0.0, "depth": ARCHITECTURE_AWARE}
    return _law("architecture-aware", records, verdict, target, at, laws, flops)


def _law(
    name: str, records: Records, verdict: Verdict, target: Size, at: float, exponents: Mapping[str, float], flops: float
) -> Row:
    left = {}
    for axis in verdict.axes:
        slope = axis.drift.slope
        moved = exponents[axis.axis]
        left[axis.axis] = () if slope is None else tuple(end - moved for end in (slope.estimate, slope.low, slope.high))
    percent, best, outcome = lost(records.select(rule=verdict.rule, width=target[0], depth=target[1]), at)
    reached = best * (1 + percent[0] / 100) if percent else math.nan
    return Row(name, left.get("width", ()), left.get("depth", ()), percent, reached, outcome, flops)


def lost(runs: Records, at: float) -> tuple[tuple[float, ...], float, str]:
    """Loss at log2 lr `at` above the least of the mean curve, in percent, over seeds with a t interval, and that least
    loss: the log loss is interpolated linearly between the rates that were run."""
    if not math.isfinite(at):
        return (), math.nan, "cannot tell"
    rates = sorted({float(run["lr"]) for run in runs})
    x = [math.log2(rate) for rate in rates]
    by_seed: dict[Any, list[float]] = {}
    for rate in rates:
        for run in runs.select(lr=rate):
            loss = run.loss("train_loss")
            by_seed.setdefault(run["seed"], []).append(math.log(loss) if loss and math.isfinite(loss) else math.inf)
    curve = np.mean(list(by_seed.values()), axis=0)
    best = int(np.argmin(curve))
    if not x[0] <= at <= x[-1]:
        return (), math.nan, "cannot tell"
    above = [float(np.interp(at, x, losses)) - losses[best] for losses in by_seed.values()]
    if not all(map(math.isfinite, above)):
        return (), math.nan, "diverges"
    half = stats.t.ppf(0.975, len(above) - 1) * stdev(above) / math.sqrt(len(above))
    low, value, high = (
        100 * math.expm1(max(0.0, each)) for each in (mean(above) - half, mean(above), mean(above) + half)
    )
    return (value, low, high), math.exp(curve[best]), "measured"


def draw(facts: Facts, figure: Any = None) -> Any:
    """A row a way: drifts in width and depth with intervals, and the loss lost at the target."""
    figure = figure or plt.figure()
    figure.set_size_inches(10.5, 0.52 * len(facts.rows) + 1.6)
    panels = figure.subplots(1, 3, sharey=True)
    places = range(len(facts.rows), 0, -1)
    titles = ("drift over width", "drift over depth", f"loss lost at {facts.target[0]} x {facts.target[1]}")
    for panel, title, values in zip(
        panels,
        titles,
        ([row.width for row in facts.rows], [row.depth for row in facts.rows], [row.percent for row in facts.rows]),
    ):
        for place, each in zip(places, values):
            if each:
                panel.plot(each[1:], (place, place), color="0.35", lw=2, solid_capstyle="butt")
                panel.plot(each[0], place, "o", color="#1f5fa8", ms=6)
            else:
                panel.text(
                    0.5, place, "diverges or unknown", transform=panel.get_yaxis_transform(), ha="center", va="center"
                )
        panel.set_title(title, fontsize=10, loc="left")
        panel.grid(axis="x", color="0.9")
        panel.set_axisbelow(True)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(left=False)
    for panel in panels[:2]:
        panel.axvspan(-0.25, 0.25, color="#e3ecf4", zorder=0)
        panel.axvline(0, color="0.6", lw=0.8, zorder=1)
        panel.set_xlabel("octaves per doubling")
    panels[2].set_xscale("symlog", linthresh=10)
    panels[2].set_xlim(left=0)
    panels[2].set_xticks([0, 5, 10, 100, 1000], ["0", "5", "10", "100", "1000"])
    panels[2].set_xlabel("% above the best there")
    panels[0].set_yticks(list(places), [NAMES[row.name] for row in facts.rows])
    panels[0].set_ylim(0.4, len(facts.rows) + 0.6)
    figure.tight_layout()
    return figure
