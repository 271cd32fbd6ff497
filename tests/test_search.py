"""The search: finds what is there with few runs, says why it stops, and goes on after any interruption as if none."""

import math
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from isoscale._records.codec import encode
from isoscale._records.decision import Decision
from isoscale._records.records import Records
from isoscale._records.run import Config, Run, digest
from isoscale._records.store import Store
from isoscale._sweep.decide import LEVEL, Axis
from isoscale._sweep.events import Event
from isoscale._sweep.search import Found, search, search_each
from isoscale._transfer.curve import curves
from isoscale._transfer.optimum import Optimum, find_optimum
from isoscale._transfer.scale import Scale

KILLED = """
import os, pathlib, signal, sys
import test_search

left = int(sys.argv[2])

def countdown(event):
    global left
    left -= event.kind == "finished"
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

test_search.found(pathlib.Path(sys.argv[1]), progress=countdown)
"""
BASE = {"rule": "sp", "optimizer": "sgd", "width": 8, "depth": 2, "steps": 100}
LR = Axis("lr", 2.0**-6, 2.0**-16, 2.0**2)


def loss(config: Config, best: float = -5.2, noise: float = 0.01, name: str = "lr") -> float:
    """A leaning curve with its least at log2 value `best`, a level and a noise of the run's own; no state, no clock."""
    z = math.log2(config[name]) - best + (0.3 if config["steps"] < 100 else 0.0)
    own, seed = random.Random(digest(dict(config))), random.Random(config["seed"])
    if z > 3.5:
        return math.inf
    return math.exp(0.06 * z**2 * (1 + 0.15 * math.tanh(z)) + 0.1 * seed.gauss(0, 1) + noise * own.gauss(0, 1))


def train(configs: Sequence[Config], best: float = -5.2, noise: float = 0.01) -> list[Run]:
    losses = [loss(config, best, noise) for config in configs]
    return [
        Run(config, {"train_loss": y}, "finished" if y < math.inf else "diverged", flops=1.0 * config["steps"])
        for config, y in zip(configs, losses)
    ]


def estimate(runs: Records, name: str = "lr", level: float = LEVEL) -> Optimum:
    (by_size,) = curves(runs, Scale(name), "train_loss").values()
    (curve,) = by_size.values()
    return find_optimum(curve, Scale(name), level)


def found(path: Path, job: Callable[..., list[Run]] = train, **changes: object) -> Found:
    settings = {"store": path, "estimate": estimate, "workers": 0, "batch": 8} | changes
    return search(job, settings.pop("base", BASE), settings.pop("axis", LR), **settings)


def rows(path: Path, result: Found) -> list[object]:
    return [encode(run) for run in Records.from_store(path)] + [encode(run) for run in result.runs]


def test_finds_the_best_value_and_records_every_decision_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    result = found(path)
    assert result.status == "precise"
    assert result.position == pytest.approx(-5.2, abs=0.25)
    assert result.high - result.low <= 0.5
    assert result.value == 2.0**result.position
    assert [decision.kind for decision in result.decisions][:2] == ["bracket", "window"]
    assert result.decisions[-1].kind == "stop"
    for decision in result.decisions:
        assert len(decision.reason) > 30, decision
    connection = sqlite3.connect(path)
    stored = [row[0] for row in connection.execute("SELECT reason FROM decisions ORDER BY place")]
    connection.close()
    assert stored == [decision.reason for decision in result.decisions]
    assert result.flops == sum(run.flops for run in Records.from_store(path))
    assert result.spent == pytest.approx(result.flops / 100)
    assert len(result.runs) < len(Records.from_store(path)), "the short runs are no part of the evidence"


def test_all_values_of_a_round_share_their_seeds(tmp_path: Path) -> None:
    result = found(tmp_path / "runs.sqlite", partial(train, noise=0.03))
    for decision in result.decisions[:-1]:
        wanted = {(p, s) for p in decision.content["positions"] for s in decision.content["seeds"]}
        steps = decision.content["steps"]
        there = Records.from_store(tmp_path / "runs.sqlite").select(steps=steps)
        ran = {(LR.nearest(math.log2(run["lr"])), run["seed"]) for run in there}
        assert wanted <= ran


