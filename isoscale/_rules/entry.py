"""One row of a rule's table: what one kind of parameter is given when the network grows."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from isoscale._rules.power import ONE, Power

Role = Literal["input", "hidden", "output", "scalar"]
"""A parameter's kind by which of its fans grow with width: fan-out only (input: also biases and norm gains on the
stream), both (hidden), fan-in only (output: readouts, also a router or gate inside a branch), neither (scalar)."""

ROLES: tuple[Role, ...] = get_args(Role)

_FIXED_FANS: dict[Role, tuple[str, ...]] = {
    "input": ("fan_in",),
    "hidden": (),
    "output": ("fan_out",),
    "scalar": ("fan_in", "fan_out"),
}


def in_role(power: Power, role: Role) -> Power:
    """`power` with the exponents of the fans that do not grow in this role left out."""
    return power.without(*_FIXED_FANS[role])


@dataclass(frozen=True)
class Weight:
    """The two exponents that define a weight before it is trained: y = multiplier * W x, W ~ std * N(0, 1)."""

    multiplier: Power = ONE
    std: Power = ONE

    def in_role(self, role: Role) -> "Weight":
        return Weight(in_role(self.multiplier, role), in_role(self.std, role))


@dataclass(frozen=True)
class Entry:
    """One row: ratios target / base of everything a parameter is given.

    multiplier: what the forward pass multiplies the weight's product by, y = multiplier * W x; std: initial standard
    deviation; lr, eps, decay: the optimizer's settings for the parameter (eps is 1 for optimizers without one).
    `tail` says that `multiplier` includes the branch's own l^-alpha, so that `fold(entry)` moves it into the weight.
    """

    role: Role
    in_branch: bool
    optimizer: str
    multiplier: Power
    std: Power
    lr: Power
    eps: Power
    decay: Power
    reason: str
    source: str
    tail: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of parameter that has a row of its own."""

    label: str
    role: Role
    in_branch: bool
    tail: bool = False


KINDS = (
    Kind("input", "input", False),
    Kind("hidden", "hidden", False),
    Kind("output (readout)", "output", False),
    Kind("scalar", "scalar", False),
    Kind("vector in branch (bias, norm gain)", "input", True),
    Kind("hidden in branch", "hidden", True),
    Kind("output in branch (router, gate)", "output", True),
    Kind("scalar in branch", "scalar", True),
    Kind("vector at a branch's end", "input", True, tail=True),
    Kind("hidden at a branch's end", "hidden", True, tail=True),
    Kind("scalar at a branch's end", "scalar", True, tail=True),
)
"""Every row. At a branch's end the row's multiplier includes the branch's own l^-alpha."""


def depth_of(exponent: Fraction) -> Power:
    """l^exponent."""
    return Power(depth=exponent)
