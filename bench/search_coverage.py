"""How often the interval that a search stops at holds the truth, and what the search costs, against a full grid.

A search looks again and again and stops when it likes what it sees: an interval that covers in 95 of 100 sweeps of
fixed size may cover less often then. Here searches run on losses drawn from curves with a known optimum, and on a
pool of real runs whose mean curve is the truth.

    python bench/search_coverage.py [repetitions] [seeds of the pool]

Prints tables and writes bench/facts/search_coverage.json.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from isoscale._records.decision import Decision
from isoscale._records.records import Records
from isoscale._records.run import Run
from isoscale._sweep.decide import LEVEL, Axis, Question, decide
from isoscale._train import train_batch
from isoscale._transfer.curve import LossCurve, curves
from isoscale._transfer.optimum import Optimum, find_optimum
from isoscale._transfer.scale import Scale
from isoscale._transfer.simulate import World

FACTS = Path(__file__).parent / "facts" / "search_coverage.json"
LR = Scale("lr")
BASE = {"rule": "sp", "optimizer": "adamw", "width": 32, "depth": 3, "steps": 100}
DEMO = BASE | {
    "model": "residual_mlp", "data": "digits", "base_width": 32, "base_depth": 3, "batch_size": 128,
    "schedule": "cosine", "beta": 0.5,
}  # fmt: skip
WORLDS = {
    "quadratic": World("quadratic", 0.03, 0.02),
    "leaning": World("leaning", 0.03, 0.03),
    "adam": World("adam", 0.03, 0.02),
    "adam, noisy": World("adam", 0.03, 0.04),
    "adam, seeds displaced": World("adam", 0.03, 0.02, shift=0.15),
    "cliff": World("cliff", 0.1, 0.02),
    "flat": World("flat", 0.1, 0.02),
}
Draw = Callable[[np.random.Generator], "Losses"]
"""A fresh sweep's losses: seeds by positions of a half-octave lattice, in short runs and in full ones."""


class Losses:
    def __init__(self, x: np.ndarray, short: np.ndarray, full: np.ndarray, truth: float, start: float) -> None:
        self.x, self.short, self.full, self.truth, self.start = x, short, full, truth, start

    def run(self, config: dict) -> Run:
        at = int(np.argmin(np.abs(self.x - np.log2(config["lr"]))))
        loss = float((self.full if config["steps"] == BASE["steps"] else self.short)[config["seed"], at])
        return Run(config, {"loss": loss}, "finished" if np.isfinite(loss) else "diverged")


def estimate(runs: Records) -> Optimum:
    """The interval of `isoscale._transfer` at the level that a search asks for, from runs of one size."""
    (by_size,) = curves(runs, LR, "loss").values()
    (curve,) = by_size.values()
    return find_optimum(curve, LR, LEVEL)


def searched(losses: Losses, budget: float, precision: float = 0.25) -> tuple[str, float, Decision, int]:
    """A search without a store: how it ended, what it spent (full runs), its last decision, and its looks."""
    axis = Axis("lr", float(2**losses.start), float(2 ** losses.x[0]), float(2 ** losses.x[-1]))
    question = Question(BASE, axis, "loss", precision, budget, 0.25)
    runs, spent, looks = Records(), 0.0, 0
    while True:
        decision = decide(question, runs, spent, estimate)
        if decision.kind == "stop":
            return decision.content["status"], spent, decision, looks
        looks += 1
        configs = question.configs(decision)
        runs = runs + Records(tuple(losses.run(config) for config in configs))
        spent += sum(config["steps"] for config in configs) / BASE["steps"]


def on_a_grid(losses: Losses, most: int, octaves: float = 6.0, precision: float = 0.25) -> tuple[bool, bool, int]:
    """The full half-octave grid with seed after seed until its interval is narrow: (narrow, covers, runs)."""
    away = np.abs(losses.x - losses.start) <= octaves / 2 + 1e-9
    for seeds in range(2, most + 1):
        log = LossCurve((32, 3), losses.x[away], tuple(range(seeds)), losses.full[:seeds][:, away], True, {}, ())
        found = find_optimum(log, LR, LEVEL)
        if found.status == "found" and (found.high - found.low) / 2 <= precision:
            return True, found.low <= losses.truth <= found.high, seeds * int(away.sum())
    return False, False, most * int(away.sum())


