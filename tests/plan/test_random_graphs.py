"""Random residual graphs whose streams, branches and tails are known: what tracing finds is the truth."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from isoscale._plan.proof import prove
from isoscale._plan.structure import StructureError, describe
from tests.plan.test_patterns import BASE, TARGET, VECTORS, Branch, depths

ADDS = {"plain": 1, "parallel": 2, "merged": 1, "shared": 2, "nested": 1, "tanh": 1}


class Layer(nn.Module):
    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.one = Branch(width)
        self.two = Branch(width) if kind in {"parallel", "merged", "nested"} else None
        self.out = nn.Linear(width, width) if kind == "nested" else None

    def forward(self, x):
        if self.kind == "parallel":
            return x + self.one(x) + self.two(x)
        if self.kind == "merged":
            return x + (self.one(x) + self.two(x))
        if self.kind == "shared":
            x = x + self.one(x)
            return x + self.one(x)
        if self.kind == "nested":
            h = self.one(x)
            return x + self.out(torch.tanh(h + self.two(h)))
        return x + (torch.tanh(self.one(x)) if self.kind == "tanh" else self.one(x))

    def tails(self, name: str) -> set[str]:
        ends = {"nested": ["out"], "tanh": [], "parallel": ["one.down", "two.down"], "merged": ["one.down", "two.down"]}
        return {f"{name}.{end}.{p}" for end in ends.get(self.kind, ["one.down"]) for p in ("weight", "bias")}


class Net(nn.Module):
    """Groups of layers, and a sum of what every group gives besides if `skips`."""

    def __init__(self, width: int, depth: int, kinds: tuple[str, ...], skips: bool) -> None:
        super().__init__()
        self.stem, self.head, self.end = nn.Linear(5, width), nn.Linear(width, 2), nn.Linear(width, 2)
        self.groups = nn.ModuleList(nn.ModuleList(Layer(width, kind) for kind in kinds) for _ in range(depth))
        self.skips = nn.ModuleList(nn.Linear(width, width) for _ in range(depth if skips else 0))

    def forward(self, x):
        x, total = self.stem(x), 0
        for i, group in enumerate(self.groups):
            for layer in group:
                x = layer(x)
            if len(self.skips):
                total = total + self.skips[i](torch.sin(x))
        return (self.head(x), self.end(torch.relu(total))) if len(self.skips) else self.head(x)


def truth(kinds: tuple[str, ...], skips: bool, depth: int) -> tuple[tuple[int, ...], set[str]]:
    net = Net(4, depth, kinds, skips)
    tails = {name for name, m in net.named_modules() if isinstance(m, Layer) for name in m.tails(name)}
    tails |= {f"skips.{i}.{p}" for i in range(len(net.skips)) for p in ("weight", "bias")}
    return (depth * sum(ADDS[kind] for kind in kinds), *([depth] if skips else [])), tails


def check(kinds: tuple[str, ...], skips: bool, said: tuple[str, ...] | None = None) -> None:
    def build(width: int, depth: int) -> nn.Module:
        return Net(width, depth, kinds, skips)

    found = describe(build, BASE, TARGET, VECTORS)
    small, _ = truth(said or kinds, skips, 2)
    big, tails = truth(said or kinds, skips, 4)
    assert depths(found) == tuple(zip(small, big))
    assert {name for name, parameter in found.parameters.items() if parameter.tail} == tails
    assert prove(build, BASE, VECTORS, found).holds


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(sorted(ADDS)), min_size=1, max_size=3))
def test_random_graphs_are_traced_to_the_truth(kinds: list[str]) -> None:
    check((*kinds, "plain"), False)


def test_a_sum_of_terms_that_no_identity_or_projection_joins_to_the_stream_is_refused() -> None:
    with pytest.raises(StructureError, match=r"multiply with depth: skips\.0"):
        check(("plain",), True)


@pytest.mark.parametrize("said", [("parallel",), ("merged",), ("tanh",)])
def test_another_truth_is_noticed(said: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError):
        check(("plain",), False, said)
