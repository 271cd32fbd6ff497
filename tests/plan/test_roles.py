"""Roles come from the consuming op: same shapes, different ops, different roles."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isoscale._plan.structure import StructureError, describe

BASE, TARGET = {"width": 8}, {"width": 24}
VECTORS = torch.ones(2, 5)
TOKENS = torch.tensor([[0, 1, 2]])


def facts(function, inputs=VECTORS, *, shapes, base=BASE, target=TARGET, **options):
    """Roles of parameters whose shapes are given by width, as `function(parameters, x)` uses them."""

    class Model(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            for name, shape in shapes.items():
                self.register_parameter(name, nn.Parameter(torch.ones(shape(width)) / width))

        def forward(self, x):
            return function(self, x)

    return describe(Model, base, target, inputs, **options).parameters


def sizes(parameter):
    return parameter.role, (parameter.base_fan_in, parameter.fan_in), (parameter.base_fan_out, parameter.fan_out)


STEM = {"stem": lambda n: (n, 5)}
SQUARE = {**STEM, "weight": lambda n: (n, n)}


@pytest.mark.parametrize(
    ("function", "role"),
    [
        (lambda m, x: F.linear(F.linear(x, m.stem), m.weight), "hidden"),
        (lambda m, x: F.linear(x, m.stem) @ m.weight, "hidden"),
        (lambda m, x: torch.einsum("bi,oi->bo", F.linear(x, m.stem), m.weight), "hidden"),
        (lambda m, x: torch.einsum("bi,io->bo", F.linear(x, m.stem), m.weight.float()), "hidden"),
        (lambda m, x: torch.bmm(F.linear(x, m.stem)[None], m.weight.expand(1, -1, -1)), "hidden"),
        (lambda m, x: F.linear(F.linear(x, m.stem), m.weight * 2 + 1), "hidden"),
        (lambda m, x: F.linear(x, m.stem)[:, None] * m.weight, "input"),
        (lambda m, x: F.linear(x, m.stem)[:, None] + m.weight, "input"),
        (lambda m, x: F.embedding(torch.zeros(2, dtype=torch.long), m.weight) + F.linear(x, m.stem), "input"),
    ],
)
def test_one_shape_many_ops(function, role) -> None:
    assert facts(function, shapes=SQUARE)["weight"].role == role


def test_first_and_last_weights() -> None:
    shapes = {**STEM, "head": lambda n: (3, n), "bias": lambda n: (3,)}
    found = facts(lambda m, x: F.linear(F.linear(x, m.stem), m.head, m.bias), shapes=shapes)
    assert sizes(found["stem"]) == ("input", (5, 5), (8, 24))
    assert sizes(found["head"]) == ("output", (8, 24), (3, 3))
    assert found["head"].readout
    assert sizes(found["bias"]) == ("scalar", (1, 1), (3, 3))
    assert not found["bias"].readout


def test_fused_weight_keeps_the_fan_in_of_its_slices() -> None:
    def function(m, x):
        q, k, v = F.linear(F.linear(x, m.stem), m.fused).chunk(3, -1)
        first, second = m.fused.chunk(3)[:2]
        return q * k + v + F.linear(F.linear(x, m.stem), first) + F.linear(F.linear(x, m.stem), second)

    found = facts(function, shapes={**STEM, "fused": lambda n: (3 * n, n)})["fused"]
    assert found.role == "hidden"
    assert found.fan_in / found.base_fan_in == found.fan_out / found.base_fan_out == 3


@pytest.mark.parametrize(
    ("groups", "shape", "expected"),
    [
        (lambda n: 1, lambda n: (n, n, 3, 3), ("hidden", (72, 216), (8, 24))),
        (lambda n: n, lambda n: (n, 1, 3, 3), ("input", (9, 9), (8, 24))),
        (lambda n: 4, lambda n: (n, n // 4, 3, 3), ("hidden", (18, 54), (8, 24))),
        (lambda n: n // 4, lambda n: (n, 4, 3, 3), ("input", (36, 36), (8, 24))),
    ],
)
def test_convolutions(groups, shape, expected) -> None:
    def function(m, x):
        return F.conv2d(F.conv2d(x, m.first, padding=1), m.weight, padding=1, groups=groups(m.first.shape[0]))

    shapes = {"first": lambda n: (n, 3, 3, 3), "weight": shape}
    assert sizes(facts(function, torch.ones(1, 3, 5, 5), shapes=shapes)["weight"]) == expected


def test_transposed_convolution_sums_over_its_first_axis() -> None:
    shapes = {"first": lambda n: (n, 3, 3, 3), "weight": lambda n: (n, 3, 2, 2)}
    found = facts(
        lambda m, x: F.conv_transpose2d(F.conv2d(x, m.first), m.weight), torch.ones(1, 3, 5, 5), shapes=shapes
    )
    assert found["weight"].role == "output"
    assert (found["weight"].base_fan_in, found["weight"].fan_in) == (32, 96)


def test_experts_of_fixed_number_are_hidden_and_of_growing_number_ask() -> None:
    def function(m, x):
        return torch.bmm(F.linear(x, m.stem).expand(m.weight.shape[0], -1, -1), m.weight)

    found = facts(function, shapes={**STEM, "weight": lambda n: (4, n, n)})["weight"]
    assert found.role == "hidden"
    assert (found.base_fan_in, found.fan_in) == (8, 24)
    with pytest.raises(StructureError, match="number of its matrices"):
        facts(function, shapes={**STEM, "weight": lambda n: (n // 2, n, n)})
    told = facts(function, shapes={**STEM, "weight": lambda n: (n // 2, n, n)}, roles={"weight": "hidden"})
    assert told["weight"].role == "hidden"


def test_tied_embedding_hands_the_readout_to_the_norm() -> None:
    shapes = {"table": lambda n: (7, n), "gain": lambda n: (n,), "bias": lambda n: (n,)}

    def function(m, tokens):
        x = F.embedding(tokens, m.table)
        return F.linear(F.layer_norm(x, x.shape[-1:], m.gain, m.bias) * x.shape[-1] ** -0.5, m.table)

    found = facts(function, TOKENS, shapes=shapes)
    assert found["table"].role == "input"
    assert not found["table"].readout
    assert found["gain"].readout
    assert found["bias"].readout
    assert found["gain"].existing == pytest.approx(3**-0.5)


def test_learned_queries_are_no_weights() -> None:
    def function(m, x):
        q = F.linear(m.latents.expand(x.shape[0], -1, -1), m.q)
        k = F.linear(x, m.stem)[:, None]
        return q @ k.mT

    found = facts(function, shapes={**STEM, "latents": lambda n: (4, n), "q": lambda n: (n, n)})
    assert found["latents"].role == "input"
    assert found["q"].role == "hidden"


def test_a_product_of_parameters_asks_to_be_told() -> None:
    shapes = {**SQUARE, "a": lambda n: (2, n), "b": lambda n: (n, 2)}

    def function(m, x):
        return F.linear(F.linear(x, m.stem), m.weight + m.b @ m.a)

    with pytest.raises(StructureError, match=r"no role follows for a \(2, 24\): .*roles="):
        facts(function, shapes=shapes)
    found = facts(function, shapes=shapes, roles={"a": "output", "b": "input"})
    assert (found["a"].role, found["b"].role, found["weight"].role) == ("output", "input", "hidden")


def test_two_roles_of_one_weight_are_refused() -> None:
    def function(m, x):
        y = F.linear(x, m.stem)
        return F.linear(y, m.weight) + (y[:, None] * m.weight).sum(1)

    with pytest.raises(StructureError, match="several roles"):
        facts(function, shapes=SQUARE)


def test_overrides_are_checked() -> None:
    def function(m, x):
        return F.linear(x, m.stem)

    with pytest.raises(StructureError, match="no parameter matches"):
        facts(function, shapes=STEM, roles={"steam": "input"})
    with pytest.raises(StructureError, match="a role is one of"):
        facts(function, shapes=STEM, roles={"stem": "inputs"})


def test_an_unused_parameter_is_said_to_be_unused() -> None:
    class Model(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(5, width), nn.Linear(width, width)

        def forward(self, x):
            return self.used(x)

    found = describe(Model, BASE, TARGET, VECTORS)
    assert any("not used by the traced forward pass: unused.weight" in warning for warning in found.warnings)
    assert found.parameters["unused.weight"].role == "hidden"


def test_nothing_grows_at_equal_sizes() -> None:
    found = facts(lambda m, x: F.linear(F.linear(x, m.stem), m.weight), shapes=SQUARE, target=BASE)
    assert {parameter.role for parameter in found.values()} == {"scalar"}


def test_depth_and_width_need_separate_keys() -> None:
    class Model(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.stem = nn.Linear(5, 8 * size)
            self.blocks = nn.ModuleList([nn.Linear(8 * size, 8 * size) for _ in range(size)])

        def forward(self, x):
            x = self.stem(x)
            for block in self.blocks:
                x = x + torch.tanh(block(x))
            return x

    with pytest.raises(StructureError, match="separate arguments"):
        describe(Model, {"size": 1}, {"size": 3}, VECTORS)


def test_a_flat_sequence_is_not_matched_by_numbers() -> None:
    """Layer 4 is a norm at depth 2 and a linear layer at depth 3: only kinds may be compared."""

    class Residual(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = nn.Linear(width, width)

        def forward(self, x):
            return x + self.layer(torch.relu(x))

    def build(width: int, depth: int) -> nn.Module:
        blocks = [Residual(width) for _ in range(depth)]
        return nn.Sequential(
            nn.Linear(5, width), *blocks, nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, 2)
        )

    found = describe(build, {"width": 8, "depth": 2}, {"width": 24, "depth": 3}, VECTORS).parameters
    assert found["4.weight"].base_names == ("3.weight",)
    assert found["5.weight"].base_names == ("4.weight",)
    assert found["6.weight"].base_names == ("5.weight",)
    assert found["3.layer.weight"].base_names == ("1.layer.weight", "2.layer.weight")
    assert found["4.weight"].role == "input"
    assert found["5.weight"].role == "hidden"


class Copied(nn.Module):
    """Deep copies of one layer, or an initialisation that follows depth by itself."""

    def __init__(self, width: int, depth: int, copies: bool, power: float) -> None:
        super().__init__()
        self.stem = nn.Linear(5, width)
        first = nn.Linear(width, width)
        self.blocks = nn.ModuleList([copy.deepcopy(first) if copies else nn.Linear(width, width) for _ in range(depth)])
        with torch.no_grad():
            for block in self.blocks:
                block.weight.mul_(depth**power)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return x


@pytest.mark.parametrize(("copies", "power"), [(False, 0.0), (True, 0.0), (False, -0.5)])
def test_copies_and_own_depth_scales_are_seen(copies: bool, power: float) -> None:
    def build(width: int, depth: int) -> nn.Module:
        return Copied(width, depth, copies, power)

    found = describe(build, {"width": 16, "depth": 2}, {"width": 32, "depth": 6}, VECTORS)
    assert bool(found.clones) == copies
    assert any("initialisation follows depth" in warning for warning in found.warnings) == (power != 0)
