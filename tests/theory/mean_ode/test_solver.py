"""The mean ODE: the deterministic solver on a fixed law (C2), sampling (C3, C4), errors, refusals."""

import itertools
import math

import numpy as np
import pytest
import torch

from isoscale.theory.mean_ode import march as marching
from isoscale.theory.mean_ode.march import march
from isoscale.theory.mean_ode.oracle import euler_limit
from isoscale.theory.mean_ode.particles import draw
from isoscale.theory.mean_ode.setting import Reduced, reduced, setting_a, setting_b, setting_f
from isoscale.theory.mean_ode.solver import mean_ode
from isoscale.theory.solution import Unsolved

DEPTHS = (32, 64, 128, 256, 512)


@pytest.fixture(scope="module")
def law() -> Reduced:
    return reduced(setting_a())


@pytest.fixture(scope="module")
def euler(law: Reduced) -> dict[int, torch.Tensor]:
    """Outputs of tied Euler nets on 64 fixed particles."""
    U, V = draw(law, 64, 1, seed=3)
    return {L: euler_limit(law, U[0, 0], V[0, 0], L, 10) for L in DEPTHS}


def collocated(law: Reduced, nodes: int) -> torch.Tensor:
    return march(law, *draw(law, 64, nodes, seed=3, tied=True), 10, tolerance=1e-13).f[:, 0]


def romberg(euler: dict[int, torch.Tensor]) -> torch.Tensor:
    values, order = [euler[L] for L in DEPTHS], 1
    while len(values) > 1:
        values = [(2**order * b - a) / (2**order - 1) for a, b in itertools.pairwise(values)]
        order += 1
    return values[0]


def test_c2_sixteen_nodes_are_extrapolated_euler(law: Reduced, euler: dict[int, torch.Tensor]) -> None:
    gap = (collocated(law, 16) - romberg(euler)).abs().amax((-1, -2))
    assert float(gap[:6].max()) < 1e-10
    assert float(gap.max()) < 1e-7


def test_c2_control_one_euler_step_count_is_not_the_limit(law: Reduced, euler: dict[int, torch.Tensor]) -> None:
    assert float((collocated(law, 16) - euler[512])[5].abs().max()) > 1e-5


