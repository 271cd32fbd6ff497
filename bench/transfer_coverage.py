"""How often the intervals hold: coverage of an optimum's, a drift's and a regret's 95% interval on simulated sweeps
with a known answer, the same for the common alternatives, and how often a verdict is wrong.

    python bench/transfer_coverage.py [repetitions] [part ...]      parts: optimum drift regret verdict (default all)

Prints tables; the facts in docs/theory/transfer.md come from here.
"""

import sys
from collections import Counter

import numpy as np
from scipy.optimize import minimize_scalar

from isoscale._transfer import judge
from isoscale._transfer.controls import local_quadratic, percentile_bootstrap
from isoscale._transfer.curve import LossCurve
from isoscale._transfer.optimum import Optimum, find_optimum
from isoscale._transfer.regret import regret
from isoscale._transfer.scale import Scale
from isoscale._transfer.simulate import SHAPES, World
from isoscale._transfer.slope import line

NOISES = ((0.03, 0.01), (0.03, 0.03), (0.03, 0.06), (0.1, 0.02))  # (curvature, noise of a run) in log loss per octave^2
SEEDS = (2, 3, 5)
LR = Scale("lr")


def truth(world: World) -> float:
    """Octaves from the nominal optimum to that of the mean curve: seeds' displaced curves lean when averaged."""
    shape = SHAPES[world.shape]
    if world.shift == 0 or np.isfinite(shape.edge):
        return 0.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)

    def mean(position: float) -> float:
        return float(weights @ shape.rise(position - nodes * world.shift, world.curvature))

    return float(minimize_scalar(mean, bounds=(-2, 2), method="bounded").x)


def grid(rng: np.random.Generator) -> np.ndarray:
    """Half-octave grid whose offset to the optimum (at 0) is random."""
    return np.arange(-4.0, 3.6, 0.5) + rng.uniform(-0.25, 0.25)


def simulated(world: World, x: np.ndarray, seeds: int, rng: np.random.Generator, at: float = 0.0) -> LossCurve:
    return LossCurve((64, 4), x, tuple(range(seeds)), world.losses(x, at, seeds, rng), True, {}, ())


def optimum_table(repetitions: int, shift: float) -> None:
    print(f"\n## optimum, seeds' curves displaced by {shift} octaves: coverage (share found, median width in octaves)")
    print("| shape | " + " | ".join(f"{n} seeds" for n in SEEDS) + " | local quadratic, 3 seeds | bootstrap, 3 seeds |")
    print("|---|" + "---|" * (len(SEEDS) + 2))
    everything: dict[int, list[bool]] = {n: [] for n in SEEDS}
    for shape in SHAPES:
        cells, quadratic, bootstrap = [], [], []
        for seeds in SEEDS:
            covered, widths = [], []
            for curvature, noise in NOISES:
                world = World(shape=shape, curvature=curvature, noise=noise, shift=shift)
                rng, right = np.random.default_rng(1), truth(world)
                for _ in range(repetitions):
                    curve = simulated(world, grid(rng), seeds, rng)
                    found = find_optimum(curve, LR)
                    if found.status == "found" and found.low is not None and found.high is not None:
                        covered.append(found.low <= right <= found.high)
                        widths.append(found.high - found.low)
                    if seeds == 3:
                        plain = local_quadratic(curve.x, curve.objective)
                        if plain is not None:
                            quadratic.append(plain[0] <= right <= plain[1])
                        low, high = percentile_bootstrap(curve.x, curve.objective, rng, 200)
                        bootstrap.append(low <= right <= high)
            everything[seeds] += covered
            share = len(covered) / (repetitions * len(NOISES))
            cells.append(f"{np.mean(covered):.3f} ({share:.2f}, {np.median(widths):.2f})")
        print(f"| {shape} | " + " | ".join(cells) + f" | {np.mean(quadratic):.2f} | {np.mean(bootstrap):.2f} |")
    print("| all | " + " | ".join(f"{np.mean(v):.3f}" for v in everything.values()) + " | | |")


