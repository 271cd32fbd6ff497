"""Residual branches in a graph: which adds carry a stream, how they nest, and which of them form one stream."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isoscale._plan.graph import Graph, Node, Ref, references
from isoscale._plan.ops import NORMS, carries, linear_path, spread

STREAM_BIT, OUTPUT_BIT = 1, 2
ADDS = {
    "add": (("self", "other"), ("other", "self")),
    "sub": (("self", "other"),),
    "index_add": (("self", "source"),),
    "scatter_add": (("self", "src"),),
    "index_put": (("self", "values"),),
}


@dataclass(frozen=True)
class Add:
    """A residual add: node `stream` goes on as it is, node `branch` is added to it.

    `fork` is where the branch left the stream. `carried`: the branch itself carries the stream too (a long skip, an
    outer residual around inner ones). `projected`: the stream operand went through a projection shortcut.
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


@dataclass(frozen=True)
class Chain:
    """Residual adds of one stream at one level, in order. `enclosing` is the add whose branch they lie in."""

    adds: tuple[Add, ...]
    enclosing: int | None
    name: str

    @property
    def depth(self) -> int:
        return len(self.adds)


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


def find_residuals(graph: Graph) -> Residuals:
    """Every residual add, nested ones too.

    An add is residual if one operand carries (as an identity, or failing that through a projection) a node from which
    the other operand is computed by an op that uses parameters.
    """
    anc = graph.ancestors
    learned = learned_mask(graph)
    identity: list[int] = []
    projected: list[int] = []
    adds: list[Add] = []
    merges: list[int] = []
    residuals = 0
    for node in graph.nodes:
        here = 1 << node.index
        found = None
        if node.data and node.op in ADDS and graph.live[node.index]:
            found, merge = residual(graph, node, identity, projected, anc, learned, residuals)
            if merge:
                merges.append(node.index)
        if found is not None:
            adds.append(found)
            residuals |= here
            identity.append(here | identity[found.stream])
            projected.append(here | projected[found.stream])
            continue
        identity.append(here | union(identity, node, carries(graph, node)))
        projected.append(here | union(projected, node, linear_path(graph, node)))
    return Residuals(tuple(adds), chains(graph, adds), tuple(merges))


def union(masks: Sequence[int], node: Node, names: Sequence[str]) -> int:
    mask = 0
    if node.differentiable:
        for name in names:
            for source in references(node.arguments.get(name)):
                mask |= masks[source]
    return mask


def learned_mask(graph: Graph) -> int:
    """Bit mask of the ops at which data meets parameters."""
    mask = 0
    for node in graph.nodes:
        if node.data and any(not graph[i].data and graph.parametric[i] for _, i in node.inputs):
            mask |= 1 << node.index
    return mask


def residual(
    graph: Graph,
    node: Node,
    identity: Sequence[int],
    projected: Sequence[int],
    anc: Sequence[int],
    learned: int,
    residuals: int,
) -> tuple[Add | None, bool]:
    """The residual add at this node if there is one, and whether the node sums two streams instead."""
    choices = []
    for first, second in ADDS[node.op]:
        one, two = node.arguments.get(first), node.arguments.get(second)
        if not (isinstance(one, Ref) and isinstance(two, Ref) and node.differentiable and one.node != two.node):
            return None, False
        u, v = one.node, two.node
        if not (graph[v].data and graph[u].differentiable and graph[v].differentiable):
            continue
        # A learned token spread over the batch may start a stream; what is added to a running stream is none.
        if not graph[u].data and (not spread(graph, u) or identity[v] & residuals or added_elsewhere(graph, u, node)):
            continue
        content = anc[v] & ~anc[u] & learned
        choices.append((first, second, u, v, identity[u] & anc[v], projected[u] & anc[v], content))
    if not choices:
        return None, False
    shared = identity[choices[0][2]] & identity[choices[0][3]]
    if not graph[choices[0][2]].data and not anc[choices[0][3]] >> choices[0][2] & 1:
        return None, False
    by_identity = [choice for choice in choices if choice[4] and choice[6]]
    if len(by_identity) == 2:
        direct = [choice for choice in by_identity if anc[choice[3]] >> choice[2] & 1]
        if len(direct) != 1:
            return None, True
        by_identity = direct
    for index, found in ((4, by_identity), (5, [c for c in choices if c[5] and c[6]] if not by_identity else [])):
        if len(found) == 1:
            first, second, u, v, *masks = found[0]
            fork = masks[index - 4].bit_length() - 1
            if other_slice(graph, fork, u, v):
                return None, False
            if index == 5 and projected[v] & anc[u] != 0:
                return None, False
            return Add(node.index, u, v, first, second, fork, bool(shared), index == 5, node.module), False
    return None, False


