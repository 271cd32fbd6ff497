"""Numbers, ticks and foreign text."""

import math

import pytest

from isoscale._report.typeset import (
    decade_ticks,
    even_ticks,
    number,
    octave_ticks,
    power_of_two,
    sentence,
    shown,
    signed,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.3256, "0.326"), (12345.0, "12345"), (0.0, "0.00"), (-0.5, "−0.500"), (3e12, "3.00·10¹²"), (2.5e-7, "2.50·10⁻⁷"),
     (None, "–"), (math.nan, "–"), (math.inf, "∞")],
)  # fmt: skip
def test_a_number_has_three_significant_digits(value, text) -> None:
    assert number(value) == text


def test_a_signed_number_has_a_true_minus_and_no_signed_zero() -> None:
    assert [signed(v) for v in (0.521, -0.521, -0.001, None)] == ["+0.52", "−0.52", "0.00", "–"]


def test_powers_of_two_are_named_exactly_and_others_by_their_exponent() -> None:
    assert [power_of_two(v) for v in (2.0**-11, 1.0, 0.03)] == ["2⁻¹¹", "2⁰", "2^−5.1"]


@pytest.mark.parametrize(("low", "high"), [(2**-11.4, 2**-2.6), (0.9, 1.1), (2**-40.0, 2**40.0)])
def test_octave_ticks_are_whole_powers_inside_and_few(low, high) -> None:
    ticks = octave_ticks(low, high, 6)
    assert 1 <= len(ticks) <= 6
    assert all(low <= at <= high and math.log2(at).is_integer() for at, _ in ticks)


@pytest.mark.parametrize(("low", "high"), [(0.31, 0.68), (-1.1, 0.3), (0.0, 4.2e-5), (-0.3, 47.0)])
@pytest.mark.parametrize("ticks", [even_ticks, decade_ticks])
def test_ticks_lie_inside_and_their_texts_differ(low, high, ticks) -> None:
    if ticks is decade_ticks and low <= 0:
        low = high / 3000
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low <= at <= high for at, _ in found)
    assert len({text for _, text in found}) == len(found)


def test_a_sentence_starts_large_ends_with_a_stop_and_has_true_minus_signs() -> None:
    assert sentence("it moves by -0.5, within +-0.25") == "It moves by −0.5, within ±0.25."
    assert sentence("base-2 and depth_mup-x") == "Base-2 and depth_mup-x."
    assert sentence("") == ""


def test_foreign_text_keeps_no_control_character_and_no_great_length() -> None:
    assert shown("mup\x1b[31m\n\u202e") == "mup�[31m��"
    assert len(shown("a" * 10**6)) == 120
    assert shown("µP mit Größe 4") == "µP mit Größe 4"
