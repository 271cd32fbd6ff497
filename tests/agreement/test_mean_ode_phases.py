"""Orders and exponents of the phases, at a small size (full: bench/mean_ode_regimes.py): C9, C10, C12, C13."""

from fractions import Fraction as F

import pytest

from isoscale._rules import phase
from isoscale.theory.mean_ode import (
    distance_to_lazy,
    distance_to_subcritical,
    phase_scan,
    setting_a,
    setting_b,
    slopes,
)


def order(activation: str, law: str, particles: int) -> float:
    setting = setting_b(activation=activation, law=law)
    points = distance_to_lazy(setting, (16, 32), (5,), particles=particles, nodes=3)
    return -slopes([p.distance for p in points], [p.alpha for p in points])[0].value


def test_c9_the_lazy_limit_is_met_at_second_order_in_alpha() -> None:
    points = distance_to_lazy(setting_b(activation="erf"), (8, 16), (5,), particles=2048, nodes=3)
    rate = -slopes([p.distance for p in points], [p.alpha for p in points])[0].value
    assert rate == pytest.approx(2, abs=0.1)
    for name in ("move", "nonlinearity"):
        first, second = (getattr(p, name) for p in points)
        assert 2 * second / first == pytest.approx(1, abs=0.05)


def test_c10_control_a_law_without_symmetry_meets_it_at_first_order() -> None:
    assert order("shifted_tanh", "skewed", 3 * 1024) == pytest.approx(1, abs=0.15)


def test_c10_one_symmetry_is_enough() -> None:
    """Skewed v with odd rho: u -> -u restores second order, up to the asymmetry of the sample."""
    assert order("tanh", "skewed", 3 * 4096) > 1.5
    assert order("shifted_tanh", "normal", 2048) == pytest.approx(2, abs=0.1)


def test_c12_exponents_follow_the_rules() -> None:
    gs = [F(-1, 2), F(0), F(1, 4), F(1, 2)]
    scan = phase_scan(setting_b(), gs, [(20, 8), (40, 16), (80, 32)], seeds=4)
    for g, point in zip(gs, scan.points):
        assert point.predicted == phase(g)
        assert point.start.value == pytest.approx(float(point.predicted.initial_deviation), abs=0.06)
        assert point.update is not None
        assert point.predicted.local_update is not None
        assert point.update.value == pytest.approx(float(point.predicted.local_update), abs=0.08)
    # Control: neighbouring phases are apart by more than the accepted width.
    assert abs(scan.points[2].start.value - scan.points[1].start.value) > 0.2


def test_c12_a_small_inner_scale_moves_the_stochastic_line() -> None:
    (point,) = phase_scan(setting_b(), [F(3, 4)], [(20, 8), (40, 16)], inner=[F(-1, 4)], steps=1, seeds=4).points
    assert point.predicted.regime == "lazy SDE"
    assert point.start.value == pytest.approx(0, abs=0.08)


def test_c13_the_subcritical_limit_is_met_at_second_order_in_sigma_v() -> None:
    ratios = (0.25, 0.0625)
    gaps = distance_to_subcritical(setting_a(), ratios, 20, particles=2048, nodes=3)
    assert slopes(gaps, ratios)[0].value == pytest.approx(2, abs=0.1)