def test_c2_a_wrong_adjoint_is_seen(law: Reduced, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: integrating the adjoint from 0 instead of from 1 moves the trajectory."""
    right = collocated(law, 8)
    scheme = marching._Scheme.of

    def wrong(S: int, like: torch.Tensor) -> marching._Scheme:
        good = scheme(S, like)
        return marching._Scheme(good.forward, good.forward, good.weights)

    monkeypatch.setattr(marching._Scheme, "of", wrong)
    assert float((collocated(law, 8) - right)[5].abs().max()) > 1e-3


def test_c2_euler_is_first_order_in_depth(law: Reduced, euler: dict[int, torch.Tensor]) -> None:
    limit = collocated(law, 16)
    for k in (1, 2, 5, 10):
        errors = [float((euler[L][k] - limit[k]).norm()) for L in (32, 64, 128)]
        for order in (math.log2(errors[0] / errors[1]), math.log2(errors[1] / errors[2])):
            assert 0.95 < order < 1.03


@pytest.mark.parametrize(("points", "accepted"), [(2**14, 3e-4), (2**16, 1e-4)])
def test_c3_sobol_on_a_toy(points: int, accepted: float) -> None:
    problem = reduced(setting_a(8, 1, 1, 3))
    runs = [march(problem, *draw(problem, P, 4, seed=seed), 5).f[:, 0] for P, seed in ((points, 0), (2**17, 77))]
    assert float((runs[0] - runs[1]).abs().max()) < accepted


def test_c4_setting_b_and_the_error_that_is_reported() -> None:
    setting = setting_b()
    one = mean_ode(setting, 20, replicates=1, check_depth=False).require()
    reference = mean_ode(setting, 20, particles=2**15, replicates=2, seed=5, check_depth=False).require()
    assert float(((one.f - reference.f)[20] ** 2).mean().sqrt()) < 6e-3
    two = mean_ode(setting, 20)
    actual = float(((two.require().f - reference.f) ** 2).mean((-1, -2)).sqrt().max())
    assert 0.4 < two.error["outputs"] / actual < 2.5
    assert two.error["depth"] < 1e-3


def test_more_particles_help_by_more_than_monte_carlo() -> None:
    problem = reduced(setting_a())
    exact = march(problem, *draw(problem, 2**16, 4, seed=9, dtype=torch.float32), 1).f[:, 0].double()

    def error(method: str) -> float:
        runs = [march(problem, *draw(problem, 2**10, 4, seed=s, method=method), 1).f[:, 0] for s in range(4)]
        return float(torch.stack([(run - exact)[1] for run in runs]).square().mean().sqrt())

    assert error("sobol") < 0.4 * error("monte_carlo")


def test_the_reduced_basis_is_small_closed_and_exact() -> None:
    sizes = (setting_a(), setting_b(), setting_b(50), setting_f(100))
    assert [reduced(s).r for s in sizes] == [6, 10, 20, 10]
    setting = setting_f(24)
    small = reduced(setting)
    W = setting.W_U @ (setting.W_U.T @ small.Q)
    assert float((W - small.Q @ (small.Q.T @ W)).abs().max()) < 1e-10 * float(W.abs().max())
    full = Reduced(setting, torch.eye(24, dtype=torch.float64), setting.X @ setting.W_E.T, setting.W_U)
    few, all_ = (march(p, *draw(p, 2**13, 3, 2, dtype=torch.float32), 10).f[-1] for p in (small, full))
    spread = float((all_[0] - all_[1]).square().mean().sqrt()) / 2
    assert float((few.mean(0) - all_.mean(0)).square().mean().sqrt()) < 3 * spread
    # Control: one direction short, the limit is another one.
    short = Reduced(setting, small.Q[:, :-1], small.h0[:, :-1], small.W[:-1])
    cut = march(short, *draw(short, 2**13, 3, 2, dtype=torch.float32), 10).f[-1]
    assert float((cut.mean(0) - all_.mean(0)).square().mean().sqrt()) > 5 * spread


def test_antithetic_particles_leave_the_initial_stream_exactly_still() -> None:
    problem = reduced(setting_b())
    pairs = march(problem, *draw(problem, 512, 3, antithetic=True), 0)
    plain = march(problem, *draw(problem, 512, 3), 0)
    assert float((pairs.H[0] - problem.h0).abs().max()) < 1e-14
    assert float((plain.H[0] - problem.h0).abs().max()) > 1e-4


def test_a_skewed_law_has_exact_orbits_too() -> None:
    problem = reduced(setting_b(activation="shifted_tanh", law="skewed"))
    assert problem.r == 10
    _, V = draw(problem, 3 * 256, 2, antithetic=True)
    assert float(V.view(1, 2, 10, 256, 3).sum(-1).abs().max()) < 1e-12
    assert float(V.square().mean()) == pytest.approx(10, rel=1e-2)


def test_paths_start_at_the_embedding_and_end_at_the_last_stream() -> None:
    solution = mean_ode(setting_a(), 5, particles=512, check_depth=False).require()
    path = solution.path(5, np.array([0.0, 0.5, 1.0]))
    h0 = setting_a().X @ setting_a().W_E.T
    assert np.allclose(path[0], h0.numpy(), atol=1e-12)
    assert np.abs(path[2] - solution.h[5].numpy()).max() < 1e-3


def test_lost_depth_regularity_is_refused_with_a_sentence() -> None:
    solution = mean_ode(setting_a(10, 3, 1, 4, eta_u=3.0, eta_v=3.0), 40, particles=512, replicates=1)
    assert solution.status.kind == "refused"
    assert "depth regularity lost at k=" in solution.status.sentence
    assert solution.value is not None
    assert 0 < solution.value.steps < 40
    with pytest.raises(Unsolved, match="depth regularity"):
        solution.require()
    assert mean_ode(setting_a(10, 3, 1, 4), 40, particles=512).status.ok


def test_an_unstable_step_size_is_a_status() -> None:
    solution = mean_ode(setting_b(eta_u=30.0, eta_v=30.0), 10, particles=512, check_depth=False)
    assert solution.status.kind in ("diverged", "unconverged")
    assert "lower eta" in solution.status.sentence


def test_an_edge_of_stability_that_amplifies_noise_is_refused() -> None:
    """These data at eta = 1 make gradient descent chaotic from k = 13: replicates part, every solve converges."""
    solution = mean_ode(setting_a(seed=4), 16, particles=1024, nodes=3, check_depth=False)
    assert solution.status.kind == "refused"
    assert "replicates disagree" in solution.status.sentence
    assert mean_ode(setting_a(seed=0), 16, particles=1024, nodes=3, check_depth=False).status.ok


def test_progress_is_told() -> None:
    seen: list[tuple[int, int]] = []
    mean_ode(setting_a(), 3, particles=64, check_depth=False, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
