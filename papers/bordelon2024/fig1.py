"""Figure 1 (and B.2): the best learning rate of a residual network under three parameterizations, by depth and width.

Convolutional networks without normalisation, SGD with momentum. Legend: N channels, L residual blocks, x log2 of the
learning rate of the base network. `sp` PyTorch's, `mup` muP in width, `depth_mup` the paper's: branches by 1/sqrt(L).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .campaign import Curve, Drift, Place, Progress, Size, configurations, cross, judged, powers
from .finding import Finding, moves, of, stays
from .ink import along, curve_panels

RULES = ("sp", "mup", "depth_mup")
_CPU = {"momentum": 0.9, "schedule": "cosine", "evaluations": 1, "pool": 4}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "widths": (2, 4), "depths": (1, 2), "lr": powers(-6, -3), "between": (), "lower": (),
              "seeds": 2, "dear": {}, "coarse": (), "train": _CPU | {"steps": 4, "batch_size": 16}},
    "cpu": {"data": "digits", "widths": (8, 16, 32, 64), "depths": (3, 6, 12, 30),
            "lr": powers(-8, -1), "between": powers(-5.5, -1.5), "lower": powers(-9, -9), "seeds": 6,
            "dear": {(8, 30): 3, (32, 3): 3, (64, 3): 3}, "coarse": ((64, 3),),
            "train": _CPU | {"steps": 60, "batch_size": 32}},
    "gpu": {"wants": "CIFAR-10", "widths": (32, 64, 128, 256), "depths": (3, 6, 12, 30), "lr": powers(-9, 0),
            "between": powers(-6.5, -0.5), "lower": powers(-12, -10), "seeds": 3, "dear": {}, "coarse": (),
            "train": _CPU | {"steps": 4000, "batch_size": 128}},
    "full": {"wants": "CIFAR-10", "widths": (64, 128, 256, 512), "depths": (3, 6, 9, 12, 15, 18, 24, 30),
             "lr": powers(-10, 1), "between": powers(-7.5, -0.5), "lower": powers(-13, -11), "seeds": 3,
             "dear": {}, "coarse": (), "train": _CPU | {"steps": 7820, "batch_size": 128}},
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """Loss curves of every rule and size, and how their optima drift along depth (at the first width) and width."""

    steps: int
    seeds: int
    curves: tuple[Curve, ...]
    drifts: tuple[Drift, ...]


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
    return Facts(chosen["train"]["steps"], chosen["seeds"], *judged(records))


def designed(chosen: Mapping[str, Any], place: Place) -> list[dict[str, Any]]:
    """The configurations of a preset: depths and widths under every rule."""
    sizes = cross(chosen["widths"], chosen["depths"])
    return [config for rule in RULES for size in sizes for config in at_size(chosen, place, rule, size)]


def over_depth(chosen: Mapping[str, Any], place: Place, rule: str) -> list[dict[str, Any]]:
    """The depths at the base width."""
    sizes = [(chosen["widths"][0], depth) for depth in chosen["depths"]]
    return [config for size in sizes for config in at_size(chosen, place, rule, size)]


def at_size(chosen: Mapping[str, Any], place: Place, rule: str, size: Size) -> list[dict[str, Any]]:
    """One rule at one size: rates half an octave apart near the bottom, lower ones where nothing scales with depth and
    the network is deepest; fewer seeds, or no halves, where a size costs most."""
    common = {
        "model": "conv_resnet", "rule": rule, "optimizer": "sgd", "base_width": chosen["widths"][0],
        "base_depth": chosen["depths"][0], "data": place.images(chosen), **chosen["train"],
    }  # fmt: skip
    broken = rule != "depth_mup" and size[1] == chosen["depths"][-1]
    more = chosen["lower"] if broken else () if size in chosen["coarse"] else chosen["between"]
    return configurations(common, [size], chosen["dear"].get(size, chosen["seeds"]), lr=chosen["lr"] + more)


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What the paper claims, and what came out."""
    rows = facts.drifts
    return (
        stays("with 1/sqrt(L) the best learning rate stays over depth", of(rows, "depth_mup", "depth")),
        stays("with muP the best learning rate stays over width", of(rows, "depth_mup", "width")),
        moves("under muP without 1/sqrt(L) it moves with depth", of(rows, "mup", "depth")),
        moves("in standard parameterization it moves with depth", of(rows, "sp", "depth")),
        moves("in standard parameterization it moves with width", of(rows, "sp", "width")),
        trains_worse(facts),
    )


def trains_worse(facts: Facts) -> Finding:
    """Deep networks without 1/sqrt(L): the best loss at the largest depth over that at the smallest, beside ours."""
    ratio = {}
    for rule in ("mup", "depth_mup"):
        mine = along(facts.curves, rule, "depth")
        ratio[rule] = mine[-1].least / mine[0].least
    claim = "without 1/sqrt(L) the deepest networks train badly at every learning rate"
    verdict: Literal["holds", "does not hold"] = "holds" if ratio["mup"] > 2 * ratio["depth_mup"] else "does not hold"
    return Finding(
        claim, verdict,
        f"at its best rate the deepest has {ratio['mup']:.1f} times the loss of the shallowest; with 1/sqrt(L) "
        f"{ratio['depth_mup']:.1f} times",
    )  # fmt: skip


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: a column a rule, depths above, widths below."""
    return curve_panels(facts.curves, facts.drifts, RULES, figure)
