"""Every cell of the specified table comes out of the derivation, and the written table in the docs is that one."""

import doctest
from fractions import Fraction as F
from pathlib import Path

import pytest

from isoscale._rules import KINDS, ONE, OPTIMIZERS, ROLES, RULES, Power, UnknownName, depth_alpha, fold, get_rule, table

DOCS = Path(__file__).parents[1] / "docs" / "theory" / "rules.md"
ALPHAS = [F(1, 2), F(3, 4), F(1)]


def nl(n: int | F = 0, l: int | F = 0) -> tuple[F, F]:
    """(exponent of n, exponent of l)"""
    return F(n), F(l)


def cells(power: Power) -> tuple[F, F]:
    return power.width, power.depth


def specified(a: F) -> dict[tuple[str, bool], dict[str, tuple[F, F]]]:
    """The table of the specification, typed in by hand: role, in branch -> column -> exponents of n and l."""
    one = nl()
    columns = ("multiplier", "std", "sgd", "adam", "eps", "adamw decay")
    rows = {
        ("input", False): (one, one, nl(1), one, nl(-1), one),
        ("input", True): (one, one, nl(1, 2 * a - 1), nl(0, a - 1), nl(-1, -a), nl(0, 1 - a)),
        ("hidden", True): (one, nl(F(-1, 2)), nl(0, 2 * a - 1), nl(-1, a - 1), nl(-1, -a), nl(1, 1 - a)),
        ("hidden", False): (one, nl(F(-1, 2)), one, nl(-1), nl(-1), nl(1)),
        ("output", False): (nl(-1), one, nl(1), one, nl(-1), one),
        # A router or gate: a readout's width, a branch's depth.
        ("output", True): (nl(-1), one, nl(1, 2 * a - 1), nl(0, a - 1), nl(-1, -a), nl(0, 1 - a)),
        ("scalar", True): (one, one, nl(0, 2 * a - 1), nl(0, a - 1), nl(0, -a), nl(0, 1 - a)),
        ("scalar", False): (one, one, one, one, one, one),
    }
    return {key: dict(zip(columns, row, strict=True)) for key, row in rows.items()}


@pytest.mark.parametrize("alpha", ALPHAS, ids=str)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("in_branch", [False, True], ids=["outside", "in branch"])
def test_every_cell(alpha: F, role: str, in_branch: bool) -> None:
    rule = depth_alpha(alpha)
    want = specified(alpha)[role, in_branch]
    sgd, adam, adamw = (rule.entry(role, in_branch, name) for name in ("sgd", "adam", "adamw"))
    for entry in (sgd, adam, adamw):
        assert cells(entry.multiplier) == want["multiplier"]
        assert cells(entry.std) == want["std"]
    assert cells(sgd.lr) == want["sgd"]
    assert sgd.eps == ONE
    assert sgd.decay == sgd.lr**-1, "coupled decay keeps lr * decay for a raw gradient"
    assert cells(adam.lr) == cells(adamw.lr) == want["adam"]
    assert cells(adam.eps) == cells(adamw.eps) == want["eps"]
    assert cells(adamw.decay) == want["adamw decay"]
    assert adam.decay == adam.eps / adam.std, "L2 is normalised together with the gradient: it keeps its proportion"


@pytest.mark.parametrize("name", sorted(RULES))
def test_independent_decay_never_moves_and_torch_decay_keeps_lr_times_decay(name: str) -> None:
    for kind in KINDS:
        independent = RULES[name].entry(kind.role, kind.in_branch, "adamw_independent", tail=kind.tail)
        decoupled = RULES[name].entry(kind.role, kind.in_branch, "adamw", tail=kind.tail)
        assert independent.decay == ONE
        assert decoupled.decay * decoupled.lr == ONE or "constant" in (RULES[name].width_rates, RULES[name].depth_rates)
        assert (independent.lr, independent.eps) == (decoupled.lr, decoupled.eps)


def test_spectral_form_where_the_fans_grow_apart() -> None:
    """std ~ n_in^-1/2 min(1, sqrt(n_out / n_in)), SGD lr n_out / n_in, Adam lr 1 / n_in (arXiv 2310.17813)."""
    sgd, adam = (get_rule("mup").entry("hidden", False, name) for name in ("sgd", "adam"))
    assert sgd.std.at(fan_in=16, fan_out=4) == 0.25 * 0.5
    assert sgd.std.at(fan_in=4, fan_out=16) == 0.5
    assert sgd.lr.at(fan_in=16, fan_out=4) == 0.25
    assert sgd.lr.at(fan_in=4, fan_out=16) == 4.0
    assert adam.lr.at(fan_in=16, fan_out=4) == adam.lr.at(fan_in=16, fan_out=64) == 1 / 16
    assert adam.eps.at(fan_in=16, fan_out=4) == 1 / 4


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_input_and_output_are_the_hidden_law_with_one_fan_fixed(optimizer: str) -> None:
    """A folded readout is a hidden weight whose fan-out stays, an input weight one whose fan-in stays."""
    rule = get_rule("depth_mup")
    hidden, read, write = (rule.entry(role, True, optimizer) for role in ("hidden", "output", "input"))
    read = fold(read)
    for column in ("std", "lr", "eps", "decay"):
        law = getattr(hidden, column)
        assert getattr(read, column).at(fan_in=9, depth=4) == pytest.approx(law.at(fan_in=9, depth=4))
        assert getattr(write, column).at(fan_out=9, depth=4) == pytest.approx(law.at(fan_out=9, depth=4))


