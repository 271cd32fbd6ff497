"""A reviewer's question (J7oQ): does depth help when networks are trained longer, each at its best learning rate?

The runs of `longer`. Legend: L blocks. At the base width `sp` and `mup` are the same training.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from isoscale import Records

from . import longer
from .campaign import Place, Progress
from .finding import Finding, sign
from .ink import MARKERS, NAMES, plain_losses, shade, size_ticks

RULES = longer.RULES
PRESETS = longer.PRESETS
METRICS = {"train_loss": "training loss", "test_loss": "held-out loss"}


@dataclass(frozen=True)
class Tuned:
    """A rule after one length of training: the geometric mean loss over seeds at the learning rate that is best for
    each depth, and `gain` how many percent the loss changes per doubling of depth, with a 95% interval over seeds."""

    rule: str
    metric: str
    epochs: int
    depths: tuple[int, ...]
    lr: tuple[float, ...]
    loss: tuple[float, ...]
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Facts:
    seeds: int
    rows: tuple[Tuned, ...]


def facts(
    preset: str = "cpu",
    progress: Progress | None = None,
    *,
    data: str | Path | None = None,
    cache: str | Path | None = None,
    workers: int = 2,
) -> Facts:
    chosen, place = PRESETS[preset], Place(data, cache, workers, progress)
    records = place.runs(longer.designed(chosen, place))
    rows = [
        tuned(longer.trained_for(records, epochs, chosen).select(rule=rule), metric, epochs)
        for metric in METRICS
        for rule in RULES
        for epochs in chosen["epochs"]
    ]
    return Facts(chosen["seeds"], tuple(rows))


def tuned(records: Records, metric: str, epochs: int) -> Tuned:
    """What tuning each depth gives, from the runs of one rule and length."""
    depths = records.values("depth")
    best = [best_rate(records.select(depth=depth), metric) for depth in depths]
    seeds = sorted(set.intersection(*(set(losses) for _, losses in best)))
    logs = np.array([[math.log(losses[seed]) for seed in seeds] for _, losses in best])
    gain, low, high = (100 * math.expm1(each) for each in slope(depths, logs))
    return Tuned(
        records[0]["rule"], metric, epochs, depths, tuple(lr for lr, _ in best),
        tuple(float(each) for each in np.exp(logs.mean(1))), gain, low, high,
    )  # fmt: skip


def best_rate(records: Records, metric: str) -> tuple[float, Mapping[int, float]]:
    """The learning rate with the least mean log loss, and every seed's loss there."""
    by_rate = {
        lr: {run["seed"]: run.loss(metric) for run in records.select(lr=lr)}
        for lr in records.values("lr")
        if all(math.isfinite(run.loss(metric)) for run in records.select(lr=lr))
    }
    return min(by_rate.items(), key=lambda row: sum(map(math.log, row[1].values())))


def slope(depths: Sequence[int], logs: Any) -> tuple[float, float, float]:
    """Change of the log loss (depths, seeds) per doubling: a line a seed, their mean slope, its 95% interval."""
    x = np.log2(np.array(depths, dtype=float))
    slopes = (x - x.mean()) @ (logs - logs.mean(0)) / ((x - x.mean()) ** 2).sum()
    half = stats.t.ppf(0.975, len(slopes) - 1) * slopes.std(ddof=1) / len(slopes) ** 0.5
    return float(slopes.mean()), float(slopes.mean() - half), float(slopes.mean() + half)


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What was asked, and what came out."""
    return tuple(
        sign(
            f"{row.rule}, {row.epochs} epochs: depth helps the tuned {METRICS[row.metric]}", row.low, row.high,
            f"{row.gain:+.1f}% [{row.low:+.1f}, {row.high:+.1f}] per doubling of depth", positive=False,
        )
        for row in facts.rows
    )  # fmt: skip


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: tuned loss over depth, a shade a length; a column a rule."""
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(9, 6.4)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(METRICS), len(RULES), sharey="row", sharex=True, squeeze=False)
    lengths = sorted({row.epochs for row in facts.rows})
    for line, metric in zip(panels, METRICS, strict=True):
        for panel, rule in zip(line, RULES, strict=True):
            for at, epochs in enumerate(lengths):
                (row,) = (r for r in facts.rows if (r.rule, r.metric, r.epochs) == (rule, metric, epochs))
                said = f"{epochs}: {row.gain:+.0f}% [{row.low:+.0f}, {row.high:+.0f}]"
                look = {"color": shade(at, len(lengths)), "marker": MARKERS[at], "markersize": 4, "linewidth": 1.2}
                panel.loglog(row.depths, row.loss, label=said, **look)
            panel.set_title(NAMES[rule], fontsize="small")
            panel.margins(y=0.45)
            panel.legend(
                title="epochs: per doubling of L", fontsize="x-small", title_fontsize="x-small", loc="upper left"
            )
            size_ticks(panel, row.depths)
            plain_losses(panel)
        line[0].set_ylabel(f"{METRICS[metric]}, best rate")
    for panel in panels[-1]:
        panel.set_xlabel("depth L")
    return figure
