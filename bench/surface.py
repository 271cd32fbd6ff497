"""How many runs know two hyperparameters: a quadratic design that moves, against a full grid, at equal precision.

Tilted valleys in (learning rate, weight decay) with a known bottom, up to two octaves from the start in each. Both stop
at the same words of the same estimator: every interval within +-1/4 octave, or the point within 1% of the box's best
with 95% confidence. The grid has 9 x 9 values an octave apart (the range that the search looks at), seed after seed.

    python bench/surface.py [repetitions]

Prints a table and writes bench/facts/surface.json.
"""

import json
import math
import random
import sys
import tempfile
from pathlib import Path

import numpy as np

from isoscale._records.records import Records
from isoscale._records.run import Run, digest
from isoscale._sweep.decide import Axis
from isoscale._sweep.surface import search_surface
from isoscale._transfer.surface import Surface, fit_surface

FACTS = Path(__file__).parent / "facts" / "surface.json"
BASE = {"rule": "sp", "optimizer": "adamw", "width": 8, "depth": 2, "steps": 100}
NAMES = ("lr", "weight_decay")
AXES = (Axis("lr", 2.0**-7, 2.0**-16, 2.0), Axis("weight_decay", 2.0**-4, 2.0**-14, 2.0**6))
MOST_SEEDS, REGRET, PRECISION = 20, 1.0, 0.25


class Valley:
    def __init__(self, best: tuple[float, float], noise: float) -> None:
        self.best, self.noise = best, noise

    def above(self, lr: float, decay: float) -> float:
        u, v = math.log2(lr) - self.best[0], math.log2(decay) - self.best[1]
        return 0.06 * (u + 0.3 * v) ** 2 * (1 + 0.1 * math.tanh(u)) + 0.015 * v**2

    def run(self, config: dict) -> Run:
        own = random.Random(digest({**config, "best": list(self.best)}))
        y = self.above(config["lr"], config["weight_decay"])
        y += 0.1 * random.Random(config["seed"]).gauss(0, 1) + self.noise * own.gauss(0, 1)
        return Run(config, {"train_loss": math.exp(y)})

    def __call__(self, configs: list) -> list[Run]:
        return [self.run(config) for config in configs]


def fit(runs: Records, centre: tuple[float, ...], reach: float) -> Surface:
    return fit_surface(runs, NAMES, "train_loss", centre, reach)


def good(found: Surface) -> bool:
    halves = [None if a is None or b is None else (b - a) / 2 for a, b in zip(found.low, found.high)]
    narrow = found.status == "found" and all(half is not None and half <= PRECISION for half in halves)
    return narrow or (found.regret_high is not None and found.regret_high <= REGRET)


def on_a_grid(valley: Valley) -> tuple[int, tuple[float, float]]:
    """Runs until the estimator is sure, and its point: the fit is on the octave round the lowest mean."""
    grid = [(2.0 ** (-7 + i), 2.0 ** (-4 + j)) for i in range(-4, 5) for j in range(-4, 5)]
    runs: list[Run] = []
    for seed in range(MOST_SEEDS):
        runs += [valley.run({**BASE, "lr": lr, "weight_decay": decay, "seed": seed}) for lr, decay in grid]
        if seed < 2:
            continue
        means = np.mean(
            [[math.log(run.loss("train_loss")) for run in runs[s * 81 : s * 81 + 81]] for s in range(seed + 1)], 0
        )
        lr, decay = grid[int(np.argmin(means))]
        found = fit(Records(tuple(runs)), (math.log2(lr), math.log2(decay)), 1.0)
        if good(found):
            break
    return len(runs), found.position or (math.log2(lr), math.log2(decay))


def main(arguments: list[str]) -> None:
    repetitions = int(arguments[0]) if arguments else 30
    rng = np.random.default_rng(6)
    facts: dict[str, object] = {"command": "python bench/surface.py", "repetitions": repetitions}
    for noise in (0.01, 0.03):
        rows = []
        for _ in range(repetitions):
            best = (-7 + rng.uniform(-2, 2), -4 + rng.uniform(-2, 2))
            valley = Valley((float(best[0]), float(best[1])), noise)
            with tempfile.TemporaryDirectory() as folder:
                ours = search_surface(
                    valley, BASE, AXES, store=f"{folder}/s.sqlite", fit=fit, workers=0, batch=512, budget=2000,
                    precision=PRECISION, regret=REGRET,
                )  # fmt: skip
            runs, point = on_a_grid(valley)
            rows.append(
                (
                    ours.spent,
                    runs,
                    valley.above(*ours.values.values()),
                    valley.above(*(2.0**p for p in point)),
                    ours.status,
                )
            )
        facts[f"noise {noise}"] = found = {
            "full runs, median: design": float(np.median([row[0] for row in rows])),
            "full runs, median: grid": float(np.median([row[1] for row in rows])),
            "true regret above 1%: design": float(np.mean([math.expm1(row[2]) > 0.01 for row in rows])),
            "true regret above 1%: grid": float(np.mean([math.expm1(row[3]) > 0.01 for row in rows])),
            "ended precise": float(np.mean([row[4] == "precise" for row in rows])),
        }
        print(noise, json.dumps(found), flush=True)
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
