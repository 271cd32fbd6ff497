"""Deciding a line: known exponents, noise, transients, and what can not be told; the demands of each rule."""

import json
import math
import random

import pytest

from isoscale._check.check import Check
from isoscale._check.demands import Demands
from isoscale._check.errors import CheckError
from isoscale._check.lines import UNALIGNED, between_last_two, judged, worst
from isoscale._check.quantity import Quantity
from isoscale._check.sizes import grid
from isoscale._rules import get_rule

STREAM = Quantity("stream", "change", "after 1 of the branches")
SIZES = (64, 128, 256, 512)


def power(exponent: float, *, noise: float = 0.01, transient: float = 0.0) -> list[list[float]]:
    """Values that go as size^exponent (1 + transient / size), with a fixed scatter over four seeds."""
    return [
        [
            size**exponent * (1 + transient * 64 / size) * math.exp(noise * math.sin(13 * i + 7 * j + 1))
            for j in range(4)
        ]
        for i, size in enumerate(SIZES)
    ]


def outcome(exponent: float, declared=(0.0, 0.0), **how: float) -> str:
    return judged("width", STREAM, SIZES, power(exponent, **how), declared, 0.15).outcome


@pytest.mark.parametrize(("exponent", "expected"), [(0.0, "PASS"), (0.1, "PASS"), (0.5, "FAIL"), (-0.5, "FAIL")])
def test_a_clear_exponent_is_told(exponent: float, expected: str) -> None:
    assert outcome(exponent) == expected


def test_between_right_and_wrong_nothing_is_told() -> None:
    assert outcome(0.2) == "CANNOT TELL"


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_noise_hides_both_right_and_wrong(exponent: float) -> None:
    assert outcome(exponent, noise=1.5) == "CANNOT TELL"


def test_an_update_that_fades_more_slowly_than_a_random_sum_is_not_called_wrong() -> None:
    found = [judged("width", STREAM, SIZES, power(p), (0.0, 0.0), 0.15, 1, UNALIGNED) for p in (-0.35, -0.5, 0.35)]
    assert [line.outcome for line in found] == ["CANNOT TELL", "FAIL", "FAIL"]


def test_a_range_is_declared_with_tolerance_at_both_ends() -> None:
    assert outcome(-0.75, (-1.0, -0.5)) == outcome(-1.1, (-1.0, -0.5)) == "PASS"
    assert outcome(0.0, (-1.0, -0.5)) == outcome(-1.5, (-1.0, -0.5)) == "FAIL"


def test_a_transient_that_dies_is_no_failure_and_a_wrong_power_is() -> None:
    values = power(0.0, transient=-0.6)
    line = judged("width", STREAM, SIZES, values, (0.0, 0.0), 0.15)
    assert line.slope is not None
    assert line.slope.estimate > 0.25, "the whole slope alone would be called wrong"
    assert between_last_two(SIZES, values) < 0.2
    assert line.outcome == "CANNOT TELL"
    assert outcome(0.5, transient=-0.6) == "FAIL"


def test_a_diverged_size_fails_and_a_broken_smallest_one_tells_nothing() -> None:
    values = power(0.0)
    later = [*values[:3], [math.nan] * 4]
    assert judged("width", STREAM, SIZES, later, (0.0, 0.0), 0.15).outcome == "FAIL"
    first = [[math.inf] * 4, *values[1:]]
    assert judged("width", STREAM, SIZES, first, (0.0, 0.0), 0.15).outcome == "CANNOT TELL"


def test_zeros_are_told_and_not_judged() -> None:
    line = judged("width", STREAM, SIZES, [[0.0] * 4] * 4, (0.0, 0.0), 0.15)
    assert (line.outcome, line.sentence) == ("SHOWN", "zero at every size")
    some = judged("width", STREAM, SIZES, [[0.0] * 4, *power(0.0)[1:]], (0.0, 0.0), 0.15)
    assert some.outcome == "CANNOT TELL"


def test_the_worst_outcome_counts() -> None:
    assert worst(["PASS", "CANNOT TELL", "FAIL", "SHOWN"]) == "FAIL"
    assert worst(["PASS", "CANNOT TELL"]) == "CANNOT TELL"
    assert worst([]) is None


@pytest.mark.parametrize(("outcome", "code"), [("PASS", 0), ("FAIL", 1), ("CANNOT TELL", 2)])
def test_exit_codes(outcome, code: int) -> None:
    assert Check("mup", "sgd", 0.1, 8, 5, {}, (), (), outcome).exit_code == code


def test_a_line_is_json_and_infinities_are_null() -> None:
    line = judged("width", STREAM, SIZES, [[math.inf] * 4, *power(0.0)[1:]], (0.0, 0.0), 0.15)
    assert json.loads(line.to_json())["values"][0][0] is None


