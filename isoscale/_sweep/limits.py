"""The hyperparameters a spec may vary: their limits, and which optimizer has which. One row each."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from isoscale._sweep.grid import read_grid


@dataclass(frozen=True)
class Limit:
    """A hyperparameter: the values it may take, in words and as a test. `kinds` of optimizer, or all."""

    words: str
    holds: Callable[[Any], bool]
    only: Collection[str] = ()
    switch: bool = False


_ADAM = ("adam", "adamw", "adamw_independent")

HYPERPARAMETERS: Mapping[str, Limit] = {
    "lr": Limit("above 0", lambda value: value > 0),
    "weight_decay": Limit("0 or more", lambda value: value >= 0),
    "momentum": Limit("from 0 to below 1", lambda value: 0 <= value < 1, ("sgd",)),
    "nesterov": Limit("true or false", lambda value: True, ("sgd",), switch=True),
    "beta1": Limit("from 0 to below 1", lambda value: 0 <= value < 1, _ADAM),
    "beta2": Limit("from 0 to below 1", lambda value: 0 <= value < 1, _ADAM),
    "eps": Limit("0 or more", lambda value: value >= 0, _ADAM),
    "beta": Limit("a number other than 0", lambda value: value != 0),
    "gamma0": Limit("above 0", lambda value: value > 0),
    "zero_init": Limit("true or false", lambda value: True, switch=True),
    "zero_readout": Limit("true or false", lambda value: True, switch=True),
}


def read_values(name: str, value: Any) -> tuple[Any, ...]:
    """The grid of the hyperparameter `name`; numbers as floats, so that 1 and 1.0 are one configuration."""
    limit = HYPERPARAMETERS[name]
    values = read_grid(value)
    for item in values:
        if isinstance(item, bool) is not limit.switch or isinstance(item, str) or not limit.holds(item):
            raise ValueError(f"{item!r} is not {limit.words}")
    return values if limit.switch else tuple(float(item) for item in values)


def foreign(name: str, optimizer: str) -> bool:
    """Whether `optimizer` is one that does not have the hyperparameter `name`."""
    only = HYPERPARAMETERS[name].only
    return bool(only) and optimizer in (*_ADAM, "sgd") and optimizer not in only
