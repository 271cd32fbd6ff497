"""Regimes come out of the exponents; a table that is not what it says cannot be built."""

from dataclasses import replace
from fractions import Fraction as F

import pytest

from isoscale._rules import (
    ONE,
    OPTIMIZERS,
    RULES,
    Power,
    RuleError,
    Weight,
    compare,
    depth_alpha,
    get_rule,
    phase,
    phase_of_branch,
    same_up_to_gauge,
)

CORE = ("sgd", "adam", "adamw", "adamw_independent")


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize(
    ("name", "width", "depth"),
    [
        ("sp", "unstable", "unstable"),
        ("ntk", "lazy", "unstable"),
        ("mup", "feature-learning", "unstable"),
        ("mean_field", "feature-learning", "unstable"),
        ("depth_mup", "feature-learning", "feature-learning"),
        ("depth_alpha(3/4)", "feature-learning", "feature-learning"),
        ("completep", "feature-learning", "feature-learning"),
        ("umup", "feature-learning", "feature-learning"),
        ("resnet_2lp", "feature-learning", "feature-learning"),
        ("sp_full_align", "feature-learning", "unstable"),
        ("mup_no_align", "feature-learning", "unstable"),
    ],
)
def test_regime(name: str, width: str, depth: str, optimizer: str) -> None:
    found = get_rule(name).scaling(optimizer)
    if name == "sp" and optimizer == "kfac":
        width = "lazy"  # natural gradient bounds the change of the output by itself (arXiv 2312.12226)
    assert (found.width_regime, found.depth_regime) == (width, depth)


def test_stable_maximal_faithful() -> None:
    both = {name for name, rule in RULES.items() if rule.stable and rule.maximal}
    assert both == {"depth_mup", "completep", "umup", "resnet_2lp"}
    assert not RULES["sp"].stable
    assert not RULES["ntk"].maximal
    assert all(rule.faithful for rule in RULES.values())


@pytest.mark.parametrize("optimizer", CORE)
def test_roles_of_sp_and_ntk(optimizer: str) -> None:
    sp, ntk, mup = (get_rule(name).scaling(optimizer) for name in ("sp", "ntk", "mup"))
    assert [sp.role_regime(role) for role in ("hidden", "output")] == ["unstable", "unstable"]
    assert [ntk.role_regime(role) for role in ("input", "hidden", "output")] == ["lazy"] * 3
    assert ntk.update == {"input": F(-1, 2), "hidden": F(-1, 2), "output": F(0)}
    assert [mup.role_regime(role) for role in ("input", "hidden", "output")] == ["feature-learning"] * 3
    assert mup.initial == {"input": F(0), "hidden": F(0), "output": F(-1, 2)}


def test_only_alpha_one_is_complete() -> None:
    for alpha in (F(1, 2), F(3, 4), F(1)):
        found = depth_alpha(alpha).scaling("adam")
        assert found.inner_update["hidden"] == alpha - 1
        assert set(found.stream_update.values()) == {F(0)}
        assert found.stream_initial == F(1, 2) - alpha
        assert found.complete == (alpha == 1)


@pytest.mark.parametrize("alpha", ["0", "1/4", "49/100", "51/50", "2", "-1"])
def test_alpha_outside_one_half_to_one_cannot_be_built(alpha: str) -> None:
    with pytest.raises(RuleError, match=r"declared feature-learning in depth, its exponents make it unstable"):
        get_rule(f"depth_alpha({alpha})")


def test_alpha_is_read_exactly() -> None:
    assert get_rule("depth_alpha(3/4)").alpha == get_rule("depth_alpha(0.75)").alpha == F(3, 4)
    assert get_rule("depth_alpha( 1/2 )").branch_multiplier == get_rule("depth_mup").branch_multiplier


@pytest.mark.parametrize(
    ("change", "derived"),
    [
        ({"output": Weight(ONE, Power(fan_in=F(-1, 2)))}, "lazy"),
        ({"output": Weight(ONE, ONE)}, "unstable"),
        ({"hidden": Weight(ONE, ONE)}, "unstable"),
        ({"hidden": Weight(Power(fan_in=F(-1)), ONE)}, "vanishing"),
        ({"width_rates": "constant"}, "unstable"),
    ],
    ids=["readout too large", "readout unscaled", "hidden unscaled", "1/n in every layer", "no learning rates"],
)
def test_a_table_that_contradicts_its_purpose_cannot_be_built(change: dict, derived: str) -> None:
    with pytest.raises(RuleError, match=f"declared feature-learning in width, its exponents make it {derived} under"):
        replace(get_rule("mup"), **change)


def test_constant_rates_at_alpha_one_half_are_right_for_sgd_only() -> None:
    """The paper's rule needs the branch multiplier alone under SGD; under Adam the rate must fall as l^-1/2."""
    with pytest.raises(RuleError, match="unstable under adam"):
        replace(get_rule("depth_mup"), depth_rates="constant")


def test_gauge_classes_of_the_named_rules() -> None:
    for optimizer in OPTIMIZERS:
        assert same_up_to_gauge(get_rule("mup"), get_rule("mean_field"), optimizer)
        assert same_up_to_gauge(get_rule("umup"), get_rule("depth_mup"), optimizer)
        assert same_up_to_gauge(get_rule("umup"), get_rule("mup"), optimizer, sizes="width")
        assert not same_up_to_gauge(get_rule("umup"), get_rule("mup"), optimizer)
        assert same_up_to_gauge(get_rule("sp_full_align"), get_rule("ntk_full_align"), optimizer)
        assert same_up_to_gauge(get_rule("sp_no_align"), get_rule("ntk_no_align"), optimizer)
        assert not same_up_to_gauge(get_rule("ntk"), get_rule("mup"), optimizer, sizes="width")
        assert not same_up_to_gauge(get_rule("depth_mup"), get_rule("completep"), optimizer)


