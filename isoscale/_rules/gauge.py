"""The gauge: a forward multiplier can move into the weight, and nothing that can be observed changes."""

from dataclasses import dataclass, replace
from typing import Literal

from isoscale._rules.entry import KINDS, Entry, Kind
from isoscale._rules.optimizers import Optimizer, get_optimizer
from isoscale._rules.power import ONE, Power
from isoscale._rules.rule import Rule

Sizes = Literal["width", "depth", "both"]


def fold(entry: Entry, by: Power | None = None) -> Entry:
    """Move the forward multiplier `by` (default: all of `entry.multiplier`) into the weight and its settings.

    (m, std, lr, eps, wd) -> (m / c, c std, c^(1+k-j) lr, eps / c, wd'), c = `by`: c^2 lr for SGD, c lr for Adam, lr for
    K-FAC (whose damping, and Shampoo's, has the unit of a squared gradient: / c^2).
    wd' = wd / c^2 where decay joins the gradient, wd lr / lr' where the weight shrinks by lr * wd, wd / c before a
    trust ratio, wd where it shrinks by wd alone. Same function, same training trajectory (docs/theory/rules.md).
    A tail given the branch's multiplier by hand keeps m / c: times the branch's own l^-alpha that is 1.
    """
    c = entry.multiplier if by is None else by
    row = get_optimizer(entry.optimizer)
    return replace(
        entry,
        multiplier=entry.multiplier / c,
        std=entry.std * c,
        lr=entry.lr * c**row.fold_degree,
        eps=entry.eps / c**row.eps_fold_degree,
        decay=entry.decay * _folded_decay(row, c),
    )


def unfold(entry: Entry, by: Power) -> Entry:
    """The inverse of `fold`: take `by` out of the weight and write it into the forward pass."""
    return fold(entry, by**-1)


def _folded_decay(row: Optimizer, c: Power) -> Power:
    if row.decay == "coupled":
        return c**-2
    if row.decay == "decoupled":
        return c**-row.fold_degree
    return c**-1 if row.decay == "before_trust" else ONE


@dataclass(frozen=True)
class Invariants:
    """What no gauge move can change: two tables are the same rule exactly when these agree in every row.

    With m = n^-a, std = n^-b, lr = n^-c: init = m std holds a + b, lr = lr m^(1+k-j) holds 2a + c for SGD and
    a + c for Adam; eps = eps / m; decay = decay made dimensionless with m and lr in the same way.
    """

    init: Power
    lr: Power
    eps: Power
    decay: Power


def invariants(entry: Entry) -> Invariants:
    """The orbit of `entry` under the gauge: its settings with the whole multiplier folded in."""
    folded = fold(entry)
    return Invariants(init=folded.std, lr=folded.lr, eps=folded.eps, decay=folded.decay)


@dataclass(frozen=True)
class Difference:
    """A place where two rules truly differ: an invariant of one kind of parameter, in rule a and in rule b."""

    kind: Kind
    quantity: Literal["init", "lr", "eps", "decay"]
    a: Power
    b: Power


def compare(a: Rule, b: Rule, optimizer: str, *, sizes: Sizes = "both") -> tuple[Difference, ...]:
    """Every invariant in which two rules differ under an optimizer; empty where they are the same rule.

    `sizes` restricts the comparison to growth in width or in depth.
    """
    found = []
    for kind in KINDS:
        rows = (rule.entry(kind.role, kind.in_branch, optimizer, tail=kind.tail) for rule in (a, b))
        left, right = map(invariants, rows)
        for quantity in ("init", "lr", "eps", "decay"):
            one, other = (_restricted(getattr(side, quantity), sizes) for side in (left, right))
            if one != other:
                found.append(Difference(kind, quantity, one, other))
    return tuple(found)


def same_up_to_gauge(a: Rule, b: Rule, optimizer: str, *, sizes: Sizes = "both") -> bool:
    """Whether two rules give every model the same training, whatever multipliers they write out."""
    return not compare(a, b, optimizer, sizes=sizes)


def _restricted(power: Power, sizes: Sizes) -> Power:
    depth = Power(depth=power.depth)
    return {"both": power, "depth": depth, "width": power / depth}[sizes]
