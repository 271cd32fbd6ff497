"""Residual branches in a graph: which adds carry a stream, and which operand is the branch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from isoscale._plan.graph import Graph, Node, Ref, references
from isoscale._plan.ops import VIEWS, carries, linear_path, spread
from isoscale._plan.signals import signals
from isoscale._plan.streams import Add, Residuals, bits, chains, template
from isoscale._plan.sums import with_first_terms

MOST_ROUNDS = 4
ADDS = {
    "add": (("self", "other"), ("other", "self")),
    "sub": (("self", "other"),),
    "index_add": (("self", "source"),),
    "scatter_add": (("self", "src"),),
    "index_put": (("self", "values"),),
}

LARGEST = frozenset({"maximum", "max", "amax", "logsumexp"})
"""What is subtracted before an exponential so that it does not overflow: no branch of what it is subtracted from."""


@dataclass
class Search:
    """What is known while the nodes of a graph are looked at in order.

    `identity`, `projected`: bit masks of the nodes that a node carries unchanged, or through weights and norms.
    `learned`: ops at which activations meet parameters. `residuals`: the adds found so far, `streams` their
    operands. `told`: adds known to be residual from what follows them, with the argument that is the stream.
    """

    graph: Graph
    signal: list[bool]
    told: dict[int, str]
    learned: int = 0
    residuals: int = 0
    streams: dict[int, int] = field(default_factory=dict)
    identity: list[int] = field(default_factory=list)
    projected: list[int] = field(default_factory=list)


def find_residuals(graph: Graph) -> Residuals:
    """Every residual add, nested ones too.

    An add is residual if one operand carries (as an identity, or failing that through a projection) a node from which
    the other operand is computed by an op that uses parameters, or if something learned that carries no stream is
    added to a running stream (a second stream's message, a conditioning). Of coupled streams the first adds are known
    only from those that follow: the search is then done again.
    """
    signal, told = signals(graph), dict[int, str]()
    for _ in range(MOST_ROUNDS):
        adds, merges = search(Search(graph, signal, told, learned_mask(graph, signal)))
        before = preceding(graph, adds, signal, told)
        if not before:
            break
        told.update(before)
    return Residuals(tuple(adds), with_first_terms(graph, chains(graph, adds)), tuple(merges))


def search(state: Search) -> tuple[list[Add], list[int]]:
    graph = state.graph
    adds: list[Add] = []
    merges: list[int] = []
    for node in graph.nodes:
        here = 1 << node.index
        found = None
        if state.signal[node.index] and node.op in ADDS and graph.live[node.index] and not shifts(graph, node):
            found, merge = residual(state, node)
            if merge:
                merges.append(node.index)
        if found is not None:
            adds.append(found)
            state.residuals |= here
            state.streams[node.index] = found.stream
            state.identity.append(here | state.identity[found.stream])
            state.projected.append(here | state.projected[found.stream])
            continue
        state.identity.append(here | union(state.identity, node, carries(graph, node)))
        state.projected.append(here | union(state.projected, node, linear_path(graph, node)))
    return adds, merges


def preceding(graph: Graph, adds: Sequence[Add], signal: list[bool], told: dict[int, str]) -> dict[int, str]:
    """Adds right before a stream's first one that are of its kind: same module up to numbers, same operand."""
    known = {add.node for add in adds}
    found: dict[int, str] = {}
    for add in adds:
        for index in carried_adds(graph, add.stream):
            node = graph[index]
            same = node.op == graph[add.node].op and template(node.module) == template(add.module)
            if index in known or index in told or not same:
                continue
            stream, branch = node.arguments.get(add.stream_name), node.arguments.get(add.branch_name)
            if isinstance(stream, Ref) and isinstance(branch, Ref) and signal[stream.node] and signal[branch.node]:
                found[index] = add.stream_name
    return found


def carried_adds(graph: Graph, index: int) -> list[int]:
    """The first additions met going back along the identity path."""
    found, todo, seen = [], [index], set[int]()
    while todo:
        node = graph[todo.pop()]
        if node.index in seen:
            continue
        seen.add(node.index)
        names = carries(graph, node)
        if node.op in ADDS and not names:
            found.append(node.index)
        todo.extend(source for name in names for source in references(node.arguments.get(name)))
    return found


def union(masks: Sequence[int], node: Node, names: Sequence[str]) -> int:
    mask = 0
    if node.differentiable:
        for name in names:
            for source in references(node.arguments.get(name)):
                mask |= masks[source]
    return mask


def learned_mask(graph: Graph, signal: list[bool]) -> int:
    """Bit mask of the ops at which activations meet parameters."""
    mask = 0
    for node in graph.nodes:
        if signal[node.index] and any(not signal[i] and graph.parametric[i] for _, i in node.inputs):
            mask |= 1 << node.index
    return mask


def residual(state: Search, node: Node) -> tuple[Add | None, bool]:
    """The residual add at this node if there is one, and whether the node sums two streams instead."""
    graph, identity, projected, signal = state.graph, state.identity, state.projected, state.signal
    anc = graph.ancestors
    choices = []
    for first, second in ADDS[node.op]:
        one, two = node.arguments.get(first), node.arguments.get(second)
        if not (isinstance(one, Ref) and isinstance(two, Ref) and node.differentiable and one.node != two.node):
            return None, False
        u, v = one.node, two.node
        if not (signal[v] and graph[u].differentiable and graph[v].differentiable):
            continue
        # A learned token spread over the batch may start a stream; what is added to a running stream is none.
        starts = spread(graph, u) or anc[v] >> u & 1
        if not signal[u] and (not starts or identity[v] & state.residuals or added_elsewhere(graph, u, node, signal)):
            continue
        content = anc[v] & ~anc[u] & state.learned
        choices.append((first, second, u, v, identity[u] & anc[v], projected[u] & anc[v], content))
    if not choices:
        return None, False
    first, second, u, v, *_ = choices[0]
    shared = identity[u] & identity[v]
    if not signal[u] and not anc[v] >> u & 1:
        return None, False
    if state.told.get(node.index):
        first, second, u, v = next(choice[:4] for choice in choices if choice[0] == state.told[node.index])
        return Add(node.index, u, v, first, second, u, False, False, node.module), False
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
            if index == 4 and own_stream(state, v, u, fork):
                return None, True
            if index == 5 and projected[v] & anc[u] != 0:
                break
            return Add(node.index, u, v, first, second, fork, bool(shared), index == 5, node.module), False
    return message(state, node, choices)


def shifts(graph: Graph, node: Node) -> bool:
    """Whether the op subtracts a largest value (a running one, too: RWKV's)."""
    value = node.arguments.get("other")
    if node.op != "sub" or not isinstance(value, Ref):
        return False
    taken = graph[value.node]
    while taken.op in VIEWS and taken.inputs:
        taken = graph[taken.inputs[0][1]]
    return taken.op in LARGEST


def own_stream(state: Search, index: int, stream: int, fork: int) -> bool:
    """Whether the node carries another stream, not begun at the fork: no branch, though it has read this stream."""
    anc, carried = state.graph.ancestors, state.identity[index] & ~state.identity[stream]
    return any(not anc[state.streams[add]] >> fork & 1 for add in bits(carried & state.residuals))


def message(state: Search, node: Node, choices: Sequence[tuple[Any, ...]]) -> tuple[Add | None, bool]:
    """What is added to a running stream without having read it: learned, and no stream itself."""
    running = [choice for choice in choices if state.identity[choice[2]] & state.residuals]
    if len(running) == 2:
        return None, True
    for first, second, u, v, *_, content in running:
        carried = state.identity[u] & state.residuals
        if content and not state.identity[v] & state.residuals:
            fork = carried.bit_length() - 1
            return Add(node.index, u, v, first, second, fork, False, False, node.module), False
    return None, False


def added_elsewhere(graph: Graph, source: int, here: Node, signal: Sequence[bool]) -> bool:
    """Whether what a parameter became is added to data at several places: a bias, not the start of a stream."""
    for node in graph.nodes:
        if node.index != here.index and signal[node.index] and node.op in ADDS:
            for _, index in node.inputs:
                if not signal[index] and graph.parametric[index] & graph.parametric[source]:
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