def test_standard_init_with_derived_rates_is_ntk() -> None:
    repaired = replace(get_rule("sp"), name="sp_stable", width="lazy", width_rates="derived")
    for optimizer in OPTIMIZERS:
        assert same_up_to_gauge(repaired, get_rule("ntk"), optimizer)


def test_compare_names_only_the_rows_that_differ() -> None:
    found = compare(get_rule("ntk"), get_rule("mup"), "adamw", sizes="width")
    labels = {(item.kind.label, item.quantity) for item in found}
    assert ("output (readout)", "init") in labels
    assert ("output (readout)", "lr") not in labels
    assert ("scalar in branch", "init") not in labels
    readout = next(item for item in found if item.kind.label == "output (readout)" and item.quantity == "init")
    assert (readout.a.width, readout.b.width) == (F(-1, 2), F(-1))
    depth = compare(get_rule("depth_mup"), get_rule("completep"), "sgd", sizes="depth")
    assert {item.kind.in_branch for item in depth} == {True}
    assert {item.quantity for item in depth if not item.kind.tail} == {"lr", "decay"}
    assert {item.quantity for item in depth if item.kind.tail} == {"init"}


def test_at_the_end_of_a_branch_every_alpha_has_the_same_sgd_rate() -> None:
    """l^(2a-1) folded with l^-a twice is l^-1 for every alpha: rules differ there in the init alone."""
    from_half, from_one = (get_rule(name) for name in ("depth_mup", "completep"))
    tails = [item for item in compare(from_half, from_one, "sgd") if item.kind.tail]
    assert {item.quantity for item in tails} == {"init"}


@pytest.mark.parametrize(
    ("alignment", "optimizer", "rates"),
    [
        ("full", "adam", (0, -1, -1)),
        ("no", "adam", (0, F(-1, 2), F(-1, 2))),
        ("full", "sgd", (F(1, 2), F(-1, 2), -1)),
        ("no", "sgd", (F(1, 2), 0, F(-1, 2))),
    ],
)
def test_per_layer_rates_of_standard_parameterization(alignment: str, optimizer: str, rates: tuple) -> None:
    rule = get_rule(f"sp_{alignment}_align")
    found = tuple(rule.entry(role, False, optimizer).lr.width for role in ("input", "hidden", "output"))
    assert found == rates


def test_two_width_block_rates_are_the_raw_rates_of_the_source() -> None:
    """u.h/D and 1/(LM) v with raw rate L M D: folded, both weights get L n_out / n_in."""
    rule = get_rule("resnet_2lp")
    inner, end = (rule.entry("hidden", True, "sgd", tail=tail) for tail in (False, True))
    big, m, d = 6.0, 5.0, 7.0
    assert inner.std.at(fan_in=d, fan_out=m) == pytest.approx(d**0.5 / d)
    assert inner.lr.at(fan_in=d, fan_out=m, depth=big) == pytest.approx(big * m * d / d**2)
    assert end.multiplier.at(depth=big) * end.std.at(fan_in=m, fan_out=d) == pytest.approx(d**0.5 / (big * m))
    folded_m = rule.entry("hidden", True, "sgd", tail=True).lr.at(fan_in=m, fan_out=d, depth=big)
    assert folded_m == pytest.approx(big * m * d / m**2)


def test_fan_in_init_is_the_two_width_block_at_scale_root_m_over_d() -> None:
    fan_in = get_rule("sp").weight("hidden").std
    ratio = fan_in / get_rule("resnet_2lp").weight("hidden", tail=True).std
    assert ratio == Power(fan_in=F(1, 2), fan_out=F(-1, 2))
    assert ratio.at(fan_in=100, fan_out=25) == 2.0


@pytest.mark.parametrize(
    ("g", "a", "regime", "deviation", "update"),
    [
        ("-1/2", 0, "subcritical", -1, 0),
        (0, 0, "critical", F(-1, 2), 0),
        ("1/4", 0, "lazy ODE", F(-1, 4), F(-1, 4)),
        ("1/2", 0, "lazy SDE", 0, F(-1, 2)),
        ("5/8", 0, "explosive", F(1, 8), None),
        ("3/4", "-1/4", "lazy SDE", 0, F(-3, 4)),
        ("1/2", "-1/4", "lazy ODE", F(-1, 4), F(-1, 2)),
        (0, "1/2", "critical", F(-1, 2), None),
    ],
)
def test_phase(g: object, a: object, regime: str, deviation: object, update: object) -> None:
    found = phase(g, a)
    assert (found.regime, found.initial_deviation, found.local_update) == (regime, deviation, update)


@pytest.mark.parametrize("alpha", [F(1, 2), F(3, 4), F(1)])
def test_the_phase_of_a_branch_and_the_rule_agree(alpha: F) -> None:
    found, rule = phase_of_branch(alpha), depth_alpha(alpha).scaling("sgd")
    assert found.local_update == rule.inner_update["hidden"]
    assert found.initial_deviation == rule.stream_initial
    assert phase_of_branch(F(1, 4)).regime == "explosive"
    assert phase_of_branch(F(3, 2)).regime == "subcritical"
