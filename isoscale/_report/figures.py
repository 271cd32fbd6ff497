"""Facts of one rule along one axis, as charts: loss against the hyperparameter, and the optimum against the size."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from isoscale._report.chart import Axis, Chart, Event, Mark, Series, StripRow, Table, Tag
from isoscale._report.findings import AxisFacts, Curve, Estimate, Point, ReportFacts, RuleFacts
from isoscale._report.theme import outcome_tone, size_tone
from isoscale._report.typeset import decade_ticks, even_ticks, number, octave_ticks, power_of_two, signed


@dataclass(frozen=True)
class Frames:
    """The axes that all panels of one optimizer share, so that rules compare by eye; `strip`: some run diverged."""

    hyperparameter: Axis
    loss: Axis
    optimum: Axis
    strip: bool = True


def frames(facts: ReportFacts, optimizer: str) -> Frames:
    """Axes that hold every curve of one optimizer. Loss is cut above the bowls: what is higher is drawn at the top."""
    curves = [curve for rule in facts.under(optimizer) for axis in rule.axes for curve in axis.curves]
    at = [point.at for curve in curves for point in curve.points] or [1.0]
    found = [curve.optimum for curve in curves if curve.optimum is not None]
    ends = [end for one in found for end in (one.value, one.low, one.high) if end is not None] or at
    ends = [min(max(end, min(at)), max(at)) for end in ends]
    return Frames(
        hyperparameter=hyperparameter_axis(facts, facts.hyperparameter, min(at), max(at), 6),
        loss=loss_axis(facts.metric, curves),
        optimum=hyperparameter_axis(facts, f"best {facts.hyperparameter}", min(ends), max(ends), 5),
        strip=any(curve.edge is not None or any(point.diverged for point in curve.points) for curve in curves),
    )


def hyperparameter_axis(facts: ReportFacts, label: str, low: float, high: float, ticks: int) -> Axis:
    """An axis of hyperparameter values from `low` to `high`, with room at its ends and three octaves at least."""
    if facts.log:
        spare = max(0.4, (3 - math.log2(high / low)) / 2)
        low, high = low / 2**spare, high * 2**spare
        return Axis(label, (low, high), octave_ticks(low, high, ticks), log=True)
    spare = 0.06 * (high - low) or 0.5
    return Axis(label, (low - spare, high + spare), even_ticks(low - spare, high + spare, ticks))


def loss_axis(metric: str, curves: list[Curve]) -> Axis:
    """An axis of losses that holds the bottoms of all curves; what is higher is cut."""
    label = metric.replace("_", " ")
    bowls = [[point.loss for point in curve.points if point.loss is not None] for curve in curves]
    floors = [min(bowl) for bowl in bowls if bowl]
    if not floors:
        return Axis(label, (0.0, 1.0), even_ticks(0.0, 1.0))
    every = sorted(loss for bowl in bowls for loss in bowl)
    low, worst = min(floors), max(floors)
    common = every[math.ceil(0.92 * (len(every) - 1))]
    if low > 0 and common / low > 4:
        high = max(common, worst * 1.5) * 1.05
        low /= (high / low) ** 0.06
        return Axis(label, (low, high), decade_ticks(low, high), log=True)
    high = max(common, worst + 0.5 * (worst - low), low + 1e-3 * max(1e-3, abs(low)))
    pad = 0.06 * (high - low)
    return Axis(label, (low - pad, high + pad), even_ticks(low - pad, high + pad))


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
        minimum = _minimum(curve, facts, shared)
        series.append(Series(f"{axis.axis} {axis.size(curve)}", tone, minimum, size="large", hollow=True))
    return Chart(
        name=f"loss/{rule.optimizer}/{rule.rule}/{axis.axis}",
        alt=_loss_words(facts, rule, axis),
        x=shared.hyperparameter,
        y=shared.loss,
        series=tuple(one for one in series if one.marks),
        table=_loss_table(facts, axis),
        plain_note="every seed finished",
        tags=tuple(_tags(axis, tones, ceiling)),
        series_label="size",
        strip=tuple(_strip_row(axis, curve, tone) for curve, tone in zip(curves, tones)) if shared.strip else (),
    )


def _tags(axis: AxisFacts, tones: list[str], ceiling: float) -> Iterable[Tag]:
    """The smallest and the largest size, named at the left ends of their curves, on the sides away from each other."""
    ends: dict[int, Tag] = {}
    for curve, tone in zip(axis.curves, tones):
        size = axis.size(curve)
        first = next(((point.at, point.loss) for point in curve.points if point.loss is not None), None)
        if first is not None:
            ends[size] = Tag(first[0], min(first[1], ceiling), str(size), f"{axis.axis} {size}", tone)
    if ends:
        small, large = ends[min(ends)], ends[max(ends)]
        yield replace(small, below=small.y < large.y)
        if large is not small:
            yield replace(large, below=large.y <= small.y)


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


def _minimum(curve: Curve, facts: ReportFacts, shared: Frames) -> tuple[Mark, ...]:
    optimum, loss = curve.optimum, curve.optimum_loss
    if optimum is None or optimum.value is None or loss is None:
        return ()
    reach = optimum.within(shared.hyperparameter.domain)
    return (Mark(optimum.value, min(loss, shared.loss.domain[1]), x_range=reach, note=optimum_words(facts, curve)),)


def say(facts: ReportFacts, value: float) -> str:
    """A value of the hyperparameter as a reader types it."""
    return f"{value:.3g}" if 1e-4 <= abs(value) < 1e5 or not value else number(value)


def optimum_words(facts: ReportFacts, curve: Curve) -> str:
    """ "0.0062 (0.0055 to 0.0071)": the optimum with its interval, or what is known of it."""
    optimum = curve.optimum
    if optimum is None or (optimum.value is None and optimum.interval is None):
        return "no optimum"
    ends = optimum.interval
    interval = f" ({say(facts, ends[0])} to {say(facts, ends[1])})" if ends else ""
    if not ends and optimum.high is not None:
        interval = f" (at most {say(facts, optimum.high)})"
    elif not ends and optimum.low is not None:
        interval = f" (at least {say(facts, optimum.low)})"
    return (say(facts, optimum.value) if optimum.value is not None else "") + interval


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
    found = "; ".join(f"{axis.axis} {axis.size(curve)}: {optimum_words(facts, curve)}" for curve in axis.curves)
    return (
        f"{facts.metric.replace('_', ' ')} against {facts.hyperparameter} under {rule.rule} with {rule.optimizer}, "
        f"one curve for each {axis.axis}{' at ' + axis.held if axis.held else ''}. "
        f"Best {facts.hyperparameter} with its 95% interval: {found}."
    )


def _loss_table(facts: ReportFacts, axis: AxisFacts) -> Table:
    at = sorted({point.at for curve in axis.curves for point in curve.points})
    cells = [{point.at: _cell(point) for point in curve.points} for curve in axis.curves]
    rows = [(_row_name(facts, value), *(column.get(value, "–") for column in cells)) for value in at]
    best = [curve.optimum or Estimate(None) for curve in axis.curves]
    for name, values in (
        (f"best {facts.hyperparameter}", [one.value for one in best]),
        ("95% from", [one.low for one in best]),
        ("95% to", [one.high for one in best]),
    ):
        rows.append((name, *("–" if value is None else say(facts, value) for value in values)))
    edges = ("–" if curve.edge is None else say(facts, curve.edge) for curve in axis.curves)
    rows.append(("stability edge", *edges))
    columns = (facts.hyperparameter, *(f"{axis.axis} {axis.size(curve)}" for curve in axis.curves))
    return Table(f"Mean {facts.metric.replace('_', ' ')} over the seeds that finished", columns, tuple(rows))


def _row_name(facts: ReportFacts, value: float) -> str:
    exact = facts.log and math.log2(value).is_integer()
    return f"{say(facts, value)} ({power_of_two(value)})" if exact else say(facts, value)


def _cell(point: Point) -> str:
    if point.loss is None:
        return "diverged" if point.diverged else "–"
    return number(point.loss) + (f" ({point.diverged}/{point.runs} diverged)" if point.diverged else "")


def drift_chart(facts: ReportFacts, rule: RuleFacts, axis: AxisFacts, shared: Frames) -> Chart | None:
    """The optimum against the size with its intervals, the fitted line, and the level that would transfer exactly."""
    known = [(axis.size(curve), curve, curve.optimum) for curve in axis.curves if curve.optimum is not None]
    marks = {
        found: tuple(
            _optimum_mark(facts, size, curve, one, shared) for size, curve, one in known if curve.found is found
        )
        for found in (True, False)
    }
    if len(known) < 2:
        return None
    sizes = sorted({size for size, _, _ in known})
    low, high = sizes[0] / 2**0.4, sizes[-1] * 2**0.4
    tone = outcome_tone(axis.outcome)
    level = next((one.value for _, curve, one in known if curve.found), None)
    flat = () if level is None else (Mark(low, level), Mark(high, level))
    series = (
        Series("no drift", "muted", flat, line=True, dashed=True, size="none"),
        Series("fit", tone, tuple(Mark(at, value) for at, value in axis.line), line=True, size="none"),
        Series("optimum", tone, marks[True], size="large"),
        Series("bound only", tone, marks[False], size="large", hollow=True),
    )
    words = "; ".join(f"{axis.axis} {size}: {optimum_words(facts, curve)}" for size, curve, _ in known)
    return Chart(
        name=f"drift/{rule.optimizer}/{rule.rule}/{axis.axis}",
        alt=f"Best {facts.hyperparameter} against {axis.axis}, {rule.rule} with {rule.optimizer}: "
        f"{slope(axis)}. {words}.",
        x=Axis(axis.axis, (low, high), tuple((float(size), str(size)) for size in sizes), log=True),
        y=shared.optimum,
        series=tuple(one for one in series if one.marks),
        table=_drift_table(facts, axis),
        series_label="what",
        height=140,
    )


def _drift_table(facts: ReportFacts, axis: AxisFacts) -> Table:
    """The optima, with a remark on those that were not found."""
    remarks = ["" if curve.found else curve.sentence for curve in axis.curves]
    rows = [(str(axis.size(curve)), optimum_words(facts, curve)) for curve in axis.curves]
    title, columns = f"Best {facts.hyperparameter} against {axis.axis}", (axis.axis, "95% interval in brackets")
    if any(remarks):
        return Table(title, (*columns, "remark"), tuple((*row, remark) for row, remark in zip(rows, remarks)))
    return Table(title, columns, tuple(rows))


def _optimum_mark(facts: ReportFacts, size: int, curve: Curve, optimum: Estimate, shared: Frames) -> Mark:
    domain = shared.optimum.domain
    value = optimum.value if optimum.value is not None else optimum.high if optimum.high is not None else optimum.low
    return Mark(size, value or domain[0], y_range=optimum.within(domain), note=optimum_words(facts, curve))


def slope(axis: AxisFacts) -> str:
    """ "−0.52 [−0.61, −0.43] octaves per doubling of depth", or what bounds it."""
    if axis.drift is None:
        return "no slope could be fitted"
    return f"{slope_text(axis.drift)} {axis.unit} per doubling of {axis.axis}"


def slope_text(drift: Estimate | None) -> str:
    """ "−0.52 [−0.61, −0.43]", "below −0.30", or a dash."""
    if drift is None:
        return "–"
    if drift.value is not None:
        ends = drift.interval
        return signed(drift.value) + (f" [{signed(ends[0])}, {signed(ends[1])}]" if ends else "")
    bounds = [f"above {signed(drift.low)}"] if drift.low is not None else []
    bounds += [f"below {signed(drift.high)}"] if drift.high is not None else []
    return " and ".join(bounds) or "–"
