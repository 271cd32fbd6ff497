"""A reviewer's question (SFFE): does the learning rate still transfer when training is carried near convergence?

The theory's residual networks, SGD with momentum, a cosine to 0 over each length of training. Legend: L blocks; an
epoch is a pass over the training set. At the base width `sp` and `mup` are the same training: `mup` stands for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isoscale import Records

from . import figB3
from .campaign import Curve, Drift, Place, Progress, configurations, judged, powers
from .finding import Finding, moves, of, stays
from .ink import MARKERS, NAMES, shade, size_ticks

RULES = ("mup", "depth_mup")
_CPU = {"momentum": 0.9, "schedule": "cosine", "evaluations": 1, "beta": 0.5}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "model": "residual_mlp", "width": 4, "depths": (1, 2), "lr": powers(-6, -3),
              "lower": (), "seeds": 2, "pass": 3, "epochs": (1, 2), "train": _CPU | {"batch_size": 16}},
    "cpu": {"data": "digits", "model": "residual_mlp", "width": 32, "depths": (3, 6, 12, 24), "lr": powers(-6, -1),
            "lower": (), "seeds": 3, "pass": 11, "epochs": (5, 20, 60),
            "train": _CPU | {"batch_size": 128}},
    "gpu": {"wants": "CIFAR-10", "model": "conv_resnet", "width": 32, "depths": (3, 6, 12, 30), "lr": powers(-9, 0),
            "lower": (), "seeds": 3, "pass": 390, "epochs": (5, 10, 20, 40),
            "train": _CPU | {"batch_size": 128, "pool": 4}},
    "full": {"wants": "CIFAR-10", "model": "conv_resnet", "width": 64, "depths": (3, 6, 12, 30), "lr": powers(-9, 0),
             "lower": (), "seeds": 3, "pass": 390, "epochs": (5, 10, 20, 40, 100),
             "train": _CPU | {"batch_size": 128, "pool": 4}},
}  # fmt: skip


@dataclass(frozen=True)
class Length:
    """One length of training: every rule's curves over depth, and how their optima drift with it."""

    epochs: int
    curves: tuple[Curve, ...]
    drifts: tuple[Drift, ...]


@dataclass(frozen=True)
class Facts:
    """The lengths; and `horizon`, a drift a rule and depth (in `horizon_depths`): octaves per doubling of training."""

    seeds: int
    lengths: tuple[Length, ...]
    horizon: tuple[Drift, ...]
    horizon_depths: tuple[int, ...]


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
    lengths = tuple(Length(each, *judged(trained_for(records, each, chosen))) for each in chosen["epochs"])
    horizon, depths = [], []
    for depth in chosen["depths"]:
        moved = judged(over_length(records.select(depth=depth), chosen["pass"]), may_differ={"steps"})[1]
        horizon += [replace(each, axis="length", sentence=in_length(each.sentence)) for each in moved]
        depths += [depth] * len(moved)
    return Facts(chosen["seeds"], lengths, tuple(horizon), tuple(depths))


def designed(chosen: Mapping[str, Any], place: Place) -> list[dict[str, Any]]:
    """Every depth and every length of training under every rule."""
    width, depths = chosen["width"], chosen["depths"]
    common = {
        "model": chosen["model"], "optimizer": "sgd", "base_width": width, "base_depth": depths[0],
        "data": place.images(chosen), **chosen["train"],
    }  # fmt: skip
    sizes = [(width, depth) for depth in depths]
    steps = [chosen["pass"] * epochs for epochs in chosen["epochs"]]
    found = []
    for rule in RULES:  # where nothing scales with depth, deep networks want lower rates
        rates = chosen["lr"] + (chosen["lower"] if rule == "mup" else ())
        found += configurations(common, sizes, chosen["seeds"], rule=(rule,), lr=rates, steps=steps)
    return found


def trained_for(records: Records, epochs: int, chosen: Mapping[str, Any]) -> Records:
    """The runs of one length."""
    return records.select(steps=chosen["pass"] * epochs)


