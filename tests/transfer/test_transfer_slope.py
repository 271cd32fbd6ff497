"""The exponent of a power law, for whoever checks a rate."""

import json

import numpy as np
import pytest

from isoscale._transfer import RunsError, slope
from isoscale._transfer.slope import line


def test_an_exact_power_law_is_recovered() -> None:
    sizes = [16, 32, 64, 128]
    fit = slope(sizes, [3.0 * n**-0.5 for n in sizes])
    assert fit.estimate == pytest.approx(-0.5)
    assert fit.low == pytest.approx(-0.5)
    assert 2**fit.intercept == pytest.approx(3.0)
    assert json.loads(fit.to_json())["points"] == 4


def test_the_interval_without_errors_is_ordinary_least_squares() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([8.0, 16, 32, 64, 128])
    held = []
    for _ in range(500):
        fit = slope(list(sizes), list(sizes**-1.0 * 2 ** rng.normal(0, 0.2, 5)))
        held.append(fit.low <= -1 <= fit.high)
    assert fit.df == 3
    assert 0.92 <= np.mean(held) <= 0.98


def test_a_wrong_rate_is_excluded() -> None:
    rng = np.random.default_rng(1)
    sizes = [8.0, 16, 32, 64, 128, 256]
    fit = slope(sizes, [n**-0.5 * 2 ** rng.normal(0, 0.1) for n in sizes])
    assert not fit.low <= -1 <= fit.high


def test_small_errors_weigh_more_and_agreement_needs_no_scatter() -> None:
    fit = line([0, 1, 2, 3], [0.0, 1.0, 2.0, 9.0], [0.01, 0.01, 0.01, 10.0], [20] * 4)
    assert fit.estimate == pytest.approx(1.0, abs=0.01)
    assert fit.scatter == 0
    assert line([0, 1, 2, 3], [0.0, 1.0, 0.0, 1.0], [0.01] * 4).scatter > 0.3


@pytest.mark.parametrize(
    ("sizes", "values", "message"),
    [([1, 2], [1, 2], "needs 3"), ([1, 2, 4], [1, 0, 2], "positive"), ([1, 2, 4], [1, 2], "one value"),
     ([1, 2, float("nan")], [1, 2, 3], "sizes holds nan")],
)  # fmt: skip
def test_mistakes_are_named(sizes: list, values: list, message: str) -> None:
    with pytest.raises(RunsError, match=message):
        slope(sizes, values)
