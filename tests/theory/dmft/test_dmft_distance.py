"""Distances to the limit from runs made by a known law, and the best rate against a scan of exact solutions."""

import math

import numpy as np
import pytest
import torch

from isoscale._records.records import Records
from isoscale._records.run import Run
from isoscale.theory.dmft.distance import distance_to_limit
from isoscale.theory.dmft.linear import solve_linear
from isoscale.theory.dmft.predict import as_run, best_rate
from isoscale.theory.dmft.solver import Sampling
from tests.theory.dmft.problems import small

SIZES = [(w, d) for w in (64, 128, 256) for d in (4, 8, 16)]


def runs(law, noise: float = 1e-4, seed: int = 0) -> Records:
    draw = np.random.default_rng(seed)
    return Records(
        Run({"rule": "depth_mup", "optimizer": "sgd", "width": w, "depth": d, "seed": s, "lr": lr},
            {"train_loss": law(w, d) + (lr - 0.5) ** 2 + noise * draw.normal()})
        for w, d in SIZES for s in range(4) for lr in (0.25, 0.5, 1.0)
    )  # fmt: skip


def test_the_terms_of_a_known_law_are_found_within_their_errors() -> None:
    pulls = []
    for seed in range(12):
        value = distance_to_limit(runs(lambda w, d: 0.3 + 0.8 * w**-0.5 + 0.4 / d, seed=seed)).require()
        pulls += [(value.limit - 0.3) / value.limit_se, (value.width_term - 0.8) / value.width_se,
                  (value.depth_term - 0.4) / value.depth_se]  # fmt: skip
    assert max(map(abs, pulls)) < 5
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 2
    largest = next(size for size in value.sizes if (size.width, size.depth) == (256, 16))
    assert largest.distance == pytest.approx(0.8 / 16 + 0.4 / 16, abs=5 * largest.distance_se)
    assert value.halved_by is not None
    assert value.halved_by.distance <= largest.distance / 2
    cheaper = [(math.ceil(256 * 2 ** (i / 4)), math.ceil(16 * 2 ** (j / 4))) for i in range(20) for j in range(20)]
    enough = [w * w * d for w, d in cheaper if 0.8 * w**-0.5 + 0.4 / d <= 0.97 * largest.distance / 2]
    assert value.halved_by.cost * 256**2 * 16 <= min(enough)


def test_a_law_of_another_form_is_told() -> None:
    wrong = distance_to_limit(runs(lambda w, d: 0.3 + 0.02 * math.log2(w) * d))
    assert wrong.status.kind == "unconverged"
    assert "two terms" in wrong.status.sentence


def test_at_the_limit_nothing_is_advised_and_one_dimension_is_enough() -> None:
    flat = distance_to_limit(runs(lambda w, d: 0.3)).require()
    assert flat.halved_by is None
    narrow = distance_to_limit(runs(lambda w, d: 0.3 + 0.8 * w**-0.5).select(depth=8))
    assert "depth never varies" in narrow.status.sentence
    assert narrow.require().width_term == pytest.approx(0.8, abs=0.02)


def test_runs_that_cannot_tell_are_refused() -> None:
    records = runs(lambda w, d: 0.3)
    with pytest.raises(ValueError, match="three sizes"):
        distance_to_limit(records.select(width=64, depth=8))
    mixed = Records([*records, Run({**records[0].config, "rule": "sp"}, {"train_loss": 1.0})])
    with pytest.raises(ValueError, match="rule"):
        distance_to_limit(mixed)
    with pytest.raises(ValueError, match="told apart"):
        distance_to_limit(Records(r for r in records if r["width"] == 16 * r["depth"]), width_power=1)


def test_the_best_rate_is_that_of_the_exact_limit() -> None:
    problem = small(activation="linear", steps=8)
    grid = [2.0 ** (k / 2) for k in range(-6, 3)]
    exact = [solve_linear(problem.with_(eta0=rate), 3) for rate in grid]
    losses = [float(e.value.loss[-1]) if e.value and len(e.value.loss) == 9 else math.inf for e in exact]
    found = best_rate(problem, 3, grid, sampling=Sampling(512, 2, drop=1e-9)).require()
    assert grid[int(np.argmin(losses))] == pytest.approx(found.eta0, rel=0.45)
    finite = [i for i, x in enumerate(losses) if x < 1]
    assert np.allclose([found.losses[i] for i in finite], [losses[i] for i in finite], atol=1e-6)
    assert best_rate(problem, 3, grid[:3], sampling=Sampling(512, 2)).status.kind == "refused"
    assert best_rate(problem, math.inf, grid, sampling=Sampling(256, 2)).status.ok


def test_the_limit_becomes_a_run() -> None:
    problem = small(steps=3)
    run = as_run(problem, torch.tensor([1.0, 0.5, 0.3, 0.2]), {"model": "limit", "width": 2048, "depth": 3})
    assert run.metrics["train_loss"] == pytest.approx(0.2)
    assert run.curves["train_loss"].step == (0, 1, 2, 3)
    assert as_run(problem, torch.tensor([1.0, 0.5]), {}).status == "diverged"
