"""A chart as a Vega-Lite specification: plain dicts and lists, nothing else.

Every figure has one tidy table of rows; a layer takes the rows of its style `k`. Colours stay tones ("$size-3"): the
page's script turns them into the colours of the reader's theme. Text that came from a user is only ever data or the
title of an axis: names are looked up in parameters, so that no expression contains one, nor one that Vega-Lite makes.
"""

from collections.abc import Iterable
from typing import Any

from isoscale._report.chart import STRIP_ROW, Axis, Band, Chart, Event, Mark, Series

Spec = dict[str, Any]
Style = tuple[bool, bool, str, str, bool]

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_POINT_SIZE = {"small": 22, "large": 90}
_STRIP_SHAPES: dict[Event, str] = {
    "diverged": "M-1,-1L1,1M-1,1L1,-1",
    "some diverged": "M-1,-1L1,1",
    "edge": "M0,-1.4L0,1.4",
}


def config() -> Spec:
    """What all figures share: quiet axes, the page's font, no frame."""
    return {
        "background": None,
        "font": _FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": "$muted",
            "titleColor": "$muted",
            "gridColor": "$grid",
            "domainColor": "$line",
            "tickColor": "$line",
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "labelPadding": 4,
            "tickSize": 4,
        },
        "axisX": {"grid": False, "titlePadding": 6},
        "axisY": {
            "domain": False,
            "ticks": False,
            "titleAngle": 0,
            "titleAnchor": "start",
            "titleAlign": "left",
            "titleBaseline": "bottom",
            "titleX": -34,
            "titleY": -5,
        },
    }


def spec(chart: Chart) -> Spec:
    """The specification of one figure; its width is its container's."""
    named = [(series.name, series.tone) for series in chart.series] + [(row.name, row.tone) for row in chart.strip]
    entries = list(dict.fromkeys(named))
    styles = list(dict.fromkeys(_style(series) for series in chart.series))
    rows = [
        _row(mark, styles.index(_style(series)), entries.index((series.name, series.tone)))
        for series in chart.series
        for mark in series.marks
    ]
    layers = [layer for index, style in enumerate(styles) for layer in _layers(chart, style, index)]
    colour = {"domain": list(range(len(entries))), "range": [f"${tone}" for _, tone in entries]}
    return {
        "description": chart.alt,
        "width": "container",
        "height": chart.height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "params": [
            {"name": "xticks", "value": [at for at, _ in chart.x.ticks]},
            {"name": "xtexts", "value": [text for _, text in chart.x.ticks]},
            {"name": "yticks", "value": [at for at, _ in chart.y.ticks]},
            {"name": "ytexts", "value": [text for _, text in chart.y.ticks]},
            {"name": "names", "value": [name for name, _ in entries]},
            {"name": "plain", "value": chart.plain_note},
            {"name": "xname", "value": chart.x.label},
            {"name": "yname", "value": chart.y.label},
        ],
        "data": {"values": [*rows, *_strip_rows(chart, entries), *_tag_rows(chart, entries)]},
        "transform": [
            {"calculate": "names[datum.s]", "as": "name"},
            {"calculate": "isValid(datum.n) ? datum.n : plain", "as": "n"},
            {"calculate": "xname + ' ' + format(datum.x, '.4~g')", "as": "at"},
            {"calculate": "yname + ' ' + format(datum.y, '.4~g')", "as": "shows"},
        ],
        "layer": [
            *(_band(chart, band) for band in chart.bands),
            {
                "encoding": {
                    "x": _x(chart),
                    "y": _y(chart),
                    "color": {"field": "s", "type": "nominal", "legend": None, "scale": colour},
                    "tooltip": _tooltip(chart),
                },
                "layer": [*layers, *_strip(chart), *_tags(chart)],
            },
            *_labels(chart),
        ],
    }


def _style(series: Series) -> Style:
    return series.line, series.dashed, series.size, series.shape, series.hollow


def _row(mark: Mark, style: int, entry: int) -> Spec:
    row: Spec = {"k": style, "s": entry, "x": _number(mark.x), "y": _number(mark.y)}
    if mark.x_range is not None:
        row |= {"xl": _number(mark.x_range[0]), "xh": _number(mark.x_range[1])}
    if mark.y_range is not None:
        row |= {"yl": _number(mark.y_range[0]), "yh": _number(mark.y_range[1])}
    return row | ({"n": mark.note} if mark.note else {})


