"""Sums over layers, and streams that lie behind one another: every depth is counted, or refused."""

import pytest
import torch
from torch import nn

from isoscale import plan
from isoscale._plan.proof import prove
from isoscale._plan.sizes import Tracer
from isoscale._plan.structure import StructureError, describe
from tests.plan.test_patterns import BASE, TARGET, VECTORS, branches, depths

ZERO = {
    "number": lambda x: 0,
    "tensor": torch.zeros_like,
    "nothing": lambda x: None,
}


class Skips(nn.Module):
    """Every layer adds to the stream and to a sum of outputs (WaveNet); the last one only to the sum, or to both."""

    def __init__(self, width: int, depth: int, start: str = "number", last: bool = True) -> None:
        super().__init__()
        self.start, self.last = start, last
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 2)
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.outs, self.skips = (nn.ModuleList(nn.Linear(width, width) for _ in range(depth)) for _ in range(2))

    def join(self, terms, x):
        total = ZERO[self.start](x)
        for term in terms:
            total = term if total is None else total + term
        return total

    def forward(self, x):
        x, terms = self.stem(x), []
        for gate, out, skip in zip(self.gates, self.outs, self.skips):
            y = torch.tanh(gate(x))
            terms.append(skip(y))
            if self.last or gate is not self.gates[-1]:
                x = x + out(y)
        return self.head(torch.relu(self.join(terms, x)))


class Stacked(Skips):
    def join(self, terms, x):
        return torch.stack(terms).sum(0)


class Own(Skips):
    """A head for every layer, each returned (deep supervision): no layer reads them."""

    def forward(self, x):
        x, found = self.stem(x), []
        for gate, out, skip in zip(self.gates, self.outs, self.skips):
            x = x + out(torch.tanh(gate(x)))
            found.append(skip(x))
        return self.head(x), found


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("start", ZERO)
def test_the_first_term_of_a_sum_over_layers_is_a_branch(start: str, last: bool) -> None:
    def build(width: int, depth: int) -> nn.Module:
        return Skips(width, depth, start, last)

    found = describe(build, BASE, TARGET, VECTORS)
    assert depths(found) == ((2, 4), (2, 4))
    tails = {name for name, parameter in found.parameters.items() if parameter.tail}
    assert tails == {f"{kind}.{i}.{end}" for kind in ("outs", "skips") for i in range(4) for end in ("weight", "bias")}
    assert len({parameter.stream for name, parameter in found.parameters.items() if name.startswith("skips")}) == 1
    proof = prove(build, BASE, VECTORS, found)
    assert proof.holds, str(proof)
    rates = {one.name: one for one in plan(build, BASE, TARGET, inputs=VECTORS).settings}
    assert rates["skips.0.weight"].std == pytest.approx(rates["skips.3.weight"].std)


def test_a_stream_that_its_terms_read_starts_with_no_branch() -> None:
    """The control: the same modules, but a stem of the blocks' own kind, and blocks that read the sum."""

    class Flat(nn.Module):
        def __init__(self, width: int, depth: int) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(5, width), *(nn.Linear(width, width) for _ in range(depth))])
            self.head = nn.Linear(width, 2)

        def forward(self, x):
            x = self.layers[0](x)
            for layer in self.layers[1:]:
                x = x + layer(torch.relu(x))
            return self.head(x)

    assert depths(describe(Flat, BASE, TARGET, VECTORS)) == ((2, 4),)


def test_a_stack_over_layers_that_a_layer_reads_is_refused_and_own_heads_are_not() -> None:
    with pytest.raises(StructureError, match=r"multiply with depth: skips\.0\.bias"):
        describe(Stacked, BASE, TARGET, VECTORS)
    assert depths(describe(Own, BASE, TARGET, VECTORS)) == ((2, 4),)


class Auto(nn.Module):
    """An encoder, a bottleneck and a decoder, of their own depths."""

    def __init__(self, width: int, encoder: int, decoder: int, narrow: bool = True) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 5)
        self.encoder, self.decoder = branches(width, encoder), branches(width, decoder)
        self.code = nn.Sequential(nn.Linear(width, 3), nn.Linear(3, width)) if narrow else nn.Identity()

    def forward(self, x):
        x = self.stem(x)
        for block in self.encoder:
            x = x + block(x)
        x = self.code(x)
        for block in self.decoder:
            x = x + block(x)
        return self.head(x)


def auto(narrow: bool):
    def build(width: int, encoder: int, decoder: int) -> nn.Module:
        return Auto(width, encoder, decoder, narrow)

    return build


@pytest.mark.parametrize("narrow", [True, False])
def test_parts_of_a_stream_that_deepen_differently_have_their_own_depths(narrow: bool) -> None:
    base, target = {"width": 8, "encoder": 2, "decoder": 2}, {"width": 16, "encoder": 4, "decoder": 8}
    found = describe(auto(narrow), base, target, VECTORS)
    assert depths(found) == ((2, 4), (2, 8))
    ends = [{branch.tails[0].split(".")[0] for branch in stream.branches} for stream in found.streams.values()]
    assert ends == [{"encoder"}, {"decoder"}]
    assert prove(auto(narrow), base, VECTORS, found).holds
    made = {one.name: one for one in plan(auto(narrow), base, target, inputs=VECTORS).settings}
    rates = [made[f"{part}.1.up.weight"].lr for part in ("encoder", "decoder")]
    assert rates[1] / rates[0] == pytest.approx(2**-0.5)


def test_parts_that_deepen_alike_are_one_stream() -> None:
    base, target = {"width": 8, "encoder": 2, "decoder": 3}, {"width": 16, "encoder": 4, "decoder": 6}
    assert depths(describe(auto(True), base, target, VECTORS)) == ((5, 10),)


class Stable(nn.Module):
    """A running maximum is subtracted before an exponential: no branch of what it is subtracted from (RWKV)."""

    def __init__(self, width: int, depth: int, largest=torch.maximum) -> None:
        super().__init__()
        self.largest = largest
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 2)
        self.keys, self.values = (nn.ModuleList(nn.Linear(width, width) for _ in range(depth)) for _ in range(2))
        self.decays = nn.ParameterList(nn.Parameter(torch.ones(width)) for _ in range(depth))

    def forward(self, x):
        x = self.stem(x)
        for key, value, decay in zip(self.keys, self.values, self.decays):
            k = key(x)
            top = self.largest(k + decay, k)
            x = x + value(torch.exp(k - top))
        return self.head(x)


@pytest.mark.parametrize("largest", [torch.maximum, lambda a, b: a.amax(-1, keepdim=True).expand_as(b)])
def test_subtracting_a_largest_value_is_no_branch(largest) -> None:
    found = describe(lambda width, depth: Stable(width, depth, largest), BASE, TARGET, VECTORS)
    assert depths(found) == ((2, 4),)
    assert {parameter.stream is not None for name, parameter in found.parameters.items() if "keys" in name} == {True}


@pytest.mark.parametrize(("taken", "adds"), [(torch.maximum, 2), (lambda a, b: torch.tanh(a), 4)])
def test_subtracting_something_else_that_is_learned_is_one(taken, adds: int) -> None:
    traced = Tracer(lambda width, depth: Stable(width, depth, taken), VECTORS)(BASE)
    assert len(traced.residuals.adds) == adds
