"""Optimizers as the gauge sees them: two degrees, the unit of eps and the place of weight decay. One row each."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Decay = Literal["coupled", "decoupled", "independent", "before_trust"]
"""Where weight decay enters the step.

coupled: wd * w is added to the gradient (L2). decoupled: w shrinks by lr * wd (torch's AdamW). independent: w shrinks
by wd, whatever the learning rate. before_trust: wd * w is added to the normalised step, before the trust ratio (LAMB).
"""


@dataclass(frozen=True)
class Optimizer:
    """An optimizer whose raw step is -lr * U(g, w), U homogeneous in the gradient and in the parameter.

    U(s g, t w) = s^gradient_degree * t^parameter_degree * U(g, w): SGD has degrees (1, 0), Adam (0, 0), LAMB (0, 1).
    Momentum and Nesterov's look-ahead are linear in the gradient and keep the degrees. `eps` says that a constant is
    added to a quantity in the gradient's unit. Elementwise sizes only: a step whose coordinates are Theta(|g|^k |w|^j).
    """

    name: str
    gradient_degree: int
    parameter_degree: int
    decay: Decay
    eps: bool
    note: str

    @property
    def fold_degree(self) -> int:
        """d in lr' = c^d lr when a forward multiplier c moves into the weight: 1 + k - j.

        w' = c w has the gradient g' = g / c, so c * lr * U(g, w) = c^(1+k-j) lr * U(g', w').
        """
        return 1 + self.gradient_degree - self.parameter_degree


_ROWS = (
    Optimizer("sgd", 1, 0, "coupled", False, "momentum and Nesterov are linear in the gradient"),
    Optimizer("adam", 0, 0, "coupled", True, "decay enters both moments (L2)"),
    Optimizer("adamw", 0, 0, "decoupled", True, "torch: w shrinks by lr * weight_decay"),
    Optimizer("adamw_independent", 0, 0, "independent", True, "w shrinks by weight_decay, whatever lr is"),
    Optimizer("nadam", 0, 0, "coupled", True, "torch's default decoupled_weight_decay=False"),
    Optimizer("adamax", 0, 0, "coupled", True, "eps joins |g| inside the running maximum: the gradient's unit"),
    Optimizer("rmsprop", 0, 0, "coupled", True, "torch adds eps after the square root; centered or not"),
    Optimizer("adagrad", 0, 0, "coupled", True, "initial_accumulator_value must be 0: it has the unit of g^2"),
    Optimizer("lion", 0, 0, "decoupled", False, "a sign has no eps"),
    Optimizer("lamb", 0, 1, "before_trust", True, "without clamps on the weight's norm, which have its unit"),
)
OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType({row.name: row for row in _ROWS})

ONE_OF_EACH_DEGREE: tuple[str, ...] = tuple(
    row.name
    for i, row in enumerate(_ROWS)
    if (row.gradient_degree, row.parameter_degree) not in {(r.gradient_degree, r.parameter_degree) for r in _ROWS[:i]}
)
"""One optimizer for each pair of degrees: exponents of sizes depend on nothing else of an optimizer."""

REFUSED_OPTIMIZERS: Mapping[str, str] = MappingProxyType(
    {
        "radam": "its first steps are momentum SGD and later ones are normalised: no one learning rate folds both",
        "adadelta": "its one eps is added to a squared gradient and to a squared update, which have different units",
        "adafactor": "torch clamps one squared gradient by eps1, another by eps1^2: its eps1 has no unit",
        "lbfgs": "its curvature pairs and line search mix all parameters, so no parameter has a rate of its own",
        "rprop": "its bounds on the step have the weight's unit and the step no learning rate after the first",
    }
)


class UnknownName(ValueError):
    """A name that is in no table; the message lists close matches and all that is known."""


def get_optimizer(name: str) -> Optimizer:
    """The row of `name`.

    Raises UnknownName for a name that is in no table, and for a refused optimizer with the reason.
    """
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]
    if name in REFUSED_OPTIMIZERS:
        raise UnknownName(f"optimizer {name!r} is refused: {REFUSED_OPTIMIZERS[name]}; use adamw or sgd")
    raise unknown("optimizer", name, list(OPTIMIZERS))


def unknown(kind: str, name: str, known: list[str]) -> UnknownName:
    """The error for a `name` that is not one of `known`, with the closest match if any."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return UnknownName(f"unknown {kind} {name!r}: its scaling is not derived; {hint}known: {', '.join(known)}")
