"""The sampled limit: determinism, error bars that hold, truncation, precision, memory, and every status."""

from collections.abc import Callable

import pytest
import torch

from isoscale.theory.dmft import planning
from isoscale.theory.dmft.deep import solve_deep
from isoscale.theory.dmft.fixed_point import solve_fixed_point
from isoscale.theory.dmft.linear import solve_linear
from isoscale.theory.dmft.network import train_networks
from isoscale.theory.dmft.planning import need
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.dmft.riccati import solve_linear_deep
from isoscale.theory.dmft.solver import Sampling, sample_networks, solve_limit
from isoscale.theory.dmft.sources import Frame
from isoscale.theory.solution import Unsolved
from tests.theory.dmft.problems import small


def rms(x: torch.Tensor) -> float:
    return float((x * x).mean().sqrt())


def test_a_frame_is_orthonormal_and_looks_gaussian() -> None:
    fields = Frame(2, 256, 0).draw(256)
    gram = fields @ fields.transpose(1, 2) / 256
    assert float((gram - torch.eye(256, dtype=torch.float64)).abs().max()) < 1e-12
    assert abs(float((fields**4).mean()) - 3) < 0.15
    with pytest.raises(ValueError, match="power of two"):
        Frame(1, 100, 0)


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not() -> None:
    sampling = Sampling(128, 2)
    a, b = (solve_limit(small(), 2, sampling=sampling).require().f for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, solve_limit(small(), 2, sampling=Sampling(128, 2, seed=1)).require().f)


def test_error_bars_hold_where_the_truth_is_known() -> None:
    """Linear with independent draws: the deviation from the exact limit, in units of the error claimed."""
    problem = small(activation="linear", eta0=0.2)
    exact = solve_linear(problem, 3).require().f
    ratios = []
    for seed in range(8):
        found = solve_limit(problem, 3, sampling=Sampling(1024, 4, "iid", seed=seed))
        assert found.value is not None
        ratios.append(rms(found.value.f - exact) / found.error["f"])
    assert 0.5 < sum(ratios) / len(ratios) < 2


def test_the_fixed_point_finds_the_same_limit_and_not_the_one_without_responses() -> None:
    problem = small(steps=3, eta0=0.3)
    limit = solve_limit(problem, 2, sampling=Sampling(4096, 4)).require().f
    slow = solve_fixed_point(problem, 2, particles=20000, damping=1.0).require()
    without = solve_limit(problem, 2, sampling=Sampling(4096, 4, response=False)).require().f
    assert rms(slow.f - limit) < 0.02 * rms(limit)
    assert rms(slow.f - without) > 2 * rms(slow.f - limit)


def test_truncating_ranks_saves_most_of_them_and_moves_little() -> None:
    problem = small(steps=24, eta0=0.1)
    full, full_ranks, _ = sample_networks(problem, 2, Sampling(512, 1))
    cut, ranks, _ = sample_networks(problem, 2, Sampling(512, 1, drop=1e-2))
    assert ranks[0] < 0.6 * full_ranks[0]
    assert rms(cut.f - full.f) < 0.02 * rms(full.f)


def test_single_precision_says_how_far_it_is_from_double() -> None:
    found = solve_limit(small(), 2, sampling=Sampling(256, 2, dtype=torch.float32, drop=1e-4))
    assert 0 < found.error["precision"] < 1e-3
    with pytest.raises(BadProblem, match="drop"):
        Sampling(dtype=torch.float32, drop=1e-9)


def test_sobol_points_beat_independent_ones_for_zero_initialised_blocks() -> None:
    problem = small(alpha=1.0, sig_w=0.0)
    error = {mode: solve_limit(problem, 4, sampling=Sampling(1024, 8, mode)).error["f"] for mode in ("sobol", "iid")}
    assert error["sobol"] < 0.4 * error["iid"]
    with pytest.raises(BadProblem, match="sobol"):
        solve_limit(small(), 2, sampling=Sampling(64, 2, "sobol"))


@pytest.mark.parametrize(("alpha", "width"), [(0.5, 256), (1.0, 4096)])
def test_infinite_depth_of_sampled_networks_is_the_exact_one_within_the_error_bar(alpha: float, width: int) -> None:
    problem = small(activation="linear", eta0=0.1, alpha=alpha, steps=3)
    exact = solve_linear_deep(problem).require().f
    found = solve_deep(problem, sampling=Sampling(width, 2, "srht" if alpha == 0.5 else "sobol"))
    value = found.require()
    assert rms(value.f - exact) < 3 * found.error["f"] < 0.02 * rms(exact)
    assert rms(value.shallow[-1].f - exact) > 3 * rms(value.f - exact)  # extrapolating was worth it


def test_more_memory_than_allowed_is_refused_before_running() -> None:
    problem = small(steps=400)
    with pytest.raises(BadProblem, match="GiB"):
        solve_limit(problem, 64, sampling=Sampling(2**14, 8), memory_limit=2**30)
    assert need(problem, 64, 2**14, 8).bytes > 2**30


@pytest.mark.parametrize(
    "solve",
    [
        lambda p: solve_linear(p.with_(activation="linear"), 4),
        lambda p: solve_linear_deep(p.with_(activation="linear")),
        lambda p: solve_fixed_point(p, 4, particles=256),
        lambda p: train_networks(p, 4, 256),
    ],
)
def test_every_solver_plans_its_memory(solve: Callable[[Problem], object], monkeypatch: pytest.MonkeyPatch) -> None:
    solve(small(steps=2))
    monkeypatch.setattr(planning, "free_memory", lambda: 2**14)
    with pytest.raises(BadProblem, match="GiB are free"):
        solve(small(steps=2))


def test_failures_are_values_with_a_sentence() -> None:
    blown = solve_limit(small(activation="relu", eta0=300.0, steps=12), 3, sampling=Sampling(128, 2))
    assert blown.status.kind == "diverged"
    assert "lower it" in blown.status.sentence
    with pytest.raises(Unsolved):
        blown.require()
    noisy = solve_limit(small(), 3, sampling=Sampling(32, 2, "iid"))
    assert noisy.status.kind == "unconverged"
    assert "raise width" in noisy.status.sentence
    crowded = solve_limit(small(), 2, sampling=Sampling(64, 4))
    assert "frames" in crowded.status.sentence
    wrong = solve_limit(small(), 2, sampling=Sampling(2048, 2, response=False))
    assert "not the limit" in wrong.status.sentence


def test_progress_counts_the_steps() -> None:
    seen: list[tuple[int, int]] = []
    solve_limit(small(steps=3), 2, sampling=Sampling(64, 2), progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
