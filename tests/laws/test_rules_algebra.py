"""Laws of the gauge, without torch: it is a group, its invariants are constant on orbits, and it fixes trajectories."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_steps import step

from isoscale._rules import (
    KINDS,
    ONE,
    OPTIMIZERS,
    RULES,
    Entry,
    Optimizer,
    Power,
    fold,
    get_optimizer,
    get_rule,
    invariants,
    unfold,
)

law = settings(derandomize=True, deadline=None)
exponents = st.fractions(min_value=-3, max_value=3, max_denominator=6)
powers = st.builds(Power, exponents, exponents, exponents, exponents)
entries = st.builds(
    lambda rule, kind, optimizer: rule.entry(kind.role, kind.in_branch, optimizer, tail=kind.tail),
    st.sampled_from(list(RULES.values())),
    st.sampled_from(KINDS),
    st.sampled_from(list(OPTIMIZERS)),
)


@law
@given(entries, powers)
def test_unfold_undoes_fold(entry: Entry, by: Power) -> None:
    assert unfold(fold(entry, by), by) == fold(unfold(entry, by), by) == entry


@law
@given(entries, powers, powers)
def test_folding_twice_is_folding_the_product(entry: Entry, a: Power, b: Power) -> None:
    assert fold(fold(entry, a), b) == fold(fold(entry, b), a) == fold(entry, a * b)
    assert fold(entry, ONE) == entry


@law
@given(entries, powers)
def test_invariants_are_constant_on_an_orbit(entry: Entry, by: Power) -> None:
    assert invariants(fold(entry, by)) == invariants(entry)


@law
@given(entries, powers)
def test_written_invariants(entry: Entry, by: Power) -> None:
    """a + b, and 2a + c for SGD, a + c for Adam, c for LAMB and K-FAC, in multiplier = n^-a, std = n^-b, lr = n^-c."""
    moved = fold(entry, by)
    weight = {"sgd": 2, "lamb": 0, "adafactor": 0, "kfac": 0}.get(entry.optimizer, 1)
    for size in ("fan_in", "fan_out", "depth", "narrowing"):
        a, b, c = (-getattr(getattr(entry, column), size) for column in ("multiplier", "std", "lr"))
        a2, b2, c2 = (-getattr(getattr(moved, column), size) for column in ("multiplier", "std", "lr"))
        assert a + b == a2 + b2
        assert weight * a + c == weight * a2 + c2


@law
@given(entries, powers.filter(lambda power: power != ONE), st.sampled_from(["std", "lr", "eps", "decay"]))
def test_a_changed_setting_leaves_the_orbit(entry: Entry, by: Power, column: str) -> None:
    assert invariants(replace(entry, **{column: getattr(entry, column) * by})) != invariants(entry)


# The trajectory itself, by a slow and obvious oracle.


EPS = {"muon": 64.0}
"""Where 0.125 would hide a forgotten eps: it is a lower bound on the gradient's norm."""
FLOOR = 4.0


def train(
    entry: Entry, name: str, at: Callable[[Power], float], steps: int = 12
) -> tuple[list[np.ndarray], np.ndarray]:
    """Outputs over training of f = m W tanh(x), W ~ std; the settings are the base's times the entry's ratios."""
    rng = np.random.default_rng(7)
    x, y = np.tanh(rng.normal(size=(6, 8))), rng.normal(size=(8, 3))
    multiplier, w = at(entry.multiplier), at(entry.std) * rng.normal(size=(3, 6))
    state: dict = {}
    outputs = []
    for _ in range(steps):
        f = multiplier * (w @ x)
        outputs.append(f)
        delta = multiplier * ((f - y.T) / 8)
        # A floor on the weight's own size has the weight's unit.
        eps = FLOOR * at(entry.std) if get_optimizer(entry.optimizer).floor else EPS.get(name, 0.125) * at(entry.eps)
        settings = 0.05 * at(entry.lr), eps, 0.25 * at(entry.decay)
        w = step(name, w, delta @ x.T, state, *settings, factors=(x, delta))
    return outputs, w


def explicit(row: Optimizer) -> Entry:
    """A weight with everything at the base value but a forward multiplier l^-1."""
    entry = get_rule("depth_mup").entry("scalar", False, row.name)
    return replace(entry, multiplier=Power(depth=F(-1)))


NAMES = [*OPTIMIZERS, "sgd_nesterov"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("l", [4, 1 / 16])
def test_power_of_two_fold_is_bitwise_the_same_run(name: str, l: float) -> None:
    entry = explicit(get_optimizer(name.removesuffix("_nesterov")))
    (plain, w), (folded, v) = (train(e, name, lambda power: power.at(depth=l)) for e in (entry, fold(entry)))
    assert all(np.array_equal(a, b) for a, b in zip(plain, folded, strict=True))
    assert np.array_equal(w / l, v)
    moved = max(np.abs(plain[-1] - plain[0]).max(), 0)
    assert moved > 1e-3, "a run that does not move proves nothing"


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.sampled_from(NAMES), st.floats(min_value=0.2, max_value=5))
def test_any_fold_is_the_same_run(name: str, l: float) -> None:
    entry = explicit(get_optimizer(name.removesuffix("_nesterov")))
    plain, folded = (train(e, name, lambda power: power.at(depth=l))[0] for e in (entry, fold(entry)))
    assert np.allclose(plain[-1], folded[-1], rtol=1e-9, atol=1e-11)


UNTOUCHED = {
    *((name, "eps") for name in ("sgd", "sgd_nesterov", "lion", "adam_atan2", "adafactor", "adafactor_unscaled")),
    *((name, "lr") for name in ("lamb", "adafactor", "kfac")),
    *((name, "decay") for name in ("adamw_independent", "adafactor", "kfac")),
}
FOLDED = [
    (name, column) for name in NAMES for column in ("std", "lr", "eps", "decay") if (name, column) not in UNTOUCHED
]


@pytest.mark.parametrize(("name", "column"), FOLDED)
def test_a_forgotten_column_is_seen(name: str, column: str) -> None:
    """Negative control: the same fold with one column left behind gives another run."""
    entry = explicit(get_optimizer(name.removesuffix("_nesterov")))
    folded = fold(entry)
    broken = replace(folded, **{column: getattr(entry, column)})
    plain, wrong = (train(e, name, lambda power: power.at(depth=4))[0] for e in (entry, broken))
    assert np.abs(plain[-1] - wrong[-1]).max() > 1e-4


def test_the_columns_of_the_written_gauge_table() -> None:
    c = Power(depth=F(-1))
    want = {"sgd": (2, 0, -2), "adam": (1, -1, -2), "adamw": (1, -1, -1), "adamw_independent": (1, -1, 0)}
    for name, (lr, eps, decay) in want.items():
        folded = fold(explicit(get_optimizer(name)))
        assert (folded.lr, folded.eps, folded.decay, folded.std) == (c**lr, c**eps, c**decay, c)


@pytest.mark.parametrize("optimizer", ["sgd", "lion"])
def test_what_has_no_eps_gets_none_from_a_fold(optimizer: str) -> None:
    entry = get_rule("depth_mup").entry("hidden", True, optimizer)
    assert get_optimizer(optimizer).eps is None
    assert fold(entry, Power(fan_in=-1)).eps == entry.eps == ONE
