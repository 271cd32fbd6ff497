"""Streams: which residual adds follow one another, which lie inside the branch of another, what lies between them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isoscale._plan.graph import Graph, Node, references
from isoscale._plan.ops import NORMS, carries

STREAM_BIT, OUTPUT_BIT, FIRST_BRANCH = 1, 2, 4


@dataclass(frozen=True)
class Add:
    """A residual add: node `stream` goes on as it is, node `branch` is added to it.

    `fork` is where the branch left the stream. `carried`: the branch itself carries the stream too (a long skip, an
    outer residual around inner ones). `projected`: the stream operand went through a projection shortcut. `term`: the
    branch is the first term of a sum whose terms do not read it, and `stream` the second: both operands are branches.
    """

    node: int
    stream: int
    branch: int
    stream_name: str
    branch_name: str
    fork: int
    carried: bool
    projected: bool
    module: str
    term: bool = False


@dataclass(frozen=True)
class Chain:
    """Residual adds of one stream at one level, in order. `enclosing` is the add whose branch they lie in.

    `unread` counts layers whose branch is left out since nothing reads the stream after it.
    """

    adds: tuple[Add, ...]
    enclosing: int | None
    name: str
    unread: int = 0

    @property
    def depth(self) -> int:
        return len(self.adds) + self.unread


@dataclass(frozen=True)
class Residuals:
    """All residual adds of a graph and their chains; `broken` are the links at which the stream is not an identity."""

    adds: tuple[Add, ...]
    chains: tuple[Chain, ...]
    merges: tuple[int, ...]

    def outermost(self) -> tuple[Chain, ...]:
        return tuple(chain for chain in self.chains if chain.enclosing is None)


def bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def chains(graph: Graph, adds: Sequence[Add]) -> tuple[Chain, ...]:
    """Group adds into streams: same enclosing branch, and one's stream operand leads back to the other."""
    by_node = {add.node: position for position, add in enumerate(adds)}
    nearest = nearest_adds(graph, by_node)
    enclosing = enclosures(graph, adds, nearest)
    group = list(range(len(adds)))

    def root(position: int) -> int:
        while group[position] != position:
            position = group[position]
        return position

    for position, add in enumerate(adds):
        parents = [p for p in bits(nearest[add.stream]) if enclosing[p] == enclosing[position]]
        heads = [
            p for p in parents if not any(q != p and graph.is_ancestor(adds[p].node, adds[q].node) for q in parents)
        ]
        if len(heads) == 1:
            group[root(position)] = root(heads[0])
    members: dict[int, list[int]] = {}
    for position in range(len(adds)):
        members.setdefault(root(position), []).append(position)
    positions = sorted(members.values(), key=lambda item: item[0])
    names: dict[int, str] = {}
    for item in sorted(positions, key=lambda item: enclosing[item[0]] is not None):  # plain names for the outermost
        base = stream_name([adds[p].module for p in item])
        same = sum(name.split("#")[0] == base for name in names.values())
        names[item[0]] = f"{base}#{same + 1}" if same else base
    found = []
    for item in positions:
        outer = enclosing[item[0]]
        found.append(Chain(tuple(adds[p] for p in item), None if outer is None else adds[outer].node, names[item[0]]))
    return tuple(found)


def enclosures(graph: Graph, adds: Sequence[Add], nearest: Sequence[int]) -> list[int | None]:
    """For each add the first one whose branch holds it: all that it does goes into that branch, after the fork.

    The adds before it on its own stream must lie in the same branch or be those right before the fork: a second stream
    that the branch reads on its way is none of the branch's own, and neither is one that starts before the
    fork of a projection.
    """
    anc = graph.ancestors
    found: list[int | None] = []
    only: dict[int, list[int]] = {}
    for add in adds:
        before = list(bits(nearest[add.stream]))
        holder = None
        for position, outer in enumerate(adds):
            inside = anc[outer.branch] >> add.node & 1 and not anc[outer.stream] >> add.node & 1
            begins = add.stream if outer.projected and not before else add.node
            if not inside or not anc[begins] >> outer.fork & 1:
                continue
            if all(found[p] == position or nearest[outer.fork] >> p & 1 for p in before):
                if position not in only:
                    only[position] = reach(graph, [outer])
                if only[position][add.node] == FIRST_BRANCH:
                    holder = position
                    break
        found.append(holder)
    return found


def nearest_adds(graph: Graph, by_node: dict[int, int]) -> list[int]:
    """For each node the residual adds reached going back, not passing through another one."""
    masks: list[int] = []
    for node in graph.nodes:
        if node.index in by_node:
            masks.append(1 << by_node[node.index])
            continue
        mask = 0
        if node.differentiable:
            for _, source in node.inputs:
                mask |= masks[source]
        masks.append(mask)
    return masks


def stream_name(modules: Sequence[str]) -> str:
    """The modules' common prefix up to the first number: `transformer.h.0`, `transformer.h.1` -> `transformer.h`."""
    kept = []
    for parts in zip(*(module.split(".") for module in modules)):
        if len(set(parts)) > 1 or parts[0].isdigit():
            break
        kept.append(parts[0])
    return ".".join(kept) or "stream"


def template(name: str) -> str:
    """A name with its numbers taken out."""
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name)


def kind_of_place(module: str) -> str:
    """A module's name with all digits taken out: stages and blocks are of one kind, a pooling head of another."""
    return re.sub(r"\d+", "*", module)


def reach(graph: Graph, adds: Sequence[Add]) -> list[int]:
    """For each node what its influence meets first: the stream, the output, or branches (bit 2 + position).

    A node whose influence meets branches only acts inside them.
    """
    nodes = {add.node for add in adds}
    branches = {(add.node, add.branch_name, add.branch): position for position, add in enumerate(adds)}
    masks = [0] * len(graph)
    returned = set(graph.outputs)
    for node in reversed(graph.nodes):
        mask = OUTPUT_BIT if node.index in returned else 0
        for consumer, argument in graph.consumers[node.index]:
            position = branches.get((consumer, argument, node.index))
            if position is not None:
                mask |= FIRST_BRANCH << position
            else:
                mask |= STREAM_BIT if consumer in nodes else masks[consumer]
        masks[node.index] = mask
    return masks


def breaks(graph: Graph, chain: Chain, adds: Sequence[Add]) -> list[tuple[Add, Node]]:
    """Places between consecutive adds where the stream goes through an op that is no identity.

    `adds` are all residual adds: one that counts elsewhere is an identity for the stream that passes it.
    """
    nodes = {add.node for add in chain.adds}
    passed = {add.node: add.stream for add in adds if add.node not in nodes}
    first = min(nodes)
    found: list[tuple[Add, Node]] = []
    for add in chain.adds:
        if add.node == first:
            continue
        todo, seen = [add.stream], set[int]()
        while todo:
            index = todo.pop()
            if index in seen or index in nodes or index < first:
                continue
            seen.add(index)
            if index in passed:
                todo.append(passed[index])
                continue
            node = graph[index]
            names = carries(graph, node)
            if names:
                todo.extend(i for name in names for i in references(node.arguments.get(name)) if graph[i].data)
            elif node.data and any(graph.ancestors[index] >> other & 1 for other in nodes if other < index):
                found.append((add, node))
                todo.extend(i for _, i in node.inputs if graph[i].data)
    return found


def is_norm(node: Node) -> bool:
    return node.op in NORMS
