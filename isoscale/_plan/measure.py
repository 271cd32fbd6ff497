"""Measure the base model's own initialisation, over several draws, without touching anybody's random numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from isoscale._plan.errors import PlanError
from isoscale._plan.facts import Parameter, Structure
from isoscale._plan.naming import listed

# A pool of n numbers gives their rms to 1/sqrt(2 n): 0.5 % here. Small tensors get there by more draws.
_ENOUGH = 20_000
_MOST_DRAWS = 64
_LARGE_MODEL = 20_000_000
_FIRST_SEED = 20_231


@dataclass(frozen=True)
class Moments:
    """Sums over every element seen of one parameter."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def rms(self) -> float:
        return math.sqrt(self.squares / self.count)


@dataclass
class Draws:
    """The base model built under one seed after the other, as often as somebody needs; each seed is built once.

    Kept are the sums over each parameter, not the models. `first` are the tensors of the first draw, `drawn` the names
    of those that differ in the second one.
    """

    build: Callable[..., nn.Module]
    base: Mapping[str, Any]
    first: dict[str, Tensor] = field(default_factory=dict)
    sums: list[dict[str, Moments]] = field(default_factory=list)
    drawn: set[str] = field(default_factory=set)

    def take(self, count: int) -> list[dict[str, Moments]]:
        """The sums of the first `count` draws. Raises PlanError where a draw has other names or shapes."""
        while len(self.sums) < count:
            again = _draw(self.build, self.base, _FIRST_SEED + len(self.sums))
            self.first = self.first or again
            _check_same(self.first, again)
            if len(self.sums) == 1:
                self.drawn = {name for name, tensor in self.first.items() if not torch.equal(tensor, again[name])}
            self.sums.append({name: _moments(tensor) for name, tensor in again.items()})
        return self.sums[:count]


def measured(structure: Structure, draws: Draws) -> Structure:
    """The structure with `base_rms` and `base_mean` of every parameter measured to half a percent.

    Each draw builds the base model under its own seed in a forked generator: planning changes no global state and
    gives the same plan every time. Parameters are pooled over `base_names`. Raises PlanError where two draws differ in
    their parameters' names or shapes: a plan is keyed by them.
    """
    pools = {parameter.base_names for parameter in structure.parameters.values() if parameter.base_names}
    (once,) = draws.take(1)
    absent = sorted({name for pool in pools for name in pool} - set(once))
    if absent:
        raise PlanError(
            f"the base model has no {listed(absent)} when it is built again: names of parameters must not depend on "
            "anything but the size, or no plan can be keyed by them. Make the builder deterministic."
        )
    seen = dict(once)
    for sums in draws.take(_draws(pools, once))[1:]:
        seen = {name: moments + sums[name] for name, moments in seen.items()}
    first, drawn = draws.first, draws.drawn
    parameters = {name: _with_moments(each, seen, drawn) for name, each in structure.parameters.items()}
    # Layers that hold the same ramp are no copies: nothing about them is drawn.
    known = tuple(group for group in structure.clones if all(parameters[name].drawn for name in group))
    clones = known or _clones({name: first[name] for name in sorted(drawn)})
    return replace(structure, parameters=parameters, clones=clones, warnings=structure.warnings + tuple(_about(clones)))


def _check_same(first: Mapping[str, Tensor], again: Mapping[str, Tensor]) -> None:
    if {name: tensor.shape for name, tensor in first.items()} != {name: tensor.shape for name, tensor in again.items()}:
        raise PlanError(
            "two calls of the builder at base size give different parameters: "
            f"{listed(sorted(set(again) ^ set(first)) or ['other shapes'])}. A plan is keyed by names and shapes; "
            "make the builder deterministic."
        )


def _clones(tensors: Mapping[str, Tensor]) -> tuple[tuple[str, ...], ...]:
    """Groups of parameters that were drawn once and copied: equal in every element."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault((tuple(tensor.shape), _moments(tensor)), []).append(name)
    return tuple(
        tuple(names)
        for names in groups.values()
        if len(names) > 1 and all(torch.equal(tensors[names[0]], tensors[name]) for name in names[1:])
    )


def _about(clones: tuple[tuple[str, ...], ...]) -> list[str]:
    if not clones:
        return []
    return [
        f"{listed(clones[0], 3)} (and {len(clones) - 1} more groups) are copies of one another at initialisation: a "
        "sum of equal branches grows like the depth and not like its root. init_ gives each copy its own draw at every "
        "size but the base, whose bits are the user's: build the base with independent layers too"
    ]


def _draws(pools: set[tuple[str, ...]], seen: Mapping[str, Moments]) -> int:
    """How many times to build: twice at least, then until the smallest random pool is large enough."""
    random = [sum((seen[name] for name in pool), Moments()) for pool in pools]
    counts = [each.count for each in random if each.squares * each.count > each.total**2 * (1 + 1e-9)]
    size = sum(moments.count for moments in seen.values())
    most = max(2, min(_MOST_DRAWS, _LARGE_MODEL // size))
    return max(2, min(most, math.ceil(_ENOUGH / min(counts)))) if counts else 2


def _draw(build: Callable[..., nn.Module], base: Mapping[str, Any], seed: int) -> dict[str, Tensor]:
    # torch.manual_seed would also queue a seed for accelerators that start later, and so leak out of the fork.
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        return {name: parameter.detach() for name, parameter in build(**base).named_parameters()}


def _moments(tensor: Tensor) -> Moments:
    wide = tensor.double()
    return Moments(tensor.numel(), float(wide.sum()), float(wide.square().sum()))


def _with_moments(parameter: Parameter, seen: Mapping[str, Moments], drawn: set[str]) -> Parameter:
    if not parameter.base_names:
        return parameter
    moments = sum((seen[name] for name in parameter.base_names), Moments())
    if moments.count == 0:
        return parameter
    random = any(name in drawn for name in parameter.base_names)
    return replace(parameter, base_rms=moments.rms, base_mean=moments.mean, sampled=moments.count, drawn=random)
