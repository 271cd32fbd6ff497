"""From records and verdicts to facts, and to the lines of a terminal."""

import json
import math
import re
from dataclasses import replace

import pytest
from report_sample import simulate

from isoscale._records.run import Run
from isoscale._report import facts, summary
from isoscale._report.observe import account, points
from isoscale._transfer import judge


@pytest.fixture(scope="module")
def judged():
    runs = simulate(rules=("sp", "depth_mup"), widths=(32, 64, 128), depths=(3, 6, 12))
    return runs, judge(runs)


def test_the_facts_repeat_the_verdicts_and_gather_their_runs(judged) -> None:
    runs, verdicts = judged
    found = facts(runs, verdicts, reproduce=("isoscale sweep spec.toml",))
    assert [(rule.rule, rule.outcome) for rule in found.rules] == [(v.rule, v.outcome) for v in verdicts]
    assert {rule.rule: rule.outcome for rule in found.rules}["sp"] == "drifts"
    for rule, verdict in zip(found.rules, verdicts):
        for axis, source in zip(rule.axes, verdict.axes):
            assert (axis.outcome, axis.sentence) == (source.outcome, source.sentence)
            assert axis.drift.value == source.drift.slope.estimate
            for curve, optimum in zip(axis.curves, source.optima):
                assert (curve.width, curve.depth) == optimum.size
                assert math.log2(curve.optimum.value) == pytest.approx(optimum.position)
                assert sum(point.runs for point in curve.points) == 27
                edge = next(point.at for point in curve.points if point.diverged == point.runs)
                assert curve.edge is None or curve.edge < edge
    assert found.title == "residual_mlp on digits"
    assert found.ran.runs == len(runs)


def test_the_facts_are_json(judged) -> None:
    runs, verdicts = judged
    written = json.loads(facts(runs, verdicts).to_json())
    assert written["hyperparameter"] == "lr"
    assert len(written["rules"][0]["axes"][0]["curves"][0]["points"]) == 9


def test_verdicts_that_share_no_axis_are_refused(judged) -> None:
    runs, verdicts = judged
    with pytest.raises(ValueError, match=r"lr on test_loss \(log2\); lr on train_loss"):
        facts(runs, [verdicts[0], replace(verdicts[1], metric="test_loss")])
    with pytest.raises(ValueError, match="here: none"):
        facts(runs, [])


def test_foreign_names_are_shortened_and_cleaned(judged) -> None:
    runs, verdicts = judged
    named = [replace(verdict, rule="a" * 10**6 + "\x1b") for verdict in verdicts]
    assert {len(rule.rule) for rule in facts(runs, named).rules} == {120}
    text = summary([replace(verdicts[0], rule="mup\x1b[2J\r\nyes")])
    assert "\x1b" not in text
    assert "\r" not in text
    assert "mup�[2J��yes" in text


def test_the_terminal_gets_an_aligned_line_for_each_rule_and_axis(judged) -> None:
    _, verdicts = judged
    lines = summary(verdicts).splitlines()
    table = [line for line in lines if line.startswith("adamw  ")]
    assert len(table) == 4
    starts = [line.split()[1:4] for line in table]
    assert ["sp", "width", "drifts"] in starts
    assert len({re.search(r" (width|depth)  ", line).start() for line in table}) == 1
    assert lines[0].endswith(".")
    assert summary(()).strip() == ""


def test_points_gather_seeds_and_count_what_diverged() -> None:
    config = {"rule": "mup", "optimizer": "sgd", "width": 8, "depth": 2}
    losses = [(0.1, 1.0), (0.1, 3.0), (0.2, math.inf), (0.2, 2.0), (0.4, math.nan), (0.4, math.inf)]
    runs = [Run({**config, "seed": i, "lr": lr}, {"loss": loss}) for i, (lr, loss) in enumerate(losses)]
    low, middle, high = points(runs, "lr", "loss")
    assert (low.loss, low.least, low.largest, low.runs, low.diverged) == (2.0, 1.0, 3.0, 2, 0)
    assert (middle.loss, middle.runs, middle.diverged) == (2.0, 2, 1)
    assert (high.loss, high.runs, high.diverged) == (None, 2, 2)


def test_the_account_tells_what_varied_from_what_did_not() -> None:
    runs = simulate(rules=("mup",), seeds=2)
    ran = account(runs)
    assert dict(ran.shared)["schedule"] == "cosine"
    assert dict(ran.varied)["width"] == "32, 64, 128, 256"
    assert "lr" not in dict(ran.shared)
    assert ran.diverged == sum(run.status == "diverged" for run in runs) == ran.counts[0].diverged > 0
    assert ran.data == (("digits", "5f3a" * 16),)
    assert ran.flops == pytest.approx(sum(run.flops for run in runs))
    assert account([*runs, replace(runs[0], flops=None)]).flops is None


def test_the_terminal_says_what_carrying_costs_and_saves(judged) -> None:
    _, verdicts = judged
    text = summary(verdicts)
    for verdict in verdicts:
        assert text.count(verdict.cost.sentence[1:60]) >= 1
        assert verdict.regret.sentence[1:12] in text
