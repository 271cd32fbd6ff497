"""Figure B.3: tuned on a third of the steps, on a network hundreds of times smaller: what is saved, what is paid.

The theory's residual networks, SGD with momentum, `depth_mup`. The paper's pair is N = 128, L = 6 for N = 1024, L = 30;
the cpu preset keeps its ratios (8 in width, 5 in depth) at N = 32. Legend: N width, L blocks, T steps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoscale import Records, Verdict, judge

from .campaign import Curve, Place, Progress, Size, configurations, curves, powers
from .finding import Finding, Outcome
from .ink import MARKERS, room_below, shade

SAME = 0.5  # octaves between optima that are called the same
LITTLE = 5.0  # percent of the loss
_CPU = {"momentum": 0.9, "schedule": "cosine", "evaluations": 1, "beta": 0.5}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "model": "residual_mlp", "widths": (4, 8), "depths": (1, 2), "lr": powers(-6, -3),
              "seeds": 2, "dear": {}, "train": _CPU | {"steps": 6, "batch_size": 16}},
    "cpu": {"data": "digits", "model": "residual_mlp", "widths": (32, 64, 256), "depths": (6, 12, 30),
            "lr": powers(-8, -1), "seeds": 3, "dear": {},
            "train": _CPU | {"steps": 90, "batch_size": 64}},
    "gpu": {"wants": "CIFAR-10", "model": "conv_resnet", "widths": (32, 64, 128, 256), "depths": (6, 12, 30),
            "lr": powers(-9, 0), "seeds": 3, "dear": {}, "train": _CPU | {"steps": 6000, "batch_size": 128, "pool": 4}},
    "full": {"wants": "CIFAR-10", "model": "conv_resnet", "widths": (128, 256, 512, 1024), "depths": (6, 12, 30),
             "lr": powers(-9, 0), "seeds": 3, "dear": {},
             "train": _CPU | {"steps": 7820, "batch_size": 128, "pool": 4}},
}  # fmt: skip


@dataclass(frozen=True)
class Saving:
    """Tuning the proxy for `steps` instead of the target in full: sums over all runs of both, ratios direct over proxy,
    and the regret of the proxy's optimum at the target in percent of its best loss, with its 95% interval."""

    steps: int
    proxy: tuple[int, int]
    target: tuple[int, int]
    proxy_flops: float
    target_flops: float
    flops_ratio: float
    proxy_seconds: float
    target_seconds: float
    seconds_ratio: float
    status: str
    percent: float | None
    percent_low: float | None
    percent_high: float | None


@dataclass(frozen=True)
class Facts:
    """Curves of every size in full (`whole`) and on a third of the steps (`third`); `shift[i]` the optimum in full less
    that on a third, in octaves, with an interval, for the sizes where both were found; savings of both proxies."""

    steps: int
    seeds: int
    whole: tuple[Curve, ...]
    third: tuple[Curve, ...]
    sizes: tuple[tuple[int, int], ...]
    shift: tuple[tuple[float, float, float], ...]
    savings: tuple[Saving, ...]


