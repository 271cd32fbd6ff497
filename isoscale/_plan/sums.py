"""Sums over layers that no layer reads (WaveNet's skip sum): the first term is a branch like all others."""

from collections.abc import Sequence
from dataclasses import replace

from isoscale._plan.graph import Graph, references
from isoscale._plan.ops import carries
from isoscale._plan.streams import Add, Chain, kind_of_place


def with_first_terms(graph: Graph, chains: Sequence[Chain]) -> tuple[Chain, ...]:
    """The chains, those that are sums of equal terms with their first term as a branch of its own.

    In `skip_1 + ... + skip_L`, where no `skip_i` reads the sum so far, the first operand is no start of a stream but
    one term of L. The last layer of such a network often leaves its stream as it is (nobody would read it): a stream
    of L - 1 branches that runs the same weights as a sum of L terms then counts L, the number of layers.
    """
    found = [begun(graph, chain) for chain in chains]
    layers = [(weights(graph, chain), chain.depth) for chain in found if chain.adds[0].term]
    return tuple(
        replace(chain, unread=1)
        if not chain.adds[0].term
        and any(len(chain.adds) == depth - 1 and mask & weights(graph, chain) for mask, depth in layers)
        else chain
        for chain in found
    )


def begun(graph: Graph, chain: Chain) -> Chain:
    first = chain.adds[0]
    if not unread(graph, chain) or last_op(graph, first.stream) != last_op(graph, first.branch):
        return chain
    turned = first.branch, first.stream, first.branch_name, first.stream_name
    term = Add(first.node, *turned, first.fork, False, False, first.module, True)
    return replace(chain, adds=(term, *chain.adds))


def unread(graph: Graph, chain: Chain) -> bool:
    """Whether no term of the chain reads what the chain has summed before it, nor the chain's start."""
    mask = 1 << chain.adds[0].stream
    for add in chain.adds:
        if graph.ancestors[add.branch] & mask:
            return False
        mask |= 1 << add.node
    return True


def last_op(graph: Graph, index: int) -> tuple[str, str]:
    """The op that a node's numbers come from, and the kind of its place."""
    while True:
        node = graph[index]
        sources = [source for name in carries(graph, node) for source in references(node.arguments.get(name))]
        if len(sources) != 1:
            return node.op, kind_of_place(node.module)
        index = sources[0]


def weights(graph: Graph, chain: Chain) -> int:
    """Bit mask of the parameters inside of a chain's branches."""
    mask = 0
    for add in chain.adds:
        mask |= graph.parametric[add.branch] & ~graph.parametric[add.stream]
    return mask
