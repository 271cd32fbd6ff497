"""Facts become charts: what is marked, where, and what is said of it."""

import math
from dataclasses import replace

import pytest
from report_sample import known_facts, simulate

from isoscale._report.figures import drift_chart, frames, loss_chart, optimum_words, slope, slope_text
from isoscale._report.findings import Curve, Estimate
from isoscale._report.forests import answer_chart, cost_chart, regret_chart


def panel(facts, rule="sp", axis="depth", optimizer="adamw"):
    found = next(one for one in facts.under(optimizer) if one.rule == rule)
    return found, next(one for one in found.axes if one.axis == axis)


def minima(chart):
    return [mark for series in chart.series if series.size == "large" for mark in series.marks]


def test_every_size_has_a_curve_with_its_minimum_and_interval(known) -> None:
    rule, axis = panel(known)
    chart = loss_chart(known, rule, axis, frames(known, "adamw"))
    lines = [series for series in chart.series if series.line]
    assert [series.name for series in lines] == [f"depth {n}" for n in (3, 6, 12, 24)]
    assert len({series.tone for series in lines}) == 4
    assert [math.log2(mark.x) for mark in minima(chart)] == pytest.approx([-7.0, -7.6, -8.2, -8.8])
    assert all(mark.x_range[0] < mark.x < mark.x_range[1] for mark in minima(chart))
    assert [(tag.text, tag.tone) for tag in chart.tags] == [("3", lines[0].tone), ("24", lines[-1].tone)]
    assert [tag.below for tag in chart.tags] == [False, True], (
        "the small network's loss is the larger, so its tag is above"
    )


def test_diverged_runs_are_events_above_the_plot_and_no_points(known) -> None:
    rule, axis = panel(known)
    chart = loss_chart(known, rule, axis, frames(known, "adamw"))
    lost = {row.name: [at for at, event, _ in row.events if event == "diverged"] for row in chart.strip}
    for curve in axis.curves:
        dead = [point.at for point in curve.points if point.diverged == point.runs]
        assert dead
        assert lost[f"depth {curve.depth}"] == dead
        drawn = next(series for series in chart.series if series.name == f"depth {curve.depth}" and series.line)
        assert not {mark.x for mark in drawn.marks} & set(dead)
    assert all(any(event == "edge" for _, event, _ in row.events) for row in chart.strip)


def test_a_sweep_in_which_nothing_diverged_keeps_no_room_for_it() -> None:
    facts = known_facts(simulate(rules=("mup",), rates=tuple(2.0**k for k in range(-11, -6))))
    rule, axis = panel(facts, "mup")
    chart = loss_chart(facts, rule, axis, frames(facts, "adamw"))
    assert (chart.strip, chart.strip_height) == ((), 0)


def test_a_loss_above_the_frame_is_drawn_at_its_top_and_says_so() -> None:
    facts = known_facts(simulate(rules=("sp",)))
    rule, axis = panel(facts)
    point = replace(axis.curves[0].points[0], loss=1e6, largest=1e6)
    curve = replace(axis.curves[0], points=(point, *axis.curves[0].points[1:]))
    axis = replace(axis, curves=(curve, *axis.curves[1:]))
    chart = loss_chart(facts, rule, axis, frames(facts, "adamw"))
    cut = [mark for series in chart.series if series.shape == "triangle" for mark in series.marks]
    top = chart.y.domain[1]
    assert [mark.y for mark in cut if mark.x == point.at and "1.00·10⁶" in mark.note] == [top]
    assert all(mark.y <= top for series in chart.series for mark in series.marks)


def test_the_panels_of_one_optimizer_share_their_axes(known) -> None:
    shared = frames(known, "adamw")
    charts = [loss_chart(known, rule, axis, shared) for rule in known.under("adamw") for axis in rule.axes]
    assert len({(chart.x, chart.y) for chart in charts}) == 1
    assert all(
        chart.x.domain[0] < mark.x < chart.x.domain[1] for chart in charts for s in chart.series for mark in s.marks
    )


def test_the_drift_panel_has_every_optimum_and_a_line_of_the_known_slope(known) -> None:
    rule, axis = panel(known, "mup")
    chart = drift_chart(known, rule, axis, frames(known, "adamw"))
    line = next(series for series in chart.series if series.name == "fit").marks
    rise = math.log2(line[-1].y / line[0].y) / math.log2(line[-1].x / line[0].x)
    assert rise == pytest.approx(-0.5)
    flat = next(series for series in chart.series if series.name == "no drift").marks
    assert flat[0].y == flat[1].y == pytest.approx(2**-7)
    assert [mark.x for mark in minima(chart)] == [3, 6, 12, 24]
    assert slope(axis) == "−0.50 [−0.60, −0.40] octaves per doubling of depth"


