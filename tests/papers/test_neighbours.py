"""The league of neighbours: a tiny preset runs, and the page's sentences are what the recorded facts say."""

import math
from dataclasses import replace

import pytest

from papers.neighbours import league
from papers.neighbours.record import from_json, golden, to_json


@pytest.fixture(scope="module")
def rows():
    facts = from_json(league.Facts, golden("league", "cpu"))
    return {row.name: row for row in facts.rows}


def stays(drift) -> bool:
    return abs(drift[0]) <= 0.25 and drift[1] <= 0.25 and drift[2] >= -0.25


def test_a_tiny_preset_runs_through(tmp_path) -> None:
    found = league.facts("smoke", cache=tmp_path, workers=0)
    assert [row.name for row in found.rows] == [*league.RULES, "step law", "architecture-aware"]
    assert to_json(from_json(league.Facts, to_json(found))) == to_json(found)
    league.draw(found).canvas.draw()


def test_rules_of_width_and_depth_keep_the_optimum_and_the_others_do_not(rows) -> None:
    for name in ("depth_mup", "completep"):
        assert stays(rows[name].width)
        assert stays(rows[name].depth)
        assert rows[name].percent[0] < 10
    assert rows["sp"].width[2] < -0.25
    for name in ("sp", "sp_full_align", "mup"):
        assert rows[name].depth[2] < -0.25
        assert rows[name].percent[1] > rows["depth_mup"].percent[2]
    assert rows["architecture-aware"].depth[1] > 0.25


def test_the_power_law_is_as_accurate_and_dearer(rows) -> None:
    law, rule = rows["step law"], rows["depth_mup"]
    assert law.percent[1] <= rule.percent[0] <= law.percent[2]
    assert law.flops > 9 * rule.flops
    assert law.reached > rule.reached > rows["completep"].reached


def test_a_law_is_judged_where_it_points(rows) -> None:
    """Control: the same curve, entered at another rate, costs more; outside of the grid nothing is said."""
    from isoscale import Records, Run

    losses = {2.0**k: 0.1 * math.exp((k + 5) ** 2 / 8) for k in range(-8, -1)}
    runs = Records(
        tuple(
            Run(
                {"rule": "sp", "optimizer": "adamw", "width": 1, "depth": 1, "seed": seed, "lr": lr},
                {"train_loss": loss},
            )
            for lr, loss in losses.items()
            for seed in (0, 1)
        )
    )
    assert league.lost(runs, -5.0)[0] == (0.0, 0.0, 0.0)
    assert league.lost(runs, -5.0)[1] == pytest.approx(0.1)
    assert league.lost(runs, -3.0)[0][0] == pytest.approx(100 * math.expm1(0.5))
    assert league.lost(runs, -9.0)[2] == "cannot tell"
    assert not stays(replace(rows["depth_mup"], depth=(0.4, 0.3, 0.5)).depth)
