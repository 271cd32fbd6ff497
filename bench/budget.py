"""Is the regret that `isoscale budget` predicts the regret that is measured?

Pre-LN residual MLPs on digits, AdamW, 60 steps: the law of the optimum's move is fitted to the small sizes alone, and
predicts what each proxy's optimum costs the largest size, which the fit has not seen; beside it what it does cost.

    python bench/budget.py [seeds]

Prints a table and writes bench/facts/budget.json.
"""

import json
import sys
from pathlib import Path

import numpy as np

from isoscale._train import train_batch
from isoscale._transfer.curve import curves
from isoscale._transfer.law import fit_law, predict
from isoscale._transfer.optimum import find_optimum
from isoscale._transfer.regret import regret
from isoscale._transfer.scale import Scale

FACTS = Path(__file__).parent / "facts" / "budget.json"
BASE = {
    "model": "preln_mlp", "data": "digits", "optimizer": "adamw", "base_width": 16, "base_depth": 2, "steps": 60,
    "batch_size": 128, "schedule": "cosine", "evaluations": 1,
}  # fmt: skip
SMALL = ((16, 2), (32, 2), (64, 2), (16, 4), (16, 8))
TARGET = (64, 8)
GRID = {"depth_mup": np.arange(-9, -2.9, 0.5), "sp": np.arange(-11, -2.9, 0.5)}


def main(arguments: list[str]) -> None:
    seeds = int(arguments[0]) if arguments else 5
    facts: dict[str, object] = {
        "command": "python bench/budget.py",
        "seeds": seeds,
        "target": TARGET,
        "fitted to": SMALL,
    }
    for rule, grid in GRID.items():
        runs = [
            run
            for width, depth in (*SMALL, TARGET)
            for run in train_batch(
                [
                    BASE | {"rule": rule, "width": width, "depth": depth, "seed": s, "lr": float(2.0**p)}
                    for s in range(seeds)
                    for p in grid
                ]
            )
        ]
        law = fit_law([run for run in runs if (run["width"], run["depth"]) != TARGET])
        (by_size,) = curves(runs, Scale("lr"), "train_loss").values()
        optima = {size: find_optimum(curve, Scale("lr")) for size, curve in by_size.items()}
        rows = []
        for proxy in SMALL:
            said = predict(law, proxy, TARGET, seeds)
            seen = regret(optima[proxy], by_size[TARGET], optima[TARGET], Scale("lr"))
            rows.append(
                {
                    "proxy": proxy, "predicted percent": round(100 * said.regret, 2),
                    "predicted, upper 95%": round(100 * said.high, 2), "status": seen.status,
                    "measured percent": seen.percent, "low": seen.percent_low, "high": seen.percent_high,
                }
            )  # fmt: skip
            print(rule, json.dumps(rows[-1]), flush=True)
        facts[rule] = {"law": json.loads(law.to_json()), "proxies": rows}
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