def drift_table(repetitions: int) -> None:
    print("\n## drift: coverage of the slope's interval (median half width), error 0.15 octaves per size")
    print("| sizes | no scatter | scatter 0.1 | scatter 0.3 |\n|---|---|---|---|")
    rng = np.random.default_rng(2)
    for sizes in (3, 4, 5, 6):
        cells = []
        for scatter in (0.0, 0.1, 0.3):
            x = np.arange(sizes, dtype=float)
            hits, half = [], []
            for _ in range(20 * repetitions):
                errors = 0.15 * np.sqrt(rng.chisquare(20, sizes) / 20)
                y = 0.2 * x + rng.normal(0, 0.15, sizes) + rng.normal(0, scatter, sizes)
                fit = line(list(x), list(y), list(errors), [20.0] * sizes)
                hits.append(fit.low <= 0.2 <= fit.high)
                half.append((fit.high - fit.low) / 2)
            cells.append(f"{np.mean(hits):.3f} ({np.median(half):.2f})")
        print(f"| {sizes} | " + " | ".join(cells) + " |")


def regret_table(repetitions: int) -> None:
    print("\n## regret (log loss): coverage, mean estimate / truth, by displacement of the carried value")
    print("| shape | seeds | 0 octaves | 0.5 | 1 |\n|---|---|---|---|---|")
    for shape in ("quadratic", "adam", "leaning"):
        for seeds in (2, 3, 5):
            cells = []
            for away in (0.0, 0.5, 1.0):
                world = World(shape=shape, noise=0.02)
                right = float(SHAPES[shape].rise(np.array([away]), world.curvature)[0])
                rng, hits, estimates = np.random.default_rng(3), [], []
                for _ in range(repetitions):
                    proxy = Optimum(64, 4, "found", "", position=away)
                    curve = simulated(world, grid(rng), seeds, rng)
                    best = find_optimum(curve, LR)
                    got = regret(proxy, curve, best, LR)
                    if got.percent is None:
                        continue
                    low, high = np.log1p(got.percent_low / 100), np.log1p(got.percent_high / 100)
                    hits.append(low - 1e-12 <= right <= high)
                    estimates.append(np.log1p(got.percent / 100))
                cells.append(f"{np.mean(hits):.3f} ({np.mean(estimates):.4f} / {right:.4f})")
            print(f"| {shape} | {seeds} | " + " | ".join(cells) + " |")


def verdict_table(repetitions: int) -> None:
    print("\n## verdicts along depth, tolerance 0.25: share of transfers / drifts / cannot tell")
    print("| shape, noise, sizes, seeds | no drift | 0.25 | 0.5 | 1.0 |\n|---|---|---|---|---|")
    for shape, noise, sizes, seeds in (
        ("adam", 0.01, 5, 3), ("adam", 0.02, 4, 3), ("adam", 0.02, 5, 3), ("adam", 0.04, 5, 3), ("adam", 0.02, 5, 5),
        ("cliff", 0.02, 5, 3), ("wall", 0.01, 5, 3), ("leaning", 0.02, 3, 3),
    ):  # fmt: skip
        cells = []
        for drift in (0.0, -0.25, -0.5, -1.0):
            rng, seen = np.random.default_rng(4), Counter()
            for _ in range(repetitions):
                start = -8.0 + rng.uniform(-0.25, 0.25)
                optima = {(64, 4 * 2**k): start + drift * k for k in range(sizes)}
                world = World(shape=shape, noise=noise)
                (verdict,) = judge(world.runs(optima, seeds=seeds, rng=rng, x=tuple(np.arange(-13.5, -4.4, 0.5))))
                seen[verdict.outcome] += 1
            cells.append(" / ".join(f"{seen[o] / repetitions:.2f}" for o in ("transfers", "drifts", "cannot tell")))
        print(f"| {shape}, {noise}, {sizes}, {seeds} | " + " | ".join(cells) + " |")


def main(arguments: list[str]) -> None:
    repetitions = int(arguments[0]) if arguments else 100
    parts = arguments[1:] or ["optimum", "drift", "regret", "verdict"]
    if "optimum" in parts:
        optimum_table(repetitions, 0.0)
        optimum_table(repetitions, 0.15)
    if "drift" in parts:
        drift_table(repetitions)
    if "regret" in parts:
        regret_table(repetitions)
    if "verdict" in parts:
        verdict_table(max(10, repetitions // 4))


if __name__ == "__main__":
    main(sys.argv[1:])
