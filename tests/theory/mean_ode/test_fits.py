"""Fits recover laws that were put in, with intervals that hold them; and see a law that is not there."""

import numpy as np
import pytest

from isoscale.theory.mean_ode.fits import fit_law, r_squared, slopes

SHAPES = [(L, M, D) for L in (8, 20, 60, 200) for M in (1, 5, 30, 200) for D in (5, 20)]


def squares(a: float, b: float, c: float, seeds: int = 10) -> list[list[float]]:
    """Squared errors a seed: a bias and a chi-squared spread."""
    generator = np.random.default_rng(0)
    result = []
    for L, M, D in SHAPES:
        bias, spread = a / L + c * D / (L * M), b**2 * D / (L * M)
        result.append([bias**2 + spread * x / 60 for x in generator.chisquare(60, size=seeds)])
    return result


def test_the_quadrature_fit_recovers_bias_and_spread() -> None:
    fit = fit_law("quadrature", *zip(*SHAPES), squares(0.3, 0.4, 0.0))
    for name, truth in (("a", 0.3), ("b", 0.4)):
        found = fit.coefficients[name]
        assert found.low - 0.01 < truth < found.high + 0.01
        assert found.value == pytest.approx(truth, rel=0.1)
    assert fit.r2 > 0.98


def test_a_linear_sum_mixes_them() -> None:
    """Pitfall: its a is not the Euler coefficient."""
    fit = fit_law("linear", *zip(*SHAPES), squares(0.3, 0.4, 0.0), resamples=2)
    assert fit.coefficients["a"].value < 0.25


def test_a_missing_factor_is_seen_in_r2() -> None:
    L, M, D = zip(*SHAPES)
    data = squares(0.05, 0.4, 0.0)
    right, wrong = (fit_law("linear", L, M, d, data, resamples=2).r2 for d in (D, [1] * len(D)))
    assert right > 0.98 > wrong + 0.05


def test_slopes_in_two_variables_with_intervals() -> None:
    """The intervals hold the truth about as often as they say: 95 times in 100."""
    held = np.zeros(2)
    for seed in range(200):
        generator = np.random.default_rng(seed)
        x, y = generator.uniform(1, 100, size=(2, 20))
        found = slopes(3 * x**-0.5 * y**0.25 * np.exp(0.05 * generator.standard_normal(20)), x, y)
        held += [found[0].low < -0.5 < found[0].high, found[1].low < 0.25 < found[1].high]
    assert ((held / 200 > 0.9) & (held / 200 < 0.99)).all()


def test_r_squared_of_a_constant_model_is_zero() -> None:
    y = np.exp(np.arange(5.0))
    assert r_squared(y, np.full(5, np.exp(2.0))) == pytest.approx(0)
