"""Which configurations are trained together: units of one shape, and the order in which they are worth running."""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from isoscale._records.run import Config, Run, digest
from isoscale._records.unit import Unit, UnitState, label

Train = Callable[[Sequence[Config]], Sequence[Run]]
"""Turns a batch of configurations into as many runs. A run depends on its own configuration alone."""

MEMBERS = frozenset(
    {"rule", "lr", "seed", "weight_decay", "momentum", "beta1", "beta2", "eps", "beta", "gamma0", "warmup", "schedule"}
)
"""What may differ inside a unit: the rule, numbers of the optimizer and of the branch. All else is the unit's shape."""

_SHOWN = ("model", "optimizer", "width", "depth", "steps")


def name_of(train: Train) -> str:
    """The callable's name, as it stands in the store: which results are whose."""
    if isinstance(train, functools.partial):
        try:
            bound = digest([list(train.args), dict(train.keywords)])[:8]
        except TypeError:
            bound = "..."
        return f"{name_of(train.func)}({bound})"
    named = train if isinstance(getattr(train, "__qualname__", None), str) else type(train)
    return f"{named.__module__}:{named.__qualname__}"


def guess_cost(config: Config) -> float:
    """Work of a configuration, up to a factor: entries of the matrices times the examples they see. Only an order."""
    cost = 1.0
    for name in ("depth", "width", "width", "steps", "batch_size"):
        value = config.get(name, 1)
        if isinstance(value, int | float) and value > 0:
            cost *= value
    return cost


def make_units(
    train: str, configs: Iterable[Config], batch: int, cost: Callable[[Config], float] = guess_cost
) -> list[Unit]:
    """Units of at most `batch` configurations of one shape, of nearly equal size.

    Rules stand side by side: where two of them mean the same training (at the base size all do), a callable that
    notices can do it once.
    """
    groups: dict[str, list[Config]] = {}
    for config in configs:
        shape = {name: value for name, value in config.items() if name not in MEMBERS}
        groups.setdefault(json.dumps(shape, sort_keys=True), []).append(config)
    units = []
    for group in groups.values():
        group.sort(key=lambda config: json.dumps({**config, "rule": ""}, sort_keys=True))
        shown = label({name: group[0][name] for name in _SHOWN if name in group[0]})
        count = -(-len(group) // batch)
        for part in range(count):
            members = tuple(group[part * len(group) // count : (part + 1) * len(group) // count])
            units.append(Unit(train, members, shown, sum(map(cost, members))))
    return units


def worth_order(states: Iterable[UnitState]) -> list[UnitState]:
    """The cheapest unit first, so that a broken callable shows at once; then the dearest first, so that no long unit
    is left alone at the end."""
    ordered: list[Any] = sorted(states, key=lambda state: -state.cost)
    return [*ordered[-1:], *ordered[:-1]]
