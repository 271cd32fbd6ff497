"""The small graph of a forward pass: one node per tensor that an op returned, in the order of execution."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

PARAMETER, INPUT, CONSTANT, MERGE = "parameter", "input", "constant", "merge"
"""Ops of nodes that no aten call made: leaves, and a view read again after its storage was written in part."""


@dataclass(frozen=True)
class Ref:
    """Stands for a tensor among an op's arguments."""

    node: int


@dataclass(frozen=True)
class Node:
    """One tensor: the op that made it, its arguments by schema name (tensors as `Ref`), and where.

    `data`: depends on the model's inputs. `differentiable`: gradient flows through the op to its inputs.
    `value`: the number it holds, when it is a constant known to hold one number everywhere.
    """

    index: int
    op: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    module: str
    data: bool
    differentiable: bool
    output: int = 0
    parameter: str | None = None
    value: float | None = None
    inputs: tuple[tuple[str, int], ...] = field(default=())

    @property
    def numel(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


def references(value: Any) -> Iterator[int]:
    """Nodes named by an argument, through lists and tuples."""
    if isinstance(value, Ref):
        yield value.node
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from references(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)


@dataclass(frozen=True)
class Graph:
    """Nodes of one forward pass, the nodes returned by the model, and the model's parameters by name.

    `aliases` maps a parameter's name to its other names; `calls` are the modules' calls with the first tensor that each
    returned, in order of return.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    parameters: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    aliases: Mapping[str, tuple[str, ...]]
    training: bool = False
    calls: tuple[tuple[str, int], ...] = ()

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def consumers(self) -> tuple[tuple[tuple[int, str], ...], ...]:
        """For each node the (node, argument name) pairs that read it, dead ends (no path to the outputs) left out."""
        alive = self.live
        found: list[list[tuple[int, str]]] = [[] for _ in self.nodes]
        for node in self.nodes:
            if alive[node.index]:
                for name, source in node.inputs:
                    found[source].append((node.index, name))
        return tuple(tuple(pairs) for pairs in found)

    @cached_property
    def live(self) -> tuple[bool, ...]:
        """Whether a node has an influence on what the model returns."""
        alive = [False] * len(self.nodes)
        for index in self.outputs:
            alive[index] = True
        for node in reversed(self.nodes):
            if alive[node.index]:
                for _, source in node.inputs:
                    alive[source] = True
        return tuple(alive)

    @cached_property
    def ancestors(self) -> tuple[int, ...]:
        """Bit masks: node i is an ancestor of node j (or j itself) along differentiable edges."""
        masks: list[int] = []
        for node in self.nodes:
            mask = 0
            if node.differentiable:
                for _, source in node.inputs:
                    mask |= masks[source]
            masks.append(mask | (1 << node.index))
        return tuple(masks)

    def is_ancestor(self, first: int, second: int) -> bool:
        return bool(self.ancestors[second] >> first & 1)

    @cached_property
    def parametric(self) -> tuple[int, ...]:
        """Bit masks over nodes: the parameter leaves above each node (all edges, differentiable or not)."""
        masks: list[int] = []
        for node in self.nodes:
            mask = 1 << node.index if node.op == PARAMETER else 0
            for _, source in node.inputs:
                mask |= masks[source]
            masks.append(mask)
        return tuple(masks)

    def names(self, mask: int) -> tuple[str, ...]:
        """Parameter names in a bit mask of nodes."""
        found = []
        while mask:
            low = mask & -mask
            name = self.nodes[low.bit_length() - 1].parameter
            if name is not None:
                found.append(name)
            mask ^= low
        return tuple(found)


def parts_read_back(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes with every slice that is exactly one part of a concatenation made an alias of that part.

    Coupled streams that are joined and split again at every block are then two streams, not one.
    """
    found = list(nodes)
    for node in nodes:
        source = node.arguments.get("self")
        joined = found[source.node] if isinstance(source, Ref) else None
        if joined is None or joined.op != "cat" or not joined.shape or not node.shape:
            continue
        span = sliced(node, joined.shape)
        if span is None:
            continue
        axis, start, end = span
        if axis != int(joined.arguments.get("dim", 0)) % len(joined.shape):
            continue
        offset = 0
        for part in references(joined.arguments["tensors"]):
            size = nodes[part].shape[axis] if len(nodes[part].shape) == len(joined.shape) else 0
            if (offset, offset + size) == (start, end):
                arguments = {"self": Ref(part)}
                found[node.index] = replace(node, op="alias", arguments=arguments, inputs=(("self", part),), output=0)
            offset += size
    return tuple(found)


def sliced(node: Node, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Axis and range that a slicing op takes out of its operand."""
    arguments = node.arguments
    axis = int(arguments.get("dim", 0)) % len(shape)
    if node.op == "slice":
        if arguments.get("step", 1) != 1:
            return None
        start = arguments.get("start") or 0
        start = start + shape[axis] if start < 0 else start
        return axis, start, start + node.shape[axis]
    if node.op == "narrow":
        return axis, int(arguments["start"]), int(arguments["start"]) + node.shape[axis]
    if node.op == "split":
        start = node.output * int(arguments["split_size"])
        return axis, start, start + node.shape[axis]
    if node.op == "split_with_sizes":
        start = sum(arguments["split_sizes"][: node.output])
        return axis, start, start + node.shape[axis]
    return None
