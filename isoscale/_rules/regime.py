"""Regimes are read off the exponents, never declared: what grows, what stays, what vanishes."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from isoscale._rules.entry import Role, in_role
from isoscale._rules.optimizers import Optimizer
from isoscale._rules.power import Power
from isoscale._rules.update import backward_exponent

if TYPE_CHECKING:
    from isoscale._rules.rule import Rule

Regime = Literal["feature-learning", "lazy", "unstable", "vanishing"]
"""unstable: something grows with the size. vanishing: pre-activations go to 0 at initialisation. lazy: the
features' change goes to 0, the output's does not grow. feature-learning: the features change by Theta(1)."""

_FORWARD: dict[Role, Fraction] = {"input": Fraction(0), "hidden": Fraction(1, 2), "output": Fraction(1, 2)}
_ALIGNED: dict[Role, int] = {"input": 0, "hidden": 1, "output": 1, "scalar": 0}


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


def scaling(rule: "Rule", optimizer: Optimizer) -> Scaling:
    """Run one step of the optimizer in exponents: gradient, entries of the step, change of what they feed."""
    readout = in_role(rule.output.multiplier * rule.output.std, "output").width
    out_step = _step(rule, "output", False, optimizer, Fraction(0))
    out_change = (rule.weight("output").multiplier * out_step).width
    delta = backward_exponent(readout, -out_change)
    initial: dict[Role, Fraction] = {}
    update: dict[Role, Fraction] = {}
    for role in ("input", "hidden", "output"):
        weight = rule.weight(role)
        step = out_step if role == "output" else _step(rule, role, False, optimizer, delta)
        initial[role] = (weight.multiplier * weight.std).width + _FORWARD[role]
        update[role] = (weight.multiplier * step).width + rule.update_alignment * _ALIGNED[role]
    features = max(update["input"], update["hidden"])
    inner: dict[Role, Fraction] = {
        role: _step(rule, role, True, optimizer, delta).depth for role in ("input", "hidden", "output", "scalar")
    }
    return Scaling(
        optimizer=optimizer.name,
        initial=MappingProxyType(initial),
        update=MappingProxyType(update),
        relative_readout=(out_step / rule.weight("output").std).width,
        propagated=rule.readout_alignment + readout + features,
        stream_initial=Fraction(1, 2) - rule.alpha,
        stream_update=MappingProxyType({role: 1 - rule.alpha + value for role, value in inner.items()}),
        inner_update=MappingProxyType(inner),
    )


def _step(rule: "Rule", role: Role, in_branch: bool, optimizer: Optimizer, delta: Fraction) -> Power:
    """Entries of one step, dW = lr * gradient^k * std^j, under the rates the rule really gives."""
    weight = rule.weight(role)
    branch = rule.branch_multiplier if in_branch else Power()
    gradient = in_role(weight.multiplier * branch * Power(fan_out=-delta), role)
    lr = rule.entry(role, in_branch, optimizer.name).lr
    return lr * gradient**optimizer.gradient_degree * weight.std**optimizer.parameter_degree
