"""Halving keeps the full sweep's choice as often as it says, records its decisions, and naive halving does not."""

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from isoscale._records.records import Records
from isoscale._records.run import Config, Run, digest
from isoscale._sweep.events import Event
from isoscale._sweep.halving import Halving, halve, keep

BASE = {"rule": "sp", "optimizer": "sgd", "width": 8, "depth": 2, "steps": 10}
LRS = [{"lr": 2.0**k} for k in range(-8, 0)]


def train(configs: Sequence[Config]) -> list[Run]:
    runs = []
    for config in configs:
        z, own = math.log2(config["lr"]) + 4.2, random.Random(digest(dict(config)))
        loss = math.inf if z > 3 else math.exp(0.1 * z * z + 0.1 * random.Random(config["seed"]).gauss(0, 1))
        loss = loss if math.isinf(loss) else loss * math.exp(0.02 * own.gauss(0, 1))
        runs.append(Run(config, {"train_loss": loss}, "finished" if loss < math.inf else "diverged"))
    return runs


def test_it_finds_what_the_full_sweep_chooses_with_fewer_runs(tmp_path: Path) -> None:
    found = halve(train, BASE, LRS, store=tmp_path / "a.sqlite", workers=0)
    full = {at: np.mean([math.log(train([{**BASE, **lr, "seed": s}])[0].loss("train_loss")) for s in range(12)])
            for at, lr in enumerate(LRS)}  # fmt: skip
    assert found.best == min(full, key=full.get)
    assert found.settings == LRS[found.best]
    assert len(found.runs) < 0.6 * found.full
    assert 7 not in found.left, "a candidate that diverges is dropped"
    assert all(len(decision.reason) > 15 for decision in found.decisions)


def test_interrupted_it_takes_the_same_decisions(tmp_path: Path) -> None:
    whole = halve(train, BASE, LRS, store=tmp_path / "a.sqlite", workers=0, batch=3)
    for last in (1, 4, 9):
        done = 0

        def stop(event: Event, last: int = last) -> None:
            nonlocal done
            done += event.kind == "finished"
            if done == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            halve(train, BASE, LRS, store=tmp_path / f"{last}.sqlite", workers=0, batch=3, progress=stop)
        again = halve(train, BASE, LRS, store=tmp_path / f"{last}.sqlite", workers=0, batch=3)
        assert again.decisions == whole.decisions
        assert len(Records.from_store(tmp_path / f"{last}.sqlite")) == len(whole.runs)


def dropped(rng: np.random.Generator, paired: bool, level: float = 0.1) -> bool:
    """One sweep of 8 candidates, near-tied, 12 seeds: was the full sweep's choice dropped on the way?"""
    gaps = np.abs(np.arange(8) - 3.4) * 0.004
    y = gaps[:, None] + 0.02 * rng.normal(size=(8, 12)) + (level * rng.normal(size=12))[None]
    chosen = int(y.mean(1).argmin())
    question = Halving(BASE, tuple(LRS), 12, 0.05, "train_loss")
    left = list(range(8))
    for n in question.looks:
        if paired:
            left = keep({at: y[at, :n].tolist() for at in left}, 12, question.alpha)
        else:  # naive: the better half by means of seeds of their own
            own = {at: (gaps[at] + (0.02 * rng.normal(size=n) + level * rng.normal(size=n))).mean() for at in left}
            left = sorted(left, key=own.get)[: max(1, len(left) // 2)]
        if chosen not in left:
            return True
    return False


def test_the_stated_error_holds_and_unpaired_halving_exceeds_it() -> None:
    rng = np.random.default_rng(5)
    assert np.mean([dropped(rng, True) for _ in range(300)]) <= 0.05
    assert np.mean([dropped(rng, False) for _ in range(300)]) > 0.2


def test_mistakes_are_told(tmp_path: Path) -> None:
    for changes, words in (
        ({"seeds": 2}, "seeds=2"), ({"error": 0.0}, "error=0"), ({"candidates": LRS[:1]}, "at least two"),
        ({"candidates": [*LRS, LRS[0]]}, "each once"), ({"base": BASE | {"seed": 1}}, "fixes the seed"),
    ):  # fmt: skip
        settings = {"base": BASE, "candidates": LRS} | changes
        with pytest.raises(ValueError, match=words):
            halve(train, settings.pop("base"), settings.pop("candidates"), store=tmp_path / "m.sqlite", **settings)