TAIL = Quantity("update", "change", "of w", "w", "hidden", "h", tail=True, deepens=True)
INNER = Quantity("update", "change", "of w", "w", "hidden", "h", deepens=True)
BRANCH = Quantity("branch", "init", "w", stream="h", deepens=True)


@pytest.mark.parametrize(
    ("rule", "tail", "inner", "branch"),
    [("depth_mup", -1.0, -0.5, -0.5), ("completep", -1.0, 0.0, -1.0), ("depth_alpha(3/4)", -1.0, -0.25, -0.75)],
)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_demands_in_depth_follow_from_the_rule(rule, tail, inner, branch, optimizer) -> None:
    demands = Demands(get_rule(rule), optimizer)
    assert demands.of(TAIL, "depth")[1] == tail
    assert demands.of(INNER, "depth")[1] == inner
    assert demands.of(BRANCH, "depth")[1] == branch


@pytest.mark.parametrize("rule", ["sp", "mup", "ntk"])
def test_a_rule_that_leaves_depth_alone_is_held_to_the_one_that_mends_it(rule: str) -> None:
    demands = Demands(get_rule(rule), "adamw")
    assert demands.reference("depth").name == "depth_mup"
    assert demands.of(BRANCH, "depth") == (-0.5, -0.5)
    assert demands.of(STREAM, "depth") == (0.0, 0.0)
    assert demands.reference("width").name == "mup"


def test_what_does_not_deepen_may_not_move_with_depth() -> None:
    demands = Demands(get_rule("completep"), "adamw")
    still = Quantity("update", "change", "of w", "w", "hidden", "encoder", tail=True, deepens=False)
    assert demands.of(still, "depth")[1] == 0.0
    assert demands.of(Quantity("gradient", "init", "of w"), "depth") is None


def test_logits_of_growing_heads_are_random_sums_until_they_are_trained() -> None:
    demands = Demands(get_rule("mup"), "adamw")
    assert demands.of(Quantity("logits", "init", "a", growing=True), "width") == (-0.5, 0.0)
    assert demands.of(Quantity("logits", "change", "a", growing=True), "width") == (-0.5, 0.0)
    assert demands.of(Quantity("logits", "change", "a"), "width") == (0.0, 0.0)


def test_what_comes_through_a_matrix_onto_few_numbers_may_fade_and_not_grow() -> None:
    demands = Demands(get_rule("mup"), "adamw")
    for kind in ("preactivation", "branch", "update"):
        low, high = demands.of(Quantity(kind, "change", "x", "x", "input", fading=True), "width")
        assert (low, high) == (-0.5, 0.0)
        assert demands.of(Quantity(kind, "change", "x", "x", "input"), "width") == (0.0, 0.0)


def test_an_update_of_an_update_is_a_term_of_what_changes_in_a_branch() -> None:
    half, whole = (Demands(get_rule(name), "adamw") for name in ("depth_mup", "completep"))
    inside = Quantity("preactivation", "change", "x", "x", "hidden", "s", deepens=True)
    branch = Quantity("branch", "change", "x", stream="s", deepens=True)
    assert (half.of(inside, "depth"), half.of(branch, "depth")) == ((-1.0, 0.0), (-1.5, -0.5))
    assert whole.of(branch, "depth")[1] == -1.0


def test_sizes_of_the_users_own_keys() -> None:
    base = {"d_model": 32, "heads": 4, "layers": 3}
    rows = grid("widths", {"d_model": [32, 64, 128], "heads": [4, 8, 16]}, base)
    assert rows[1] == {"d_model": 64, "heads": 8}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([64, 128, 256], "'width'.*d_model"),
        ({"d_model": [32, 64]}, "2 sizes"),
        ({"d_model": [32, 64, 64]}, "twice"),
        ({"d_model": [32, 64, 128], "heads": [4]}, "different lengths"),
    ],
)
def test_sizes_that_can_not_be_meant(values, message: str) -> None:
    with pytest.raises(CheckError, match=message):
        grid("widths", values, {"d_model": 32, "heads": 4})


def test_the_noisiest_of_many_lines_does_not_fail_by_chance() -> None:
    generator = random.Random(0)
    failed = {1: 0, 60: 0}
    for _ in range(2000):
        values = [[math.exp(generator.gauss(0, 1.0)) for _ in range(2)] for _ in range(3)]
        for family in failed:
            failed[family] += judged("width", STREAM, SIZES[:3], values, (0.0, 0.0), 0.15, family).outcome == "FAIL"
    assert failed[1] > 40, "one line alone at 95 % fails by chance"
    assert failed[60] <= 5
