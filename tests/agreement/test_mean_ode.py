"""The mean ODE against finite nets: value, rate and coefficient, each with a control (C5 to C8, C15 at a small size).

The full sizes are measured by bench/mean_ode_laws.py and bench/mean_ode_d_law.py.
"""

import math

import pytest
import torch

from isoscale._rules import fold, get_rule
from isoscale.theory.mean_ode import (
    Net,
    Row,
    Weights,
    error_law,
    euler_limit,
    fit_rows,
    forward,
    initial,
    mean_ode,
    measure,
    reduced,
    setting_b,
    setting_f,
    train,
)
from isoscale.theory.mean_ode.kernels import kernels_of
from isoscale.theory.mean_ode.march import march
from isoscale.theory.mean_ode.particles import draw


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    shapes = [(L, M) for L in (8, 16, 32, 64) for M in (2, 8, 32)]
    return measure(setting_b(), shapes, 8, (1, 5), reference_particles=2**13)


def test_the_mean_of_many_nets_extrapolates_to_the_limit() -> None:
    """2 f(16) - f(8) over 256 nets each removes the 1/L bias; what is left is sampling."""
    setting = setting_b()
    limit = mean_ode(setting, 5, particles=2**13, check_depth=False).require().f[5]
    runs = {L: train(setting, [Net(L, 16, seed) for seed in range(256)], 5).f[-1].double() for L in (8, 16)}
    gap = 2 * runs[16].mean(0) - runs[8].mean(0) - limit
    se = math.sqrt(sum(float(scale * x.var(0).mean()) for scale, x in ((4, runs[16]), (1, runs[8]))) / 256)
    assert float(gap.square().mean().sqrt()) < 1.3 * se
    # Control: one depth alone is biased by more than that.
    assert float((runs[8].mean(0) - limit).square().mean().sqrt()) > 2 * math.sqrt(float(runs[8].var(0).mean()) / 256)


@pytest.mark.parametrize("k", [1, 5])
def test_c5_c6_the_error_falls_as_the_square_root_of_all_hidden_units(rows: list[Row], k: int) -> None:
    law = fit_rows(rows, k, with_D=False, resamples=2)
    assert law.linear.r2 > 0.99
    assert -0.53 < law.overall.value < -0.46
    for exponent in law.fluctuation.values():
        assert abs(exponent.value + 0.5) < 0.05


