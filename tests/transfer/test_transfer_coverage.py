"""How often the intervals hold, on curves whose optimum is known. The full tables: bench/transfer_coverage.py."""

import numpy as np
import pytest

from isoscale._transfer.controls import local_quadratic, percentile_bootstrap
from isoscale._transfer.curve import LossCurve
from isoscale._transfer.optimum import find_optimum
from isoscale._transfer.scale import Scale
from isoscale._transfer.simulate import SHAPES, World
from isoscale._transfer.slope import line

LR = Scale("lr")


def curves(world: World, seeds: int, count: int, seed: int = 11):
    """Curves on a half-octave grid at a random offset to the optimum, which is at 0."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        x = np.arange(-4.0, 3.6, 0.5) + rng.uniform(-0.25, 0.25)
        yield LossCurve((64, 4), x, tuple(range(seeds)), world.losses(x, 0.0, seeds, rng), True, {}, ())


def holds(world: World, seeds: int, count: int) -> list[bool]:
    found = [find_optimum(curve, LR) for curve in curves(world, seeds, count)]
    return [o.low <= 0 <= o.high for o in found if o.status == "found"]


def test_the_interval_of_an_optimum_covers_as_often_as_it_says() -> None:
    held = []
    for shape in SHAPES:
        for seeds, noise in ((2, 0.02), (3, 0.03), (5, 0.05)):
            held += holds(World(shape=shape, noise=noise), seeds, 15)
    assert len(held) > 150, "too few were found to count"
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.parametrize("shape", ["leaning", "adam", "cliff"])
def test_a_leaning_curve_is_covered_where_a_plain_parabola_misses(shape: str) -> None:
    world = World(shape=shape, noise=0.01)
    plain = [local_quadratic(curve.x, curve.objective) for curve in curves(world, 3, 40)]
    assert np.mean([low <= 0 <= high for low, high in filter(None, plain)]) < 0.5
    assert np.mean(holds(world, 3, 40)) > 0.9


def test_control_the_bootstrap_over_three_seeds_is_too_narrow() -> None:
    rng, held, ours = np.random.default_rng(5), [], []
    for curve in curves(World(shape="quadratic", noise=0.03), 3, 60):
        low, high = percentile_bootstrap(curve.x, curve.objective, rng, 100)
        held.append(low <= 0 <= high)
        found = find_optimum(curve, LR)
        ours.append(found.low <= 0 <= found.high)
    assert np.mean(held) < 0.88
    assert np.mean(ours) > 0.92


def test_seeds_whose_curves_are_displaced_widen_the_interval() -> None:
    """With every seed's optimum elsewhere, the runs' own noise alone would be far too narrow."""
    world = World(shape="quadratic", noise=0.003, shift=0.3)
    assert np.mean(holds(world, 5, 60)) > 0.88


@pytest.mark.parametrize(("scatter", "sizes"), [(0.0, 3), (0.0, 5), (0.1, 5)])
def test_the_interval_of_a_drift_covers(scatter: float, sizes: int) -> None:
    rng, held = np.random.default_rng(6), []
    x = [float(k) for k in range(sizes)]
    for _ in range(400):
        y = 0.2 * np.arange(sizes) + rng.normal(0, np.hypot(0.15, scatter), sizes)
        fit = line(x, list(y), [0.15] * sizes, [20.0] * sizes)
        held.append(fit.low <= 0.2 <= fit.high)
    assert 0.92 <= np.mean(held) <= 0.98


def test_control_a_drift_that_ignores_scatter_between_sizes_is_too_narrow() -> None:
    rng, held, ignored = np.random.default_rng(7), [], []
    x = [float(k) for k in range(6)]
    for _ in range(300):
        y = list(0.2 * np.arange(6) + rng.normal(0, 0.5, 6))
        fit = line(x, y, [0.1] * 6, [20.0] * 6)
        held.append(fit.low <= 0.2 <= fit.high)
        naive = 1.96 * 0.1 / np.sqrt(np.sum((np.arange(6) - 2.5) ** 2))
        ignored.append(abs(fit.estimate - 0.2) <= naive)
    assert np.mean(ignored) < 0.5
    assert np.mean(held) > 0.88