@pytest.mark.parametrize("best", [-13.0, 0.0])
def test_a_bottom_far_from_the_start_is_reached_by_extension(tmp_path: Path, best: float) -> None:
    result = found(tmp_path / "runs.sqlite", partial(train, best=best))
    assert result.status == "precise"
    assert result.position == pytest.approx(best, abs=0.25)
    assert [decision.kind for decision in result.decisions].count("bracket") > 1


def test_a_bottom_that_the_short_runs_misplace_is_reached_by_extension(tmp_path: Path) -> None:
    def misled(configs: Sequence[Config]) -> list[Run]:
        return [train([c], best=-8.0 if c["steps"] < 100 else -5.2)[0] for c in configs]

    result = found(tmp_path / "runs.sqlite", misled)
    assert "extend" in [decision.kind for decision in result.decisions]
    assert result.status == "precise"
    assert result.position == pytest.approx(-5.2, abs=0.25)


def test_it_says_that_it_stopped_at_a_limit_or_for_the_budget(tmp_path: Path) -> None:
    limit = found(tmp_path / "limit.sqlite", axis=Axis("lr", 2.0**-9, 2.0**-12, 2.0**-8))
    assert limit.status == "limit"
    assert "limit lr = 0.00390625" in limit.sentence
    noisy = found(tmp_path / "budget.sqlite", partial(train, noise=0.3), budget=60)
    assert noisy.status == "budget"
    assert noisy.spent <= 60
    assert "60 runs are spent" in noisy.sentence
    dead = found(tmp_path / "dead.sqlite", partial(train, best=-40.0))
    assert dead.status == "diverged"
    assert dead.value is None


def test_interrupted_after_any_unit_it_takes_the_same_decisions_and_makes_the_same_records(tmp_path: Path) -> None:
    job = partial(train, noise=0.1)
    whole = found(tmp_path / "whole.sqlite", job, budget=45)
    units = len(Store(tmp_path / "whole.sqlite").states())
    assert units > 6
    for last in range(1, units):
        path, done = tmp_path / f"{last}.sqlite", 0

        def stop(event: Event, last: int = last) -> None:
            nonlocal done
            done += event.kind == "finished"
            if done == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            found(path, job, budget=45, progress=stop)
        resumed = found(path, job, budget=45)
        assert resumed.decisions == whole.decisions, last
        assert rows(path, resumed) == rows(tmp_path / "whole.sqlite", whole), last


def test_killed_with_its_workers_it_goes_on_with_the_same_decisions(tmp_path: Path) -> None:
    """kill -9 of the whole driver, in a process of its own, three times on one store."""
    whole = found(tmp_path / "whole.sqlite", workers=0)
    path = tmp_path / "runs.sqlite"
    for last in (1, 2, 1):
        code = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), str(last)], cwd=Path(__file__).parent
        ).returncode
        assert code == -signal.SIGKILL
    resumed = found(path)
    assert resumed.decisions == whole.decisions
    assert sorted(rows(path, resumed)) == sorted(rows(tmp_path / "whole.sqlite", whole))


def test_a_recorded_decision_goes_before_what_would_be_decided_today(tmp_path: Path) -> None:
    """The control of the two tests above: what is in the store is what is done."""
    path = tmp_path / "runs.sqlite"
    first = found(path)
    with Store(path) as store:
        store.decide("other", 0, Decision("stop", "because", {"status": "budget"}))
        kept = store.decide("other", 0, Decision("seeds", "no", {}))
        assert kept == Decision("stop", "because", {"status": "budget"})
    connection = sqlite3.connect(path)
    connection.execute("UPDATE decisions SET kind='stop', content='{\"status\": \"budget\"}' WHERE place=1")
    connection.commit()
    connection.close()
    changed = found(path)
    assert changed.status == "budget"
    assert len(changed.decisions) == 2 < len(first.decisions)


