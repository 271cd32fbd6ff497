"""A chart as a small inline SVG: what a reader without scripts, a printer and a screen reader's neighbour see.

Colours are CSS classes of the page, so the drawing follows the reader's theme; there is no style attribute, because the
page's Content-Security-Policy allows none.
"""

from collections.abc import Iterable
from html import escape

from isoscale._report.chart import STRIP_ROW, Axis, Chart, Mark, Series

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 20, 38
_RADIUS = {"small": 2.4, "large": 5.0}


def svg(chart: Chart) -> str:
    """The drawing. It is hidden from the accessibility tree: the figure around it carries words and a table."""
    width, height = chart.width, chart.height + _TOP + _BOTTOM
    frame = _Frame(chart)
    parts = [
        *_bands(frame), *_axes(frame), *_lines(frame), *_whiskers(frame), *_points(frame),
        *_labels(frame), *_strip(frame), *_tags(frame),
    ]  # fmt: skip
    return (
        f'<svg class="still" viewBox="0 0 {width} {height}" aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    )


class _Frame:
    """Pixels of a chart's plot: `left`, `right`, `top` (of the plot, strip included), `bottom`."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.left = _LEFT if chart.show_y else 4
        self.right = chart.width - _RIGHT
        self.top, self.bottom = _TOP, _TOP + chart.height

    def x(self, value: float) -> float:
        return round(self.left + _clamped(self.chart.x, value) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        start = self.top + self.chart.strip_height
        return round(self.bottom - _clamped(self.chart.y, value) * (self.bottom - start), 1)


def _clamped(axis: Axis, value: float) -> float:
    return min(1.0, max(0.0, axis.place(value)))


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "tick") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _path(kind: str, tone: str, d: str) -> str:
    return f'<path class="{kind} t-{tone}" d="{d}"/>'


def _bands(frame: _Frame) -> Iterable[str]:
    for band in frame.chart.bands:
        left, right = (frame.x(v) for v in band.x) if band.x else (frame.left, frame.right)
        bottom, top = (frame.y(v) for v in band.y) if band.y else (frame.bottom, frame.top)
        yield f'<rect class="band" x="{left:g}" y="{top:g}" width="{right - left:.1f}" height="{bottom - top:.1f}"/>'


def _axes(frame: _Frame) -> Iterable[str]:
    chart = frame.chart
    if chart.show_y:
        for at, text in chart.y.ticks:
            y = frame.y(at)
            yield f'<path class="grid" d="M{frame.left},{y}H{frame.right}"/>' + _text(
                frame.left - 6, y + 4, text, "end"
            )
        yield _text(2, frame.top - 8, chart.y.label, kind="name")
    yield f'<path class="axis" d="M{frame.left},{frame.bottom}H{frame.right}"/>'
    for at, text in chart.x.ticks:
        x = frame.x(at)
        yield f'<path class="axis" d="M{x},{frame.bottom}v4"/>' + _text(x, frame.bottom + 16, text, "middle")
    yield _text((frame.left + frame.right) / 2, frame.bottom + 32, chart.x.label, "middle", "name")


def _lines(frame: _Frame) -> Iterable[str]:
    for series in frame.chart.series:
        if series.line and series.marks:
            points = "L".join(f"{frame.x(mark.x):g},{frame.y(mark.y):g}" for mark in series.marks)
            yield _path("curve dashed" if series.dashed else "curve", series.tone, f"M{points}")


def _whiskers(frame: _Frame) -> Iterable[str]:
    for series in frame.chart.series:
        d = "".join(_whisker(frame, mark) for mark in series.marks)
        if d:
            yield _path("whisker", series.tone, d)


def _whisker(frame: _Frame, mark: Mark) -> str:
    d = ""
    if mark.x_range is not None:
        d += f"M{frame.x(mark.x_range[0])},{frame.y(mark.y)}H{frame.x(mark.x_range[1])}"
    if mark.y_range is not None:
        d += f"M{frame.x(mark.x)},{frame.y(mark.y_range[0])}V{frame.y(mark.y_range[1])}"
    return d


def _points(frame: _Frame) -> Iterable[str]:
    for series in sorted(frame.chart.series, key=lambda series: series.size == "large"):
        if series.size != "none" and series.marks:
            at = [(frame.x(mark.x), frame.y(mark.y)) for mark in series.marks]
            if series.shape == "circle" and series.size == "small":  # a round cap is the shortest way to draw a dot
                yield _path("point", series.tone, "".join(f"M{x:g},{y:g}h0" for x, y in at))
            else:
                yield _path(
                    "ring" if series.hollow else "dot", series.tone, "".join(_outline(series, x, y) for x, y in at)
                )


def _outline(series: Series, x: float, y: float) -> str:
    r = _RADIUS[series.size]
    if series.shape == "circle":
        return f"M{x - r:g},{y}a{r},{r} 0 1 0 {2 * r},0a{r},{r} 0 1 0 {-2 * r},0"
    if series.shape == "square":
        return f"M{x - r:g},{y - r:g}h{2 * r}v{2 * r}h{-2 * r}z"
    if series.shape == "diamond":
        return f"M{x},{y - 1.3 * r:g}l{1.3 * r:g},{1.3 * r:g}l{-1.3 * r:g},{1.3 * r:g}l{-1.3 * r:g},{-1.3 * r:g}z"
    return f"M{x - 1.3 * r:g},{y + r:g}h{2.6 * r:g}l{-1.3 * r:g},{-2.2 * r:g}z"


def _labels(frame: _Frame) -> Iterable[str]:
    for label in frame.chart.labels:
        yield _text(frame.left, frame.y(label.y), label.text, kind="label")


def _tags(frame: _Frame) -> Iterable[str]:
    for tag in frame.chart.tags:
        yield _text(frame.x(tag.x), frame.y(tag.y) + (16 if tag.below else -6), tag.text, "middle", f"tag t-{tag.tone}")


def _strip(frame: _Frame) -> Iterable[str]:
    for index, row in enumerate(frame.chart.strip):
        y = frame.top + index * STRIP_ROW + STRIP_ROW / 2
        d = ""
        for at, event, _ in row.events:
            x = frame.x(at)
            if event == "edge":
                d += f"M{x},{y - 4}v8"
            else:
                d += f"M{x - 3:g},{y - 3}l6,6" + ("m0,-6l-6,6" if event == "diverged" else "")
        if d:
            yield _path("event", row.tone, d)
