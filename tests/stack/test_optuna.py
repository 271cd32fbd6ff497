"""Optuna's samplers over our store: deterministic, resumable bit for bit, better than chance."""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from isoscale._records.codec import encode
from isoscale._records.decision import Decision
from isoscale._records.run import Run
from isoscale._records.store import Store
from isoscale._sweep.events import Event
from isoscale._sweep.sample import Sampled, Span, sample

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(
        importlib.util.find_spec("optuna") is None, reason="needs Optuna: pip install 'isoscale[optuna]'"
    ),
]

BASE = {"rule": "mup", "optimizer": "sgd", "width": 4, "depth": 2}
SPACE = {"lr": Span(2.0**-10, 2.0**-2), "weight_decay": Span(2.0**-8, 1.0)}


def bowl(batch: Sequence[dict]) -> list[Run]:
    """Lowest at lr = 2^-6, weight_decay = 2^-3, by a little less for each seed; above 2^-3 it diverges."""
    runs = []
    for config in batch:
        x, y = math.log2(config["lr"]), math.log2(config.get("weight_decay", 2.0**-3))
        loss = (x + 6) ** 2 + (y + 3) ** 2 + 0.01 * config["seed"]
        diverged = x > -3
        runs.append(Run(config, {"train_loss": math.inf if diverged else loss}, "diverged" if diverged else "finished"))
    return runs


def hill(batch: Sequence[dict]) -> list[Run]:
    return [Run(run.config, {"train_loss": -run.metrics["train_loss"]}) for run in bowl(batch)]


def run(path: Path, sampler: str = "tpe", train=bowl, **settings: object) -> Sampled:
    settings = {"trials": 40, "ask": 8, "workers": 0, **settings}
    return sample(train, BASE, SPACE, store=path, sampler=sampler, **settings)


def points(sampled: Sampled) -> list[dict]:
    return [point for decision in sampled.decisions for point in decision.content["points"]]


def distance(some: list[dict]) -> float:
    """Octaves from the bowl's bottom, on average."""
    return sum(abs(math.log2(p["lr"]) + 6) + abs(math.log2(p["weight_decay"]) + 3) for p in some) / len(some)


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 96), ("gp", 40), ("cmaes", 96)])
def test_a_sampler_comes_closer_than_chance_and_asks_the_same_again(tmp_path: Path, sampler: str, trials: int) -> None:
    first, again = (run(tmp_path / name, sampler, trials=trials) for name in ("a.sqlite", "b.sqlite"))
    assert points(first) == points(again)
    assert [encode(run) for run in first.runs] == [encode(run) for run in again.runs]
    other = run(tmp_path / "c.sqlite", sampler, trials=8, seed=1)
    assert points(first)[:8] != points(other)
    chance = run(tmp_path / "d.sqlite", "random", trials=trials)
    assert distance(points(first)[-8:]) < 0.7 * distance(points(chance)[-8:])
    assert first.loss == min(run.loss("train_loss") for run in first.runs) == first.study.best_value


def test_what_is_asked_depends_on_the_answers(tmp_path: Path) -> None:
    down, up = points(run(tmp_path / "a.sqlite")), points(run(tmp_path / "b.sqlite", train=hill))
    assert down[:8] == up[:8]
    assert down[16:] != up[16:]


class Enough(Exception):
    pass


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_an_interrupted_sampling_goes_on_as_if_it_had_not_been(tmp_path: Path, sampler: str) -> None:
    whole = run(tmp_path / "whole.sqlite", sampler)
    for rounds in (1, 3):
        finished = 0

        def stop(event: Event, rounds: int = rounds) -> None:
            nonlocal finished
            finished += event.kind == "finished"
            if finished > 2 * rounds:
                raise Enough

        with pytest.raises(Enough):
            run(tmp_path / "torn.sqlite", sampler, batch=4, progress=stop)
    torn = run(tmp_path / "torn.sqlite", sampler, batch=4)
    assert torn.decisions == whole.decisions
    assert [encode(run) for run in torn.runs] == [encode(run) for run in whole.runs]
    assert 3 <= len(torn.decisions) == 5


def test_more_trials_go_on_from_the_last(tmp_path: Path) -> None:
    few, more = run(tmp_path / "a.sqlite", trials=12), run(tmp_path / "a.sqlite", trials=30)
    assert more.decisions[:2] == few.decisions
    assert [len(decision.content["points"]) for decision in more.decisions] == [8, 4, 8, 8, 2]
    assert run(tmp_path / "a.sqlite", trials=30).decisions == more.decisions
    reasons = [decision.reason for decision in more.decisions]
    assert reasons[0] == "tpe asks after 0 points"
    assert "tpe asks after 28 points, of which the best has train_loss" in reasons[-1]


def test_a_recorded_question_goes_before_what_would_be_asked(tmp_path: Path) -> None:
    kept = run(tmp_path / "a.sqlite", trials=8)
    other = [{"lr": 2.0**-6, "weight_decay": 2.0**-3}, {"lr": 2.0**-7, "weight_decay": 0.5}]
    with Store(tmp_path / "b.sqlite") as store:
        identity = _identity(tmp_path / "a.sqlite")
        store.decide(identity, 0, Decision("ask", "by another version", {"points": other}))
        forced = run(store, trials=10)
    assert points(forced)[:2] == other
    assert forced.loss == 0.0
    assert len(forced.study.trials) == 10
    assert points(kept)[:2] != other


def _identity(path: Path) -> str:
    with Store(path) as store:
        return store._read("SELECT DISTINCT search FROM decisions", ())[0][0]


def test_seeds_are_averaged_and_choices_are_allowed(tmp_path: Path) -> None:
    space = {"lr": Span(2.0**-10, 2.0**-4), "schedule": ["constant", "cosine"]}
    found = sample(bowl, BASE, space, store=tmp_path / "a.sqlite", trials=6, ask=3, seeds=2, workers=0)
    assert len(found.runs) == 12
    assert {run["schedule"] for run in found.runs} == {"constant", "cosine"}
    best = found.runs.select(**found.best)
    assert found.loss == sum(run.loss("train_loss") for run in best) / 2


def test_where_every_point_diverges_there_is_no_best(tmp_path: Path) -> None:
    space = {"lr": Span(2.0**-2, 2.0**-1)}
    found = sample(bowl, BASE, space, store=tmp_path / "a.sqlite", trials=4, ask=2, workers=0)
    assert found.best is None
    assert found.loss == math.inf
    assert [trial.value for trial in found.study.trials] == [1e6] * 4
