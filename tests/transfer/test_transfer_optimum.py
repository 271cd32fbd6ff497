"""An optimum, or the sentence why there is none."""

import json
import math

import numpy as np
import pytest

from isoscale._records.run import Curve, Run
from isoscale._transfer.curve import LossCurve
from isoscale._transfer.edge import stability_edge
from isoscale._transfer.optimum import Optimum, find_optimum
from isoscale._transfer.scale import Scale
from isoscale._transfer.simulate import World

LR = Scale("lr")
GRID = np.arange(-12.0, -3.9, 0.5)


def curve(loss: np.ndarray, x: np.ndarray = GRID, log: bool = True) -> LossCurve:
    return LossCurve((64, 4), x, tuple(range(len(loss))), loss, log, {}, ())


def simulated(optimum: float, seeds: int = 3, x: np.ndarray = GRID, seed: int = 0, **world) -> LossCurve:
    return curve(World(**world).losses(x, optimum, seeds, np.random.default_rng(seed)), x)


def test_an_optimum_inside_the_grid_is_found_with_its_loss() -> None:
    found = find_optimum(simulated(-8.2, noise=0.005), LR)
    assert found.status == "found"
    assert found.low < -8.2 < found.high
    assert found.high - found.low < 1
    assert found.value == pytest.approx(2**found.position)
    assert found.loss == pytest.approx(0.3, rel=0.2)
    assert found.standard_error > 0
    assert "3 seeds" in found.sentence


@pytest.mark.parametrize(("optimum", "side", "further"), [(-13.5, "low", -14.0), (-2.0, "high", -2.0)])
def test_an_optimum_beyond_the_grid_says_where_to_extend_it(optimum: float, side: str, further: float) -> None:
    found = find_optimum(simulated(optimum, noise=0.005, shape="quadratic"), LR)
    assert (found.status, found.side) == ("edge", side)
    assert f"2^{further:.2f}" in found.sentence
    if side == "low":
        assert found.low is None
        assert found.high is None or found.high > optimum
    else:
        assert found.high is None
        assert found.low is None or found.low < optimum


def test_a_flat_noisy_curve_is_too_noisy_and_says_how_many_seeds() -> None:
    found = find_optimum(simulated(-8.0, noise=0.2, curvature=0.005), LR)
    assert found.status in ("too noisy", "edge")
    quiet = find_optimum(simulated(-8.0, noise=0.002, curvature=0.005), LR)
    assert quiet.status == "found", "control: the same curve without noise is found"


def test_one_seed_is_too_few() -> None:
    found = find_optimum(simulated(-8.0, seeds=1, noise=0.001), LR)
    assert found.status == "too few seeds"
    assert abs(found.position + 8) <= 0.5
    assert found.low is None


def test_seeds_that_share_no_position_are_too_few() -> None:
    loss = simulated(-8.0, seeds=2, noise=0.001).loss
    loss[0, ::2], loss[1, 1::2] = np.nan, np.nan
    assert find_optimum(curve(loss), LR).status == "too few seeds"


def test_all_diverged_bounds_the_optimum_from_above() -> None:
    found = find_optimum(curve(np.full((3, len(GRID)), np.inf)), LR)
    assert found.status == "all diverged"
    assert found.high == GRID[0]
    assert "extend it below" in found.sentence


def test_three_stable_positions_are_too_few() -> None:
    loss = simulated(-8.0).loss
    loss[:, 3:] = np.inf
    assert find_optimum(curve(loss), LR).status == "too few points"


def test_diverged_positions_are_not_fitted_but_bound_the_optimum() -> None:
    """The loss falls until the cliff: the optimum lies between the last stable position and the first diverged one."""
    loss = simulated(-2.0, shape="quadratic", noise=0.002).loss
    loss[:, 9:] = np.inf
    found = find_optimum(curve(loss), LR)
    assert found.status == "found"
    assert found.beside_edge
    assert found.high == GRID[9]
    assert found.position <= GRID[8], "a value beyond the last that trained is never recommended"


def test_one_diverged_seed_of_three_ends_the_curve() -> None:
    loss = simulated(-8.0, noise=0.005).loss
    loss[1, 13:] = np.inf
    with_it = find_optimum(curve(loss), LR)
    assert with_it.status == "found"
    assert with_it.low < -8 < with_it.high


def test_missing_runs_are_allowed() -> None:
    loss = simulated(-8.0, seeds=4, noise=0.005).loss
    loss[0, 2], loss[1, 7], loss[3, 8:] = np.nan, np.nan, np.nan
    found = find_optimum(curve(loss), LR)
    assert found.low < -8 < found.high
    assert found.seeds == 4


def test_seeds_levels_cancel_exactly() -> None:
    loss = simulated(-8.0, noise=0.01).loss
    moved = find_optimum(curve(loss * np.array([[1.0], [3.0], [0.2]])), LR)
    still = find_optimum(curve(loss), LR)
    assert moved.low == pytest.approx(still.low, abs=1e-6)
    assert moved.position == pytest.approx(still.position, abs=1e-6)


def test_identical_seeds_and_losses_that_are_not_positive_do_not_break_it() -> None:
    z = GRID + 8.0
    found = find_optimum(curve(np.tile(z**2 - 5, (2, 1)), log=False), LR)
    assert found.status == "found"
    assert found.position == pytest.approx(-8, abs=0.05)
    assert found.loss == pytest.approx(-5, abs=0.1)


def test_a_linear_scale_works_in_the_hyperparameters_own_units() -> None:
    x = np.arange(0.8, 1.0, 0.0125)
    loss = World(shape="quadratic", curvature=60.0, noise=0.005).losses(x, 0.9, 3, np.random.default_rng(0))
    found = find_optimum(curve(loss, x), Scale("momentum", "linear"))
    assert found.status == "found"
    assert found.low < 0.9 < found.high
    assert found.value == found.position


def test_the_optimum_turns_into_json_without_infinities() -> None:
    text = Optimum(64, 4, "all diverged", "gone", high=math.inf, low=math.nan).to_json()
    assert json.loads(text)["high"] is None


def runs(limit: float, seeds: int = 3, climbs: float = math.inf) -> LossCurve:
    made = []
    for seed in range(seeds):
        for x in GRID:
            config = {"rule": "mup", "optimizer": "sgd", "width": 64, "depth": 4, "seed": seed, "lr": 2.0**x}
            gone = x > limit - 0.5 * (seed == 0)
            final = math.inf if gone else 9.0 if x > climbs else 1.0
            status = "diverged" if gone else "finished"
            made.append(Run(config, {"train_loss": final}, status, curves={"train_loss": Curve((0, 5), (2.3, final))}))
    loss = np.array([[r.metrics["train_loss"] for r in made if r.config["seed"] == s] for s in range(seeds)])
    return LossCurve((64, 4), GRID, tuple(range(seeds)), loss, True, {}, tuple(made))


def test_the_stability_edge_is_where_most_seeds_fail() -> None:
    edge = stability_edge(runs(-6.0), LR, "train_loss")
    assert (edge.last_stable, edge.first_unstable, edge.resolution) == (-6.0, -5.5, 0.5)
    assert stability_edge(runs(0.0), LR, "train_loss").status == "beyond the grid"
    assert stability_edge(runs(-20.0), LR, "train_loss").status == "below the grid"


def test_a_run_that_ends_above_its_start_has_failed() -> None:
    assert stability_edge(runs(-4.0, climbs=-7.0), LR, "train_loss").last_stable == -7.0