def test_an_optimum_only_bounded_is_drawn_hollow_with_its_bar_to_the_frame(known) -> None:
    rule, axis = panel(known, "mup")
    edge = replace(
        axis.curves[-1], optimum=Estimate(2.0**-11, None, 2.0**-10), found=False, sentence="at the grid's edge"
    )
    axis = replace(axis, curves=(*axis.curves[:-1], edge))
    shared = frames(known, "adamw")
    chart = drift_chart(known, rule, axis, shared)
    bounded = [mark for series in chart.series if series.hollow for mark in series.marks]
    assert [mark.y_range for mark in bounded] == [(shared.optimum.domain[0], 2.0**-10)]
    assert optimum_words(known, edge) == "0.000488 (at most 0.000977)"
    assert chart.table.rows[-1][-1] == "at the grid's edge"


def test_a_size_without_an_optimum_has_no_minimum(known) -> None:
    rule, axis = panel(known)
    bare = Curve(32, 48, axis.curves[0].points, None, None, False, "all diverged")
    chart = loss_chart(known, rule, replace(axis, curves=(*axis.curves, bare)), frames(known, "adamw"))
    assert len(minima(chart)) == 4
    assert "depth 48: no optimum" in chart.alt


def test_the_first_picture_has_a_row_for_each_rule_and_axis_beside_the_tolerance(known) -> None:
    chart = answer_chart(known)
    drawn = {series.name: series for series in chart.series if series.name != "zero"}
    assert len(drawn) == 12
    assert drawn["adamw · sp · width"].marks[0].x == pytest.approx(-0.85)
    assert drawn["adamw · sp · width"].tone == "drifts"
    assert drawn["sgd · depth_mup · depth"].tone == "transfers"
    assert chart.bands[0].x == (-0.25, 0.25)
    inside = [series.tone == "transfers" for series in drawn.values()]
    assert inside == [abs(series.marks[0].x) <= 0.25 for series in drawn.values()]


def test_a_drift_that_is_only_bounded_reaches_to_the_frame(known) -> None:
    rule, axis = panel(known)
    bounded = replace(axis, drift=Estimate(None, None, -0.4), line=())
    facts = replace(known, rules=(replace(rule, axes=(rule.axes[0], bounded)),))
    chart = answer_chart(facts)
    row = next(series for series in chart.series if series.name == "sp · depth")
    assert row.size == "none"
    assert row.marks[0].x_range == (chart.x.domain[0], -0.4)
    assert slope_text(bounded.drift) == "below −0.40"


def test_a_drift_nobody_knows_may_lie_anywhere(known) -> None:
    rule, axis = panel(known)
    blank = replace(axis, outcome="cannot tell", drift=None, line=())
    chart = answer_chart(replace(known, rules=(replace(rule, axes=(blank,)),)))
    row = next(series for series in chart.series if series.name == "sp · depth")
    assert row.marks[0].x_range == chart.x.domain
    assert (row.size, row.tone) == ("none", "unclear")
    assert chart.labels[0].text.endswith("not known")
    assert answer_chart(replace(known, rules=())) is None


def test_regret_and_cost_show_what_carrying_and_tuning_cost(known) -> None:
    regret = regret_chart(known, "adamw")
    shown = {series.name: series.marks[0].x for series in regret.series if series.size == "large"}
    assert shown["sp · width"] == pytest.approx(72.25)
    assert shown["depth_mup · depth"] == pytest.approx(0.0)
    cost = cost_chart(known, "adamw")
    assert {mark.x for series in cost.series for mark in series.marks} == {3e9, 2e11}
    assert any("67 times cheaper" in label.text for label in cost.labels)


def test_a_carried_value_that_diverges_has_no_end_to_its_bar(known) -> None:
    rule, axis = panel(known)
    carried = replace(axis.carried, status="diverges", loss=None, percent=None)
    facts = replace(known, rules=(replace(rule, axes=(rule.axes[0], replace(axis, carried=carried))),))
    chart = regret_chart(facts, "adamw")
    row = next(series for series in chart.series if series.name == "sp · depth")
    assert row.marks[0].x_range == (0.0, chart.x.domain[1])
    assert chart.table.rows[-1][3] == "diverges"
