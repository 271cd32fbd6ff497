"""What a builder's own initialisation says: layers that are copies of each other, and scales that follow depth."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from isoscale._plan.streams import template

LARGEST = 20_000_000
"""Elements of a model that is built for real to look at its initialisation."""
FEWEST = 64


def drawn(build: Callable[..., nn.Module], size: Mapping[str, Any], elements: int) -> dict[str, Tensor]:
    """The parameters of a real model; empty if it would be too large to build by the way."""
    if elements > LARGEST:
        return {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {name: parameter.detach() for name, parameter in build(**size).named_parameters()}


def clones(parameters: Mapping[str, Tensor]) -> tuple[tuple[str, ...], ...]:
    """Groups of parameters with the same random numbers: deep copies of one layer.

    Branches that start identical add up coherently: `1/sqrt(depth)` does not keep the stream's size at initialisation.
    """
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, tensor in parameters.items():
        if tensor.numel() > 1 and tensor.is_floating_point() and bool((tensor != tensor.flatten()[0]).any()):
            sums = float(tensor.double().sum()), float(tensor.double().square().sum())
            key = (template(name), tuple(tensor.shape), *sums)
            groups.setdefault(key, []).append(name)
    return tuple(
        tuple(names)
        for names in groups.values()
        if len(names) > 1 and all(torch.equal(parameters[names[0]], parameters[name]) for name in names[1:])
    )


def follows_depth(
    shallow: Mapping[str, Tensor], deep: Mapping[str, Tensor], pools: Mapping[str, tuple[str, ...]]
) -> dict[str, float]:
    """Parameter templates whose initial size differs between two depths, with the ratio deep over shallow.

    A ratio counts if it is off 1 by over five standard errors and over five percent.
    """
    sums: dict[str, list[float]] = {}
    for name, tensor in deep.items():
        partners = [shallow[other] for other in pools.get(name, ()) if other in shallow]
        if not partners or not tensor.is_floating_point():
            continue
        row = sums.setdefault(template(name), [0.0, 0.0, 0.0, 0.0])
        row[0] += float(tensor.double().square().sum())
        row[1] += tensor.numel()
        row[2] += sum(float(partner.double().square().sum()) for partner in partners)
        row[3] += sum(partner.numel() for partner in partners)
    found = {}
    for name, (squares, count, base_squares, base_count) in sums.items():
        if min(count, base_count) < FEWEST or base_squares == 0 or squares == 0:
            continue
        ratio = (squares / count / (base_squares / base_count)) ** 0.5
        error = (0.5 / count + 0.5 / base_count) ** 0.5
        if abs(ratio - 1) > max(0.05, 5 * error):
            found[name] = ratio
    return found
