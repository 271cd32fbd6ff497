"""What `tune` may tune, and what it holds: starts and limits of each hyperparameter, defaults of the rest."""

import math
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from isoscale._sweep.decide import Axis
from isoscale._train.settings import Optimizer, Settings
from isoscale._tune.errors import TuneError

OPTIMIZERS = get_args(Optimizer)
# start, low, high: where torch's users begin, and what is never left
_AXES: Mapping[str, Mapping[str, tuple[float, float, float]]] = {
    "lr": {"sgd": (2.0**-4, 2.0**-20, 2.0**6), "": (2.0**-8, 2.0**-20, 2.0**2)},
    "weight_decay": {"adamw": (2.0**-4, 2.0**-14, 2.0**4), "": (2.0**-12, 2.0**-24, 1.0)},
    "eps": {"": (2.0**-27, 2.0**-50, 1.0)},
}
HELD = ("weight_decay", "eps", "beta1", "beta2", "momentum", "nesterov")
"""Settings of the optimizer that may be fixed."""


def axes(names: Sequence[str], optimizer: str, starts: Mapping[str, float]) -> tuple[Axis, ...]:
    """The axes to search, each with its start. Raises TuneError for what cannot be tuned."""
    if not names or len(set(names)) < len(names):
        raise TuneError(f"hyperparameters={list(names)}: name at least one, each once")
    for name in names:
        if name not in _AXES:
            raise TuneError(f"no hyperparameter {name!r} to tune{_near(name, _AXES)}; there are {', '.join(_AXES)}")
        if name == "eps" and optimizer == "sgd":
            raise TuneError("sgd has no eps to tune")
    if "lr" not in names:
        raise TuneError(f"hyperparameters={list(names)}: the learning rate is always tuned, others beside it")
    found = []
    for name in ("lr", *(each for each in names if each != "lr")):
        start, low, high = _AXES[name].get(optimizer, _AXES[name][""])
        begin = starts.get(name, start)
        if not (isinstance(begin, int | float) and 0 < begin < math.inf):
            raise TuneError(f"start of {name} is {begin!r}: the search counts octaves from a positive number")
        found.append(Axis(name, float(begin), min(low, begin), max(high, begin)))
    return tuple(found)


def held(optimizer: str, given: Mapping[str, Any], tuned: Collection[str]) -> dict[str, Any]:
    """The optimizer's settings that are not tuned: those given, else torch's own defaults."""
    if optimizer not in OPTIMIZERS:
        raise TuneError(f"no optimizer {optimizer!r}{_near(optimizer, OPTIMIZERS)}; there are {', '.join(OPTIMIZERS)}")
    unknown = [name for name in given if name not in HELD]
    if unknown:
        near = _near(unknown[0], HELD)
        raise TuneError(f"{', '.join(unknown)}: not a setting that can be held{near}; there are {', '.join(HELD)}")
    both = [name for name in given if name in tuned]
    if both:
        raise TuneError(f"{', '.join(both)}: tuned and held at once; leave out one of the two")
    own = ("momentum", "nesterov") if optimizer == "sgd" else ("beta1", "beta2", "eps")
    foreign = [name for name in given if name not in (*own, "weight_decay")]
    if foreign:
        raise TuneError(f"{', '.join(foreign)}: {optimizer} has none; it has weight_decay, {', '.join(own)}")
    defaults = {name: Settings.model_fields[name].default for name in own}
    defaults["weight_decay"] = 0.01 if optimizer == "adamw" else 0.0
    return {name: value for name, value in (defaults | dict(given)).items() if name not in tuned}


def _near(word: str, words: Collection[str]) -> str:
    near = get_close_matches(word.lower(), list(words), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
