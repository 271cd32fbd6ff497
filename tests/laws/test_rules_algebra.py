"""Laws of the gauge, without torch: it is a group, its invariants are constant on orbits, and it fixes trajectories."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    """a + b, and 2a + c for SGD, a + c for Adam, c for LAMB, in multiplier = n^-a, std = n^-b, lr = n^-c."""
    moved = fold(entry, by)
    weight = {"sgd": 2, "lamb": 0}.get(entry.optimizer, 1)
    for size in ("fan_in", "fan_out", "depth", "narrowing"):
        a, b, c = (-getattr(getattr(entry, column), size) for column in ("multiplier", "std", "lr"))
        a2, b2, c2 = (-getattr(getattr(moved, column), size) for column in ("multiplier", "std", "lr"))
        assert a + b == a2 + b2
        assert weight * a + c == weight * a2 + c2


@law
@given(entries, powers.filter(lambda power: power != ONE), st.sampled_from(["std", "lr", "eps", "decay"]))
def test_a_changed_setting_leaves_the_orbit(entry: Entry, by: Power, column: str) -> None:
    assert invariants(replace(entry, **{column: getattr(entry, column) * by})) != invariants(entry)


# The trajectory itself, by a slow and obvious oracle: every optimizer written out, one array, one step at a time.


def ema(state: dict, key: str, value: np.ndarray, keep: float) -> np.ndarray:
    state[key] = keep * state.get(key, 0.0) + (1 - keep) * value
    return state[key]


def adaptive(state: dict, g: np.ndarray, eps: float, keep: float = 0.75) -> np.ndarray:
    """Adam's normalised step with bias correction; powers of two as constants of averaging keep it exact to scale."""
    t = state["t"]
    first = ema(state, "m", g, 0.5) / (1 - 0.5**t)
    second = ema(state, "v", g * g, keep) / (1 - keep**t)
    return first / (np.sqrt(second) + eps)


def step(name: str, w: np.ndarray, g: np.ndarray, state: dict, lr: float, eps: float, wd: float) -> np.ndarray:
    state["t"] = state.get("t", 0) + 1
    row = get_optimizer(name.removesuffix("_nesterov"))
    if row.decay == "coupled":
        g = g + wd * w
    if name in ("sgd", "sgd_nesterov"):
        state["b"] = 0.5 * state.get("b", 0.0) + g
        u = g + 0.5 * state["b"] if name == "sgd_nesterov" else state["b"]
    elif name in ("adam", "adamw", "adamw_independent"):
        u = adaptive(state, g, eps)
    elif name == "nadam":
        second = ema(state, "v", g * g, 0.75) / (1 - 0.75 ** state["t"])
        u = (0.5 * g + 0.5 * ema(state, "m", g, 0.5)) / (np.sqrt(second) + eps)
    elif name == "adamax":
        state["n"] = np.maximum(0.75 * state.get("n", 0.0), np.abs(g) + eps)
        u = ema(state, "m", g, 0.5) / state["n"]
    elif name == "rmsprop":
        u = g / (np.sqrt(ema(state, "v", g * g, 0.75)) + eps)
    elif name == "adagrad":
        state["s"] = state.get("s", 0.0) + g * g
        u = g / (np.sqrt(state["s"]) + eps)
    elif name == "lion":
        u = np.sign(0.75 * state.get("m", 0.0) + 0.25 * g)
        ema(state, "m", g, 0.5)
    elif name == "lamb":
        u = adaptive(state, g, eps) + wd * w
        u = u * np.sqrt(np.sum(w * w)) / np.sqrt(np.sum(u * u))
    if row.decay == "decoupled":
        w = w - lr * wd * w
    elif row.decay == "independent":
        w = w - wd * w
    return w - lr * u


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
        g = multiplier * ((f - y.T) / 8) @ x.T
        w = step(name, w, g, state, 0.05 * at(entry.lr), 0.125 * at(entry.eps), 0.25 * at(entry.decay))
    return outputs, w


def explicit(row: Optimizer) -> Entry:
    """A weight with everything at the base value but a forward multiplier l^-1."""
    entry = get_rule("depth_mup").entry("scalar", False, row.name)
    return replace(entry, multiplier=Power(depth=F(-1)))


NAMES = [*OPTIMIZERS, "sgd_nesterov"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("l", [4, 1 / 8])
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
    *((name, "eps") for name in ("sgd", "sgd_nesterov", "lion")),
    ("lamb", "lr"),
    ("adamw_independent", "decay"),
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
