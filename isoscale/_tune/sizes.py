"""The sizes of a user's builder: which keys are width and which depth, the second proxy, and keys without effect."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from isoscale._plan import Plan, PlanError, plan
from isoscale._plan.sizes import build_light
from isoscale._tune.errors import TuneError
from isoscale._tune.job import first_tensor

Build = Callable[..., nn.Module]
Size = Mapping[str, Any]
FACTOR = 2  # the second proxy is so many times wider and deeper


@dataclass(frozen=True)
class Keys:
    """The keys of a size that grow: `depth` those that add residual branches, `width` all others."""

    width: tuple[str, ...]
    depth: tuple[str, ...]

    def numbers(self, size: Size) -> tuple[int, int]:
        """(width, depth) as a run's record has them: the first key of each kind, 1 where none grows."""
        first = (size[keys[0]] if keys else 1 for keys in (self.width, self.depth))
        width, depth = (value if isinstance(value, int) else 1 for value in first)
        return width, depth

    def growth(self, size: Size, base: Size) -> tuple[float, float]:
        """Width and depth over the base's."""
        here, there = self.numbers(size), self.numbers(base)
        return here[0] / there[0], here[1] / there[1]


def keys_of(build: Build, base: Size, target: Size, inputs: Any, whole: Plan) -> Keys:
    """Tell width from depth by planning with one key changed at a time.

    Raises TuneError where a key changes nothing: nothing would be transferred along it, and the result would look fine.
    """
    grown = [key for key in base if base[key] != target[key]]
    if not grown:
        raise TuneError(
            f"base and target are both {dict(base)}: there is nothing to carry; name the size you want in target"
        )
    idle = [key for key in grown if _same(build, base, {**base, key: target[key]}, inputs)]
    if idle:
        named = ", ".join(f"{key}={base[key]} and {key}={target[key]}" for key in idle)
        raise TuneError(
            f"the builder ignores {', '.join(idle)}: it makes the same parameters with {named}. Hyperparameters would "
            "be tuned on a network of the target's size without a sign: use the argument where the layers are made"
        )
    deep = tuple(key for key in grown if _deepens(build, base, target, key, inputs, whole))
    return Keys(tuple(key for key in grown if key not in deep), deep)


def _same(build: Build, base: Size, other: Size, inputs: Any) -> bool:
    """Whether two sizes make one network: equal parameters, and equal outputs (heads have no shape of their own).

    A size that cannot be built alone (heads must divide the width) is another one.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            shapes = [
                {name: tuple(each.shape) for name, each in build_light(build, size).named_parameters()}
                for size in (base, other)
            ]
            if shapes[0] != shapes[1]:
                return False
            outputs = []
            for size in (base, other):
                torch.manual_seed(0)
                outputs.append(first_tensor(build(**size).eval()(*inputs)))
    except Exception:
        return False
    return torch.equal(*outputs)


def _deepens(build: Build, base: Size, target: Size, key: str, inputs: Any, whole: Plan) -> bool:
    if all(base == now for base, now in whole.depths.values()):
        return False
    try:
        depths = plan(build, base, {**base, key: target[key]}, inputs=inputs, rule="sp").depths
    except (PlanError, ValueError, RuntimeError, TypeError):
        return False  # a key that cannot change alone is tied to others, as heads are to the width
    return any(base != now for base, now in depths.values())


def second_size(base: Size, target: Size, keys: Keys) -> dict[str, Any]:
    """The proxy of the verification: twice as wide and as deep as the base, the target at most.

    Raises TuneError where a key that grows is no whole number: then the size must be named.
    """
    found = dict(base)
    for key in (*keys.width, *keys.depth):
        if not isinstance(base[key], int) or isinstance(base[key], bool):
            raise TuneError(f"{key}={base[key]!r} is no whole number: name the size to verify at, second=dict(...)")
        found[key] = min(FACTOR * base[key], target[key])
    return found


def check_second(second: Size, base: Size, target: Size, keys: Keys) -> None:
    """Refuse a second proxy at which the optimum could not move."""
    if set(second) != set(base):
        raise TuneError(f"second={dict(second)} and base={dict(base)} have different keys: give every key in both")
    growth, whole = keys.growth(second, base), keys.growth(target, base)
    missing = [name for name, now, wished in zip(("width", "depth"), growth, whole) if wished > 1 and not now > 1]
    if missing:
        raise TuneError(
            f"second={dict(second)} is not larger than the base in {' and '.join(missing)}, in which the target grows: "
            "whether the optimum stays can only be seen at a size that is wider and deeper"
        )


def doublings(growth: tuple[float, float]) -> float:
    """Doublings of width and of depth together."""
    return sum(math.log2(each) for each in growth if each > 1)


def spelled(size: Size) -> str:
    """A size as the command line writes it: width=64,depth=4."""
    return ",".join(f"{key}={value}" for key, value in size.items())