def facts(
    preset: str = "cpu",
    progress: Progress | None = None,
    *,
    data: str | Path | None = None,
    cache: str | Path | None = None,
    workers: int = 2,
) -> Facts:
    chosen, place = PRESETS[preset], Place(data, cache, workers, progress)
    steps = chosen["train"]["steps"]
    records = place.runs(designed(chosen, place))
    whole, third = records.select(steps=steps), records.select(steps=steps // 3)
    proxy, target = ends(chosen)
    (full,), (short,) = (judge(each, base=proxy) for each in (whole, third))
    carried = Records((*third.select(width=proxy[0], depth=proxy[1]), *(r for r in whole if size_of(r) != proxy)))
    (mixed,) = judge(carried, base=proxy, target=target, may_differ={"steps"})
    one, two = curves(whole, [full]), curves(third, [short])
    both = [(a, b) for a, b in zip(one, two, strict=True) if a.best is not None and b.best is not None]
    return Facts(
        steps, chosen["seeds"], one, two, tuple((a.width, a.depth) for a, _ in both),
        tuple(difference(a, b) for a, b in both), (saving(full, steps), saving(mixed, steps // 3)),
    )  # fmt: skip


def designed(chosen: Mapping[str, Any], place: Place) -> list[dict[str, Any]]:
    """Both arms and the target, in full and on a third of the steps."""
    (width, depth), target = ends(chosen)
    sizes = [*((width, each) for each in chosen["depths"]), *((each, depth) for each in chosen["widths"][1:]), target]
    common = {
        "model": chosen["model"], "rule": "depth_mup", "optimizer": "sgd", "base_width": width, "base_depth": depth,
        "data": place.images(chosen), **chosen["train"],
    }  # fmt: skip
    steps = chosen["train"]["steps"]
    seeds = {size: chosen["dear"].get(size, chosen["seeds"]) for size in sizes}
    found = [config for size in seeds for config in configurations(common, [size], seeds[size], lr=chosen["lr"])]
    return found + [config | {"steps": steps // 3} for config in found]


def ends(chosen: Mapping[str, Any]) -> tuple[Size, Size]:
    """The proxy's size and the target's."""
    return (chosen["widths"][0], chosen["depths"][0]), (chosen["widths"][-1], chosen["depths"][-1])


def size_of(run: Any) -> Size:
    return run["width"], run["depth"]


def difference(one: Curve, two: Curve) -> tuple[float, float, float]:
    """one.best - two.best and its interval: half widths added in squares, as if the two were independent."""
    assert one.best is not None
    assert two.best is not None
    middle = one.best - two.best
    halves = [(curve.high - curve.low) / 2 for curve in (one, two) if curve.low is not None and curve.high is not None]
    half = sum(each**2 for each in halves) ** 0.5
    return middle, middle - half, middle + half


def saving(verdict: Verdict, steps: int) -> Saving:
    """The cost and regret of a verdict, flat."""
    cost, regret = verdict.cost, verdict.regret
    numbers = [
        float("nan") if each is None else each
        for each in (
            cost.proxy_flops, cost.target_flops, cost.flops_ratio,
            cost.proxy_seconds, cost.target_seconds, cost.seconds_ratio,
        )
    ]  # fmt: skip
    return Saving(
        steps, cost.proxy, cost.target, *numbers, regret.status, regret.percent, regret.percent_low, regret.percent_high
    )


def pooled(shifts: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """The mean over sizes and its interval: sizes are different networks with the same seeds."""
    if not shifts:
        return math.nan, -math.inf, math.inf
    middle = sum(each[0] for each in shifts) / len(shifts)
    half = sum((high - low) ** 2 / 4 for _, low, high in shifts) ** 0.5 / len(shifts)
    return middle, middle - half, middle + half


def same(claim: str, shifts: Sequence[tuple[float, float, float]], names: Sequence[str]) -> Finding:
    """Whether optima on fewer and on more steps are the same: their mean difference over networks."""
    middle, low, high = pooled(shifts)
    verdict: Outcome = "cannot tell"
    if low > 0 or high < 0:
        verdict = "does not hold"
    elif low > -SAME and high < SAME:
        verdict = "holds"
    each = (f"{name} {m:+.2f} [{a:+.2f}, {b:+.2f}]" for name, (m, a, b) in zip(names, shifts, strict=True))
    sentence = f"on more steps less on fewer: {middle:+.2f} octaves [{low:+.2f}, {high:+.2f}]; {', '.join(each)}"
    return Finding(claim, verdict, sentence)


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What the paper claims, and what came out."""
    claim = "tuned on a third of the steps the best learning rate is the same"
    found = [same(claim, facts.shift, [f"{width}x{depth}" for width, depth in facts.sizes])]
    for one in facts.savings:
        paid = "not known"
        if one.percent is not None and one.percent_low is not None:
            paid = f"{one.percent:.1f}% [{one.percent_low:.1f}, {one.percent_high:.1f}] more loss"
        known: Outcome = "cannot tell"
        if one.percent_low is not None and one.percent_low > LITTLE:
            known = "does not hold"
        elif one.percent_high is not None and one.percent_high <= LITTLE:
            known = "holds"
        found.append(
            Finding(
                f"tuning the proxy for {one.steps} steps costs at most {LITTLE:g}% of loss at the target", known,
                f"{one.flops_ratio:.0f} times fewer FLOPs, {one.seconds_ratio:.0f} times fewer seconds; price {paid}",
            )
        )  # fmt: skip
    return tuple(found)


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: both lengths on the left, what is saved on the right."""
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(11, 4)
    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    shown = [facts.whole[0], facts.whole[-1]] if len(facts.whole) < 3 else _spread(facts)
    for at, curve in enumerate(shown):
        look = {"color": shade(at, len(shown)), "marker": MARKERS[at], "markersize": 4, "linewidth": 1.2}
        (short,) = (each for each in facts.third if (each.width, each.depth) == (curve.width, curve.depth))
        left.semilogy(curve.x, curve.loss, label=f"N = {curve.width}, L = {curve.depth}, {facts.steps} steps", **look)
        left.semilogy(short.x, short.loss, "--", label=f"the same, {facts.steps // 3} steps", **look)
        for height, one in ((0.03, curve), (0.06, short)):
            if one.best is not None:
                place = {"transform": left.get_xaxis_transform(), "color": look["color"]}
                dash = "-" if one is curve else ":"
                left.plot([one.low, one.high], [height + 0.07 * at] * 2, dash, linewidth=2, **place)
                left.plot([one.best], [height + 0.07 * at], marker=look["marker"], markersize=4, **place)
    left.set(xlabel="log2 learning rate", ylabel="training loss")
    left.set_title("bars below: the best rate, 95% interval (dotted: a third of the steps)", fontsize="medium")
    left.legend(fontsize="x-small")
    room_below([left])
    _bars(right, facts)
    return figure


def _spread(facts: Facts) -> list[Curve]:
    """The proxy and the target."""
    by_cost = sorted(facts.whole, key=lambda curve: curve.width**2 * curve.depth)
    return [by_cost[0], by_cost[-1]]


def _bars(panel: Any, facts: Facts) -> None:
    for at, one in enumerate(facts.savings):
        for offset, (name, value, colour) in enumerate(
            (("FLOPs", one.flops_ratio, "0.35"), ("seconds", one.seconds_ratio, "0.7"))
        ):
            label = name if at == 0 else None
            panel.bar(at + 0.35 * offset, value, 0.33, color=colour, edgecolor="black", label=label)
            panel.annotate(f"{value:.0f}x", (at + 0.35 * offset, value), ha="center", va="bottom", fontsize="small")
    names = []
    for one in facts.savings:
        paid = "regret not known" if one.percent is None else f"{one.percent:.1f}% more loss"
        names.append(f"proxy, {one.steps} steps\n{paid}" + _interval(one))
    panel.set_yscale("log")
    panel.set_xticks([at + 0.175 for at in range(len(names))], names, fontsize="small")
    panel.set(ylabel="direct tuning / tuning the proxy", title="what tuning small saves, and its price")
    panel.margins(y=0.15)
    panel.legend(fontsize="small")


def _interval(one: Saving) -> str:
    if one.percent_low is None or one.percent_high is None:
        return ""
    return f"\n[{one.percent_low:.1f}%, {one.percent_high:.1f}%]"
