"""From facts about a parameter to what it gets: read the rule's row, then move multipliers into it."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from isoscale._plan.choice import optimizer_of
from isoscale._plan.errors import PlanError
from isoscale._plan.facts import Parameter, Structure
from isoscale._rules import ONE, Entry, Power, Role, Rule, fold

Mode = Literal["fold", "explicit"]


@dataclass(frozen=True)
class Setting:
    """What one parameter of the target model gets; ratios are target over base, exactly 1 at base size.

    `multiplier` is the forward multiplier that `std`, `lr`, `eps` and `decay` contain (folded), `hooked` the one that
    a forward hook applies instead (mode="explicit"), `existing` what the model's own code applies already. `metric` is
    the squared weight of the parameter's gradient in the gauge-invariant norm. `exponents` holds the rule's exact
    powers as text (`n^-1 l^-1/2`). `own_init`: the rule leaves the builder's initialisation alone. `drawn`: the builder
    draws it at random, so that two builds differ. `optimizer` takes its steps; `base_shape` is a matrix's shape at the
    base size (empty for others), which optimizers with a factor for the shape of their own need.
    """

    name: str
    shape: tuple[int, ...]
    role: str
    fan_in: float
    fan_out: float
    depth: float
    stream: str | None
    tail: bool
    readout: bool
    multiplier: float
    hooked: float
    existing: float
    own_init: bool
    base_rms: float
    base_mean: float
    drawn: bool
    std: float
    lr: float
    eps: float
    decay: float
    metric: float
    exponents: Mapping[str, str]
    reason: str
    source: str
    evidence: str
    optimizer: str = ""
    base_shape: tuple[int, ...] = ()

    @property
    def init(self) -> Literal["zero", "constant", "fixed", "random"]:
        """What the base model's own initialisation was measured to be."""
        if self.base_rms == 0.0:
            return "zero"
        spread = math.sqrt(max(0.0, self.base_rms**2 - self.base_mean**2))
        if spread <= 1e-6 * self.base_rms:
            return "constant"
        return "random" if self.drawn else "fixed"

    @property
    def rms(self) -> float:
        """Root mean square the parameter has after `init_`: the base model's measured one times `std`."""
        return self.base_rms * self.std

    @property
    def unchanged(self) -> bool:
        """Whether nothing that the rule reads grows for this parameter."""
        return self.fan_in == self.fan_out == self.depth == 1.0


def settle(
    structure: Structure, rule: Rule, optimizer: str, hooked: Mapping[str, Power], logits: Mapping[str, float]
) -> tuple[Setting, ...]:
    """The setting of every parameter, in the model's own order.

    `hooked[name]` is the part of a parameter's multiplier that forward hooks apply and that must not be folded.
    `logits[name]` is the factor of attention logits whose head size grows, for the parameters that carry it.
    """
    return tuple(
        _setting(each, structure, rule, optimizer, hooked.get(name, ONE), logits.get(name, 1.0))
        for name, each in structure.parameters.items()
    )


def row_of(parameter: Parameter, rule: Rule, optimizer: str) -> Entry:
    """The rule's row of the parameter, with every multiplier written in front of it."""
    inside = parameter.stream is not None
    if parameter.tail and not inside:
        raise PlanError(f"{parameter.name} is the tail of a branch but lies in no stream: its depth is unknown.")
    return _entry(rule, parameter.role, inside, optimizer_of(optimizer, parameter), parameter.tail)


@functools.lru_cache(maxsize=1024)
def _entry(rule: Rule, role: Role, inside: bool, optimizer: str, tail: bool) -> Entry:
    # A network has hundreds of parameters and a handful of rows.
    return rule.entry(role, inside, optimizer, tail=tail)


def readout_multiplier(parameter: Parameter, rule: Rule, optimizer: str) -> Power:
    """The readout's multiplier where another parameter carries it: the final norm before a tied embedding.

    The norm's features are the readout's fan-in, and they are the norm's own fan-out.
    """
    if not parameter.readout or parameter.role == "output":
        return ONE
    name = optimizer_of(optimizer, parameter)
    readout = _entry(rule, "output", False, name, False).multiplier.without("fan_out")
    return Power(fan_out=readout.fan_in)


