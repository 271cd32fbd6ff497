"""Patterns of other people's code, each as small as it goes: depths of the streams, roles, and a fold that is exact."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isoscale import plan
from isoscale._plan.facts import Structure, StructureError
from isoscale._plan.graph import CONSTANT, Node, Ref, parts_read_back
from isoscale._plan.proof import Proof, prove
from isoscale._plan.structure import describe
from tests.zoo import own as zoo

BASE, TARGET = {"width": 8, "depth": 2}, {"width": 16, "depth": 4}
VECTORS = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
SEQUENCE = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))


class Branch(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return self.down(torch.tanh(self.up(x)))


def branches(width: int, depth: int) -> nn.ModuleList:
    return nn.ModuleList(Branch(width) for _ in range(depth))


class Two(nn.Module):
    """Two lists of branches, a stem for each and a readout; what happens in between is the test's."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(5, width), nn.Linear(5, width)
        self.a, self.b = branches(width, depth), branches(width, depth)
        self.head = nn.Linear(width, 3)


class Messages(Two):
    """A second stream is read by the first one's branches and goes on by itself (graph networks)."""

    def forward(self, x):
        p, q = self.one(x), self.two(x)
        for a, b in zip(self.a, self.b):
            q = q + b(q + p)
            p = p + a(torch.cat([p, q])[: len(p)] + q)
        return self.head(p)


class Crossed(Two):
    """Each stream's branch reads the other stream only."""

    def forward(self, x):
        p, q = self.one(x), self.two(x)
        for a, b in zip(self.a, self.b):
            p, q = p + a(q), q + b(p)
        return self.head(p + q)


class Reversible(Two):
    """Joined and split again at every block."""

    def forward(self, x):
        z = torch.cat([self.one(x), self.two(x)], -1)
        for a, b in zip(self.a, self.b):
            p, q = z.chunk(2, -1)
            p = p + a(q)
            q = q + b(p)
            z = torch.cat([p, q], -1)
        return self.head(p + q)


class Residual(Branch):
    def forward(self, x):
        return x + super().forward(x)


class OuterSkip(Two):
    """An additive skip around an inner stage, after outer blocks."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(width, depth)
        self.a, self.b = (nn.Sequential(*(Residual(width) for _ in range(depth))) for _ in range(2))
        self.up = nn.Linear(width, width)

    def forward(self, x):
        x = self.a(self.one(x))
        return self.head(x + self.up(self.b(torch.tanh(x))))


class FirstValues(Two):
    """The first block's values are read by all later ones."""

    def forward(self, x):
        x, first = self.one(x), None
        for a, b in zip(self.a, self.b):
            values = b.up(x)
            first = values if first is None else first
            x = x + a(values + first)
        return self.head(x)


class Views(Two):
    """One encoder for two views."""

    def encode(self, x):
        x = self.one(x)
        for a in self.a:
            x = x + a(x)
        return self.head(x)

    def forward(self, x):
        return F.cosine_similarity(self.encode(x), self.encode(x + 1))


STREAMS = {
    Messages: ((2, 4), (2, 4)),
    Crossed: ((2, 4), (2, 4)),
    Reversible: ((2, 4), (2, 4)),
    FirstValues: ((2, 4),),
    Views: ((2, 4), (2, 4)),
    OuterSkip: ((2, 4), (1, 1), (2, 4)),
}


def depths(found: Structure) -> tuple[tuple[int, int], ...]:
    return tuple((stream.base_depth, stream.depth) for stream in found.streams.values())


@pytest.mark.parametrize("network", STREAMS, ids=lambda network: network.__name__)
def test_every_stream_has_its_own_depth_and_folds(network: type[nn.Module]) -> None:
    found = describe(network, BASE, TARGET, VECTORS)
    assert depths(found) == STREAMS[network]
    assert all(branch.refusal is None for branch in found.branches)
    proof = prove(network, BASE, VECTORS, found)
    assert proof.holds, str(proof)


