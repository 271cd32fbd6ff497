"""Which parameters carry a factor: walks back from a place through homogeneous ops to the weights at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isoscale._plan.facts import Refusal
from isoscale._plan.graph import CONSTANT, INPUT, PARAMETER, Graph, Node
from isoscale._plan.ops import NORMS, alternatives, operands, scale

MOST_ROUNDS = 200


@dataclass(frozen=True)
class Site:
    """A place to be multiplied: the operand `argument` of node `consumer` (a residual add, a readout, an attention)."""

    consumer: int
    argument: str
    operand: int
    place: str


@dataclass(frozen=True)
class End:
    """Where a walk could not go on."""

    node: int
    why: str


@dataclass(frozen=True)
class Fold:
    """The parameters that carry a site's factor and by how much each is already multiplied on the way; or why not."""

    parameters: tuple[str, ...]
    existing: Mapping[str, float]
    refusal: Refusal | None


@dataclass(frozen=True)
class Step:
    """A node's chosen alternative: argument names to scale, and all nodes scaled up to here as a bit mask."""

    names: tuple[str, ...]
    mask: int


def fold_sites(graph: Graph, sites: Sequence[Site], streams: Sequence[int], closed: Mapping[int, str]) -> list[Fold]:
    """For each site the parameters whose scaling scales it and nothing else, all sites scaled at the same time.

    `streams`: nodes at which walks end (they carry a stream). `closed`: nodes that must not be scaled, with the reason.
    A node that is scaled for a site must be read only by scaled nodes or by the site itself; else it is closed and
    another way is looked for.
    """
    banned = dict(closed)
    barrier = set(streams)
    exits = {(site.operand, site.consumer, site.argument) for site in sites}
    for _ in range(MOST_ROUNDS):
        steps = walk(graph, banned, barrier)
        scaled = 0
        for site in sites:
            step = steps[site.operand]
            if isinstance(step, Step):
                scaled |= step.mask
        leaks = leaking(graph, steps, scaled, exits)
        if not leaks:
            return [finish(graph, site, steps, banned) for site in sites]
        banned.update(leaks)
    return [Fold((), {}, Refusal(site.place, "", "", "no consistent set of parameters was found")) for site in sites]


def walk(graph: Graph, banned: Mapping[int, str], barrier: set[int]) -> list[Step | End]:
    """For every node how to scale it, in order of execution."""
    found: list[Step | End] = []
    for node in graph.nodes:
        if node.index in banned:
            found.append(End(node.index, banned[node.index]))
        elif node.index in barrier:
            found.append(End(node.index, "the stream itself goes into the branch here"))
        else:
            found.append(way(graph, node, found))
    return found


def way(graph: Graph, node: Node, found: Sequence[Step | End]) -> Step | End:
    here = 1 << node.index
    if node.op == PARAMETER:
        return Step((), here)
    if node.value == 0.0 or node.op.startswith(("empty", "new_empty")):
        return Step((), 0)
    if node.op == INPUT:
        return End(node.index, "the walk ends at the model's input")
    if node.op == CONSTANT or not (node.data or graph.parametric[node.index]):
        return End(node.index, "the walk ends at a constant")
    if not homogeneous(node):
        return End(node.index, reason(node))
    ends: list[End] = []
    for names in alternatives(graph, node):
        sources = operands(node, names)
        if sources is None or not sources:
            ends.append(End(node.index, "a constant is added"))
            continue
        mask, failed = here, False
        for source in sources:
            step = found[source]
            if isinstance(step, End):
                failed = True
                ends.append(step)
                break
            mask |= step.mask
        if not failed and mask != here:
            return Step(names, mask)
    if ends and graph.parametric[ends[0].node] and not graph[ends[0].node].data:
        return ends[0]  # what stands in the way of the last weight itself says more than what lies before it
    if ends:
        return max(ends, key=lambda end: (graph[end.node].data, end.node))
    return End(node.index, reason(node))


def homogeneous(node: Node) -> bool:
    """False for the variants of an op that its table row does not cover: casts to integers, rounding division."""
    if node.op == "_to_copy":
        dtype = node.arguments.get("dtype")
        return dtype is None or dtype.is_floating_point or dtype.is_complex
    if node.op == "div":
        return node.arguments.get("rounding_mode") is None
    return node.op != "scatter_reduce" or node.arguments.get("reduce") in {"sum", "mean", "amax", "amin"}


def reason(node: Node) -> str:
    if node.op in NORMS:
        return "a norm without gain comes last: its output has a fixed size, whatever is multiplied before it"
    return f"{node.op} is not homogeneous: a factor cannot be moved through it"


def leaking(graph: Graph, steps: Sequence[Step | End], scaled: int, exits: set[tuple[int, int, str]]) -> dict[int, str]:
    """Scaled nodes that something else reads too, with the reason."""
    leaks: dict[int, str] = {}
    returned = set(graph.outputs)
    mask = scaled
    while mask:
        low = mask & -mask
        mask ^= low
        index = low.bit_length() - 1
        if index in returned:
            leaks[index] = "it is also returned by the model"
            continue
        for consumer, argument in graph.consumers[index]:
            if (index, consumer, argument) in exits:
                continue
            step = steps[consumer]
            if scaled >> consumer & 1 and isinstance(step, Step) and argument in step.names:
                continue
            node = graph[consumer]
            leaks[index] = f"it is also consumed by {node.op} in {node.module or 'the model itself'}"
            break
    return leaks


def finish(graph: Graph, site: Site, steps: Sequence[Step | End], banned: Mapping[int, str]) -> Fold:
    step = steps[site.operand]
    if isinstance(step, End):
        node = graph[step.node]
        module = node.module or (node.parameter or "").rpartition(".")[0]
        why = step.why
        if node.op == PARAMETER:
            why = f"{node.parameter} cannot carry the factor: {why}"
        return Fold((), {}, Refusal(site.place, module, node.op, why))
    factors: dict[int, float] = {site.operand: scale(graph, graph[site.consumer], site.argument)}
    names: dict[str, float] = {}
    for index in range(site.operand, -1, -1):
        if index not in factors:
            continue
        node, here = graph[index], steps[index]
        if node.parameter is not None:
            names.setdefault(node.parameter, factors[index])
        if isinstance(here, Step):
            for argument in here.names:
                for source in operands(node, (argument,)) or ():
                    factors.setdefault(source, factors[index] * scale(graph, node, argument))
    return Fold(tuple(sorted(names)), names, None)
