"""Attention logits whose queries share one weight with keys and values: the factor's root goes into all three.

Logits need a factor c and q, k, v come from one weight. With s = sqrt(c), scaling that weight by s gives
(s q).(s k) = c q.k and values s v; 1/s in the weight that reads the attention's output takes the s back. So the fused
weight (and bias) carries s and the output projection's weight 1/s: the same function, and by the gauge the same
training as with c written in front of the logits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from isoscale._plan.analysis import SOFTMAX, Analysis, Logits
from isoscale._plan.facts import Attention, Structure
from isoscale._plan.graph import Node, Ref
from isoscale._plan.ops import MATRIX_OPERANDS, VIEWS, carries, fused_attention
from isoscale._plan.tails import Site, fold_sites


@dataclass(frozen=True)
class Operands:
    """Sites of an attention's query, key and value, and the node of its output."""

    sites: tuple[Site, ...]
    output: int


@dataclass(frozen=True)
class Carriers:
    """Parameters that carry the root of the factor, and the one that takes it back from the values."""

    root: tuple[str, ...]
    inverse: str


def share(structure: Structure, analysis: Analysis, factors: Sequence[float]) -> tuple[Structure, dict[str, float]]:
    """The structure without the attentions that can be served so, and the number that each parameter takes.

    `factors[i]` is what attention i lacks. An attention that cannot be served keeps its refusal.
    """
    found = _carriers(structure.attentions, analysis, factors)
    numbers: dict[str, float] = {}
    for position, carriers in found.items():
        root = factors[position] ** 0.5
        numbers.update({**dict.fromkeys(carriers.root, root), carriers.inverse: 1.0 / root})
    served = tuple(
        replace(attention, refusal=None) if position in found else attention
        for position, attention in enumerate(structure.attentions)
    )
    return replace(structure, attentions=served), numbers


def _carriers(attentions: Sequence[Attention], analysis: Analysis, factors: Sequence[float]) -> dict[int, Carriers]:
    asked = {
        p: o for p, logits in _matched(attentions, analysis).items() if (o := _operands(logits, analysis)) is not None
    }
    sites = [site for operands in asked.values() for site in operands.sites]
    barrier = [add.node for add in analysis.residuals.adds]
    folds = iter(fold_sites(analysis.graph, sites, barrier, {}))
    found: dict[int, Carriers] = {}
    readers: dict[str, set[int]] = {}
    for position, operands in asked.items():
        own = [next(folds) for _ in operands.sites]
        reader = _follow(analysis, operands.output)
        weight = None if reader is None else _weight(analysis, reader)
        if weight is None or reader is None or any(fold.refusal is not None for fold in own):
            continue
        readers.setdefault(weight, set()).add(reader.index)
        found[position] = Carriers(tuple(sorted({name for fold in own for name in fold.parameters})), weight)
    return {
        position: each for position, each in found.items() if _sound(position, each, found, readers, analysis, factors)
    }


def _sound(
    position: int,
    carriers: Carriers,
    found: Mapping[int, Carriers],
    readers: Mapping[str, set[int]],
    analysis: Analysis,
    factors: Sequence[float],
) -> bool:
    """Every use of the output's weight reads a served attention; who shares a parameter needs the same factor."""
    uses = {use.node for use in analysis.uses[carriers.inverse]}
    if uses != readers[carriers.inverse] or carriers.inverse in carriers.root:
        return False
    mine = {*carriers.root, carriers.inverse}
    others = [other for other, each in found.items() if mine & {*each.root, each.inverse}]
    return all(factors[other] == factors[position] and found[other] == carriers for other in others)


def _matched(attentions: Sequence[Attention], analysis: Analysis) -> dict[int, Logits]:
    """The traced logits of each refused attention: same module and size, in the order of execution."""
    left = list(analysis.logits)
    found = {}
    for position, attention in enumerate(attentions):
        same = [each for each in left if (each.module, each.size) == (attention.module, attention.size)]
        if same:
            left.remove(same[0])
            if attention.refusal is not None:
                found[position] = same[0]
    return found


def _operands(logits: Logits, analysis: Analysis) -> Operands | None:
    graph = analysis.graph
    node = graph[logits.node]
    place = f"logits of {logits.module}"
    if fused_attention(node.op):
        values = {name: node.arguments.get(name) for name in ("query", "key", "value")}
        sites = [Site(node.index, name, ref.node, place) for name, ref in values.items() if isinstance(ref, Ref)]
        return Operands(tuple(sites), node.index) if len(sites) == 3 else None
    end = _follow(analysis, node.index, masks=True)
    if end is None or end.op not in SOFTMAX:
        return None
    product = _follow(analysis, end.index)
    if product is None or product.op not in MATRIX_OPERANDS:
        return None
    first, second = MATRIX_OPERANDS[node.op]
    left, right = MATRIX_OPERANDS[product.op]
    ends = ((node, first), (node, second), (product, right))
    pairs = [(each, name, each.arguments[name]) for each, name in ends]
    sites = [Site(each.index, name, ref.node, place) for each, name, ref in pairs if isinstance(ref, Ref)]
    return Operands(tuple(sites), product.index) if len(sites) == 3 and left in product.arguments else None


def _follow(analysis: Analysis, index: int, *, masks: bool = False) -> Node | None:
    """The only live reader behind views and constant factors (and masks, on logits); None where there are several."""
    graph = analysis.graph
    while True:
        readers = [(node, name) for node, name in graph.consumers[index] if graph.live[node]]
        if len(readers) != 1 or index in graph.outputs:
            return None
        node, name = graph[readers[0][0]], readers[0][1]
        masked = masks and node.op in {"add", "masked_fill", "where"} and name in {"self", "other"}
        if not masked and (node.op not in VIEWS | {"mul", "div"} or name not in carries(graph, node)):
            return node
        index = node.index


def _weight(analysis: Analysis, node: Node) -> str | None:
    """The parameter that the node multiplies its operand by as a matrix."""
    names = [
        name for name, uses in analysis.uses.items() if any(u.node == node.index and u.kind == "matrix" for u in uses)
    ]
    return names[0] if len(names) == 1 else None