def test_the_paper_needs_no_depth_scaling_of_sgd_rates() -> None:
    assert all(get_rule("depth_mup").entry(role, True, "sgd").lr.depth == 0 for role in ROLES)
    assert get_rule("depth_mup").entry("hidden", True, "adam").lr.depth == F(-1, 2)


def test_a_tail_carries_the_branch_once_and_nothing_else_changes() -> None:
    rule = get_rule("completep")
    plain, tail = (rule.entry("hidden", True, "adamw", tail=end) for end in (False, True))
    assert plain.multiplier == ONE
    assert tail.multiplier == rule.branch_multiplier == Power(depth=F(-1))
    assert (plain.std, plain.lr, plain.eps, plain.decay) == (tail.std, tail.lr, tail.eps, tail.decay)
    assert fold(tail).std == plain.std * Power(depth=F(-1))
    with pytest.raises(ValueError, match="only a branch has a tail"):
        rule.entry("hidden", False, "adamw", tail=True)


def test_attention_grows_with_the_head_only_where_features_learn() -> None:
    assert get_rule("depth_mup").attention == Power(fan_in=F(-1, 2))
    assert get_rule("sp").attention == get_rule("ntk").attention == ONE


def test_table_gives_values_with_reason_and_source() -> None:
    rows = table(get_rule("depth_mup"), "adamw", width=8, depth=4)
    assert [row.kind for row in rows] == list(KINDS)
    by_label = {row.kind.label: row for row in rows}
    row = by_label["hidden in branch"]
    assert (row.multiplier, row.lr, row.eps, row.decay) == (1.0, 1 / 16, 1 / 16, 16.0)
    assert row.std == pytest.approx(8**-0.5)
    assert "each of L branches" in row.entry.reason
    assert "2309.16620" in row.entry.source
    assert by_label["output (readout)"].multiplier == 1 / 8
    assert all(row.entry.reason and row.entry.source for row in rows)


def test_folded_table_has_no_multiplier_and_sgd_no_eps() -> None:
    rows = table(get_rule("depth_mup"), "sgd", width=8, depth=4, folded=True)
    assert {row.multiplier for row in rows} == {1.0}
    assert {row.eps for row in rows} == {None}
    assert next(row for row in rows if row.kind.label == "output (readout)").lr == 1 / 8
    assert {row.lr for row in table(get_rule("completep"), "adamw")} == {1.0}


def test_unknown_and_refused_names_say_what_to_do() -> None:
    with pytest.raises(UnknownName, match="did you mean 'depth_mup'"):
        get_rule("depht_mup")
    with pytest.raises(UnknownName, match="did you mean 'adamw'"):
        get_rule("mup").entry("hidden", False, "adamww")
    with pytest.raises(UnknownName, match="did you mean 'adamw'"):
        get_rule("mup").entry("hidden", False, "AdamW")
    for name in ("radam", "adadelta", "lbfgs", "rprop"):
        with pytest.raises(UnknownName, match=f"{name}.*is refused: "):
            get_rule("mup").entry("hidden", False, name)


def written(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("alpha", ALPHAS, ids=str)
def test_the_table_in_the_docs_is_the_derived_one(alpha: F) -> None:
    def exponents(cell: str) -> tuple[F, F]:
        found = {"n": F(0), "l": F(0)}
        for factor in () if cell == "1" else cell.split():
            base, _, exponent = factor.partition("^")
            linear = {
                "": F(1),
                "a-1": alpha - 1,
                "1-a": 1 - alpha,
                "-a": -alpha,
                "2a-1": 2 * alpha - 1,
                "1-2a": 1 - 2 * alpha,
            }
            key = exponent.strip("()")
            found[base] = linear[key] if key in linear else F(key)
        return found["n"], found["l"]

    section = DOCS.read_text().split("## The table")[1].split("##")[0]
    header, _, *rows = written(section)
    assert header[1:] == [
        "multiplier",
        "std",
        "lr: SGD",
        "lr: Adam",
        "eps: Adam",
        "decay: AdamW",
        "decay: SGD",
        "decay: Adam (L2)",
    ]
    rule = depth_alpha(alpha)
    kinds = {kind.label: kind for kind in KINDS if not kind.tail}
    assert {row[0] for row in rows} == set(kinds)
    for label, *line in rows:
        kind = kinds[label]
        sgd, adam, adamw = (rule.entry(kind.role, kind.in_branch, name) for name in ("sgd", "adam", "adamw"))
        derived = (sgd.multiplier, sgd.std, sgd.lr, adam.lr, adam.eps, adamw.decay, sgd.decay, adam.decay)
        assert [exponents(cell) for cell in line] == [cells(power) for power in derived], label


def test_the_examples_in_the_docs_run() -> None:
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    found = doctest.testfile(str(DOCS), module_relative=False, optionflags=flags)
    assert found.failed == 0
    assert found.attempted >= 5