def test_another_precision_is_another_search_that_trains_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    coarse = found(path, partial(train, noise=0.03), precision=0.5)
    runs = len(Records.from_store(path))
    fine = found(path, partial(train, noise=0.03), precision=0.2)
    assert fine.decisions[: len(coarse.decisions) - 1] == coarse.decisions[:-1]
    assert (
        runs
        < len(Records.from_store(path))
        == sum(len(d.content["positions"]) * len(d.content["seeds"]) for d in fine.decisions[:-1])
    )


def test_it_stops_within_the_precision_as_often_as_it_says(tmp_path: Path) -> None:
    """A smoke test of bench/search_coverage.py, with its control: an overconfident estimator stops early and misses."""
    chance = np.random.default_rng(3)
    bests = chance.uniform(-6, -5, 10)

    def misses(level: float) -> int:
        off = 0
        for at, best in enumerate(bests):
            result = found(
                tmp_path / f"{level}-{at}.sqlite", partial(train, best=float(best), noise=0.08),
                base=BASE | {"trial": at}, estimate=partial(estimate, level=level),
            )  # fmt: skip
            off += result.status == "precise" and abs(result.position - best) > 0.25
        return off

    assert misses(LEVEL) <= 1
    assert misses(0.3) > 1


def test_several_hyperparameters_are_found_by_coordinates(tmp_path: Path) -> None:
    def both(configs: Sequence[Config]) -> list[Run]:
        out = []
        for config in configs:
            tilt = 0.3 * (math.log2(config["weight_decay"]) + 7)  # the best lr falls as the decay grows
            y = loss(config, best=-5.0 - tilt) * loss(config, best=-7.2, name="weight_decay")
            out.append(Run(config, {"train_loss": y}, "finished" if y < math.inf else "diverged"))
        return out

    axes = (LR, Axis("weight_decay", 2.0**-4, 2.0**-14, 1.0))
    best, founds = search_each(
        both, BASE, axes, estimate=lambda axis: partial(estimate, name=axis.name),
        store=tmp_path / "runs.sqlite", workers=0,
    )  # fmt: skip
    assert math.log2(best["lr"]) == pytest.approx(-5.0, abs=0.5)
    assert math.log2(best["weight_decay"]) == pytest.approx(-7.2, abs=0.5)
    assert len(founds) >= 4
    assert founds[0].decisions[0].reason.startswith("look for the bottom")


def test_a_store_of_the_first_format_still_opens_and_takes_decisions(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    result = found(path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE decisions")
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()
    before = [encode(run) for run in Records.from_store(path)]
    again = found(path)
    assert again.decisions == result.decisions
    assert [encode(run) for run in Records.from_store(path)] == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": 0.0}, "precision=0"), ({"short": 2.0}, "short=2"), ({"budget": -1}, "budget=-1"),
        ({"base": BASE | {"lr": 0.1}}, "base fixes lr"), ({"base": BASE | {"seed": 1}}, "base fixes seed"),
    ],
)  # fmt: skip
def test_mistakes_are_told(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    settings = {"base": BASE, "axis": LR, "store": tmp_path / "a.sqlite", "estimate": estimate} | changes
    with pytest.raises(ValueError, match=words):
        search(train, **settings)


def test_an_axis_checks_itself_and_keeps_to_its_limits() -> None:
    with pytest.raises(ValueError, match="0 < low <= start <= high"):
        Axis("lr", 1.0, 2.0, 4.0)
    axis = Axis("lr", 0.1, 0.01, 1.0)
    assert axis.value(axis.first) >= 0.01 * (1 - 1e-12)
    assert axis.value(axis.last) <= 1.0 * (1 + 1e-12)
    assert axis.nearest(100.0) == axis.last
    with pytest.raises(ValueError, match="at least one hyperparameter"):
        search_each(train, BASE, (), estimate=lambda axis: estimate)
