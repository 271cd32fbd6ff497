"""Declared exponent = fitted slope: the exponents of `Rule.scaling` against small residual networks trained in numpy.

Network: h_0 = W_in x, h <- h + l^-alpha m W phi(h) for every branch, f = m_out W_out h; square loss on fixed data.
Every multiplier is explicit and every setting is the rule's ratio times a base value.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from isoscale._rules import Entry, Rule, fold, get_rule

BASE_WIDTH, BASE_DEPTH, SAMPLES, INPUTS, OUTPUTS, SEEDS = 32, 4, 4, 6, 4, 6


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
        self.moments: dict[str, tuple] = dict.fromkeys(self.w, (0.0, 0.0))
        data = np.random.default_rng(99)
        self.x, self.y = data.normal(size=(INPUTS, SAMPLES)), data.normal(size=(OUTPUTS, SAMPLES))

    def at(self, power) -> float:
        return power.at(fan_in=self.n, fan_out=self.n, depth=self.l)

    def forward(self):
        stream = [self.m["input"] * self.w["input"] @ self.x]
        for w in self.w["hidden"]:
            stream.append(stream[-1] + self.m["hidden"] * w @ np.tanh(stream[-1]))
        return stream, self.m["output"] * self.w["output"] @ stream[-1]

    def gradients(self, stream, f) -> dict[str, np.ndarray]:
        e = (f - self.y) / SAMPLES
        b = self.m["output"] * self.w["output"].T @ e
        g = {"output": self.m["output"] * e @ stream[-1].T, "hidden": np.empty_like(self.w["hidden"])}
        for i in reversed(range(self.depth)):
            inside = np.tanh(stream[i])
            g["hidden"][i] = self.m["hidden"] * b @ inside.T
            b = b + self.m["hidden"] * (1 - inside**2) * (self.w["hidden"][i].T @ b)
        g["input"] = self.m["input"] * b @ self.x.T
        return g

    def update(self, rate: float, t: int) -> None:
        stream, f = self.forward()
        for key, g in self.gradients(stream, f).items():
            row = self.rows[key]
            if self.optimizer == "sgd":
                step = g
            else:
                m, v = self.moments[key]
                m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
                self.moments[key] = (m, v)
                step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-4 * self.at(row.eps))
            self.w[key] = self.w[key] - rate * self.at(row.lr) * step

    def observe(self, rate: float, steps: int) -> dict[str, float]:
        first = {key: w.copy() for key, w in self.w.items()}
        start, f0 = self.forward()
        for t in range(1, steps + 1):
            self.update(rate, t)
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
    rule = get_rule(name)
    rate = {"sgd": 0.02, "adam": 0.001}[optimizer]
    sizes = [(width, 4) for width in (64, 128, 256, 512)] if grow == "width" else [(48, d) for d in (8, 16, 32, 64)]
    seen: dict[str, list[float]] = {}
    for width, depth in sizes:
        runs = [Net(rule, optimizer, width, depth, seed, folded).observe(rate, steps) for seed in range(SEEDS)]
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