def test_c5_control_the_spread_is_not_a_function_of_depth_or_width_alone(rows: list[Row]) -> None:
    narrow = [row for row in rows if row.M == 2]
    assert fit_rows(narrow, 5, with_D=False, resamples=2).linear.r2 > 0.9
    shuffled = [Row(r.L, 64 // r.M, r.D, r.k, r.observable, r.squares, r.bias, r.std, r.reference) for r in rows]
    assert fit_rows(shuffled, 5, with_D=False, resamples=2).linear.r2 < 0.7


def test_c6_tied_particles_show_the_euler_coefficient() -> None:
    """M = infinity: L times the error settles (0.287 at L = 64, k = 20 in bench/mean_ode_laws.py); here L = 16, 32."""
    problem = reduced(setting_b())
    U, V = draw(problem, 128, 1, seed=3)
    exact = march(problem, *draw(problem, 128, 8, seed=3, tied=True), 10, tolerance=1e-8).f[10, 0]
    scaled = [L * float((euler_limit(problem, U[0, 0], V[0, 0], L, 10)[10] - exact).norm()) for L in (16, 32)]
    assert scaled[1] == pytest.approx(scaled[0], rel=0.05)


@pytest.mark.parametrize("D", [10, 100])
def test_c7_the_initial_deviation_has_no_free_constant(D: int) -> None:
    setting = setting_b(D)
    found = []
    for L, M in ((64, 4), (16, 16), (256, 1)):
        nets = [Net(L, M, seed) for seed in range(32)]
        h = forward(setting, nets, initial(setting, nets, torch.float64)).h
        found.append(float((h[-1] - h[0]).square().mean().sqrt()) * math.sqrt(L * M))
    v = setting.std_u**2 / D**2 * (h[0, 0] ** 2).sum(-1)
    predicted = setting.std_v * math.sqrt(float(kernels_of(setting.rho)(v, v, v * (1 - 1e-9))[0].mean()))
    for value in found:
        assert value == pytest.approx(predicted, rel=0.04)


def test_c8_the_square_root_of_d_is_in_the_embeddings_and_not_in_a_readout_of_fixed_size() -> None:
    shapes = [(L, M) for L in (8, 32) for M in (4, 16)]
    rows = [row for D in (10, 40) for row in measure(setting_f(D), shapes, 8, [1], reference_particles=2**12)]
    outputs, embeddings = (
        fit_rows(rows, 1, name, resamples=2).fluctuation["D"].value for name in ("outputs", "embeddings")
    )
    assert abs(outputs) < 0.2
    assert 0.4 < embeddings < 0.7


def losses(frozen: bool) -> list[float]:
    result = []
    for L, M in ((10, 10), (40, 10), (10, 40), (160, 1)):
        eta = 100 / (L * M) if frozen else 1.0
        nets = [Net(L, M, seed, eta_u=eta, eta_v=eta) for seed in range(8)]
        result.append(float(train(setting_b(), nets, 10).loss[-1].mean()))
    return result


def test_c15_one_learning_rate_serves_all_shapes_and_the_raw_one_does_not() -> None:
    scaled, raw = losses(False), losses(True)
    assert max(scaled) < 1.08 * min(scaled)
    assert max(raw) > 1.4 * min(raw)


def test_the_rule_resnet_2lp_is_the_critical_scaling() -> None:
    """Plain SGD on ordinary weights W1 = U/D, W2 = V/(LM), with settings that `_rules` carries from a base shape, is
    the theory's net at one eta; the settings of `completep` are not (its W2 is larger by sqrt(M/D))."""
    (L0, M0), (L, M), eta = (5, 20), (8, 6), 0.8
    setting = setting_b(eta_u=eta, eta_v=eta)
    D, net = setting.D, Net(L, M, 1)
    start = initial(setting, [net], torch.float64)
    exact = train(setting, [net], 4, dtype=torch.float64, weights=Weights(start.U.clone(), start.V.clone())).f[-1, 0]

    def by_rule(name: str) -> torch.Tensor:
        rule = get_rule(name)
        inner, tail = rule.entry("hidden", True, "sgd"), fold(rule.entry("hidden", True, "sgd", tail=True))
        into, out = ({"fan_in": a, "fan_out": b, "depth": L / L0} for a, b in ((1.0, M / M0), (M / M0, 1.0)))
        W1 = (start.U[:, 0] / D * inner.std.at(**into)).requires_grad_(True)
        base = start.V[:, 0] / (L0 * M0)
        W2 = (base * tail.std.at(**out)).requires_grad_(True)
        rates = eta * L0 * M0 / D * inner.lr.at(**into), eta * L0 * M0 * D / (L0 * M0) ** 2 * tail.lr.at(**out)
        for step in range(5):
            h = setting.X
            for l in range(L):
                h = h + torch.tanh(h @ W1[l].T) @ W2[l]
            if step < 4:
                gradients = torch.autograd.grad(setting.loss(h), (W1, W2))
                with torch.no_grad():
                    for weight, rate, gradient in zip((W1, W2), rates, gradients):
                        weight -= rate * gradient
        return h.detach()

    assert float((by_rule("resnet_2lp") - exact).abs().max()) < 1e-12
    assert float((by_rule("completep") - exact).abs().max()) > 1e-2


def test_error_law_measures_and_fits_in_one_call_and_speaks() -> None:
    seen: list[tuple[int, int]] = []
    shapes = [(L, M) for L in (8, 16, 32) for M in (2, 8)]
    few = {"steps": [1], "reference_particles": 2**12}
    told = lambda done, of: seen.append((done, of))  # noqa: E731
    (law,) = error_law([setting_b(5), setting_b(10)], shapes, seeds=4, progress=told, **few)
    assert seen[-1] == (24, 24)
    b = law.linear.coefficients["b"]
    assert b.low < b.value < b.high
    assert set(law.fluctuation) == {"L", "M", "D"}
    assert "sqrt(D/(LM))" in law.sentences()[0]
    assert "/ sqrt(LM)" in error_law(setting_b(), shapes, seeds=2, with_D=False, **few)[0].sentences()[0]
