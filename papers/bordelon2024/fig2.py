"""Figure 2: with BatchNorm, tuned at two blocks, right at hundreds; deeper is better; without 1/sqrt(L) it shifts.

Pre-activation convolutional networks, SGD with momentum. Legend: N channels, L residual blocks. At the base width `sp`
and `mup` are the same training: `mup` stands for the networks without depth scaling.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .campaign import Curve, Drift, Place, Progress, configurations, judged, powers
from .deeper import Tuned, tuned
from .finding import Finding, moves, of, sign, stays
from .ink import MARKERS, curve_panels, plain_losses, shade, size_ticks

RULES = ("mup", "depth_mup")
_CPU = {"momentum": 0.9, "schedule": "cosine", "evaluations": 1, "pool": 4}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "width": 2, "depths": (1, 2), "lr": powers(-6, -3), "seeds": 2, "dear": 2,
              "train": _CPU | {"steps": 3, "batch_size": 16}},
    "cpu": {"data": "digits", "width": 8, "depths": (2, 8, 32, 128), "lr": powers(-5, -1), "seeds": 3, "dear": 3,
            "train": _CPU | {"steps": 25, "batch_size": 32}},
    "gpu": {"wants": "CIFAR-10", "width": 32, "depths": (3, 9, 36, 128, 324), "lr": powers(-8, 1), "seeds": 3,
            "dear": 3, "train": _CPU | {"steps": 4000, "batch_size": 128}},
    "full": {"wants": "Tiny ImageNet or ImageNet", "width": 64, "depths": (3, 9, 36, 128, 324), "lr": powers(-8, 1),
             "seeds": 3, "dear": 3, "train": _CPU | {"steps": 15640, "batch_size": 128}},
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """Curves over depth of both rules and their drifts, with `deep_seeds` at the largest depth; and of every rule the
    loss at each depth's best rate, over the seeds that all depths have."""

    steps: int
    seeds: int
    deep_seeds: int
    curves: tuple[Curve, ...]
    drifts: tuple[Drift, ...]
    tuned: tuple[Tuned, ...]


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
    best = tuple(tuned(records.select(rule=rule), "train_loss", 0) for rule in RULES)
    return Facts(chosen["train"]["steps"], chosen["seeds"], chosen["dear"], *judged(records), best)


def designed(chosen: Mapping[str, Any], place: Place) -> list[dict[str, Any]]:
    """Every depth under both rules."""
    width, depths = chosen["width"], chosen["depths"]
    common = {
        "model": "conv_resnet_bn", "optimizer": "sgd", "base_width": width, "base_depth": depths[0],
        "data": place.images(chosen), **chosen["train"],
    }  # fmt: skip
    found = []
    for depth in depths:
        seeds = chosen["dear"] if depth == depths[-1] else chosen["seeds"]
        found += configurations(common, [(width, depth)], seeds, rule=RULES, lr=chosen["lr"])
    return found


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What the paper claims, and what came out."""
    (row,) = (row for row in facts.tuned if row.rule == "depth_mup")
    first, last = row.loss[0], row.loss[-1]
    deeper = sign(
        "deeper is better", row.low, row.high,
        f"{row.gain:+.1f}% [{row.low:+.1f}, {row.high:+.1f}] per doubling of depth; tuned, {row.depths[0]} blocks "
        f"reach {first:.3f}, {row.depths[-1]} reach {last:.3f}", positive=False,
    )  # fmt: skip
    return (
        stays("with BatchNorm and 1/sqrt(L) the best learning rate stays to the largest depth",
              of(facts.drifts, "depth_mup", "depth")),
        moves("without 1/sqrt(L) it moves with depth", of(facts.drifts, "mup", "depth")),
        deeper,
    )  # fmt: skip


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: a column a rule, then the best loss against depth."""
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(11, 3.6)
    figure.set_layout_engine("constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2, 1))
    curve_panels(facts.curves, facts.drifts, RULES, left)
    panel = right.subplots()
    for at, rule in enumerate(RULES):
        (row,) = (row for row in facts.tuned if row.rule == rule)
        look = {"marker": MARKERS[at], "color": shade(at, len(RULES)), "linestyle": "--" if at == 0 else "-"}
        panel.loglog(row.depths, row.loss, label=rule, **look)
    size_ticks(panel, sorted({curve.depth for curve in facts.curves}))
    plain_losses(panel)
    panel.set(xlabel="depth L", ylabel="training loss at the best rate", title="is deeper better?")
    panel.legend(fontsize="small")
    return figure
