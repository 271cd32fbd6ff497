"""A coordinate check in the report: its numbers, its worst lines first, and files that are no check."""

import json
from dataclasses import replace

import pytest

from isoscale._report.checked import check_chart, check_table, read_check
from isoscale._report.page import render


def line(axis, estimate, declared, outcome, place="after 1 of the branches"):
    quantity = {"kind": "stream", "moment": "init", "place": place}
    slope = None if estimate is None else {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1}
    return {"axis": axis, "quantity": quantity, "slope": slope, "declared": declared, "tolerance": 0.15,
            "outcome": outcome, "sentence": "as seen <b>"}  # fmt: skip


def saved(**changed):
    lines = [
        line("depth", 0.0, [0.0, 0.0], "PASS"),
        line("depth", 0.9, [0.0, 0.0], "FAIL", "<script>"),
        line("depth", None, [0.0, 0.0], "CANNOT TELL"),
        line("depth", 2.0, None, "SHOWN"),
        line("width", -1.2, [-1.0, -0.5], "PASS"),
    ]
    cause = {"axis": "depth", "name": "branch not scaled", "blamed": "w", "sentence": "rule scales no branch"}
    content = {"rule": "mup", "optimizer": "adamw", "base": {"width": 8}, "steps": 8, "seeds": 3, "outcome": "FAIL",
               "lines": lines, "causes": [cause]}  # fmt: skip
    return json.dumps(content | changed)


def test_lines_are_counted_from_the_declared_power_and_the_worst_comes_first() -> None:
    check = read_check(saved())
    assert [each.outcome for each in check.along("depth")] == ["FAIL", "CANNOT TELL", "PASS"]
    [width] = check.along("width")
    assert width.off.value == pytest.approx(-0.2)
    assert width.off.interval == pytest.approx((-0.3, -0.1))
    chart = check_chart(check, "depth")
    assert "1 FAIL, 1 CANNOT TELL, 1 PASS" in chart.alt
    assert len(check_table(check, "depth").rows) == 3


def test_the_page_shows_it_and_escapes_what_was_named(known) -> None:
    text = render(replace(known, checks=(read_check(saved()),)))
    assert "Coordinate check: mup with adamw" in text
    assert "branch not scaled: rule scales no branch" in text
    assert "&lt;script&gt;" in text
    assert "Coordinate check" not in render(known)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 5000, saved(lines=[{}]), saved(base=3), saved(lines=None)])
def test_what_is_no_check_is_refused_with_the_command_that_makes_one(text) -> None:
    with pytest.raises(ValueError, match=r"c\.json is not a saved coordinate check .*isoscale check"):
        read_check(text, "c.json")
