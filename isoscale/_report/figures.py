"""Facts of one rule along one axis, as charts: loss against the hyperparameter, and the optimum against the size."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from isoscale._report.chart import (
    Axis,
    Chart,
    Event,
    Mark,
    Series,
    StripRow,
    Table,
    decade_ticks,
    even_ticks,
    number,
    octave_ticks,
    power_of_two,
    signed,
)  # fmt: skip
from isoscale._report.facts import AxisFacts, Curve, Point, ReportFacts, RuleFacts
from isoscale._report.theme import outcome_tone, size_tone


@dataclass(frozen=True)
class Frames:
    """The axes that all panels of one optimizer share, so that rules can be compared by eye."""

    hyperparameter: Axis
    loss: Axis
    optimum: Axis


def frames(facts: ReportFacts, optimizer: str) -> Frames:
    """Axes that hold every curve of one optimizer. Loss is cut above the bowls: what lies higher is drawn at the top."""
    curves = [curve for rule in facts.under(optimizer) for axis in rule.axes for curve in axis.curves]
    at = [point.at for curve in curves for point in curve.points]
    low, high = (min(at), max(at)) if at else (0.5, 2.0)
    margin = 2.0**0.35
    x = Axis(facts.hyperparameter, (low / margin, high * margin), octave_ticks(low, high), log=True)
    return Frames(x, _loss_axis(facts.metric, curves), _optimum_axis(facts.hyperparameter, curves, (low, high)))


def _loss_axis(metric: str, curves: list[Curve]) -> Axis:
    label = metric.replace("_", " ")
    bowls = [[point.loss for point in curve.points if point.loss is not None] for curve in curves]
    floors = [min(bowl) for bowl in bowls if bowl]
    if not floors:
        return Axis(label, (0.0, 1.0), even_ticks(0.0, 1.0))
    every = sorted(loss for bowl in bowls for loss in bowl)
    low, worst = min(floors), max(floors)
    common = every[math.ceil(0.92 * (len(every) - 1))]
    if low > 0 and common / low > 4:
        high = max(common, worst * (worst / low) ** 0.25, low * 1.5) * 1.1
        low /= (high / low) ** 0.06
        return Axis(label, (low, high), decade_ticks(low, high), log=True)
    high = max(common, worst + 0.5 * (worst - low), low + 1e-9 * max(1.0, abs(low)))
    pad = 0.06 * (high - low)
    return Axis(label, (low - pad, high + pad), even_ticks(low - pad, high + pad))


def _optimum_axis(hyperparameter: str, curves: list[Curve], tried: tuple[float, float]) -> Axis:
    found = [curve.optimum for curve in curves if curve.optimum is not None]
    ends = [end for estimate in found for end in (estimate.value, *(estimate.interval or ()))]
    ends = [min(max(end, tried[0] / 2), tried[1] * 2) for end in ends] or list(tried)
    low, high = min(ends) / 1.4, max(ends) * 1.4
    while high / low < 8:
        low, high = low / 1.2, high * 1.2
    return Axis(f"best {hyperparameter}", (low, high), octave_ticks(low, high, 5), log=True)


def loss_chart(facts: ReportFacts, rule: RuleFacts, axis: AxisFacts, shared: Frames) -> Chart:
    """Loss against the hyperparameter, one curve a size; minima as rings with their intervals; diverged runs above."""
    curves = axis.curves
    tones = [size_tone(rank, len(curves)) for rank in range(len(curves))]
    ceiling = shared.loss.domain[1]
    series: list[Series] = []
    for curve, tone in zip(curves, tones):
        name = f"{axis.axis} {axis.size(curve)}"
        series.append(Series(name, tone, tuple(_marks(curve.points, ceiling)), line=True))
        cut = tuple(_marks((p for p in curve.points if p.loss is not None and p.loss > ceiling), ceiling))
        series.append(Series(name, tone, cut, shape="triangle"))
    for curve, tone in zip(curves, tones):
        series.append(Series(f"{axis.axis} {axis.size(curve)}", tone, _minimum(curve), size="large", hollow=True))
    return Chart(
        name=f"loss/{rule.optimizer}/{rule.rule}/{axis.axis}",
        alt=_loss_words(facts, rule, axis),
        x=shared.hyperparameter,
        y=shared.loss,
        series=tuple(one for one in series if one.marks),
        table=_loss_table(facts, axis),
        series_label="size",
        strip=tuple(_strip_row(axis, curve, tone) for curve, tone in zip(curves, tones)),
    )


def _marks(points: Iterable[Point], ceiling: float) -> Iterable[Mark]:
    """Mean losses, cut at the ceiling."""
    for point in points:
        if point.loss is not None:
            notes = [_seeds(point)] if point.diverged else []
            if point.loss > ceiling:
                notes.append(f"{number(point.loss)}, above the frame")
            yield Mark(point.at, min(point.loss, ceiling), note="; ".join(notes))


def _seeds(point: Point) -> str:
    return f"{point.diverged} of {point.runs} diverged"


def _minimum(curve: Curve) -> tuple[Mark, ...]:
    if curve.optimum is None or curve.optimum_loss is None:
        return ()
    return (Mark(curve.optimum.value, curve.optimum_loss, x_range=curve.optimum.interval, note=_optimum_words(curve)),)


def _optimum_words(curve: Curve) -> str:
    if curve.optimum is None:
        return "no optimum"
    if curve.optimum.interval is None:
        return f"optimum {power_of_two(curve.optimum.value)}, no interval"
    low, high = curve.optimum.interval
    return f"optimum {power_of_two(curve.optimum.value)}, 95% interval {power_of_two(low)} to {power_of_two(high)}"


def _strip_row(axis: AxisFacts, curve: Curve, tone: str) -> StripRow:
    events: list[tuple[float, Event, str]] = []
    for point in curve.points:
        if point.diverged:
            kind: Event = "diverged" if point.diverged == point.runs else "some diverged"
            events.append((point.at, kind, _seeds(point)))
    if curve.edge is not None:
        events.append((curve.edge, "edge", "stability edge"))
    return StripRow(f"{axis.axis} {axis.size(curve)}", tone, tuple(events))


def _loss_words(facts: ReportFacts, rule: RuleFacts, axis: AxisFacts) -> str:
    found = "; ".join(f"{axis.axis} {axis.size(curve)}: {_optimum_words(curve)}" for curve in axis.curves)
    return (
        f"{facts.metric.replace('_', ' ')} against {facts.hyperparameter} under {rule.rule} with {rule.optimizer}, "
        f"one curve for each {axis.axis}{' at ' + axis.held if axis.held else ''}. {found}."
    )


def _loss_table(facts: ReportFacts, axis: AxisFacts) -> Table:
    at = sorted({point.at for curve in axis.curves for point in curve.points})
    cells = [{point.at: _cell(point) for point in curve.points} for curve in axis.curves]
    rows = [(power_of_two(value), *(column.get(value, "–") for column in cells)) for value in at]
    rows.append((f"best {facts.hyperparameter}", *(_octave_range(curve) for curve in axis.curves)))
    rows.append(("stability edge", *(power_of_two(c.edge) if c.edge else "–" for c in axis.curves)))
    columns = (facts.hyperparameter, *(f"{axis.axis} {axis.size(curve)}" for curve in axis.curves))
    return Table(f"Mean {facts.metric.replace('_', ' ')} over seeds", columns, tuple(rows))


def _cell(point: Point) -> str:
    if point.loss is None:
        return "diverged" if point.diverged else "–"
    return number(point.loss) + (f" ({point.diverged}/{point.runs} diverged)" if point.diverged else "")


def _octave_range(curve: Curve) -> str:
    if curve.optimum is None:
        return "–"
    if curve.optimum.interval is None:
        return power_of_two(curve.optimum.value)
    low, high = (math.log2(end) for end in curve.optimum.interval)
    return f"2^{math.log2(curve.optimum.value):.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")


def drift_chart(facts: ReportFacts, rule: RuleFacts, axis: AxisFacts, shared: Frames) -> Chart | None:
    """The optimum against the size with its intervals, the fitted line, and the level that would transfer exactly."""
    found = [(axis.size(curve), curve) for curve in axis.curves if curve.optimum is not None]
    if len(found) < 2:
        return None
    sizes = sorted({size for size, _ in found})
    low, high = sizes[0] / 2**0.4, sizes[-1] * 2**0.4
    x = Axis(axis.axis, (low, high), tuple((float(size), str(size)) for size in sizes), log=True)
    level = found[0][1].optimum
    assert level is not None
    tone = outcome_tone(axis.outcome)
    flat = Series(
        "no drift", "muted", (Mark(low, level.value), Mark(high, level.value)), line=True, dashed=True, size="none"
    )
    fitted = Series("fit", tone, tuple(Mark(at, value) for at, value in axis.line), line=True, size="none")
    marks = tuple(
        Mark(size, curve.optimum.value, y_range=curve.optimum.interval, note=_optimum_words(curve))
        for size, curve in found
        if curve.optimum is not None
    )
    words = "; ".join(f"{axis.axis} {size}: {_optimum_words(curve)}" for size, curve in found)
    return Chart(
        name=f"drift/{rule.optimizer}/{rule.rule}/{axis.axis}",
        alt=f"Best {facts.hyperparameter} against {axis.axis} under {rule.rule} with {rule.optimizer}. {words}. {slope(axis)}",
        x=x,
        y=shared.optimum,
        series=tuple(one for one in (flat, fitted, Series("optimum", tone, marks, size="large")) if one.marks),
        table=Table(
            "Optimum against size",
            (axis.axis, f"log2 of best {facts.hyperparameter} [95% interval]", "remark"),
            tuple((str(axis.size(curve)), _octave_range(curve), curve.sentence) for curve in axis.curves),
        ),
        series_label="what",
        height=140,
    )


def slope(axis: AxisFacts) -> str:
    """ "−0.52 [−0.61, −0.43] octaves per doubling of depth"."""
    if axis.drift is None:
        return "No slope could be fitted."
    ends = axis.drift.interval
    interval = f" [{signed(ends[0])}, {signed(ends[1])}]" if ends else ""
    return f"{signed(axis.drift.value)}{interval} octaves per doubling of {axis.axis}"
