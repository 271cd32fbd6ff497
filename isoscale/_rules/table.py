"""A rule's table as facts: every row a model can have, with its ratios at one growth of width and depth."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import SupportsFloat

from isoscale._rules.entry import KINDS, Entry, Kind
from isoscale._rules.gauge import fold
from isoscale._rules.optimizers import get_optimizer
from isoscale._rules.power import Power
from isoscale._rules.rule import Rule


@dataclass(frozen=True)
class Row:
    """One row and the value of its ratios at the table's growth of width and depth; `folded`: multiplier moved in."""

    kind: Kind
    entry: Entry
    multiplier: float
    std: float
    lr: float
    eps: float | None
    decay: float


def table(
    rule: Rule, optimizer: str, *, width: SupportsFloat = 1, depth: SupportsFloat = 1, folded: bool = False
) -> tuple[Row, ...]:
    """The rows of `rule` under `optimizer` at growth ratios `width` (both fans) and `depth`, target / base.

    folded=True moves every multiplier into the weight (`fold`), as for a model whose code is left unedited.
    eps is None for an optimizer without one. Raises UnknownName, and ValueError for a ratio that is not positive.
    """
    return tuple(_rows(rule, optimizer, width, depth, folded))


def _rows(rule: Rule, optimizer: str, width: SupportsFloat, depth: SupportsFloat, folded: bool) -> Iterator[Row]:
    has_eps = get_optimizer(optimizer).eps

    def at(power: Power) -> float:
        return power.at(fan_in=width, fan_out=width, depth=depth)

    for kind in KINDS:
        entry = rule.entry(kind.role, kind.in_branch, optimizer, tail=kind.tail)
        if folded:
            entry = fold(entry)
        yield Row(
            kind=kind,
            entry=entry,
            multiplier=at(entry.multiplier),
            std=at(entry.std),
            lr=at(entry.lr),
            eps=at(entry.eps) if has_eps else None,
            decay=at(entry.decay),
        )
