"""Runs against their limit of infinite width: loss against the hyperparameter, loss over training, distances."""

import math
from collections.abc import Iterable, Iterator

from isoscale._report.chart import Axis, Chart, Mark, Series, Table, Tag
from isoscale._report.figures import hyperparameter_axis, loss_axis, say
from isoscale._report.findings import Course, Curve, Estimate, LimitAt, Point, ReportFacts, RuleOverlay
from isoscale._report.theme import size_tone
from isoscale._report.typeset import even_ticks, number

LIMIT = "limit"


def limit_chart(facts: ReportFacts, rule: RuleOverlay, limit: LimitAt) -> Chart:
    """Final loss against the hyperparameter: a curve a width, and dashed the limit at that depth."""
    every = [each for one in rule.limits for each in (*one.curves, _as_curve(one))]
    at = [point.at for curve in every for point in curve.points] or [1.0]
    y = loss_axis(facts.metric, every)
    tones = width_tones(rule)
    widths = [(curve, tones[curve.width]) for curve in sorted(limit.curves, key=lambda curve: curve.width)]
    series = [Series(f"width {curve.width}", tone, _marks(curve.points, y), line=True) for curve, tone in widths]
    series.append(Series(LIMIT, "ink", _marks(limit.points, y), line=True, dashed=True, hollow=True))
    named = [(f"{curve.width}", f"width {curve.width}", tone, curve.points) for curve, tone in widths]
    return Chart(
        name=f"limit/{rule.optimizer}/{rule.rule}/{limit.depth}",
        alt=f"{facts.metric.replace('_', ' ')} against {facts.hyperparameter} at depth {limit.depth} under {rule.rule} "
        f"with {rule.optimizer}: runs of width {_listed(limit.curves)}, and the limit of infinite width. "
        f"{limit.sentence}",
        x=hyperparameter_axis(facts, facts.hyperparameter, min(at), max(at), 6),
        y=y,
        series=tuple(one for one in series if one.marks),
        table=_loss_table(facts, limit),
        tags=tuple(_tags(named, (LIMIT, LIMIT, "ink", limit.points), y)),
        series_label="width",
    )


def course_chart(facts: ReportFacts, rule: RuleOverlay, limit: LimitAt) -> Chart:
    """Loss over training at one hyperparameter value: a curve a width, and dashed the limit."""
    last = max(step for course in limit.courses for step in course.steps)
    losses = [loss for course in limit.courses for loss in course.loss if math.isfinite(loss)] or [0.0, 1.0]
    pad = 0.06 * (max(losses) - min(losses)) or 0.1
    domain = (max(0.0, min(losses) - pad), max(losses) + pad)
    tones = width_tones(rule)
    series = []
    for course in limit.courses:
        marks = tuple(Mark(step, loss) for step, loss in zip(course.steps, course.loss) if math.isfinite(loss))
        bare = course.width is None
        name, tone = (LIMIT, "ink") if bare else (f"width {course.width}", tones.get(course.width or 0, "muted"))
        series.append(Series(name, tone, marks, line=True, dashed=bare, hollow=bare))
    at = f"{facts.hyperparameter} {say(facts, limit.shown)}"
    return Chart(
        name=f"course/{rule.optimizer}/{rule.rule}/{limit.depth}",
        alt=f"Loss over training at {at}, depth {limit.depth}, {rule.rule} with {rule.optimizer}: runs, and the limit.",
        x=Axis(f"steps, at {at}", (0.0, float(last)), even_ticks(0.0, float(last))),
        y=Axis("train loss", domain, even_ticks(*domain)),
        series=tuple(one for one in series if one.marks),
        table=_course_table(limit, at),
        series_label="width",
        height=170,
    )


def limit_table(facts: ReportFacts, rule: RuleOverlay) -> Table:
    """The best hyperparameter of the limit at every depth, and of the widest runs there."""
    rows = []
    for limit in rule.limits:
        widest = max(limit.curves, key=lambda curve: curve.width, default=None)
        seen = f"width {widest.width}: {_estimate(facts, widest.optimum)}" if widest is not None else "–"
        rows.append((str(limit.depth), _estimate(facts, limit.best), seen))
    if rule.best is not None:
        rows.append(("infinite", _estimate(facts, rule.best), ""))
    columns = ("depth", "in the limit of infinite width [95%]", "in the widest runs [95%]")
    return Table(f"Best {facts.hyperparameter}, {rule.rule} with {rule.optimizer}", columns, tuple(rows))


