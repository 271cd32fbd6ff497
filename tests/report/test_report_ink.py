"""A chart drawn twice, as a Vega-Lite specification and as a still SVG: the same marks, no foreign text in code."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from report_sample import known_facts, simulate

from isoscale._report.figures import drift_chart, frames, loss_chart
from isoscale._report.forests import answer_chart, cost_chart, regret_chart
from isoscale._report.svg import svg
from isoscale._report.theme import RAMP_STEPS, size_tone, themes, variables
from isoscale._report.vega import config, spec


@pytest.fixture(scope="session")
def charts(known):
    shared = frames(known, "adamw")
    pairs = [(rule, axis) for rule in known.under("adamw") for axis in rule.axes]
    drawn = [draw(known, rule, axis, shared) for rule, axis in pairs for draw in (loss_chart, drift_chart)]
    return [answer_chart(known), *drawn, regret_chart(known, "adamw"), cost_chart(known, "adamw")]


def strings(node, path=()):
    """Every string of a specification with the keys that lead to it."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield from strings(child, (*path, key))
    elif isinstance(node, list):
        for child in node:
            yield from strings(child, path)
    elif isinstance(node, str):
        yield path, node


def test_a_specification_is_plain_json_with_a_row_for_every_mark(charts) -> None:
    for chart in charts:
        drawn = spec(chart)
        assert json.loads(json.dumps(drawn, allow_nan=False)) == drawn
        rows = drawn["data"]["values"]
        marks = sum(len(series.marks) for series in chart.series)
        assert sum("y" in row for row in rows) == marks + len(chart.tags)
        assert sum("r" in row for row in rows) == sum(len(row.events) for row in chart.strip)
        assert "$schema" not in drawn


def test_every_tone_of_a_specification_is_a_colour_of_both_themes(charts) -> None:
    used = {text for chart in (*map(spec, charts), config()) for _, text in strings(chart) if text.startswith("$")}
    assert {"$size-0", f"$size-{RAMP_STEPS - 1}", "$drifts", "$transfers", "$muted"} <= used
    for theme in themes().values():
        assert {tone[1:] for tone in used} <= set(theme)


def test_no_name_of_the_user_is_part_of_an_expression(charts) -> None:
    hostile = "'];alert(1)//"
    for chart in charts:
        marks = [tuple(replace(mark, note=hostile) for mark in one.marks) for one in chart.series]
        series = tuple(replace(one, name=hostile, marks=own) for one, own in zip(chart.series, marks))
        x, y = (replace(axis, label=hostile, ticks=((axis.domain[0], hostile),)) for axis in (chart.x, chart.y))
        drawn = spec(replace(chart, series=series, alt=hostile, x=x, y=y, plain_note=hostile))
        code = {"labelExpr", "calculate", "filter", "expr"}
        expressions = [text for path, text in strings(drawn) if path[-1] in code or "tooltip" in path]
        assert expressions
        assert not [text for text in expressions if "alert" in text]
        assert any("alert" in text for _, text in strings(drawn))


def test_the_still_drawing_is_xml_inside_its_box_without_style(charts) -> None:
    for chart in charts:
        root = ElementTree.fromstring(svg(chart))
        _, _, width, height = map(float, root.get("viewBox").split())
        assert not [element for element in root.iter() if "style" in element.attrib]
        for element in root.iter("path"):
            for x, y in re.findall(r"M(-?[\d.]+),(-?[\d.]+)", element.get("d")):
                assert -1 <= float(x) <= width + 1
                assert -1 <= float(y) <= height + 1


def test_the_still_drawing_marks_every_minimum(charts) -> None:
    chart = charts[1]
    rings = [e for e in ElementTree.fromstring(svg(chart)).iter("path") if e.get("class").startswith("ring")]
    assert len(rings) == 4
    bare = replace(chart, series=tuple(one for one in chart.series if one.size != "large"))
    assert 'class="ring' not in svg(bare)


def test_a_name_in_a_still_drawing_is_text() -> None:
    hostile = "<script>alert(1)</script>"

    def dressed(chart):
        return replace(
            chart, x=replace(chart.x, label=hostile), labels=tuple(replace(a, text=hostile) for a in chart.labels)
        )

    drawn = svg(dressed(answer_chart(known_facts(simulate(rules=("mup",), rates=(0.01, 0.02, 0.04))))))
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_and_marks_stand_out_and_sizes_are_ordered_in_greyscale(name) -> None:
    theme = themes()[name]
    for ground in ("page", "card"):
        assert min(contrast(theme[text], theme[ground]) for text in ("ink", "muted", "transfers", "drifts")) >= 4.5
        assert min(contrast(theme[f"size-{i}"], theme[ground]) for i in range(RAMP_STEPS)) >= 3
    for outcome in ("transfers", "drifts", "unclear"):
        assert contrast(theme[outcome], theme[f"{outcome}-soft"]) >= 4.5
        assert contrast(theme[outcome], theme["band"]) >= 3
    greys = [luminance(theme[f"size-{i}"]) for i in range(RAMP_STEPS)]
    assert greys == sorted(greys, reverse=name == "light")
    assert contrast("#777777", "#888888") < 1.5


def test_sizes_take_the_whole_ramp_and_every_tone_has_a_class() -> None:
    assert [size_tone(rank, 3) for rank in range(3)] == ["size-0", "size-4", "size-8"]
    assert size_tone(0, 1) == "size-8"
    style = variables()
    assert all(f".t-{tone}{{" in style for tone in ("size-0", "size-8", "drifts", "zero", "ink"))