def test_streams_that_are_summed_are_said_with_the_place() -> None:
    (warning,) = [w for w in describe(Crossed, BASE, TARGET, VECTORS).warnings if "summed" in w]
    assert "two streams are summed in the model itself" in warning
    assert not [w for w in describe(Views, BASE, TARGET, VECTORS).warnings if "summed" in w]


class Latents(nn.Module):
    """A stream that starts with learned vectors: spread over the batch by `spread`."""

    def __init__(self, width: int, depth: int, spread=lambda z, n: z.expand(n, -1, -1)) -> None:
        super().__init__()
        self.latents, self.spread = nn.Parameter(torch.randn(3, width)), spread
        self.read = nn.ModuleList(nn.Linear(5, width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.blocks, self.head = branches(width, depth), nn.Linear(width, 2)

    def forward(self, x):
        z = self.spread(self.latents, len(x))
        for read, norm, block in zip(self.read, self.norms, self.blocks):
            z = z + block(norm(z)) * read(x).mean(1, keepdim=True)
        return self.head(z)


@pytest.mark.parametrize("spread", [lambda z, n: z.expand(n, -1, -1), lambda z, n: z.repeat(n, 1, 1), lambda z, n: z])
def test_learned_vectors_start_a_stream(spread) -> None:
    found = describe(lambda width, depth: Latents(width, depth, spread), BASE, TARGET, SEQUENCE)
    assert depths(found) == ((2, 4),)
    assert (found.parameters["latents"].role, found.parameters["latents"].stream) == ("input", None)


class One(nn.Module):
    """Blocks of any kind on one stream."""

    def __init__(self, width: int, depth: int, block) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 2)
        self.blocks = nn.ModuleList(block(width) for _ in range(depth))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def roles(block, inputs=VECTORS) -> dict[str, str]:
    found = describe(lambda width, depth: One(width, depth, block), BASE, TARGET, inputs)
    assert depths(found) == ((2, 4),)
    return {name.removeprefix("blocks.0."): p.role for name, p in found.parameters.items() if ".0." in name}


class ChosenMatrices(nn.Module):
    """Each row of the batch takes a matrix of its own out of a stack."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate, self.table = nn.Linear(width, 3), nn.Parameter(torch.randn(3, width))
        self.one, self.two = (nn.Parameter(torch.randn(3, width, width)) for _ in range(2))

    def forward(self, x):
        weight, index = self.gate(x).softmax(-1).max(-1)
        y = torch.bmm(x[:, None] + self.table[index][:, None], self.one[index]).relu()
        return weight[:, None] * torch.bmm(y, self.two[index])[:, 0]


def test_a_stack_that_data_indexes_is_weights_and_a_table_is_none() -> None:
    found = roles(ChosenMatrices)
    assert (found["one"], found["two"], found["table"], found["gate.weight"]) == ("hidden", "hidden", "input", "output")


class Standardised(nn.Conv1d):
    def forward(self, x):
        weight = F.batch_norm(self.weight.reshape(1, len(self.weight), -1), None, None, training=True)
        return F.conv1d(x, weight.reshape_as(self.weight), self.bias, padding=1)


class WeightNorms(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = Standardised(width, width, 3)
        self.two = nn.utils.parametrizations.weight_norm(nn.Conv1d(width, width, 1))

    def forward(self, x):
        return self.two(self.one(x.transpose(1, 2)).relu()).transpose(1, 2)


def test_a_standardised_weight_is_a_weight_and_its_gain_a_vector() -> None:
    found = roles(WeightNorms, SEQUENCE)
    assert found["one.weight"] == "hidden"
    gain, direction = "two.parametrizations.weight.original0", "two.parametrizations.weight.original1"
    assert (found[gain], found[direction]) == ("input", "hidden")


class Kernel(nn.Module):
    """A long convolution whose kernel is a product of parameters over a fixed state (S4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c, self.rate, self.out = (
            nn.Parameter(torch.randn(width, 4)),
            nn.Parameter(torch.rand(width)),
            Branch(width),
        )

    def forward(self, x):
        steps = torch.arange(x.shape[1])
        powers = torch.exp(-self.rate[:, None, None] * torch.arange(1, 5)[:, None] * steps)
        kernel = torch.einsum("hn,hnl->lh", self.c, powers)
        spectrum = torch.fft.rfft(x, n=12, dim=1) * torch.fft.rfft(kernel, n=12, dim=0)
        return self.out(torch.fft.irfft(spectrum, n=12, dim=1)[:, : x.shape[1]])


def test_a_product_of_parameters_that_acts_elementwise_has_the_fan_in_of_its_sum() -> None:
    found = roles(Kernel, SEQUENCE)
    assert (found["c"], found["rate"]) == ("input", "input")


class Positions(nn.Module):
    """A layer applied to a learned table (relative positions)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table, self.key, self.out = nn.Parameter(torch.randn(6, width)), nn.Linear(width, width), Branch(width)

    def forward(self, x):
        return self.out((x @ self.key(self.table).t()).softmax(-1) @ x)


def test_a_layer_on_a_learned_table_has_a_role() -> None:
    found = roles(Positions, SEQUENCE)
    assert (found["table"], found["key.weight"]) == ("input", "hidden")


class Experts(nn.Module):
    """The batch goes to the first expert only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Branch(width) for _ in range(3))

    def forward(self, x):
        return self.experts[0](x)


def test_what_the_batch_left_out_is_planned_like_its_sibling() -> None:
    found = describe(lambda width, depth: One(width, depth, Experts), BASE, TARGET, VECTORS)
    used, left = (found.parameters[f"blocks.3.experts.{i}.down.weight"] for i in (0, 2))
    assert (left.role, left.stream, left.tail) == (used.role, used.stream, used.tail) == ("hidden", used.stream, True)
    assert used.stream is not None
    (note,) = [w for w in found.warnings if "not used" in w]
    assert "like blocks.0.experts.0.up.weight" in note


class Vmapped(Branch):
    def forward(self, x):
        return torch.vmap(lambda row: self.down(torch.tanh(self.up(row))))(x)


def test_ops_inside_vmap_are_seen() -> None:
    assert roles(Vmapped)["up.weight"] == "hidden"


class Widening(nn.Module):
    """Shapes of one width reappear at another, and one layer comes and goes: width must not pass for depth."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(5, width)
        self.skip = nn.Linear(width, 16) if width != 16 else nn.Identity()
        self.stages = nn.ModuleList(branches(width * 2**i, depth) for i in range(4))
        self.grow = nn.ModuleList(nn.Linear(width * 2**i, width * 2 ** (i + 1)) for i in range(4))

    def forward(self, x):
        x = self.stem(x)
        extra = self.skip(x).sum()
        for stage, grow in zip(self.stages, self.grow):
            for block in stage:
                x = x + block(x)
            x = grow(x)
        return x + extra


def test_a_width_that_changes_the_set_of_parameters_is_no_depth() -> None:
    with pytest.raises(StructureError, match=r"width=8 -> 16 changes the sizes of layers and also which"):
        describe(Widening, BASE, TARGET, VECTORS)


class NestedTanh(nn.Module):
    """A residual around residuals whose branches can not be folded, each times a constant (RRDB)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 2)
        self.blocks = nn.ModuleList(Inner(width) for _ in range(depth))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + 0.2 * block(x)
        return self.head(x)


