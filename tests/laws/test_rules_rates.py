"""Declared exponent = fitted slope: the exponents of `Rule.scaling` against small residual networks trained in numpy.

Network: h_0 = W_in x, h <- h + l^-alpha m W phi(h) for every branch, f = m_out W_out h; square loss on fixed data.
Every multiplier is explicit and every setting is the rule's ratio times a base value.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from reference_steps import step

from isoscale._rules import OPTIMIZERS, Entry, Rule, fold, get_optimizer, get_rule

BASE_WIDTH, BASE_DEPTH, SAMPLES, INPUTS, OUTPUTS, SEEDS = 32, 4, 4, 6, 4, 6
EPS = {"entry": 1e-4, "norm": 1e-3, "squared_norm": 1e-3}
FLOOR = 1e-3
RATE = {"gradient": 0.02, "sign": 0.001, "relative": 0.01, "orthogonal": 0.02, "natural": 0.02}
"""Of the base network, small enough for the first steps to be of first order."""


class Net:
    """One network at one size; `observe` trains it and returns what `Scaling` gives exponents of."""

    def __init__(self, rule: Rule, optimizer: str, width: int, depth: int, seed: int, folded: bool) -> None:
        self.optimizer, self.depth = optimizer, depth
        self.n, self.l = width / BASE_WIDTH, depth / BASE_DEPTH
        rows = {
            "input": rule.entry("input", False, optimizer),
            "hidden": rule.entry("hidden", True, optimizer, tail=True),
            "output": rule.entry("output", False, optimizer),
        }
        self.rows: Mapping[str, Entry] = {key: fold(row) if folded else row for key, row in rows.items()}
        rng = np.random.default_rng([seed, width, depth])
        base_std = {"input": INPUTS**-0.5, "hidden": 0.5 * BASE_WIDTH**-0.5, "output": 0.5 * BASE_WIDTH**-0.5}
        shapes = {"input": (width, INPUTS), "hidden": (depth, width, width), "output": (OUTPUTS, width)}
        self.w = {
            key: base_std[key] * self.at(rows_.std) * rng.normal(size=shapes[key]) for key, rows_ in self.rows.items()
        }
        self.m = {key: self.at(row.multiplier) for key, row in self.rows.items()}
        self.states: dict[str, list[dict]] = {key: [{} for _ in range(depth)] for key in self.w}
        data = np.random.default_rng(99)
        self.x, self.y = data.normal(size=(INPUTS, SAMPLES)), data.normal(size=(OUTPUTS, SAMPLES))

    def at(self, power) -> float:
        return power.at(fan_in=self.n, fan_out=self.n, depth=self.l)

    def forward(self):
        stream = [self.m["input"] * self.w["input"] @ self.x]
        for w in self.w["hidden"]:
            stream.append(stream[-1] + self.m["hidden"] * w @ np.tanh(stream[-1]))
        return stream, self.m["output"] * self.w["output"] @ stream[-1]

    def factors(self, stream, f) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
        """Of every weight matrix: its inputs x and the gradients d of its outputs; its own gradient is d x^T."""
        e = (f - self.y) / SAMPLES
        b = self.m["output"] * self.w["output"].T @ e
        found = {"output": [(stream[-1], self.m["output"] * e)], "hidden": []}
        for i in reversed(range(self.depth)):
            inside = np.tanh(stream[i])
            found["hidden"].insert(0, (inside, self.m["hidden"] * b))
            b = b + self.m["hidden"] * (1 - inside**2) * (self.w["hidden"][i].T @ b)
        found["input"] = [(self.x, self.m["input"] * b)]
        return found

    def update(self, rate: float) -> None:
        stream, f = self.forward()
        row = get_optimizer(self.optimizer)
        for key, factors in self.factors(stream, f).items():
            entry, weights = self.rows[key], self.w[key] if key == "hidden" else self.w[key][None]
            # A floor on the weight's own size has the weight's unit.
            eps = FLOOR * self.at(entry.std) if row.floor else EPS.get(row.eps, 0.0) * self.at(entry.eps)
            settings = rate * self.at(entry.lr), eps, 0.0
            stepped = [
                step(self.optimizer, w, d @ x.T, state, *settings, factors=(x, d))
                for w, (x, d), state in zip(weights, factors, self.states[key])
            ]
            self.w[key] = np.stack(stepped) if key == "hidden" else stepped[0]

    def observe(self, rate: float, steps: int) -> dict[str, float]:
        first = {key: w.copy() for key, w in self.w.items()}
        start, f0 = self.forward()
        for _ in range(steps):
            self.update(rate)
        stream, _ = self.forward()
        moved = {key: self.m[key] * (self.w[key] - first[key]) for key in self.w}
        branches = [moved["hidden"][i] @ np.tanh(stream[i]) for i in range(self.depth)]
        return {
            "initial stream": rms(start[-1]),
            "initial branches": rms(start[-1] - start[0]),
            "initial output": rms(f0),
            "input": rms(moved["input"] @ self.x),
            "hidden": rms(branches[self.depth // 2]),
            "output": rms(moved["output"] @ stream[-1]),
            "stream": rms(sum(branches)),
        }


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


@cache
def slopes(name: str, optimizer: str, grow: str, steps: int = 3, folded: bool = False) -> Mapping[str, float]:
    """Fitted log-log slopes over width (64..512 at depth 4) or depth (8..64 at width 48), rms over seeds."""
    rule, rate = get_rule(name), RATE[get_optimizer(optimizer).scale]
    sizes = [(width, 4) for width in (64, 128, 256, 512)] if grow == "width" else [(48, d) for d in (8, 16, 32, 64)]
    seeds = SEEDS
    if optimizer not in ("sgd", "adam"):
        # Matrix functions are dear: smaller networks, fewer of them.
        # Inverting the four examples' covariances (K-FAC) needs the large ones: narrow networks' fluctuate.
        smaller = {"natural": 1, "orthogonal": 4}.get(get_optimizer(optimizer).scale, 2)
        sizes, seeds = [(w, d) if grow == "depth" else (w // smaller, d) for w, d in sizes], SEEDS // 2
    seen: dict[str, list[float]] = {}
    for width, depth in sizes:
        runs = [Net(rule, optimizer, width, depth, seed, folded).observe(rate, steps) for seed in range(seeds)]
        for key in runs[0]:
            seen.setdefault(key, []).append(np.sqrt(np.mean([run[key] ** 2 for run in runs])))
    axis = np.log([size[grow == "depth"] for size in sizes])
    return {key: float(np.polyfit(axis, np.log(values), 1)[0]) for key, values in seen.items()}


TOLERANCE = 0.12
"""Of a slope over three doublings at these sizes: finite-width corrections are about 1/sqrt(n) of the value."""


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["ntk", "mup", "mean_field"])
def test_width_exponents(name: str, optimizer: str) -> None:
    declared, measured = get_rule(name).scaling(optimizer), slopes(name, optimizer, "width")
    for role in ("input", "hidden", "output"):
        assert measured[role] == pytest.approx(float(declared.update[role]), abs=TOLERANCE), role
    assert measured["initial stream"] == pytest.approx(float(declared.initial["input"]), abs=TOLERANCE)
    assert measured["initial branches"] == pytest.approx(float(declared.initial["hidden"]), abs=TOLERANCE)
    assert measured["initial output"] == pytest.approx(float(declared.initial["output"]), abs=TOLERANCE)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["depth_mup", "depth_alpha(3/4)", "completep", "umup"])
def test_depth_exponents(name: str, optimizer: str) -> None:
    rule, measured = get_rule(name), slopes(name, optimizer, "depth")
    declared = rule.scaling(optimizer)
    assert measured["initial branches"] == pytest.approx(float(declared.stream_initial), abs=TOLERANCE)
    assert measured["stream"] == pytest.approx(float(declared.stream_update["hidden"]), abs=TOLERANCE)
    inner = measured["hidden"] + float(rule.alpha)
    assert inner == pytest.approx(float(declared.inner_update["hidden"]), abs=TOLERANCE)
    assert measured["output"] == pytest.approx(0, abs=TOLERANCE)


OTHERS = ["adam_atan2", "lion", "lamb", "adafactor", "muon", "shampoo", "soap", "kfac"]


@pytest.mark.parametrize("optimizer", OTHERS)
def test_exponents_of_other_optimizers(optimizer: str) -> None:
    """Each by its own arithmetic: the change of every layer's outputs is Theta(1) in width, 1/L of it in depth."""
    wide, deep = slopes("mup", optimizer, "width"), slopes("depth_mup", optimizer, "depth")
    assert [wide[role] for role in ("input", "hidden", "output")] == pytest.approx([0, 0, 0], abs=TOLERANCE)
    assert [deep[role] for role in ("stream", "output")] == pytest.approx([0, 0], abs=TOLERANCE)
    assert deep["hidden"] == pytest.approx(-1, abs=TOLERANCE)


