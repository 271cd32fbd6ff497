"""What docs/theory/open-questions.md says was measured, is what the rule does, and the other choice fails it."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from isoscale._rules import OPTIMIZERS, fold, get_rule

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "theory" / "open-questions.md").read_text(encoding="utf-8")
FACTS: dict[str, Any] = json.loads((ROOT / "bench" / "facts" / "open_questions.json").read_text(encoding="utf-8"))
WITHIN = 0.15
"""An exponent agrees with a prediction within this: a third of the difference of neighbouring choices."""


def fact(path: str) -> Any:
    found: Any = FACTS
    for key in path.split(", "):
        found = found[key]
    return found


def near(path: str, exponent: float) -> bool:
    return abs(fact(path)["slope"] - exponent) <= WITHIN


def cells(facts: Mapping[str, Any]) -> Iterator[str]:
    """Every exponent and every drift with its interval, as the page writes it."""
    for value in facts.values():
        if not isinstance(value, dict):
            continue
        if "slope" in value:
            yield cell(value["slope"], value["low"], value["high"])
        elif value.get("drift"):
            yield cell(*value["drift"])
        yield from cells(value)


def cell(estimate: float, low: float, high: float) -> str:
    return f"{estimate:+.2f} [{low:+.2f}, {high:+.2f}]"


def test_every_interval_on_the_page_was_measured() -> None:
    said = re.findall(r"[+-]\d\.\d\d \[[+-]\d\.\d\d, [+-]\d\.\d\d\]", PAGE)
    assert len(said) > 30
    assert set(said) <= set(cells(FACTS))
    assert cell(9.0, 8.0, 10.0) not in set(cells(FACTS))


def test_logits_of_a_growing_head() -> None:
    assert str(get_rule("depth_mup").logits) == "n^-1"
    assert near("attention, 1/d, change at 2^-8", 0.0)
    assert not near("attention, 1/sqrt(d), change at 2^-8", 0.0)
    assert near("attention, 1/d, start", -0.5)
    assert near("attention, 1/sqrt(d), start", 0.0)


def test_a_tied_readout_needs_its_multiplier() -> None:
    assert near("tied, tied, change", 0.0)
    assert not near("tied, tied without 1/n, change", 0.0)
    assert fact("tied, tied, start")["slope"] < 0 < fact("tied, tied without 1/n, start")["slope"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_two_roles_of_a_tied_weight_have_one_row(optimizer: str) -> None:
    settings = ("std", "lr", "eps", "decay")

    def same(rule: str) -> bool:
        rows = [get_rule(rule).entry(role, False, optimizer) for role in ("input", "output")]
        embedding, readout = ([getattr(row, key).at(fan_in=3, fan_out=3) for key in settings] for row in rows)
        return embedding == pytest.approx(readout)

    assert all(same(rule) for rule in ("mup", "depth_mup", "completep"))
    assert not same("sp_full_align")  # whose readout starts smaller, with a rate of its own


def test_decay_of_a_gain_at_a_branchs_end() -> None:
    def last_doubling(choice: str) -> float:
        *_, before, last = fact(f"batchnorm, {choice}, decay of the gain")["values"]
        return math.log2(last / before)

    gain = fold(get_rule("depth_mup").entry("input", True, "adamw", tail=True))
    assert gain.decay.depth == 1
    assert (gain.lr * gain.decay).depth == 0
    assert abs(last_doubling("l^1 (the rule)")) <= WITHIN
    assert last_doubling("l^1/2") == pytest.approx(-0.5, abs=WITHIN)
    assert last_doubling("1") == pytest.approx(-1.0, abs=WITHIN)
    alone = fact("batchnorm, decay alone")
    assert fact("batchnorm, l^1 (the rule), decay of the gain")["values"][-1] == pytest.approx(alone, rel=0.1)


@pytest.mark.parametrize("rule", ["completep", "depth_mup"])
def test_gains_and_biases_change_each_branch_by_its_share(rule: str) -> None:
    assert near(f"vectors, {rule}, rule, one branch", -1.0)
    for other in ("l^-1/2 more", "l^-1 more", "end unscaled"):
        assert not near(f"vectors, {rule}, {other}, one branch", -1.0), other


@pytest.mark.parametrize("rule", ["completep", "depth_mup"])
def test_eps_of_gains_and_biases_follows_their_gradients(rule: str) -> None:
    inner = get_rule(rule).entry("input", True, "adamw")
    for kind, row in (("norms.weight", inner), ("expands.bias", inner),
                      ("contracts.bias", fold(get_rule(rule).entry("input", True, "adamw", tail=True)))):  # fmt: skip
        assert near(f"vectors, {rule}, gradient, {kind}", float(row.eps.depth)), kind
        assert not near(f"vectors, {rule}, gradient, {kind}", float(row.eps.depth) + 0.5)


def test_eps_and_decay_left_unscaled_change_what_vectors_do() -> None:
    assert near("vectors, eps, rule", -1.0)
    assert not near("vectors, eps, unscaled", -1.0)
    assert near("vectors, decay, rule, contracts.bias", 0.0)
    assert near("vectors, decay, rule, norms", 0.0)
    assert not near("vectors, decay, unscaled, contracts.bias", 0.0)


def test_depth_counts_branches() -> None:
    assert [fact("counting, depths")[str(each)] for each in (1, 2, 4, 8)] == [[[3, 3 * k]] for k in (1, 2, 4, 8)]
    assert near("counting, branches, stream at the start", 0.0)
    assert not near("counting, blocks, stream at the start", 0.0)
    assert fact("counting, branches, lr")["outcome"] == "transfers"
    assert fact("counting, blocks, lr")["outcome"] == "drifts"


def test_depth_is_that_of_ones_own_stream() -> None:
    for side in ("left", "right"):
        assert near(f"counting, towers, own stream, change of {side}", 0.0)
        assert not near(f"counting, towers, both together, change of {side}", 0.0)


def test_blocks_and_branches_are_one_ratio_where_the_block_is_one() -> None:
    assert fact("counting, transformer") == {"blocks": [2, 6], "branches": [4, 12], "same settings": True}
    assert near("counting, one add, two adds at both", 0.0)
    assert near("counting, one add, one add at both", 0.0)
    assert not near("counting, one add, two adds; then one", 0.0)
