"""Residual branches and their tails: random residual networks are traced to the truth, and wrong ones are noticed."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from isoscale._plan import proof
from isoscale._plan.branches import find_residuals, template
from isoscale._plan.proof import prove
from isoscale._plan.sizes import Tracer
from isoscale._plan.structure import StructureError, describe

INPUTS = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))

# How a block applies its branch to the stream, how the branch ends, and what then is its tail ("" = refused).
ADDS = ("new", "in place", "branch first", "into branch", "scaled", "subtracted")
ENDS = {
    "linear": ("last.weight", "last.bias"),
    "relu": ("last.weight", "last.bias"),
    "norm": ("norm.weight", "norm.bias"),
    "layer scale": ("gain",),
    "rezero": ("scalar",),
    "sum": ("last.weight", "last.bias", "other.weight", "other.bias"),
    "gate": ("last.weight", "last.bias"),
    "tanh": (),
    "bare norm": (),
    "own gate": (),
}
TRUNKS = ("plain", "cloned", "dropout", "reshaped")


@dataclass(frozen=True)
class Plan:
    """What one block looks like."""

    add: str
    end: str
    hidden: int
    trunk: str


class Block(nn.Module):
    def __init__(self, width: int, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        sizes = [width] * (plan.hidden + 1)
        self.body = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.last = nn.Linear(width, width)
        end = plan.end
        self.norm = nn.LayerNorm(width, elementwise_affine=end == "norm") if "norm" in end else None
        self.other = nn.Linear(width, width) if end in {"sum", "gate"} else None
        self.gain = nn.Parameter(torch.ones(width)) if end == "layer scale" else None
        self.scalar = nn.Parameter(torch.ones(())) if end == "rezero" else None

    def branch(self, x):
        y, end = x, self.plan.end
        for layer in self.body:
            y = torch.tanh(layer(y))
        z = self.last(y)
        if end == "sum":
            return z + self.other(y)
        if end == "gate":
            return z * torch.sigmoid(self.other(y))
        if end == "own gate":
            return z * torch.sigmoid(z)
        if end in {"norm", "bare norm"}:
            return self.norm(z)
        if end == "layer scale":
            return self.gain * z
        if end == "rezero":
            return self.scalar * z
        return {"relu": torch.relu, "tanh": torch.tanh}.get(end, lambda t: t)(z)

    def forward(self, x):
        trunk, add = self.plan.trunk, self.plan.add
        if trunk == "cloned" or add == "in place":
            x = x.clone()
        if trunk == "dropout":
            x = nn.functional.dropout(x, 0.1, self.training)
        if trunk == "reshaped":
            x = x.unsqueeze(0).permute(1, 0, 2).flatten(0, 1)
        y = self.branch(x)
        if add == "in place":
            x += y
            return x
        if add == "into branch":
            y = y + 0.0 if self.plan.end in {"relu", "tanh"} else y.clone()
            y += x
            return y
        if add == "branch first":
            return y + x
        if add == "subtracted":
            return x - y
        return x + (0.25 * y if add == "scaled" else y)


class Net(nn.Module):
    def __init__(self, width: int, depth: int, plans: tuple[Plan, ...]) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 2)
        self.blocks = nn.ModuleList(nn.ModuleList(Block(width, plan) for plan in plans) for _ in range(depth))

    def forward(self, x):
        x = self.stem(x)
        for group in self.blocks:
            for block in group:
                x = block(x)
        return self.head(x)


plans = st.lists(
    st.builds(Plan, st.sampled_from(ADDS), st.sampled_from(sorted(ENDS)), st.integers(1, 2), st.sampled_from(TRUNKS)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(plans)
def test_random_residual_networks_are_traced_to_the_truth(kinds: list[Plan]) -> None:
    def build(width: int, depth: int) -> nn.Module:
        return Net(width, depth, tuple(kinds))

    found = describe(build, {"width": 8, "depth": 1}, {"width": 16, "depth": 3}, INPUTS)
    (stream,) = found.streams.values()
    assert (stream.base_depth, stream.depth) == (len(kinds), 3 * len(kinds))
    expected = {
        f"blocks.{group}.{index}.{name}"
        for group in range(3)
        for index, kind in enumerate(kinds)
        for name in ENDS[kind.end]
    }
    assert {name for name, parameter in found.parameters.items() if parameter.tail} == expected
    assert [branch.refusal is None for branch in stream.branches] == [bool(ENDS[kind.end]) for kind in kinds] * 3
    for name, parameter in found.parameters.items():
        assert (parameter.stream is not None) == name.startswith("blocks"), name
    result = prove(build, {"width": 8, "depth": 1}, INPUTS, found)
    assert result.holds, str(result)
    assert result.branches == sum(bool(ENDS[kind.end]) for kind in kinds)


def preln(width: int, depth: int) -> nn.Module:
    return Net(width, depth, (Plan("new", "norm", 1, "plain"),))


SIZES = ({"width": 8, "depth": 2}, {"width": 16, "depth": 4})


def test_the_proof_notices_a_wrong_tail(monkeypatch) -> None:
    """Scaling what lies before the last norm does nothing: the comparison must fail."""
    original = proof.sites

    def wrong(analysis):
        return [
            (site, type(fold)(tuple(name.replace("norm", "last") for name in fold.parameters), fold.existing, None))
            for site, fold in original(analysis)
        ]

    assert prove(preln, SIZES[0], INPUTS).holds
    monkeypatch.setattr(proof, "sites", wrong)
    result = prove(preln, SIZES[0], INPUTS)
    assert result.error > 1e-2
    assert not result.holds


def test_the_proof_notices_another_model() -> None:
    found = describe(preln, *SIZES, INPUTS)
    with pytest.raises(StructureError, match="another model"):
        prove(preln, {"width": 8, "depth": 3}, INPUTS, found)


def test_the_proof_does_not_hold_for_a_check_of_nothing() -> None:
    assert not proof.Proof(0.0, 0.0, 2, 0, 0).holds
    assert proof.Proof(0.0, 0.5, 2, 0, 0).holds
    assert not proof.Proof(float("inf"), 0.5, 2, 0, 0).holds


def test_a_shared_tail_that_is_also_used_elsewhere_is_refused_by_name() -> None:
    class Leaky(Net):
        def forward(self, x):
            x = self.stem(x)
            for group in self.blocks:
                for block in group:
                    y = block.branch(x)
                    x = x + y
                    self.kept = y
            return torch.cat([self.head(x), torch.sin(self.kept)], -1)

    def build(width: int, depth: int) -> nn.Module:
        return Leaky(width, depth, (Plan("new", "linear", 1, "plain"),))

    found = describe(build, *SIZES, INPUTS)
    refusals = [branch.refusal for branch in found.branches if branch.refusal is not None]
    assert len(refusals) == 1
    assert "also consumed by sin" in str(refusals[0])


def test_a_returned_branch_is_not_folded() -> None:
    class Returning(Net):
        def forward(self, x):
            x = self.stem(x)
            found = []
            for group in self.blocks:
                for block in group:
                    found.append(block.branch(x))
                    x = x + found[-1]
            return self.head(x), found

    def build(width: int, depth: int) -> nn.Module:
        return Returning(width, depth, (Plan("new", "linear", 1, "plain"),))

    found = describe(build, *SIZES, INPUTS)
    assert all("returned by the model" in str(branch.refusal) for branch in found.branches)


def test_elementwise_arithmetic_is_no_residual_branch() -> None:
    class Gelu(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 5)

        def forward(self, x):
            y = self.layer(x)
            return y + 0.044715 * y**3

    graph = Tracer(Gelu, INPUTS)({}).graph
    assert find_residuals(graph).adds == ()


def test_slices_of_one_product_are_no_residual_branch() -> None:
    class Modulate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.other = nn.Linear(5, 10), nn.Linear(5, 5)

        def forward(self, x):
            shift, scale = self.layer(x).chunk(2, -1)
            return torch.tanh(self.other(x)) * scale + shift

    assert find_residuals(Tracer(Modulate, INPUTS)({}).graph).adds == ()


def test_names_are_compared_without_their_numbers() -> None:
    assert template("blocks.3.mlp.0.weight") == "blocks.*.mlp.*.weight"
    assert template("layer1.0.conv2.weight") == "layer1.*.conv2.weight"
    assert template("weight") == "weight"
