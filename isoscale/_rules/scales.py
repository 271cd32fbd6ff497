"""How large an optimizer's step is: what it is homogeneous in, and how it follows the shape of the weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, get_args

from isoscale._rules.power import ONE, Power

ScaleName = Literal["gradient", "sign", "relative", "orthogonal", "natural"]
SCALE_NAMES: tuple[ScaleName, ...] = get_args(ScaleName)

EpsUnit = Literal["entry", "norm", "squared_norm"]
"""What an eps or a damping is added to: an entry of the gradient, its norm (a singular value), or that squared."""


@dataclass(frozen=True)
class Scale:
    """Size of the raw step U(g, w) of a weight of n_out x n_in: entries |g|^k rms(w)^j shape(n_in, n_out).

    U(s g, t w) = s^gradient_degree * t^parameter_degree * U(g, w). The gradient of a few examples is of low rank and
    aligned with the activations, so a step counts by its largest singular value: `shape` is the size of the entries of
    the rank-one matrix that has it. A matrix whose singular values are 1 has shape (n_in n_out)^-1/2.
    """

    gradient_degree: int
    parameter_degree: int
    shape: Power
    note: str


NORM = Power(fan_in=Fraction(1, 2), fan_out=Fraction(1, 2))
"""(n_in n_out)^1/2: norm of a low-rank matrix over the size of its entries."""

SCALES: Mapping[ScaleName, Scale] = MappingProxyType(
    {
        "gradient": Scale(1, 0, ONE, "the gradient itself, or linear in it (momentum SGD)"),
        "sign": Scale(0, 0, ONE, "entries of size 1 whatever the gradient's size (Adam, Lion, learned optimizers)"),
        "relative": Scale(0, 1, ONE, "entries of the size of the weight's own (trust ratios, scale_parameter)"),
        "orthogonal": Scale(0, 0, NORM**-1, "singular values of size 1 (Muon, Shampoo, normalised gradient descent)"),
        "natural": Scale(-1, 0, NORM**-2, "moves the layer's output alike at every size (natural gradient, K-FAC)"),
    }
)

_EPS: Mapping[EpsUnit, tuple[int, Power]] = MappingProxyType(
    {"entry": (1, ONE), "norm": (1, NORM), "squared_norm": (2, NORM**2)}
)


def eps_degree(unit: EpsUnit) -> int:
    """Power of the gradient in the unit."""
    return _EPS[unit][0]


def eps_of(unit: EpsUnit, gradient: Power) -> Power:
    """How an eps in this unit follows the size of the gradient's entries and the shape of the weight."""
    degree, shape = _EPS[unit]
    return gradient**degree * shape