class Inner(Branch):
    def forward(self, x):
        return x + 0.2 * torch.tanh(super().forward(x))


def test_an_outer_residual_is_hooked_in_explicit_mode() -> None:
    hooks = plan(NestedTanh, BASE, TARGET, inputs=VECTORS, mode="explicit").hooks
    found = {hook.module: hook.factor for hook in hooks if "branch" in hook.why}
    assert found == {f"blocks.{i}": pytest.approx(2**-0.5) for i in range(4)}


def test_only_a_slice_that_is_a_whole_part_is_read_back() -> None:
    def node(index: int, op: str, shape: tuple[int, ...], **arguments) -> Node:
        inputs = tuple(("self", value.node) for value in arguments.values() if isinstance(value, Ref))
        return Node(index, op, arguments, shape, "", True, True, inputs=inputs)

    joined = node(2, "cat", (2, 7), tensors=[Ref(0), Ref(1)], dim=-1)
    leaves = [node(0, CONSTANT, (2, 3)), node(1, CONSTANT, (2, 4)), joined]
    whole = node(3, "slice", (2, 4), self=Ref(2), dim=1, start=3, end=7)
    partly = node(4, "slice", (2, 3), self=Ref(2), dim=1, start=3, end=6)
    other = node(5, "slice", (1, 7), self=Ref(2), dim=0, start=0, end=1)
    found = parts_read_back([*leaves, whole, partly, other])
    assert (found[3].op, found[3].inputs) == ("alias", (("self", 1),))
    assert [each.op for each in found[4:]] == ["slice", "slice"]