def over_length(records: Records, steps: int) -> Records:
    """Runs of one depth with the epochs told as the size that grows, for `judge` to fit a drift over."""
    found = []
    for run in records:
        blocks, epochs = run["depth"], run["steps"] // steps
        found.append(replace(run, config=dict(run.config) | {"depth": epochs, "base_depth": 1, "blocks": blocks}))
    return Records(tuple(found))


def in_length(sentence: str) -> str:
    return sentence.replace("depth", "epochs").replace("width", "training at width")


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What was asked, and what came out."""
    found = []
    for length in facts.lengths:
        after = f"after {length.epochs} epochs"
        found.append(
            stays(f"{after} the best rate stays over depth with 1/sqrt(L)", of(length.drifts, "depth_mup", "depth"))
        )
        found.append(
            moves(f"{after} the best rate moves with depth without 1/sqrt(L)", of(length.drifts, "mup", "depth"))
        )
    for depth, drift in zip(facts.horizon_depths, facts.horizon, strict=True):
        if drift.rule == "depth_mup":
            found.append(stays(f"at depth {depth} with 1/sqrt(L) the best rate stays as training grows longer", drift))
    return (*found, a_third(facts))


def a_third(facts: Facts) -> Finding:
    """Figure B.3's question at the two longest lengths: is the rate found on the shorter that of the longer?"""
    short, whole = facts.lengths[-2:]
    pairs = [
        (one, two)
        for one in whole.curves
        for two in short.curves
        if one.rule == two.rule == "depth_mup" and one.depth == two.depth and None not in (one.best, two.best)
    ]
    shifts = [figB3.difference(one, two) for one, two in pairs]
    claim = f"with 1/sqrt(L) {short.epochs} epochs find the best rate of {whole.epochs}"
    return figB3.same(claim, shifts, [f"L = {one.depth}" for one, _ in pairs])


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: optimum against length, then the drift over depth by length."""
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(12, 3.8)
    figure.set_layout_engine("constrained")
    *left, right = figure.subplots(1, len(RULES) + 1)
    for panel, rule in zip(left, RULES, strict=True):
        _optima(panel, facts, rule)
        panel.sharey(left[0])
    left[0].set_ylabel("log2 of the best learning rate")
    left[-1].legend(title="depth L", fontsize="x-small", title_fontsize="x-small")
    _drifts(right, facts)
    return figure


def _optima(panel: Any, facts: Facts, rule: str) -> None:
    depths = sorted({curve.depth for length in facts.lengths for curve in length.curves})
    for at, depth in enumerate(depths):
        known = [
            (length.epochs, curve)
            for length in facts.lengths
            for curve in length.curves
            if (curve.rule, curve.depth) == (rule, depth) and curve.best is not None
        ]
        x = [epochs * 1.04**at for epochs, _ in known]
        y = [curve.best for _, curve in known]
        bars = [[c.best - c.low for _, c in known], [c.high - c.best for _, c in known]]
        panel.errorbar(
            x, y, bars, color=shade(at, len(depths)), marker=MARKERS[at], markersize=4, linewidth=1.2, capsize=2,
            label=str(depth),
        )  # fmt: skip
    panel.set_xscale("log")
    size_ticks(panel, [length.epochs for length in facts.lengths])
    panel.set(xlabel="epochs of training", title=NAMES[rule])


def _drifts(panel: Any, facts: Facts) -> None:
    for at, rule in enumerate(RULES):
        rows = [(n, each) for n, length in enumerate(facts.lengths) for each in length.drifts if each.rule == rule]
        known = [(n, each) for n, each in rows if each.slope is not None]
        y = [each.slope for _, each in known]
        bars = [[d.slope - d.low for _, d in known], [d.high - d.slope for _, d in known]]
        panel.errorbar(
            [n + 0.12 * at for n, _ in known], y, bars, fmt=MARKERS[at], color=shade(at, len(RULES)), capsize=3,
            label=rule,
        )  # fmt: skip
    panel.axhspan(-0.25, 0.25, color="0.92", zorder=0, label="counts as no drift")
    panel.axhline(0, color="0.6", linewidth=0.8)
    panel.set_xticks(range(len(facts.lengths)), [str(length.epochs) for length in facts.lengths])
    panel.set(xlabel="epochs of training", ylabel="octaves per doubling of depth", title="drift of the best rate")
    panel.legend(fontsize="x-small")