def distance_table(facts: ReportFacts, rule: RuleOverlay) -> Table:
    """Distance of every size to the limit that the runs themselves point to."""
    rows = tuple(
        (f"width {one.width}, depth {one.depth}", number(one.loss), _interval(one.distance)) for one in rule.distances
    )
    title = f"Distance of {facts.metric.replace('_', ' ')} to its limit, fitted from the runs"
    return Table(title, ("size", "loss at the best value", "distance [95%]"), rows)


def _as_curve(limit: LimitAt) -> Curve:
    return Curve(0, limit.depth, limit.points)


def width_tones(rule: RuleOverlay) -> dict[int, str]:
    """The tone of each width, the same in all panels of the rule."""
    widths = sorted({curve.width for limit in rule.limits for curve in limit.curves})
    return {width: size_tone(rank, len(widths)) for rank, width in enumerate(widths)}


def _marks(points: Iterable[Point], y: Axis) -> tuple[Mark, ...]:
    """Points inside the frame; an error as a whisker where least and largest say one."""
    marks = []
    for point in points:
        if point.loss is None or not y.domain[0] <= point.loss <= y.domain[1]:
            continue
        reach = None
        if point.runs == 0 and point.least is not None and point.largest is not None:
            reach = max(point.least, y.domain[0]), min(point.largest, y.domain[1])
        marks.append(Mark(point.at, point.loss, y_range=reach))
    return tuple(marks)


def _tags(
    named: list[tuple[str, str, str, tuple[Point, ...]]], limit: tuple[str, str, str, tuple[Point, ...]], y: Axis
) -> Iterator[Tag]:
    """The narrowest, the widest and the limit named at their left ends."""
    ends = [*([named[0]] if named else []), limit]
    for i, (text, name, tone, points) in enumerate(ends):
        inside = [p for p in points if p.loss is not None and y.domain[0] <= p.loss <= y.domain[1]]
        if inside:
            first = inside[0] if i else inside[-1]
            yield Tag(first.at, first.loss or 0.0, text, name, tone, below=bool(i))


def _listed(curves: Iterable[Curve]) -> str:
    return ", ".join(str(width) for width in sorted(curve.width for curve in curves))


def _loss_table(facts: ReportFacts, limit: LimitAt) -> Table:
    ordered = sorted(limit.curves, key=lambda curve: curve.width)
    columns = [(f"width {curve.width}", curve.points) for curve in ordered]
    at = sorted({point.at for _, points in (*columns, ("", limit.points)) for point in points})
    rows = []
    for value in at:
        cells = [next((_cell(point) for point in points if point.at == value), "–") for _, points in columns]
        own = next((point for point in limit.points if point.at == value), None)
        rows.append((say(facts, value), *cells, _limit_cell(own)))
    names = (facts.hyperparameter, *(name for name, _ in columns), "limit (± standard error)")
    return Table(f"Mean {facts.metric.replace('_', ' ')} at depth {limit.depth}", names, tuple(rows))


def _cell(point: Point) -> str:
    return number(point.loss) if point.loss is not None else "diverged"


def _limit_cell(point: Point | None) -> str:
    if point is None:
        return "–"
    if point.loss is None:
        return "diverges"
    error = (point.largest - point.least) / 2 if point.largest is not None and point.least is not None else None
    return number(point.loss) + (f" ± {number(error, 1)}" if error is not None else "")


def _course_table(limit: LimitAt, at: str) -> Table:
    steps = sorted({step for course in limit.courses for step in course.steps})
    names = [LIMIT if course.width is None else f"width {course.width}" for course in limit.courses]
    rows = tuple((str(step), *(_at(course, step) for course in limit.courses)) for step in steps)
    return Table(f"Train loss over training at {at}", ("steps", *names), rows)


def _at(course: Course, step: int) -> str:
    found = next((loss for s, loss in zip(course.steps, course.loss) if s == step), None)
    return "–" if found is None or not math.isfinite(found) else number(found)


def _estimate(facts: ReportFacts, one: Estimate | None) -> str:
    if one is None or one.value is None:
        return "not enclosed by the rates"
    ends = one.interval
    return say(facts, one.value) + (f" [{say(facts, ends[0])}, {say(facts, ends[1])}]" if ends else "")


def _interval(one: Estimate) -> str:
    ends = one.interval
    return number(one.value) + (f" [{number(ends[0])}, {number(ends[1])}]" if ends else "")