@pytest.mark.parametrize(("optimizer", "taken_for"), [("muon", "adamw"), ("kfac", "sgd"), ("adafactor", "adamw")])
def test_the_row_of_another_optimizer_is_seen(monkeypatch, optimizer: str, taken_for: str) -> None:
    """Negative control: rates of the wrong class make some layer's change grow or vanish with width."""
    wrong = replace(OPTIMIZERS[taken_for], name=optimizer)
    monkeypatch.setattr("isoscale._rules.rule.get_optimizer", lambda name: wrong)
    found = slopes.__wrapped__("mup", optimizer, "width")
    assert max(abs(found[role]) for role in ("input", "hidden", "output")) > 0.3


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_is_called_unstable_grows(optimizer: str) -> None:
    sp = slopes("sp", optimizer, "width", steps=1)
    assert sp["output"] == pytest.approx(1, abs=TOLERANCE)
    assert sp["hidden"] == pytest.approx({"sgd": 0.5, "adam": 1}[optimizer], abs=TOLERANCE)
    mup = slopes("mup", optimizer, "depth", steps=1)
    assert mup["initial branches"] > 0.4
    assert mup["stream"] > 0.5


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_folding_leaves_the_trained_network_alone(optimizer: str) -> None:
    for grow in ("width", "depth"):
        explicit, folded = (slopes("umup", optimizer, grow, folded=move) for move in (False, True))
        shared = ("initial stream", "initial output", "output")
        assert [folded[key] for key in shared] == pytest.approx([explicit[key] for key in shared], abs=1e-9)
