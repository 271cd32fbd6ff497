"""Optimizers as the gauge sees them: size of the step, unit of eps, place of weight decay. One row each."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from isoscale._rules.power import Power
from isoscale._rules.scales import SCALE_NAMES, SCALES, EpsUnit, ScaleName, eps_degree

Decay = Literal["coupled", "decoupled", "independent", "before_trust"]
"""Where weight decay enters the step.

coupled: wd * w is added to the gradient (L2). decoupled: w shrinks by lr * wd (torch's AdamW). independent: w shrinks
by wd, whatever the learning rate. before_trust: wd * w is added to the normalised step, before the trust ratio (LAMB).
"""


@dataclass(frozen=True)
class Optimizer:
    """An optimizer whose raw step is -lr * U(g, w), U of a known size: see `Scale`.

    SGD has degrees (1, 0) in the gradient and the weight, Adam (0, 0), LAMB (0, 1), natural gradient (-1, 0). Momentum
    and Nesterov's look-ahead are linear in the gradient and keep the degrees. `eps`: the unit of the constant that is
    added to keep a division finite, None if there is none. `floor`: the weight's own size counts as at least a
    constant, which has the weight's unit. `matrices`: only two-dimensional weights can be given to it.
    """

    name: str
    scale: ScaleName
    decay: Decay
    eps: EpsUnit | None
    note: str
    floor: bool = False
    matrices: bool = False

    @property
    def gradient_degree(self) -> int:
        return SCALES[self.scale].gradient_degree

    @property
    def parameter_degree(self) -> int:
        return SCALES[self.scale].parameter_degree

    @property
    def shape(self) -> Power:
        """How the step's size follows the weight's shape."""
        return SCALES[self.scale].shape

    @property
    def fold_degree(self) -> int:
        """d in lr' = c^d lr when a forward multiplier c moves into the weight: 1 + k - j.

        w' = c w has the gradient g' = g / c, so c * lr * U(g, w) = c^(1+k-j) lr * U(g', w').
        """
        return 1 + self.gradient_degree - self.parameter_degree

    @property
    def eps_fold_degree(self) -> int:
        """d in eps' = c^-d eps when a forward multiplier c moves into the weight: eps has the gradient's unit^d."""
        return 0 if self.eps is None else eps_degree(self.eps)


_ROWS = (
    Optimizer("sgd", "gradient", "coupled", None, "momentum and Nesterov are linear in the gradient"),
    Optimizer("adam", "sign", "coupled", "entry", "decay enters both moments (L2)"),
    Optimizer("adamw", "sign", "decoupled", "entry", "torch: w shrinks by lr * weight_decay"),
    Optimizer("adamw_independent", "sign", "independent", "entry", "w shrinks by weight_decay, whatever lr is"),
    Optimizer("nadam", "sign", "coupled", "entry", "torch's default decoupled_weight_decay=False"),
    Optimizer("adamax", "sign", "coupled", "entry", "eps joins |g| inside the running maximum: the gradient's unit"),
    Optimizer("rmsprop", "sign", "coupled", "entry", "torch adds eps after the square root; centered or not"),
    Optimizer("adagrad", "sign", "coupled", "entry", "initial_accumulator_value must be 0: it has the unit of g^2"),
    Optimizer("adam_atan2", "sign", "decoupled", None, "atan2 in place of the division: no eps (arXiv 2407.05872)"),
    Optimizer("lion", "sign", "decoupled", None, "a sign has no eps"),
    Optimizer("lamb", "relative", "before_trust", "entry", "without clamps on the weight's norm, which have its unit"),
    Optimizer("adafactor", "relative", "decoupled", None, "torch's, with eps1 too small to matter", floor=True),
    Optimizer("adafactor_unscaled", "sign", "decoupled", None, "with scale_parameter=False, relative_step=False"),
    Optimizer("muon", "orthogonal", "decoupled", "norm", "without its own factor for the shape", matrices=True),
    Optimizer("shampoo", "orthogonal", "decoupled", "squared_norm", "exponents -1/4 of G G^T and G^T G; not grafted"),
    Optimizer(
        "soap", "orthogonal", "decoupled", "norm", "Adam in Shampoo's eigenbasis, where entries are singular values"
    ),
    Optimizer("kfac", "natural", "decoupled", "squared_norm", "one damping, split over the factors by their traces"),
)
OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType({row.name: row for row in _ROWS})

ONE_OF_EACH_SCALE: tuple[str, ...] = tuple(
    next(row.name for row in _ROWS if row.scale == scale) for scale in SCALE_NAMES
)
"""One optimizer for each size of step: exponents of sizes depend on nothing else of an optimizer."""

REFUSED_OPTIMIZERS: Mapping[str, str] = MappingProxyType(
    {
        "radam": "its first steps are momentum SGD and later ones are normalised: no one learning rate folds both",
        "adadelta": "its one eps is added to a squared gradient and to a squared update, which have different units",
        "lbfgs": "its curvature pairs and line search mix all parameters, so no parameter has a rate of its own",
        "rprop": "its bounds on the step have the weight's unit and the step no learning rate after the first",
    }
)


class UnknownName(ValueError):
    """A name that is in no table; the message lists close matches and all that is known."""


@dataclass(frozen=True)
class UpdateScale:
    """An optimizer that no table knows, by the size of its step: `plan(..., optimizer=UpdateScale("sign"))`.

    scale: "gradient" (linear in the gradient, like SGD), "sign" (entries of size 1: Adam, Lion, learned optimizers in
    muP form, arXiv 2406.00153), "relative" (entries of the size of the weight's own: LARS, LAMB), "orthogonal"
    (singular values of size 1: Muon, Shampoo), "natural" (K-FAC). decay: where weight decay enters, see `Decay`; by
    default as in SGD for "gradient" and as in AdamW for the others. eps: the unit of its eps, None if it has none that
    matters: "entry", "norm" or "squared_norm" of the gradient.
    Raises UnknownName for a class, a decay or a unit that there is none of.
    """

    scale: ScaleName
    decay: Decay | None = None
    eps: EpsUnit | None = None

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise unknown("update scale", str(self.scale), list(SCALES))
        if self.decay is not None and self.decay not in get_args(Decay):
            raise unknown("decay", str(self.decay), list(get_args(Decay)))
        if self.eps is not None and self.eps not in get_args(EpsUnit):
            raise unknown("unit of eps", str(self.eps), list(get_args(EpsUnit)))

    def __str__(self) -> str:
        given = (f", {name}={value}" for name, value in (("decay", self.decay), ("eps", self.eps)) if value)
        return f"update_scale({self.scale}{''.join(given)})"

    @property
    def row(self) -> Optimizer:
        """The row of the table that an optimizer of this class has."""
        decay: Decay = self.decay or ("coupled" if self.scale == "gradient" else "decoupled")
        return Optimizer(str(self), self.scale, decay, self.eps, f"told to be: {SCALES[self.scale].note}")


_CLASS = re.compile(r"update_scale\(\s*(\w+)((?:\s*,\s*(?:decay|eps)=\w+)*)\s*\)")


def get_optimizer(name: str) -> Optimizer:
    """The row of `name`, a key of OPTIMIZERS or the text of an UpdateScale, "update_scale(sign)".

    Raises UnknownName for a name that is in no table, and for a refused optimizer with the reason.
    """
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]
    if name in REFUSED_OPTIMIZERS:
        raise UnknownName(f"optimizer {name!r} is refused: {REFUSED_OPTIMIZERS[name]}; use adamw or sgd")
    if match := _CLASS.fullmatch(name):
        told = dict(re.findall(r"(decay|eps)=(\w+)", match[2]))
        return UpdateScale(match[1], told.get("decay"), told.get("eps")).row  # type: ignore[arg-type]
    sizes = "; ".join(f"{scale}: {row.note}" for scale, row in SCALES.items())
    raise UnknownName(
        f"{unknown('optimizer', name, list(OPTIMIZERS))}. Or say how large its step is, "
        f'optimizer=UpdateScale("sign") or "update_scale(sign)": {sizes}'
    )


def unknown(kind: str, name: str, known: list[str]) -> UnknownName:
    """The error for a `name` that is not one of `known`, with the closest match if any."""
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return UnknownName(f"unknown {kind} {name!r}: its scaling is not derived; {hint}known: {', '.join(known)}")
