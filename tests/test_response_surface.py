"""Several hyperparameters by a quadratic design: found with few runs, with honest intervals, the same after a break."""

import math
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from isoscale._records.records import Records
from isoscale._records.run import Config, Run, digest
from isoscale._sweep.decide import Axis
from isoscale._sweep.events import Event
from isoscale._sweep.surface import search_surface
from isoscale._transfer.surface import Surface, fit_surface

BASE = {"rule": "sp", "optimizer": "adamw", "width": 8, "depth": 2, "steps": 100}
AXES = (Axis("lr", 2.0**-7, 2.0**-16, 1.0), Axis("weight_decay", 2.0**-4, 2.0**-14, 2.0**4))
BEST = (-5.3, -6.4)


def loss(config: Config, best: Sequence[float] = BEST, noise: float = 0.01) -> float:
    """A tilted valley in (lr, decay) that leans, diverging at high rates."""
    u, v = math.log2(config["lr"]) - best[0], math.log2(config["weight_decay"]) - best[1]
    if u > 3:
        return math.inf
    own, seed = random.Random(digest(dict(config))), random.Random(config["seed"])
    y = 0.06 * (u + 0.3 * v) ** 2 * (1 + 0.1 * math.tanh(u)) + 0.015 * v**2
    return math.exp(y + 0.1 * seed.gauss(0, 1) + noise * own.gauss(0, 1))


def train(configs: Sequence[Config], noise: float = 0.01) -> list[Run]:
    losses = [loss(config, noise=noise) for config in configs]
    return [
        Run(config, {"train_loss": y}, "finished" if y < math.inf else "diverged") for config, y in zip(configs, losses)
    ]


def fit(runs: Records, centre: tuple[float, ...], reach: float) -> Surface:
    return fit_surface(runs, [axis.name for axis in AXES], "train_loss", centre, reach)


def test_finds_the_bottom_of_a_tilted_valley_with_a_fraction_of_the_grids_runs(tmp_path: Path) -> None:
    found = search_surface(train, BASE, AXES, store=tmp_path / "a.sqlite", fit=fit, workers=0)
    assert found.status == "precise"
    ours = [math.log2(found.values[axis.name]) for axis in AXES]
    u, v = ours[0] - BEST[0], ours[1] - BEST[1]
    assert 0.06 * (u + 0.3 * v) ** 2 + 0.015 * v**2 < 0.01, "within one percent of the best loss"
    assert found.spent < 81 * 3 / 2, "an octave grid of the same range with three seeds"
    assert found.decisions[0].kind == "look"
    assert {decision.kind for decision in found.decisions} >= {"look", "design", "stop"}


def test_interrupted_it_takes_the_same_decisions(tmp_path: Path) -> None:
    job = partial(train, noise=0.05)
    whole = search_surface(job, BASE, AXES, store=tmp_path / "a.sqlite", fit=fit, workers=0, budget=80)
    for last in (1, 4):
        done = 0

        def stop(event: Event, last: int = last) -> None:
            nonlocal done
            done += event.kind == "finished"
            if done == last:
                raise KeyboardInterrupt

        path = tmp_path / f"{last}.sqlite"
        with pytest.raises(KeyboardInterrupt):
            search_surface(job, BASE, AXES, store=path, fit=fit, workers=0, budget=80, progress=stop, batch=8)
        again = search_surface(job, BASE, AXES, store=path, fit=fit, workers=0, budget=80, batch=8)
        assert again.decisions == whole.decisions


def runs(chance: np.random.Generator, best: tuple[float, float], noise: float, seeds: int = 3) -> list[Run]:
    """A 3 x 3 design round the origin on an exact bowl."""
    out = []
    for s in range(seeds):
        level = 0.2 * chance.normal()
        for u in (-1, 0, 1):
            for v in (-1, 0, 1):
                z = np.array([u - best[0], v - best[1]])
                y = 0.5 * z @ np.array([[0.12, 0.03], [0.03, 0.08]]) @ z + level + noise * chance.normal()
                config = {"lr": 2.0**u, "weight_decay": 2.0**v, "seed": s}
                out.append(Run(config, {"train_loss": float(np.exp(y))}))
    return out


def test_the_interval_of_a_bowl_covers_as_often_as_it_says() -> None:
    chance, covered = np.random.default_rng(2), 0
    for _ in range(50):
        best = tuple(chance.uniform(-0.4, 0.4, 2))
        found = fit_surface(runs(chance, best, 0.01), ["lr", "weight_decay"], "train_loss", (0.0, 0.0), 1.0)
        covered += (found.low[0] or -9) <= best[0] <= (found.high[0] or 9)
    assert covered >= 43


def test_a_bottom_outside_and_too_few_points_are_told() -> None:
    chance = np.random.default_rng(4)
    outside = fit_surface(runs(chance, (3.0, 0.0), 0.001), ["lr", "weight_decay"], "train_loss", (0.0, 0.0), 1.0)
    assert outside.status == "edge"
    assert outside.position[0] == 1.0
    few = fit_surface(runs(chance, (0.0, 0.0), 0.001)[:4], ["lr", "weight_decay"], "train_loss", (0.0, 0.0), 1.0)
    assert few.status == "too few"


def test_mistakes_are_told(tmp_path: Path) -> None:
    for changes, words in (
        ({"axes": AXES[:1]}, "two to 4"), ({"regret": 0.0}, "regret=0"),
        ({"base": BASE | {"lr": 0.1}}, "base fixes lr"),
    ):  # fmt: skip
        settings = {"base": BASE, "axes": AXES} | changes
        with pytest.raises(ValueError, match=words):
            search_surface(
                train, settings.pop("base"), settings.pop("axes"), store=tmp_path / "m.sqlite", fit=fit, **settings
            )
