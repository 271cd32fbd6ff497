"""Powers are exact, compose as a group, and are 1 at the base size."""

from fractions import Fraction as F

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoscale._rules import ONE, Power

law = settings(derandomize=True, deadline=None)
exponents = st.fractions(min_value=-3, max_value=3, max_denominator=12)
powers = st.builds(Power, exponents, exponents, exponents, exponents)
ratios = st.floats(min_value=0.01, max_value=100)


def test_value_is_the_monomial() -> None:
    power = Power(fan_in=F(-1), fan_out=F(1, 2), depth=F(-1, 2))
    assert power.at(fan_in=8, fan_out=4, depth=16) == 2 / 8 / 4
    assert Power(narrowing=F(1, 2)).at(fan_in=16, fan_out=4) == 0.5
    assert Power(narrowing=F(1, 2)).at(fan_in=4, fan_out=16) == 1.0


@law
@given(powers)
def test_base_size_is_exactly_one(power: Power) -> None:
    assert power.at() == power.at(fan_in=1, fan_out=1.0, depth=F(1)) == 1.0


@pytest.mark.parametrize("ratio", [3, 7, 49, 0.1, 1 / 3])
def test_equal_fans_cancel_exactly(ratio: float) -> None:
    assert Power(fan_in=F(-1), fan_out=F(1)).at(fan_in=ratio, fan_out=ratio) == 1.0
    assert 1 / 49 * 49 != 1.0  # what the naive product would have given


def test_powers_of_two_are_exact() -> None:
    assert Power(depth=F(-1, 2)).at(depth=64) == 0.125
    assert Power(fan_in=F(-1, 2)).at(fan_in=2**-10) == 32.0


@law
@given(powers, powers, powers)
def test_group(p: Power, q: Power, r: Power) -> None:
    assert p * q == q * p
    assert (p * q) * r == p * (q * r)
    assert p * ONE == p
    assert p / p == ONE
    assert p * q**-1 == p / q
    assert (p**2) ** F(1, 2) == p


@law
@given(powers, powers, ratios, ratios, ratios)
def test_product_of_values_is_value_of_product(p: Power, q: Power, i: float, o: float, l: float) -> None:
    def at(power: Power) -> float:
        return power.at(fan_in=i, fan_out=o, depth=l)

    assert at(p * q) == pytest.approx(at(p) * at(q), rel=1e-12)


@law
@given(powers, ratios)
def test_a_fan_left_out_is_a_fan_that_does_not_grow(power: Power, ratio: float) -> None:
    assert power.without("fan_out").at(fan_in=max(ratio, 1), fan_out=5) == pytest.approx(
        power.at(fan_in=max(ratio, 1)), rel=1e-12
    )
    assert power.without("fan_in").at(fan_in=5, fan_out=max(ratio, 1)) == pytest.approx(
        power.at(fan_out=max(ratio, 1)), rel=1e-12
    )
    assert power.without("fan_in", "fan_out") == Power(depth=power.depth)
    assert power.without() == power


def test_width_exponent_is_of_equal_growth() -> None:
    assert Power(fan_in=F(-1, 2), fan_out=F(2), narrowing=F(5)).width == F(3, 2)


def test_written() -> None:
    assert str(Power(fan_in=F(-1), depth=F(-1, 2))) == "n^-1 l^-1/2"
    assert str(Power(fan_in=F(-1), fan_out=F(1))) == str(ONE) == "1"
    assert Power(fan_in=F(-1), fan_out=F(1), narrowing=F(1, 2)).spelled == "n_in^-1 n_out min(1, n_out/n_in)^1/2"


def test_floats_and_impossible_ratios_are_mistakes() -> None:
    with pytest.raises(TypeError, match=r"depth=0\.5 is a float"):
        Power(depth=0.5)
    with pytest.raises(TypeError, match="float"):
        _ = ONE**0.5
    for ratio in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="depth="):
            ONE.at(depth=ratio)