def test_a_proof_in_which_little_moves_must_agree_so_much_better() -> None:
    assert Proof(1e-16, 3e-8, 2, 0, 0).holds
    assert not Proof(1e-11, 3e-9, 2, 0, 0).holds
    assert Proof(0.0, 1e-15, 2, 0, 0).idle
    assert not Proof(1e-3, 1e-3, 2, 0, 0).idle


class Ramp(Branch):
    """Every block holds the same ramp (the decay rates of a state space model)."""

    copied = False

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.rates = nn.Parameter(torch.log(torch.arange(1.0, width + 1)))
        if self.copied:
            torch.manual_seed(0)
            nn.init.normal_(self.up.weight)

    def forward(self, x):
        return super().forward(x * torch.exp(-self.rates.exp()))


class Copied(Ramp):
    copied = True


@pytest.mark.parametrize("block", [Ramp, Copied])
def test_equal_ramps_are_no_copies_and_equal_draws_are(block: type[Ramp]) -> None:
    made = plan(lambda width, depth: One(width, depth, block), BASE, TARGET, inputs=VECTORS)
    assert any("copies of one another" in warning for warning in made.warnings) == block.copied


def test_a_scripted_helper_that_already_ran_is_traced_alike() -> None:
    first, *again = [describe(zoo.stack(zoo.Scripted), BASE, TARGET, VECTORS) for _ in range(3)]
    assert again == [first, first]
    assert depths(first) == ((2, 4),)


class SharedHeads(nn.Module):
    """Grouped attention by `repeat_interleave`: with more key heads than heads it runs, on no heads at all."""

    def __init__(self, dim: int, layers: int, heads: int, key_heads: int, loops: int = 1) -> None:
        super().__init__()
        self.heads, self.key_heads, self.loops = heads, key_heads, loops
        size = dim // heads
        self.stem, self.head = nn.Linear(3, dim), nn.Linear(dim, 2)
        self.query = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.keys = nn.ModuleList(nn.Linear(dim, key_heads * size) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for query, keys, out in list(zip(self.query, self.keys, self.out, strict=True)) * self.loops:
            q = query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            k = keys(x).unflatten(-1, (self.key_heads, -1)).transpose(1, 2)
            k = k.repeat_interleave(self.heads // self.key_heads, 1)
            y = nn.functional.scaled_dot_product_attention(q, k, k)
            x = x + out(y.transpose(1, 2).flatten(2))
        return self.head(x)


def test_key_heads_that_mean_nothing_alone_are_width_and_loops_are_depth() -> None:
    base = {"dim": 64, "layers": 4, "heads": 4, "key_heads": 2, "loops": 1}
    wide = base | {"dim": 512, "layers": 16, "heads": 32, "key_heads": 16}
    inputs = torch.randn(2, 5, 3)
    assert list(plan(SharedHeads, base, wide, inputs=inputs).depths.values()) == [(4, 16)]
    looped = wide | {"layers": 4, "loops": 3}
    assert list(plan(SharedHeads, base, looped, inputs=inputs).depths.values()) == [(4, 12)]
