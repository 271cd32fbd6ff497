"""Verdicts: the three outcomes, each with the sentence why, and the mistakes that are refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from isoscale._records.run import Run
from isoscale._transfer import RunsError, judge
from isoscale._transfer.curve import LossCurve
from isoscale._transfer.optimum import Optimum, find_optimum
from isoscale._transfer.regret import cost, regret
from isoscale._transfer.scale import Scale
from isoscale._transfer.simulate import SHAPES, World

LR = Scale("lr")


def sweep(drift: float = 0.0, *, axis: str = "depth", sizes: int = 5, seeds: int = 3, seed: int = 0, x=None, **world):
    rng = np.random.default_rng(seed)
    places = [(64, 4 * 2**k) if axis == "depth" else (64 * 2**k, 4) for k in range(sizes)]
    optima = {place: -8.0 + drift * k for k, place in enumerate(places)}
    x = tuple(np.arange(-13.0, -3.9, 0.5)) if x is None else x
    return World(**{"noise": 0.01, **world}).runs(optima, seeds=seeds, rng=rng, x=x)


@pytest.mark.parametrize("axis", ["width", "depth"])
def test_an_optimum_that_stays_transfers(axis: str) -> None:
    (verdict,) = judge(sweep(axis=axis))
    assert verdict.outcome == "transfers", verdict.sentence
    assert [a.axis for a in verdict.axes] == [axis]
    slope = verdict.axis(axis).drift.slope
    assert -0.25 < slope.low < 0 < slope.high < 0.25
    assert "octaves per doubling" in verdict.sentence


@pytest.mark.parametrize("drift", [-0.5, 0.5])
def test_an_optimum_that_moves_drifts_and_costs(drift: float) -> None:
    (verdict,) = judge(sweep(drift))
    assert verdict.outcome == "drifts"
    slope = verdict.axis("depth").drift.slope
    assert slope.low < drift < slope.high
    assert verdict.regret.percent_low > 0


def test_a_drift_below_tolerance_that_is_seen_still_transfers_and_is_told() -> None:
    (verdict,) = judge(sweep(-0.1, noise=0.002, seeds=5, shape="quadratic"))
    assert verdict.outcome == "transfers"
    assert verdict.axis("depth").drift.slope.high < 0
    assert "-0.1" in verdict.sentence


def test_rules_are_judged_apart_and_one_axis_drifting_is_enough() -> None:
    rng = np.random.default_rng(1)
    optima = {(64 * 2**k, 4): -8.0 for k in range(4)} | {(64, 4 * 2**k): -8.0 - 0.6 * k for k in range(4)}
    flat = dict.fromkeys(optima, -8.0)
    world = World(noise=0.01)
    both = world.runs(optima, rng=rng, rule="mup") + world.runs(flat, rng=rng, rule="depth_mup")
    stays, moves = judge(both)
    assert (stays.rule, moves.rule) == ("depth_mup", "mup")
    assert moves.outcome == "drifts"
    assert moves.axis("width").outcome != "drifts"
    assert stays.outcome != "drifts"


def test_two_sizes_cannot_tell() -> None:
    (verdict,) = judge(sweep(sizes=2))
    assert verdict.outcome == "cannot tell"
    assert "needs 3" in verdict.sentence


def test_too_few_seeds_cannot_tell() -> None:
    (verdict,) = judge(sweep(seeds=1))
    assert verdict.outcome == "cannot tell"
    assert "seed" in verdict.sentence


def test_an_interval_past_the_tolerance_says_how_many_seeds() -> None:
    (verdict,) = judge(sweep(noise=0.03, sizes=3))
    assert verdict.outcome == "cannot tell"
    assert "would settle it" in verdict.sentence


def test_optima_that_leave_the_grid_are_evidence_not_dropped() -> None:
    """Only the smallest sizes hold their optimum inside the grid; the rest lie below it, far enough for a drift."""
    grid = tuple(np.arange(-10.0, -3.9, 0.5))
    (verdict,) = judge(sweep(-2.5, sizes=4, x=grid))
    axis = verdict.axis("depth")
    assert verdict.outcome == "drifts", verdict.sentence
    assert axis.drift.missing
    assert axis.drift.below < -0.25


def test_an_optimum_at_the_grids_edge_never_transfers() -> None:
    grid = tuple(np.arange(-8.0, -3.9, 0.5))
    (verdict,) = judge(sweep(0.0, x=grid))
    assert verdict.outcome == "cannot tell"
    assert "extend the grid" in verdict.sentence


def test_the_largest_size_all_diverged_drifts_by_divergence() -> None:
    runs = [
        replace(run, status="diverged", metrics={"train_loss": math.inf}) if run.config["depth"] == 64 else run
        for run in sweep()
    ]
    (verdict,) = judge(runs)
    assert verdict.outcome == "drifts"
    assert verdict.regret.status == "diverges"
    assert "diverges at width 64, depth 64 in 3 of 3 seeds" in verdict.sentence


def test_operating_characteristics_no_verdict_is_plainly_wrong() -> None:
    outcomes = {drift: [] for drift in (0.0, -0.5)}
    for drift, seen in outcomes.items():
        for seed in range(8):
            (verdict,) = judge(sweep(drift + 0.0, seed=100 + seed, noise=0.02, sizes=4))
            seen.append(verdict.outcome)
    assert outcomes[0.0].count("drifts") == 0
    assert outcomes[-0.5].count("transfers") == 0
    assert outcomes[-0.5].count("drifts") >= 6, "control: power"


def test_the_verdict_is_json_and_the_same_twice() -> None:
    runs = sweep(-0.5, shape="cliff")
    (one,), (two,) = judge(runs), judge(list(reversed(runs)))
    assert one.to_json() == two.to_json()
    facts = json.loads(one.to_json())
    assert facts["outcome"] == one.outcome
    assert facts["axes"][0]["drift"]["slope"]["estimate"] == one.axes[0].drift.slope.estimate
    assert facts["cost"]["flops_ratio"] == pytest.approx(16)


def test_the_edge_drifts_with_the_cliff() -> None:
    (verdict,) = judge(sweep(-0.5, shape="cliff"))
    fit = verdict.axis("depth").edge_drift
    assert fit.low < -0.5 < fit.high


def test_the_base_comes_from_the_runs_or_the_call() -> None:
    runs = [replace(run, config={**run.config, "base_width": 64, "base_depth": 8}) for run in sweep()]
    assert judge(runs)[0].proxy == (64, 8)
    assert judge(runs, base=(64, 16))[0].proxy == (64, 16)
    assert judge(runs, target=(64, 16))[0].regret.target == (64, 16)
    with pytest.raises(RunsError, match="was not run"):
        judge(runs, base=(1, 1))


def test_accuracy_is_maximised_and_any_hyperparameter_works() -> None:
    rng = np.random.default_rng(0)
    runs = World(noise=0.01).runs({(64 * 2**k, 4): -8.0 for k in range(4)}, rng=rng, hyperparameter="weight_decay")
    runs = [replace(run, metrics={"test_accuracy": 1 - run.metrics["train_loss"]}) for run in runs]
    (verdict,) = judge(runs, hyperparameter="weight_decay", metric="test_accuracy")
    assert verdict.outcome == "transfers", verdict.sentence
    assert "weight_decay" in verdict.sentence


def curve(seeds: int, seed: int, **world) -> LossCurve:
    rng = np.random.default_rng(seed)
    x = np.arange(-4.0, 3.6, 0.5) + rng.uniform(-0.25, 0.25)
    return LossCurve((256, 4), x, tuple(range(seeds)), World(**world).losses(x, 0.0, seeds, rng), True, {}, ())


@pytest.mark.parametrize("away", [0.0, 1.0])
def test_the_interval_of_a_regret_covers(away: float) -> None:
    right = float(SHAPES["adam"].rise(np.array([away]), 0.03)[0])
    carried, held, estimates = Optimum(64, 4, "found", "", position=away), [], []
    for seed in range(25):
        target = curve(3, seed, noise=0.02)
        got = regret(carried, target, find_optimum(target, LR), LR)
        low, high = math.log1p(got.percent_low / 100), math.log1p(got.percent_high / 100)
        held.append(low <= right <= high)
        estimates.append(math.log1p(got.percent / 100))
    assert np.mean(held) >= 0.9
    assert abs(np.mean(estimates) - right) < 0.015


def test_a_regret_off_the_grid_or_without_a_proxy_cannot_be_told() -> None:
    target = curve(3, 0)
    best = find_optimum(target, LR)
    far = regret(Optimum(64, 4, "found", "", position=-9.0), target, best, LR)
    assert far.status == "cannot tell"
    assert "extend the grid" in far.sentence
    assert regret(Optimum(64, 4, "too noisy", "flat"), target, best, LR).status == "cannot tell"


def test_cost_is_none_where_runs_do_not_say() -> None:
    runs = tuple(replace(run, flops=None) for run in sweep(sizes=2))
    small, large = (
        LossCurve(
            (64, d), np.zeros(1), (0,), np.ones((1, 1)), True, {}, tuple(r for r in runs if r.config["depth"] == d)
        )
        for d in (4, 8)
    )
    spent = cost(small, large)
    assert spent.flops_ratio is None
    assert spent.seconds_ratio == pytest.approx(2)


def broken(change) -> list[Run]:
    return [replace(run, config=change({**run.config})) for run in sweep(sizes=3)]


@pytest.mark.parametrize(
    ("runs", "arguments", "message"),
    [
        ([], {}, "no runs"),
        (sweep(sizes=1), {}, "sweep at least 3"),
        (sweep(), {"metric": "tran_loss"}, "did you mean 'train_loss'"),
        (sweep(), {"hyperparameter": "lrr"}, "did you mean 'lr'"),
        (sweep(), {"hyperparameter": "rule"}, "not a number"),
        (sweep() * 2, {}, "two runs of lr="),
        (broken(lambda c: {**c, "lr": math.nan}), {}, "finite"),
        (broken(lambda c: {**c, "lr": 0.0 if c["lr"] < 2**-12 else c["lr"]}), {}, "scale='linear'"),
        (broken(lambda c: {**c, "steps": c["seed"]}), {}, "mix steps = 0, 1, 2"),
        (broken(lambda c: {**c, "steps": c["depth"]}), {}, "may_differ="),
        (broken(lambda c: {**c, "width": c["depth"]}), {}, "vary one at a time"),
        (sweep(), {"tolerance": 0.0}, "positive"),
        (sweep(), {"scale": "log10"}, "log2"),
    ],
)
def test_mistakes_are_named_with_what_to_do(runs: list[Run], arguments: dict, message: str) -> None:
    with pytest.raises(RunsError, match=message):
        judge(runs, **arguments)


def test_a_setting_meant_to_change_with_size_may() -> None:
    runs = broken(lambda c: {**c, "steps": 10 * c["depth"]})
    assert judge(runs, may_differ=("steps",))[0].outcome != "drifts"