def _number(value: float) -> float:
    rounded = float(f"{value:.5g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e6 else rounded


def _x(chart: Chart) -> Spec:
    return {"field": "x", "type": "quantitative", "scale": _scale(chart.x), "axis": _axis(chart.x, "x")}


def _y(chart: Chart) -> Spec:
    scale = {**_scale(chart.y), "range": [{"expr": "height"}, chart.strip_height]}
    axis = _axis(chart.y, "y") if chart.show_y else None
    return {"field": "y", "type": "quantitative", "scale": scale, "axis": axis}


def _scale(axis: Axis) -> Spec:
    kind: Spec = {"type": "log", "base": 2} if axis.log else {"type": "linear", "zero": False}
    return {**kind, "domain": [_number(end) for end in axis.domain], "nice": False}


def _axis(axis: Axis, name: str) -> Spec:
    lookup = f"{name}texts[indexof({name}ticks, datum.value)]"
    return {"title": axis.label, "values": [at for at, _ in axis.ticks], "labelExpr": lookup}


def _layers(chart: Chart, style: Style, index: int) -> Iterable[Spec]:
    """The layers of one style: its line, its whiskers, its points."""
    line, dashed, size, shape, hollow = style
    mine = [{"filter": f"datum.k === {index}"}]
    marks = [mark for series in chart.series if _style(series) == style for mark in series.marks]
    if line:
        stroke: Spec = {"type": "line", "strokeWidth": 1.75, "clip": True, "tooltip": None}
        yield {"transform": mine, "mark": {**stroke, **({"strokeDash": [4, 3]} if dashed else {})}}
    bar = {"type": "rule", "strokeWidth": 2, "strokeCap": "round", "clip": True}
    if any(mark.x_range for mark in marks):
        yield {"transform": mine, "mark": bar, "encoding": {"x": {**_x(chart), "field": "xl"}, "x2": {"field": "xh"}}}
    if any(mark.y_range for mark in marks):
        yield {"transform": mine, "mark": bar, "encoding": {"y": {**_y(chart), "field": "yl"}, "y2": {"field": "yh"}}}
    if size != "none":
        look: Spec = {"filled": False, "fill": "$card", "strokeWidth": 2} if hollow else {"filled": True}
        kind = "triangle-up" if shape == "triangle" else shape
        yield {
            "transform": mine,
            "mark": {"type": "point", "shape": kind, "opacity": 1, "size": _POINT_SIZE[size], **look},
        }


def _tooltip(chart: Chart) -> list[Spec]:
    """Rows of the tooltip. Their titles end up inside a compiled expression, so they are words of this room."""
    fields = {"name": chart.series_label, "at": "at"} | ({"shows": "shows"} if chart.show_y else {})
    if chart.plain_note or chart.strip or any(mark.note for series in chart.series for mark in series.marks):
        fields["n"] = "note"
    return [{"field": field, "type": "nominal", "title": title} for field, title in fields.items()]


def _strip_rows(chart: Chart, entries: list[tuple[str, str]]) -> list[Spec]:
    """Events: `k` is the event's name, `r` the pixel row."""
    return [
        {
            "k": event,
            "s": entries.index((row.name, row.tone)),
            "x": _number(at),
            "r": index * STRIP_ROW + STRIP_ROW / 2,
            "n": note,
        }
        for index, row in enumerate(chart.strip)
        for at, event, note in row.events
    ]


def _strip(chart: Chart) -> Iterable[Spec]:
    seen = {event for row in chart.strip for _, event, _ in row.events}
    by_pixel = {"field": "r", "type": "quantitative", "scale": None, "axis": None}
    for event, shape in _STRIP_SHAPES.items():
        if event in seen:
            tooltip = [field for field in _tooltip(chart) if field["field"] != "shows"]
            yield {
                "transform": [{"filter": f"datum.k === '{event}'"}],
                "mark": {
                    "type": "point",
                    "shape": shape,
                    "size": 36,
                    "filled": False,
                    "strokeWidth": 1.6,
                    "opacity": 1,
                },
                "encoding": {"y": by_pixel, "tooltip": tooltip},
            }


def _tag_rows(chart: Chart, entries: list[tuple[str, str]]) -> list[Spec]:
    return [
        {
            "k": "tag",
            "s": entries.index((tag.name, tag.tone)),
            "x": _number(tag.x),
            "y": _number(tag.y),
            "text": tag.text,
            "b": tag.below,
        }
        for tag in chart.tags
    ]


def _tags(chart: Chart) -> Iterable[Spec]:
    if chart.tags:
        shift = {"expr": "datum.b ? 12 : -10"}
        look = {"type": "text", "baseline": "middle", "dy": shift, "fontSize": 11, "tooltip": None}
        mine = [{"filter": "datum.k === 'tag'"}]
        yield {"transform": mine, "mark": look, "encoding": {"text": {"field": "text"}, "tooltip": None}}


def _band(chart: Chart, band: Band) -> Spec:
    row: Spec = {}
    encoding: Spec = {"color": {"value": "$band"}}
    if band.x is not None:
        row |= {"x": band.x[0], "x2": band.x[1]}
        encoding |= {"x": _x(chart), "x2": {"field": "x2"}}
    if band.y is not None:
        row |= {"y": band.y[0], "y2": band.y[1]}
        encoding |= {"y": _y(chart), "y2": {"field": "y2"}}
    return {"data": {"values": [row]}, "mark": {"type": "rect", "clip": True}, "encoding": encoding}


def _labels(chart: Chart) -> Iterable[Spec]:
    if chart.labels:
        yield {
            "data": {"values": [{"y": _number(label.y), "text": label.text} for label in chart.labels]},
            "mark": {"type": "text", "align": "left", "baseline": "bottom", "fontSize": 12},
            "encoding": {
                "x": {"value": 0},
                "y": _y(chart),
                "text": {"field": "text"},
                "color": {"value": "$ink"},
            },
        }
