"""What common random numbers buy: the spread of an estimated optimum and of its drift between sizes, with the same
seeds (initial noise and data order) at every learning rate and size, and with fresh ones everywhere.

    python bench/pairing.py [seeds of the pool]

Runs a pool once, then estimates from subsets of it: three seeds a learning rate, one parabola in mean log loss over
seven half-octave values round the pool's bottom. Prints a table and writes bench/facts/pairing.json.
"""

import json
import sys
from pathlib import Path

import numpy as np

from isoscale._train import train_batch

FACTS = Path(__file__).parent / "facts" / "pairing.json"
DEMO = {
    "model": "residual_mlp", "data": "digits", "rule": "depth_mup", "width": 32, "depth": 3, "base_width": 32,
    "base_depth": 3, "steps": 100, "batch_size": 128, "schedule": "cosine", "beta": 0.5,
}  # fmt: skip
GRIDS = {"adamw": np.arange(-8.0, -3.4, 0.5), "sgd": np.arange(-6.0, -0.4, 0.5)}
OWN = {"adamw": {"optimizer": "adamw"}, "sgd": {"optimizer": "sgd", "momentum": 0.9}}
SIZES = ({}, {"depth": 12})
SEEDS = 3
DRAWS = 2000


def pool(base: dict, x: np.ndarray, seeds: int) -> dict[str, np.ndarray]:
    runs = [run for s in range(seeds) for run in train_batch([base | {"seed": s, "lr": float(2.0**p)} for p in x])]
    return {m: np.array([run.loss(m) for run in runs]).reshape(seeds, len(x)) for m in ("train_loss", "test_loss")}


def bottom(x: np.ndarray, y: np.ndarray) -> slice:
    """Seven values round the lowest mean at which every seed finished."""
    stable = np.isfinite(y).all(0)
    at = int(np.argmin(np.where(stable, np.where(stable, y, 0).mean(0), np.inf)))
    last = int(np.flatnonzero(stable)[-1])
    end = min(at + 3, last)
    return slice(max(0, end - 6), end + 1)


def vertices(x: np.ndarray, y: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Vertex of each draw's parabola; `seeds` is [draw, seed, value], the seed used there."""
    mean = np.stack([y[seeds[:, :, i], i].mean(1) for i in range(len(x))])
    c, b, _ = np.polyfit(x - x.mean(), mean, 2)
    return np.clip(np.where(c > 0, -b / (2 * np.where(c > 0, c, 1)), 0.0), -2, 2) + x.mean()


def spread(values: np.ndarray) -> float:
    """A standard deviation that rare flat parabolas do not rule: of the middle 68%."""
    low, high = np.quantile(values, [0.16, 0.84])
    return float(high - low) / 2


def draw(rng: np.random.Generator, seeds: int, count: int, paired: bool) -> np.ndarray:
    """[draw, seed, value]: without putting back within a value; the same at every value if `paired`."""
    shape = (DRAWS, 1 if paired else count, seeds)
    order = np.argsort(rng.random(shape), axis=-1)[..., :SEEDS].swapaxes(1, 2)
    return np.broadcast_to(order, (DRAWS, SEEDS, count))


def compare(pools: list[np.ndarray], x: np.ndarray) -> dict[str, float]:
    rng, seeds = np.random.default_rng(11), len(pools[0])
    parts = [bottom(x, y) for y in pools]
    ys, xs = [y[:, part] for y, part in zip(pools, parts)], [x[part] for part in parts]
    counts = [len(each) for each in xs]
    paired = [draw(rng, seeds, count, True) for count in counts]
    shared = np.broadcast_to(paired[0][:, :, :1], (DRAWS, SEEDS, counts[1]))
    free = [draw(rng, seeds, count, False) for count in counts]
    one, other, unpaired = [
        [vertices(a, y, s) for a, y, s in zip(xs, ys, which)] for which in ((paired[0], shared), paired, free)
    ]
    near = np.diff(ys[0], axis=1).var(0).mean() / (ys[0].var(0)[1:] + ys[0].var(0)[:-1]).mean()
    return {
        "optimum, paired": spread(one[0]), "optimum, fresh seeds": spread(unpaired[0]),
        "variance ratio of the optimum": (spread(one[0]) / spread(unpaired[0])) ** 2,
        "drift, paired within and between sizes": spread(one[1] - one[0]),
        "drift, paired within a size only": spread(other[1] - other[0]),
        "drift, fresh seeds": spread(unpaired[1] - unpaired[0]),
        "variance ratio of the drift": (spread(one[1] - one[0]) / spread(unpaired[1] - unpaired[0])) ** 2,
        "variance ratio of neighbours' difference": float(near),
        "correlation of the two sizes' optima": float(np.corrcoef(one[0], one[1])[0, 1]),
    }  # fmt: skip


def main(arguments: list[str]) -> None:
    seeds = int(arguments[0]) if arguments else 48
    facts: dict[str, object] = {
        "command": "python bench/pairing.py",
        "seeds of the pool": seeds,
        "seeds a value": SEEDS,
    }
    for optimizer, x in GRIDS.items():
        pools = [pool(DEMO | OWN[optimizer] | size, x, seeds) for size in SIZES]
        for metric in ("train_loss", "test_loss"):
            with np.errstate(divide="ignore"):
                found = compare([np.log(each[metric]) for each in pools], x)
            facts[f"{optimizer}, {metric}"] = {name: round(value, 3) for name, value in found.items()}
            print(optimizer, metric, json.dumps(facts[f"{optimizer}, {metric}"]), flush=True)
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