def sizes_of(parameter: Parameter, structure: Structure) -> dict[str, float]:
    """Growth ratios target over base of fan-in, fan-out and of the depth of the parameter's stream."""
    depth = 1.0
    if parameter.stream is not None:
        stream = structure.streams[parameter.stream]
        depth = _ratio(stream.depth, stream.base_depth, f"depth of stream {parameter.stream!r}")
    return {
        "fan_in": _ratio(parameter.fan_in, parameter.base_fan_in, f"fan-in of {parameter.name}"),
        "fan_out": _ratio(parameter.fan_out, parameter.base_fan_out, f"fan-out of {parameter.name}"),
        "depth": depth,
    }


def leaves_alone(rule: Rule) -> bool:
    """Whether the rule is plain PyTorch: constant rates and no multiplier, so the builder's own init is the rule."""
    written = (rule.weight(role).multiplier for role in ("input", "hidden", "output"))
    constant = rule.width_rates == rule.depth_rates == "constant"
    return constant and rule.branch_multiplier == ONE and all(multiplier == ONE for multiplier in written)


@dataclass(frozen=True)
class Folded:
    """A row of the table with a multiplier moved into it: for its optimizer, and for SGD (the gradient's metric)."""

    multiplier: Power
    entry: Entry
    descent: Entry

    @functools.cached_property
    def exponents(self) -> dict[str, str]:
        powers = {"std": self.entry.std, "lr": self.entry.lr, "eps": self.entry.eps, "decay": self.entry.decay}
        return {name: power.spelled for name, power in {"multiplier": self.multiplier, **powers}.items()}


@functools.lru_cache(maxsize=1024)
def _folded(entry: Entry, descent: Entry, multiplier: Power) -> Folded:
    return Folded(multiplier, fold(entry, multiplier), fold(descent, multiplier))


def _setting(
    parameter: Parameter, structure: Structure, rule: Rule, optimizer: str, hooked: Power, logits: float
) -> Setting:
    sizes = sizes_of(parameter, structure)
    plain = leaves_alone(rule)
    entry, descent = row_of(parameter, rule, optimizer), row_of(parameter, rule, "sgd")
    folded = _folded(entry, descent, entry.multiplier * readout_multiplier(parameter, rule, optimizer) / hooked)
    # What is no power of growth (the model's own constants, a logit scale) moves by the same algebra, as a number.
    number = 1.0 if plain else logits / parameter.existing
    moved, moved_descent = _moved(entry, number), _moved(descent, number)
    return Setting(
        name=parameter.name,
        shape=tuple(parameter.shape),
        role=parameter.role,
        **sizes,
        stream=parameter.stream,
        tail=parameter.tail,
        readout=parameter.readout,
        multiplier=folded.multiplier.at(**sizes) * number,
        hooked=hooked.at(**sizes),
        existing=parameter.existing,
        own_init=plain,
        base_rms=parameter.base_rms,
        base_mean=parameter.base_mean,
        drawn=parameter.drawn,
        std=folded.entry.std.at(**sizes) * moved["std"],
        lr=folded.entry.lr.at(**sizes) * moved["lr"],
        eps=folded.entry.eps.at(**sizes) * moved["eps"],
        decay=folded.entry.decay.at(**sizes) * moved["decay"],
        metric=folded.descent.lr.at(**sizes) * moved_descent["lr"],
        exponents=folded.exponents,
        reason=entry.reason,
        source=entry.source,
        evidence=parameter.evidence,
        optimizer=entry.optimizer,
        base_shape=_base_shape(parameter),
    )


def _base_shape(parameter: Parameter) -> tuple[int, ...]:
    if sorted(parameter.shape) != sorted((parameter.fan_in, parameter.fan_out)):
        return ()
    # torch's layers have fan-out first, GPT-2's Conv1D last.
    first = parameter.shape[0] == parameter.fan_out
    sizes = (parameter.base_fan_out, parameter.base_fan_in)
    return sizes if first else sizes[::-1]


def _moved(entry: Entry, number: float) -> dict[str, float]:
    """The change of each setting when the multiplier `number` moves into the weight."""
    if number == 1.0:
        return dict.fromkeys(("std", "lr", "eps", "decay"), 1.0)
    by = fold(entry, Power(depth=Fraction(1)))
    return {name: (getattr(by, name) / getattr(entry, name)).at(depth=number) for name in ("std", "lr", "eps", "decay")}


def _ratio(target: int, base: int, what: str) -> float:
    if target < 1 or base < 1:
        raise PlanError(f"{what} is {base} at base size and {target} at target size: both must be at least 1.")
    return target / base
