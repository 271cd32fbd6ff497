"""Small networks of the planning tests, and the facts about one of them written down by hand."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from isoscale._plan.facts import Branch, Parameter, Stream, Structure
from isoscale._plan.measure import Draws, measured

FEATURES, CLASSES = 6, 3


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.contract = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        return self.contract(torch.relu(self.expand(self.norm(h))))


class Toy(nn.Module):
    """Pre-LN residual MLP, as PyTorch initialises it."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(FEATURES, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        return self.head(self.norm(h))

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.linspace(-1, 1, 5 * FEATURES).reshape(5, FEATURES),)


def _parameter(name: str, shape: tuple[int, ...], base: tuple[int, ...], template: str, base_depth: int) -> Parameter:
    grows = [now != before for now, before in zip(shape, base)]
    if len(shape) == 1:
        role = "input" if "head" not in name else "scalar"
        fans = (1, shape[0], 1, base[0])
    else:
        role = {(True, True): "hidden", (True, False): "input", (False, True): "output"}.get(tuple(grows), "hidden")
        role = "input" if name.startswith("stem") else "output" if name.startswith("head") else role
        fans = (shape[1], shape[0], base[1], base[0])
    inside = name.startswith("blocks")
    return Parameter(
        name=name,
        shape=shape,
        role=role,
        fan_in=fans[0],
        fan_out=fans[1],
        base_fan_in=fans[2],
        base_fan_out=fans[3],
        stream="h" if inside else None,
        tail="contract" in name,
        readout=name == "head.weight",
        evidence="by hand",
        base_rms=0.0,
        base_mean=0.0,
        base_names=tuple(f"blocks.{i}.{template}" for i in range(base_depth)) if inside else (name,),
    )


def facts(base: dict[str, int], target: dict[str, int], build=Toy) -> Structure:
    """What tracing finds out about Toy, by hand; the base's init is measured as always."""
    with torch.device("meta"):
        small, large = Toy(base["width"], 1), Toy(**target)
    shapes = {name: tuple(p.shape) for name, p in small.named_parameters()}
    parameters = {}
    for name, p in large.named_parameters():
        template = name.split(".", 2)[2] if name.startswith("blocks") else name
        before = shapes[f"blocks.0.{template}" if name.startswith("blocks") else name]
        parameters[name] = _parameter(name, tuple(p.shape), before, template, base["depth"])
    branches = tuple(
        Branch(f"h+{i}", "", (f"blocks.{i}.contract.weight", f"blocks.{i}.contract.bias"), hook=f"blocks.{i}")
        for i in range(target["depth"])
    )
    structure = Structure(parameters, {"h": Stream("h", base["depth"], target["depth"], branches)})
    return measured(structure, Draws(build, base))


def with_parameter(structure: Structure, name: str, **changes: object) -> Structure:
    """The structure with some facts of one parameter changed."""
    parameters = dict(structure.parameters)
    parameters[name] = replace(parameters[name], **changes)  # type: ignore[arg-type]
    return replace(structure, parameters=parameters)


def rms(tensor: Tensor) -> float:
    return math.sqrt(float(tensor.detach().double().square().mean()))


def built(seed: int, build=Toy, **size: int) -> nn.Module:
    torch.manual_seed(seed)
    return build(**size)