def added_elsewhere(graph: Graph, source: int, here: Node) -> bool:
    """Whether what a parameter became is added to data at several places: a bias, not the start of a stream."""
    for node in graph.nodes:
        if node.index != here.index and node.data and node.op in ADDS:
            for _, index in node.inputs:
                if not graph[index].data and graph.parametric[index] & graph.parametric[source]:
                    return True
    return False


def other_slice(graph: Graph, fork: int, stream: int, branch: int) -> bool:
    """Stream and branch start from different parts of the fork (shift and scale of one modulation): no residual."""
    readers = [consumer for consumer, _ in graph.consumers[fork]]
    to_stream = [graph[r] for r in readers if graph.is_ancestor(r, stream)]
    to_branch = [graph[r] for r in readers if graph.is_ancestor(r, branch)]
    if fork == stream or not to_stream or not to_branch:
        return False
    return all(disjoint(one, other) for one in to_stream for other in to_branch)


def disjoint(one: Node, other: Node) -> bool:
    """Two views of one tensor that surely share no element."""
    if one.op != other.op:
        return False
    first, second = one.arguments, other.arguments
    if one.op in {"split", "split_with_sizes", "chunk", "unbind", "tensor_split"}:
        return one.output != other.output and {**first} == {**second}
    if first.get("dim", 0) != second.get("dim", 0):
        return False
    if one.op == "select":
        return first.get("index") != second.get("index")
    if one.op == "slice":
        ends = [(arguments.get("start") or 0, arguments.get("end")) for arguments in (first, second)]
        (start1, end1), (start2, end2) = ends
        return (end1 is not None and 0 <= end1 <= start2) or (end2 is not None and 0 <= end2 <= start1)
    return False


def chains(graph: Graph, adds: Sequence[Add]) -> tuple[Chain, ...]:
    """Group adds into streams: same enclosing branch, and one's stream operand leads back to the other."""
    anc = graph.ancestors
    by_node = {add.node: position for position, add in enumerate(adds)}
    enclosing = [enclosure(add, adds, anc) for add in adds]
    nearest = nearest_adds(graph, by_node)
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


def enclosure(inner: Add, adds: Sequence[Add], anc: Sequence[int]) -> int | None:
    """The first add whose branch holds this one: above the branch, not above the stream, and after the fork."""
    for position, outer in enumerate(adds):
        if outer.node <= inner.node:
            continue
        inside = anc[outer.branch] >> inner.node & 1 and not anc[outer.stream] >> inner.node & 1
        if inside and anc[inner.node] >> outer.fork & 1:
            return position
    return None


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


def reach(graph: Graph, adds: Sequence[Add]) -> list[int]:
    """For each node what its influence meets first: the stream, the output, or branches (bit 2 + position).

    A node whose influence meets branches only acts inside them.
    """
    by_node = {add.node: position for position, add in enumerate(adds)}
    masks = [0] * len(graph)
    returned = set(graph.outputs)
    for node in reversed(graph.nodes):
        mask = OUTPUT_BIT if node.index in returned else 0
        for consumer, argument in graph.consumers[node.index]:
            position = by_node.get(consumer)
            if position is None:
                mask |= masks[consumer]
            elif argument == adds[position].branch_name and adds[position].branch == node.index:
                mask |= 4 << position
            else:
                mask |= STREAM_BIT
        masks[node.index] = mask
    return masks


def breaks(graph: Graph, chain: Chain) -> list[tuple[Add, Node]]:
    """Places between consecutive adds where the stream goes through an op that is no identity."""
    nodes = {add.node for add in chain.adds}
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
