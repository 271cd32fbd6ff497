"""Regimes are read off the exponents, never declared: what grows, what stays, what vanishes."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

from isoscale._rules.entry import Entry, Role, Weight, in_role
from isoscale._rules.optimizers import Optimizer
from isoscale._rules.power import Power
from isoscale._rules.update import backward_exponent

Regime = Literal["feature-learning", "lazy", "unstable", "vanishing"]
"""unstable: something grows with the size. vanishing: pre-activations go to 0 at initialisation. lazy: the
features' change goes to 0, the output's does not grow. feature-learning: the features change by Theta(1)."""

_FORWARD: dict[Role, Fraction] = {"input": Fraction(0), "hidden": Fraction(1, 2), "output": Fraction(1, 2)}
_ALIGNED: dict[Role, int] = {"input": 0, "hidden": 1, "output": 1}


class Table(Protocol):
    """What a rule shows of itself: its weights, its rates, its branch and the alignment it assumes."""

    @property
    def update_alignment(self) -> Fraction: ...
    @property
    def readout_alignment(self) -> Fraction: ...
    @property
    def branch_multiplier(self) -> Power: ...
    def weight(self, role: Role) -> Weight: ...
    def entry(self, role: Role, in_branch: bool, optimizer: str) -> Entry: ...


@dataclass(frozen=True)
class Scaling:
    """Exponents of what is seen in the network, in n (both fans growing as n) and in l.

    initial[role]: size of y = m W x at initialisation. update[role]: size of its change, for "output" the change of
    the output by its own weights. relative_readout: change of the readout's entries against their initial size.
    propagated: change of the output through the initial readout from the features' change.
    stream_initial: the sum over branches at initialisation (independent, so l^(1/2 - alpha)). stream_update[role]:
    the change of the stream, all branches together (aligned). inner_update[role]: of a pre-activation in a branch.
    """

    optimizer: str
    initial: Mapping[Role, Fraction]
    update: Mapping[Role, Fraction]
    relative_readout: Fraction
    propagated: Fraction
    stream_initial: Fraction
    stream_update: Mapping[Role, Fraction]
    inner_update: Mapping[Role, Fraction]

    def role_regime(self, role: Role) -> Regime:
        """Regime of one role in width (input, hidden, output)."""
        if role == "output":
            if max(self.initial[role], self.update[role], self.propagated) > 0:
                return "unstable"
            return "feature-learning" if self.relative_readout >= 0 else "lazy"
        if max(self.initial[role], self.update[role]) > 0:
            return "unstable"
        if self.initial[role] < 0:
            return "vanishing"
        return "feature-learning" if self.update[role] == 0 else "lazy"

    @property
    def width_regime(self) -> Regime:
        """Of the network: the worst role, and feature-learning as soon as one layer's features move."""
        found = [self.role_regime(role) for role in ("input", "hidden", "output")]
        for worst in ("unstable", "vanishing"):
            if worst in found:
                return worst
        return "feature-learning" if "feature-learning" in found[:2] else "lazy"

    @property
    def depth_regime(self) -> Regime:
        """Of the stream and of the branches' insides as the number of branches grows."""
        moves = max(self.stream_update.values())
        if max(self.stream_initial, moves, *self.inner_update.values()) > 0:
            return "unstable"
        return "feature-learning" if moves == 0 else "lazy"

    @property
    def stable(self) -> bool:
        return self.width_regime in ("lazy", "feature-learning") and self.depth_regime in ("lazy", "feature-learning")

    @property
    def maximal(self) -> bool:
        return all(value == 0 for value in (*self.update.values(), *self.stream_update.values()))

    @property
    def complete(self) -> bool:
        """Pre-activations inside every branch change by Theta(1) too (alpha = 1), not by l^(alpha - 1)."""
        return self.depth_regime == "feature-learning" and all(value == 0 for value in self.inner_update.values())

    def explain(self, size: str) -> str:
        """The exponents that the regime in "width" or "depth" was read from, in words."""
        if size == "depth":
            changes = ", ".join(f"{role} l^{value}" for role, value in self.stream_update.items())
            return f"the stream starts at l^{self.stream_initial} and changes by {changes}"
        starts = ", ".join(f"{role} n^{value}" for role, value in self.initial.items())
        changes = ", ".join(f"{role} n^{value}" for role, value in self.update.items())
        return f"initial {starts}; change {changes}; output through features n^{self.propagated}"


def scaling(table: Table, optimizer: Optimizer) -> Scaling:
    """Run one step of the optimizer in exponents: gradient, entries of the step, change of what they feed."""
    out = table.weight("output")
    readout = (out.multiplier * out.std).width
    out_step = _step(table, "output", False, optimizer, Fraction(0))
    out_change = (out.multiplier * out_step).width
    delta = backward_exponent(readout, -out_change)
    initial: dict[Role, Fraction] = {}
    update: dict[Role, Fraction] = {}
    for role in ("input", "hidden", "output"):
        weight = table.weight(role)
        step = out_step if role == "output" else _step(table, role, False, optimizer, delta)
        initial[role] = (weight.multiplier * weight.std).width + _FORWARD[role]
        update[role] = (weight.multiplier * step).width + table.update_alignment * _ALIGNED[role]
    branch = table.branch_multiplier.depth
    features = max(update["input"], update["hidden"])
    inner: dict[Role, Fraction] = {
        role: _step(table, role, True, optimizer, delta).depth for role in ("input", "hidden", "output", "scalar")
    }
    return Scaling(
        optimizer=optimizer.name,
        initial=initial,
        update=update,
        relative_readout=(out_step / out.std).width,
        propagated=table.readout_alignment + readout + features,
        stream_initial=Fraction(1, 2) + branch,
        stream_update={role: 1 + branch + value for role, value in inner.items()},
        inner_update=inner,
    )


def _step(table: Table, role: Role, in_branch: bool, optimizer: Optimizer, delta: Fraction) -> Power:
    """Entries of one step, dW = lr * gradient^k * std^j * shape, under the rates the rule really gives."""
    weight = table.weight(role)
    branch = table.branch_multiplier if in_branch else Power()
    gradient = in_role(weight.multiplier * branch * Power(fan_out=-delta), role)
    lr = table.entry(role, in_branch, optimizer.name).lr
    size = gradient**optimizer.gradient_degree * weight.std**optimizer.parameter_degree
    return lr * size * in_role(optimizer.shape, role)