def simulated(world: World) -> Draw:
    """The start is up to two octaves off; short runs have an optimum of their own, up to half an octave away."""

    def draw(rng: np.random.Generator) -> Losses:
        start = rng.uniform(-2, 2)
        x = start + np.arange(-16, 17) / 2
        return Losses(x, world.losses(x, rng.uniform(-0.5, 0.5), 8, rng), world.losses(x, 0.0, 250, rng), 0.0, start)

    return draw


def pooled(x: np.ndarray, short: np.ndarray, full: np.ndarray) -> tuple[Draw, float]:
    """Seeds drawn from a pool of real runs, without putting back; the truth is the minimum of the pool's mean curve."""
    mean = np.log(full).mean(0)
    near = slice(max(0, int(np.argmin(mean)) - 4), int(np.argmin(mean)) + 5)
    fine = np.linspace(x[near][1], x[near][-2], 2001)
    truth = float(fine[np.argmin(np.polyval(np.polyfit(x[near] - x[near][0], mean[near], 4), fine - x[near][0]))])

    def draw(rng: np.random.Generator) -> Losses:
        first = int(rng.integers(0, 2))
        lattice = x[first::2]
        start = float(lattice[int(np.argmin(np.abs(lattice - truth - rng.uniform(-1.5, 1.5))))])
        order = rng.permutation(len(full))
        return Losses(lattice, short[rng.permutation(len(short))][:, first::2], full[order][:, first::2], truth, start)

    return draw, truth


def trained(steps: int, seeds: int, x: np.ndarray) -> dict[str, np.ndarray]:
    runs = [
        run
        for seed in range(seeds)
        for run in train_batch([DEMO | {"seed": seed, "lr": float(2.0**each), "steps": steps} for each in x])
    ]
    return {m: np.array([run.loss(m) for run in runs]).reshape(seeds, len(x)) for m in ("train_loss", "test_loss")}


def row(name: str, draw: Draw, repetitions: int, most_seeds: int) -> dict[str, object]:
    rng, ends, spent, covered, looks, errors = np.random.default_rng(7), Counter(), [], [], [], []
    grid = []
    for at in range(repetitions):
        losses = draw(rng)
        status, runs, stop, looked = searched(losses, 400)
        ends[status] += 1
        spent.append(runs)
        looks.append(looked)
        if status == "precise":
            covered.append(stop.content["low"] <= losses.truth <= stop.content["high"])
            errors.append(abs(stop.content["position"] - losses.truth))
        if at < repetitions // 5:
            grid.append(on_a_grid(losses, most_seeds))
    narrow = [g for g in grid if g[0]]
    facts = {
        "repetitions": repetitions, "ends": dict(ends), "coverage": float(np.mean(covered)) if covered else None,
        "within a quarter octave": float(np.mean(np.array(errors) <= 0.25)) if errors else None,
        "full runs spent, median": float(np.median(spent)), "decisions, mean": float(np.mean(looks)),
        "grid of 13 values": {
            "repetitions": len(grid), "narrow": len(narrow) / max(1, len(grid)),
            "coverage": float(np.mean([g[1] for g in narrow])) if narrow else None,
            "full runs, median": float(np.median([g[2] for g in grid])) if grid else None,
        },
    }  # fmt: skip
    print(f"{name}: {json.dumps(facts)}", flush=True)
    return facts


def main(arguments: list[str]) -> None:
    repetitions = int(arguments[0]) if arguments else 200
    seeds = int(arguments[1]) if len(arguments) > 1 else 120
    facts: dict[str, object] = {}
    for name, world in WORLDS.items():
        facts[name] = row(name, simulated(world), repetitions, 40)
    x = np.arange(-10, -2.4, 0.25)
    short, full = trained(25, min(24, seeds), x), trained(100, seeds, x)
    for metric in ("train_loss", "test_loss"):
        draw, truth = pooled(x, short[metric], full[metric])
        facts[f"real: residual MLP 32x3, {metric}"] = {"truth": truth} | row(metric, draw, repetitions, 40)
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
