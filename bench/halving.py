"""Does successive halving keep the run that the full sweep would choose as often as it says? On real learning curves.

A pool of real runs (residual MLP of width 32 and depth 3 on digits, AdamW, 100 steps: learning rates by seeds) stands
for the world; a trial draws 12 of its seeds without putting back, and asks of each way of halving whether it dropped
the candidate of least mean log loss over those 12. Ways: ours (paired prediction test, stated error 0.05); the same
with each candidate's seeds shuffled (pairing lost) and Welch's test; and the usual halving on learning curves, the
better half of what is left at 1/5, 2/5 and 3/5 of the steps, by means of 3 seeds.

    python bench/halving.py [seeds of the pool] [trials]

Prints a table and writes bench/facts/halving.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from isoscale._sweep.halving import Halving, keep
from isoscale._train import train_batch

FACTS = Path(__file__).parent / "facts" / "halving.json"
BASE = {
    "model": "residual_mlp", "data": "digits", "rule": "depth_mup", "optimizer": "adamw", "width": 32, "depth": 3,
    "base_width": 32, "base_depth": 3, "steps": 100, "batch_size": 128, "schedule": "cosine", "beta": 0.5,
    "evaluations": 5,
}  # fmt: skip
GRIDS = {"half octaves": np.arange(-9.0, -2.9, 0.5), "quarter octaves": np.arange(-6.5, -3.9, 0.25)}
SEEDS, ERROR, NAIVE_SEEDS = 12, 0.05, 3
METRICS = ("train_loss", "test_loss")


def pool(x: np.ndarray, seeds: int, metric: str, runs: dict) -> np.ndarray:
    """[candidate, seed, milestone]: log loss at each fifth of training, the end last; inf where diverged."""
    found = np.full((len(x), seeds, 6), np.inf)
    for i, position in enumerate(x):
        for s in range(seeds):
            run = runs[float(position), s]
            if run.status == "finished":
                curve = run.curves[metric].value[1:]
                found[i, s, : len(curve)] = np.log(curve)
                found[i, s, -1] = np.log(run.loss(metric))
    return found


def ours(y: np.ndarray) -> tuple[bool, float]:
    """Whether the full sweep's choice was dropped, and the share of the full sweep's runs that were trained."""
    question = Halving({}, tuple({"lr": float(i)} for i in range(len(y))), y.shape[1], ERROR, "loss")
    return halved(
        y, lambda left, n: keep({at: y[at, :n].tolist() for at in left}, y.shape[1], question.alpha), question
    )


def unpaired(y: np.ndarray, rng: np.random.Generator) -> tuple[bool, float]:
    """Seeds of its own for every candidate: the same levels, Welch's test in place of the paired one."""
    question = Halving({}, tuple({"lr": float(i)} for i in range(len(y))), y.shape[1], ERROR, "loss")
    mixed = np.stack([row[rng.permutation(y.shape[1])] for row in y])

    def kept(left: list[int], n: int) -> list[int]:
        finite = [at for at in left if np.isfinite(mixed[at, :n]).all()]
        leader = min(finite, key=lambda at: mixed[at, :n].mean())
        bound = stats.t.ppf(1 - question.alpha, 2 * n - 2) * np.sqrt((y.shape[1] - n) / y.shape[1])
        spread = {at: mixed[at, :n].var(ddof=1) for at in finite}
        gap = {at: mixed[at, :n].mean() - mixed[leader, :n].mean() for at in finite}
        return [at for at in finite if gap[at] <= bound * np.sqrt((spread[at] + spread[leader]) / n)]

    return halved(y, kept, question)


def halved(y: np.ndarray, kept, question: Halving) -> tuple[bool, float]:
    chosen, left, runs, before, lost = int(y.mean(1).argmin()), list(range(len(y))), 0, 0, False
    for n in (*question.looks, y.shape[1]):
        runs += len(left) * (n - before)
        before = n
        if n < y.shape[1]:
            left = kept(left, n)
            lost |= chosen not in left
            if len(left) == 1:
                break
    return lost, runs / y.size


def naive(curves: np.ndarray) -> tuple[bool, float]:
    """The better half at 1/5, 2/5 and 3/5 of the steps, by the mean of 3 seeds; the full sweep has all seeds."""
    chosen, left, cost = int(curves[:, :, -1].mean(1).argmin()), list(range(len(curves))), 0.0
    for fifth in range(3):
        cost += len(left) * NAIVE_SEEDS / 5
        ranked = sorted(left, key=lambda at: curves[at, :NAIVE_SEEDS, fifth].mean())
        left = ranked[: max(1, -(-len(left) // 2))]
    cost += len(left) * NAIVE_SEEDS * 2 / 5
    return chosen not in left, cost / curves[:, :, 0].size


def share(hits: list[bool]) -> dict[str, float]:
    """The share with its exact binomial 95% interval."""
    k, n = int(sum(hits)), len(hits)
    interval = stats.binomtest(k, n).proportion_ci(0.95)
    return {"dropped": k / n, "low": round(float(interval.low), 4), "high": round(float(interval.high), 4)}


def main(arguments: list[str]) -> None:
    seeds = int(arguments[0]) if arguments else 48
    trials = int(arguments[1]) if len(arguments) > 1 else 400
    every = sorted({float(p) for grid in GRIDS.values() for p in grid})
    runs = {}
    for s in range(seeds):
        for run in train_batch([BASE | {"seed": s, "lr": 2.0**p} for p in every]):
            runs[float(np.log2(run["lr"])), s] = run
    facts: dict[str, object] = {
        "command": "python bench/halving.py", "seeds of the pool": seeds, "trials": trials, "stated error": ERROR,
        "seeds of the full sweep": SEEDS,
    }  # fmt: skip
    for name, grid in GRIDS.items():
        for metric in METRICS:
            rng = np.random.default_rng(3)
            world = pool(grid, seeds, metric, runs)
            found: dict[str, list[tuple[bool, float]]] = {"paired, ours": [], "unpaired": [], "naive halving": []}
            for _ in range(trials):
                drawn = world[:, rng.permutation(seeds)[:SEEDS]]
                with np.errstate(invalid="ignore"):
                    found["paired, ours"].append(ours(drawn[:, :, -1]))
                    found["unpaired"].append(unpaired(drawn[:, :, -1], rng))
                    found["naive halving"].append(naive(drawn))
            row = {
                way: share([lost for lost, _ in each])
                | {"runs over full": round(float(np.mean([c for _, c in each])), 3)}
                for way, each in found.items()
            }
            facts[f"{len(grid)} learning rates, {name}, {metric}"] = row
            print(name, metric, json.dumps(row), flush=True)
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
