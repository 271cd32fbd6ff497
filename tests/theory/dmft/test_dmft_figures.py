"""The theory's figures of the depthwise-transfer paper: recorded facts bear out what their pages say, and the smallest
preset gives its recorded facts again."""

import math
from types import ModuleType
from typing import Any

import pytest

from papers.bordelon2024 import fig5, fig6, fig7, figM1
from papers.bordelon2024.limit import Slope, slope_of
from papers.bordelon2024.record import from_json, golden, to_json

FIGURES = {"fig5": fig5, "fig6": fig6, "fig7": fig7, "figM1": figM1}


def recorded(name: str) -> Any:
    return from_json(FIGURES[name].Facts, golden(name, "cpu"))


def holds(slope: Slope, exponent: float, within: float) -> bool:
    """The interval holds the exponent, and is narrow enough to say so."""
    return slope.low - 1e-9 <= exponent <= slope.high + 1e-9 and abs(slope.value - exponent) <= within


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    return [x for item in value for x in leaves(item)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", FIGURES)
def test_the_smallest_preset_gives_its_facts_again(name: str) -> None:
    module: ModuleType = FIGURES[name]
    seen: list[tuple[int, int]] = []
    found = module.facts("smoke", lambda done, of: seen.append((done, of)))
    assert seen[-1][0] == seen[-1][1]
    now, old = leaves(to_json(found)), leaves(golden(name, "smoke"))
    for a, b in zip(now, old, strict=True):
        assert a == b or math.isclose(a, b, rel_tol=2e-2, abs_tol=2e-3), (a, b)
    assert list(module.PRESETS) == ["smoke", "cpu", "gpu", "full"]
    figure = module.draw(recorded(name))
    figure.canvas.draw()
    assert len(figure.axes) >= 3


def test_errors_fall_as_the_square_root_of_width() -> None:
    facts = recorded("fig5")
    every = [slope for one in facts.each for slope in one.slopes]
    assert sum(holds(slope, -0.5, 0.1) for slope in every) >= 8, "one of twenty 95% intervals may miss"
    for one in facts.each:
        for slope in one.slopes:
            assert abs(slope.value + 0.5) < 0.1, (one.activation, slope)
            assert slope.high < -0.25, "an interval that holds 0 says nothing"
        assert one.noise < 0.3 * one.errors[0][-1]
        assert one.losses[0][-1] > one.losses[-1][-1], "narrow networks train worse"


def test_errors_fall_as_one_over_depth() -> None:
    facts = recorded("fig6")
    assert len(facts.rates) == 6
    for rate in facts.rates:
        assert abs(rate.slope.value + 1) < 0.25, rate
        assert rate.slope.high < -0.5, rate


def test_the_linear_limit_is_met_at_rate_one_half_and_the_tangent_kernel_moves_as_gamma_squared() -> None:
    facts = recorded("fig7")
    for slope in facts.slopes:
        assert holds(slope, -0.5, 0.1)
    assert abs(facts.moved_slope.value - 2) < 0.05
    assert facts.lazy_gap < 1e-9
    assert facts.moved[-1] > 0.3
    for net, limit in zip(facts.net_moved[-3:], facts.moved[-3:], strict=True):
        assert net == pytest.approx(limit, rel=0.15)


def test_every_scaled_branch_transfers_the_unscaled_does_not_and_they_differ_elsewhere() -> None:
    by = {case.name: case for case in recorded("figM1").cases}
    control = by.pop("unscaled (alpha = 0)")
    assert control.drift.high < -1
    for case in by.values():
        assert abs(case.drift.value) < 0.25, case.name
        assert case.drift.low > control.drift.high + 0.5, "told apart from the control"
    for name in ("alpha = 3/4", "alpha = 1"):  # the page says of the others that their intervals are wider
        assert max(abs(by[name].drift.low), abs(by[name].drift.high)) < 0.25
    approach = {name: case.approach.value for name, case in by.items()}
    for name in ("alpha = 1/2", "alpha = 1", "zero init"):
        assert abs(approach[name] + 1) < 0.1
    assert approach["alpha = 3/4"] > -0.7, "3/4 converges slower"


def test_a_slope_is_the_exponent() -> None:
    exact = slope_of([2, 4, 8], [3.0, 1.5, 0.75])
    assert (exact.value, exact.low, exact.high) == pytest.approx((-1, -1, -1))
    assert not holds(exact, -0.5, 0.1)
