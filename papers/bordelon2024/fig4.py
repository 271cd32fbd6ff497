"""Figure 4: momentum, feature-learning strength and weight decay, tuned small, stay right wide and deep.

Each is swept at a learning rate that is held. The theory's residual networks (one weight a block), SGD. Legend: N
width, L blocks; m momentum, 1/(1 - m) the steps it averages over; gamma0 the strength of feature learning. Weight decay
is coupled (L2) and judged on the held-out loss of networks that see few examples, a part of them with a wrong class: on
the training loss less of it is always better.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from isoscale import Records

from .campaign import Curve, Drift, Place, Progress, configurations, cross, judged, powers
from .finding import Finding, moves, of, stays
from .ink import LETTER, along, curve_panel, room_below, said

RULES = ("mup", "depth_mup")
TABLE = ("momentum", "gamma0", "weight_decay")
LABELS = {
    "momentum": "log2 steps averaged, 1/(1 - momentum)",
    "gamma0": "log2 feature-learning strength gamma0",
    "weight_decay": "log2 weight decay (L2)",
}
_CPU = {"schedule": "cosine", "evaluations": 1, "beta": 0.5}
_AXES: dict[str, dict[str, Any]] = {
    "momentum": {"lr": 2.0**-6, "values": tuple(1 - 2.0**-k for k in range(8))},
    "gamma0": {"lr": 2.0**-6, "values": powers(-1, 4.5, 0.5), "momentum": 0.9},
    "weight_decay": {
        "lr": 2.0**-4,
        "values": powers(-10, -2),
        "momentum": 0.9,
        "metric": "test_loss",
        "noisy": True,
        "longer": 2,
    },
}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "widths": (4, 8), "depths": (1, 2), "seeds": 2, "noisy": (48, 0.3),
              "axes": {name: axis | {"values": axis["values"][::3]} for name, axis in _AXES.items()},
              "model": "residual_mlp", "train": _CPU | {"steps": 6, "batch_size": 16}},
    "cpu": {"data": "digits", "widths": (32, 64, 128), "depths": (3, 6, 12, 24), "seeds": 5, "noisy": (256, 0.4),
            "axes": _AXES, "model": "residual_mlp", "train": _CPU | {"steps": 100, "batch_size": 64}},
    "gpu": {"wants": "CIFAR-10", "widths": (32, 64, 128, 256), "depths": (3, 6, 12, 30), "seeds": 3, "noisy": None,
            "axes": _AXES, "model": "conv_resnet", "train": _CPU | {"steps": 4000, "batch_size": 128, "pool": 4}},
    "full": {"wants": "CIFAR-10", "widths": (64, 128, 256, 512), "depths": (3, 6, 12, 18, 24, 30), "seeds": 3,
             "noisy": None, "axes": _AXES, "model": "conv_resnet",
             "train": _CPU | {"steps": 7820, "batch_size": 128, "pool": 4}},
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One hyperparameter: on which metric it was judged, its curves (log2, see LABELS) and its drifts, every rule."""

    hyperparameter: str
    metric: str
    lr: float
    curves: tuple[Curve, ...]
    drifts: tuple[Drift, ...]


@dataclass(frozen=True)
class Facts:
    """The table: a row a hyperparameter."""

    steps: int
    seeds: int
    rows: tuple[Row, ...]


def facts(
    preset: str = "cpu",
    progress: Progress | None = None,
    *,
    data: str | Path | None = None,
    cache: str | Path | None = None,
    workers: int = 2,
) -> Facts:
    chosen = PRESETS[preset]
    with TemporaryDirectory() as folder:
        place = Place(data, folder if cache is None else cache, workers, progress)
        rows = tuple(_row(name, chosen, place) for name in TABLE)
    return Facts(chosen["train"]["steps"], chosen["seeds"], rows)


