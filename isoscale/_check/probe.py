"""Reading tensors out of a running forward pass, and running single ops again with one argument changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from isoscale._check.errors import CheckError
from isoscale._check.sites import Reading, Sites, Swap
from isoscale._plan import flatten


@dataclass
class Call:
    """One op as it ran: its arguments by schema name, tensors copied before the op could write into them.

    The first `positional` of them were given by position.
    """

    op: Callable[..., Any]
    arguments: dict[str, Any]
    positional: int
    result: list[Tensor]


@dataclass
class Seen:
    """What one forward pass showed: readings in the order of their sites, the calls that swaps need, the ops' count."""

    readings: dict[int, Tensor] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)
    ops: int = 0


class Probe(TorchDispatchMode):
    """Copies what the sites name while the model runs; ops are known by their order of execution."""

    def __init__(self, sites: Sites) -> None:
        super().__init__()
        self.seen = Seen()
        self.readings: dict[int, list[int]] = {}
        for index, reading in enumerate(sites.readings):
            self.readings.setdefault(reading.op, []).append(index)
        self.sites = sites.readings
        self.swapped = {swap.op for swap in sites.swaps}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        here = self.seen.ops
        self.seen.ops += 1
        if here not in self.readings and here not in self.swapped:
            return func(*args, **kwargs)
        wanted = [(index, self.sites[index]) for index in self.readings.get(here, ())]
        arguments = bound(func, args, kwargs)
        if here in self.swapped:
            arguments = {name: copied(value) for name, value in arguments.items()}
        for index, reading in wanted:
            if reading.source != "output":
                self.seen.readings[index] = before(func, arguments, reading)
        out = func(*args, **kwargs)
        results = [item for item in flatten(out) if isinstance(item, Tensor)]
        for index, reading in wanted:
            if reading.source == "output":
                self.seen.readings[index] = results[reading.output].detach().clone() * reading.factor
        if here in self.swapped:
            self.seen.calls[here] = Call(func, arguments, len(args), [result.detach().clone() for result in results])
        return out


def before(func: Any, arguments: Mapping[str, Any], reading: Reading) -> Tensor:
    """An argument before the op runs (it may write into it), or what a fused attention makes of its arguments."""
    if reading.argument not in arguments:
        raise CheckError(
            f"{func} has no argument {reading.argument!r}, where the {reading.quantity.label} is read: two runs of the "
            "model execute different ops. Make its control flow depend on shapes alone"
        )
    value = arguments[reading.argument].detach()
    if reading.source == "argument":
        return value.clone()
    keys = arguments["key"].detach()
    if keys.dim() == value.dim() and keys.shape[1] != value.shape[1]:  # fewer heads of keys than of queries
        keys = keys.repeat_interleave(value.shape[1] // keys.shape[1], dim=1)
    scale = arguments.get("scale")
    known = float(scale) if isinstance(scale, (int, float)) else value.shape[-1] ** -0.5
    return (value.float() @ keys.float().transpose(-1, -2)) * known


def bound(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    names = [argument.name for argument in func._schema.arguments]
    return {**dict(zip(names, args)), **kwargs}


def copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return [copied(item) for item in value]
    return value


def updated(swap: Swap, first: Seen, last: Seen) -> Tensor:
    """How an op's result changes when the swap's argument alone is taken from the later pass."""
    call, later = first.calls[swap.op], last.calls[swap.op]
    if later.op is not call.op:
        raise CheckError(
            f"the model runs {later.op} after training where it ran {call.op} at initialisation: its code follows the "
            "values of tensors, and quantities of the two passes can not be compared"
        )
    arguments = {name: copied(value) for name, value in call.arguments.items()}
    arguments[swap.argument] = later.arguments[swap.argument]
    given = list(arguments.items())
    positional = [value for _, value in given[: call.positional]]
    keywords = dict(given[call.positional :])
    with torch.no_grad():
        out = call.op(*positional, **keywords)
    result = [item for item in flatten(out) if isinstance(item, Tensor)][swap.output]
    return (result - call.result[swap.output]) * swap.factor
