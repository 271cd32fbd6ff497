"""Figure 1 (and B.2): the best learning rate of a residual network under three parameterizations, by depth and width.

Convolutional networks without normalisation, SGD with momentum. Legend: N channels, L residual blocks, x log2 of the
learning rate of the base network. `sp` PyTorch's, `mup` muP in width, `depth_mup` the paper's: branches by 1/sqrt(L).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papers.bordelon2024.campaign import Curve, Drift, Place, Progress, configurations, cross, judged, powers
from papers.bordelon2024.ink import curve_panels

RULES = ("sp", "mup", "depth_mup")
_CPU = {"momentum": 0.9, "schedule": "cosine", "evaluations": 1, "pool": 4}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "widths": (2, 4), "depths": (1, 2), "lr": powers(-6, -3), "seeds": 2,
              "train": _CPU | {"steps": 4, "batch_size": 16}},
    "cpu": {"data": "digits", "widths": (8, 16, 32, 64), "depths": (3, 6, 12, 30), "lr": powers(-8, -1), "seeds": 3,
            "train": _CPU | {"steps": 60, "batch_size": 32}},
    "gpu": {"wants": "CIFAR-10", "widths": (32, 64, 128, 256), "depths": (3, 6, 12, 30), "lr": powers(-9, 0),
            "seeds": 3, "train": _CPU | {"steps": 4000, "batch_size": 128}},
    "full": {"wants": "CIFAR-10", "widths": (64, 128, 256, 512), "depths": (3, 6, 9, 12, 15, 18, 24, 30),
             "lr": powers(-10, 1, 0.5), "seeds": 3, "train": _CPU | {"steps": 7820, "batch_size": 128}},
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


def designed(chosen: dict[str, Any], place: Place) -> list[dict[str, Any]]:
    """The configurations of a preset."""
    widths, depths = chosen["widths"], chosen["depths"]
    common = {
        "model": "conv_resnet", "optimizer": "sgd", "base_width": widths[0], "base_depth": depths[0],
        "data": place.images(chosen), **chosen["train"],
    }  # fmt: skip
    return configurations(common, cross(widths, depths), chosen["seeds"], rule=RULES, lr=chosen["lr"])


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: a column a rule, depths above, widths below."""
    return curve_panels(facts.curves, facts.drifts, RULES, figure)