def _row(name: str, chosen: Mapping[str, Any], place: Place) -> Row:
    axis = chosen["axes"][name]
    metric = axis.get("metric", "train_loss")
    records = place.runs(designed(name, chosen, place))
    if name == "momentum":
        records, name = averaging(records), "averaged"
    drawn, drifts = judged(records, hyperparameter=name, metric=metric)
    return Row("momentum" if name == "averaged" else name, metric, axis["lr"], drawn, drifts)


def designed(name: str, chosen: Mapping[str, Any], place: Place) -> list[dict[str, Any]]:
    """The configurations that sweep one hyperparameter at a learning rate that is held."""
    axis, widths, depths = chosen["axes"][name], chosen["widths"], chosen["depths"]
    images = place.images(chosen)
    if axis.get("noisy") and chosen["noisy"] is not None and images == "digits":
        images = noisy_digits(Path(str(place.cache)), *chosen["noisy"])
    common = {
        "model": chosen["model"], "optimizer": "sgd", "base_width": widths[0], "base_depth": depths[0], "data": images,
        "lr": axis["lr"], **chosen["train"], **{key: axis[key] for key in ("momentum",) if key in axis},
    }  # fmt: skip
    common["steps"] *= axis.get("longer", 1)
    return configurations(common, cross(widths, depths), chosen["seeds"], rule=RULES, **{name: axis["values"]})


def averaging(records: Records) -> Records:
    """The runs with momentum m told as `averaged` = 1/(1 - m), which has a log2 for m = 0 too."""
    found = []
    for run in records:
        config = {key: value for key, value in run.config.items() if key != "momentum"}
        found.append(replace(run, config=config | {"averaged": 1 / (1 - run["momentum"])}))
    return Records(tuple(found))


def noisy_digits(folder: Path, examples: int, wrong: float) -> str:
    """A file of `examples` digits to train on, a share `wrong` of them with a class drawn anew, and 360 true ones."""
    path = folder / f"digits-{examples}-{wrong:g}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        x, y = load_digits(return_X_y=True)
        order = np.random.RandomState(0).permutation(len(x))
        test, train = order[:360], order[360 : 360 + examples]
        random = np.random.RandomState(1)
        labels = np.where(random.rand(examples) < wrong, random.randint(0, 10, examples), y[train])
        images = x.astype(np.uint8).reshape(-1, 8, 8)
        np.savez(path, x_train=images[train], y_train=labels, x_test=images[test], y_test=y[test])
    return str(path)


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What the paper claims of each hyperparameter, and what came out."""
    found = []
    for row in facts.rows:
        name = row.hyperparameter
        for axis in ("depth", "width"):
            found.append(stays(f"under depth_mup the best {name} stays over {axis}", of(row.drifts, "depth_mup", axis)))
        found.append(moves(f"without 1/sqrt(L) the best {name} moves with depth", of(row.drifts, "mup", "depth")))
    return tuple(found)


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: a row a hyperparameter; depth without and with 1/sqrt(L), width.

    At the base depth both rules are the same training.
    """
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(11.5, 3.1 * len(facts.rows))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(facts.rows), 3, squeeze=False)
    columns = (("mup", "depth"), ("depth_mup", "depth"), ("depth_mup", "width"))
    for row, line in zip(panels, facts.rows, strict=True):
        for panel, (rule, axis) in zip(row, columns, strict=True):
            curve_panel(panel, along(line.curves, rule, axis), axis)
            (drift,) = (each for each in line.drifts if (each.rule, each.axis) == (rule, axis))
            panel.set_title(f"{rule}, {axis}\n{said(drift)}", fontsize="small")
            panel.set_xlabel(LABELS[line.hyperparameter], fontsize="small")
            panel.legend(title=f"{axis} {LETTER[axis]}", fontsize="x-small", title_fontsize="x-small")
        room_below(row)
        row[0].set_ylabel("held-out loss" if line.metric == "test_loss" else "training loss")
    return figure
