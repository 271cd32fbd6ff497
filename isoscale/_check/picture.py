"""A check as pictures: Vega-Lite specifications with their data inside, plain dicts and lists."""

from collections.abc import Sequence
from typing import Any

from isoscale._check.demands import AXES
from isoscale._check.lines import Line

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
COLOURS = {"PASS": "#3b7dd8", "CANNOT TELL": "#b58900", "FAIL": "#c0392b"}
KINDS = ("stream", "branch", "preactivation", "logits", "output", "update")


def figures(lines: Sequence[Line], subtitle: str) -> tuple[dict[str, Any], ...]:
    """One specification for each axis that was checked."""
    return tuple(
        figure(axis, [line for line in lines if line.axis == axis], subtitle)
        for axis in AXES
        if any(line.axis == axis for line in lines)
    )


def figure(axis: str, lines: Sequence[Line], subtitle: str) -> dict[str, Any]:
    """Small multiples by kind and moment; each line relative to its smallest size, coloured by its outcome."""
    rows = [row for line in lines if line.declared is not None for row in points(line)]
    return {
        "$schema": SCHEMA,
        "title": {"text": f"Coordinate check in {axis}", "subtitle": subtitle},
        "data": {"values": rows},
        "facet": {"field": "panel", "type": "nominal", "title": None, "sort": panels()},
        "columns": 4,
        "spec": {
            "width": 170,
            "height": 120,
            "mark": {"type": "line", "point": {"size": 18}, "strokeWidth": 1.2},
            "encoding": {
                "x": {"field": "size", "type": "quantitative", "scale": {"type": "log", "base": 2}, "title": axis},
                "y": {
                    "field": "relative",
                    "type": "quantitative",
                    "scale": {"type": "log", "base": 2},
                    "title": "relative to the smallest",
                },
                "detail": {"field": "quantity"},
                "color": {
                    "field": "outcome",
                    "type": "nominal",
                    "scale": {"domain": list(COLOURS), "range": list(COLOURS.values())},
                    "title": None,
                },
                "tooltip": [{"field": name} for name in ("quantity", "size", "rms", "slope", "declared", "outcome")],
            },
        },
    }


def points(line: Line) -> list[dict[str, Any]]:
    means = [sum(row) / len(row) for row in line.values]
    if not all(0 < mean < float("inf") for mean in means):
        return []
    low, high = line.declared or (0.0, 0.0)
    return [
        {
            "panel": panel(line.quantity.kind, line.quantity.moment),
            "quantity": line.quantity.label,
            "size": size,
            "rms": mean,
            "relative": mean / means[0],
            "slope": None if line.slope is None else round(line.slope.estimate, 3),
            "declared": f"{low:g} to {high:g}",
            "outcome": line.outcome,
        }
        for size, mean in zip(line.sizes, means)
    ]


def panel(kind: str, moment: str) -> str:
    return "updates of parameters" if kind == "update" else f"{kind}, {moment}"


def panels() -> list[str]:
    return list(dict.fromkeys(panel(kind, moment) for kind in KINDS for moment in ("init", "change")))
