"""All findings about one traced model, before two sizes are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from isoscale._plan.facts import Refusal
from isoscale._plan.graph import Graph, Node, Ref
from isoscale._plan.ops import MATRIX_OPERANDS, VIEWS, carries, fused_attention, scale
from isoscale._plan.roles import Use, uses
from isoscale._plan.streams import OUTPUT_BIT, STREAM_BIT, Add, Chain, Residuals, bits, reach
from isoscale._plan.tails import Fold, Site, fold_sites

SOFTMAX = frozenset({"_softmax", "softmax", "_safe_softmax", "_log_softmax"})


@dataclass(frozen=True)
class Place:
    """Where a use of a parameter acts: positions of the branches it is inside of; none of them on the stream."""

    branches: tuple[int, ...]
    on_stream: bool
    returned: bool


@dataclass(frozen=True)
class Logits:
    """Attention logits: the op that sums over the head size, that size, and the scale applied to them."""

    node: int
    argument: str
    operand: int
    size: int
    scale: float
    module: str


@dataclass(frozen=True)
class Analysis:
    """One graph with the chains of residual adds that count as streams."""

    graph: Graph
    residuals: Residuals
    chains: tuple[Chain, ...]

    @cached_property
    def adds(self) -> tuple[Add, ...]:
        return tuple(sorted((add for chain in self.chains for add in chain.adds), key=lambda add: add.node))

    @cached_property
    def stream_of(self) -> dict[int, str]:
        """Name of the chain by position in `adds`."""
        names = {add: chain.name for chain in self.chains for add in chain.adds}
        return {position: names[add] for position, add in enumerate(self.adds)}

    @cached_property
    def uses(self) -> Mapping[str, tuple[Use, ...]]:
        return uses(self.graph)

    @cached_property
    def reached(self) -> list[int]:
        return reach(self.graph, self.adds)

    @cached_property
    def nodes(self) -> frozenset[int]:
        """The nodes of the adds."""
        return frozenset(add.node for add in self.adds)

    def place(self, use: Use) -> Place:
        mask = self.reached[use.node]
        if use.node in self.nodes:  # a parameter added to the stream by the residual add itself
            return Place((), True, False)
        return Place(tuple(bits(mask >> 2)), bool(mask & STREAM_BIT), bool(mask & OUTPUT_BIT))

    @cached_property
    def tails(self) -> dict[Add, Fold]:
        """The fold of each branch, by its add.

        Branches of one stream are folded together, and so are streams whose branches run the same weights (one encoder
        for two views): a weight carries one factor, wherever it runs.
        """
        found: dict[Add, Fold] = {}
        barrier = [add.node for add in self.adds]
        for group in self.sharing:
            adds = [add for chain in group for add in chain.adds]
            sites = [Site(add.node, add.branch_name, add.branch, self.branch_name(add)) for add in adds]
            for add, fold in zip(adds, fold_sites(self.graph, sites, barrier, {})):
                found[add] = fold
        return found

    @cached_property
    def sharing(self) -> list[list[Chain]]:
        """The chains in groups that have no parameter in common."""
        groups: list[tuple[int, list[Chain]]] = []
        for chain in self.chains:
            mask, members = 0, [chain]
            for add in chain.adds:
                mask |= self.graph.parametric[add.branch] & ~self.graph.parametric[add.stream]
            for other in [group for group in groups if group[0] & mask]:
                groups.remove(other)
                mask, members = mask | other[0], [*other[1], *members]
            groups.append((mask, members))
        return [members for _, members in groups]

    def branch_name(self, add: Add) -> str:
        """The module of the add, with a number where it holds several."""
        same = [other for other in self.adds if other.module == add.module]
        name = add.module or "the model itself"
        return name if len(same) == 1 else f"{name} (branch {same.index(add) + 1} of {len(same)})"

    def hook(self, add: Add) -> str | None:
        """A module whose output is the branch and goes nowhere else, in every one of its calls."""
        ends = {index for other in self.adds for index in self.back(other.branch)}
        mine = set(self.back(add.branch))
        calls: dict[str, list[int]] = {}
        for name, node in self.graph.calls:
            calls.setdefault(name, []).append(node)
        found = [
            name
            for name, nodes in calls.items()
            if name and any(node in mine for node in nodes) and all(node in ends for node in nodes)
        ]
        return min(found, key=len) if found else None

    def back(self, index: int) -> list[int]:
        """The nodes that hold the same numbers up to order and constant factors, read by nothing else."""
        found = [index]
        while True:
            node = self.graph[found[-1]]
            names = carries(self.graph, node) if node.op in VIEWS or node.op in {"mul", "div"} else ()
            source = node.arguments.get(names[0]) if len(names) == 1 else None
            if not isinstance(source, Ref) or len(self.graph.consumers[source.node]) != 1:
                return found
            if self.graph[source.node].numel != node.numel:
                return found
            found.append(source.node)

    def constant_back(self, index: int) -> float:
        """Product of the known numbers multiplied on the way back through views and constant factors."""
        factor = 1.0
        while True:
            node = self.graph[index]
            names = carries(self.graph, node) if node.op in VIEWS or node.op in {"mul", "div"} else ()
            source = node.arguments.get(names[0]) if len(names) == 1 else None
            if not isinstance(source, Ref):
                return factor
            factor *= scale(self.graph, node, names[0])
            index = source.node

    def forward(self, index: int) -> tuple[float, Node]:
        """Follow the only reader through views and constant factors: their product, and the node reached."""
        factor = 1.0
        while True:
            readers = self.graph.consumers[index]
            if len(readers) != 1 or index in self.graph.outputs:
                return factor, self.graph[index]
            node = self.graph[readers[0][0]]
            masked = node.op in {"add", "masked_fill", "where"} and readers[0][1] in {"self", "other"}
            if not masked and (node.op not in VIEWS | {"mul", "div"} or readers[0][1] not in carries(self.graph, node)):
                return factor, node
            factor *= scale(self.graph, node, readers[0][1])
            index = node.index

    @cached_property
    def logits(self) -> tuple[Logits, ...]:
        """Every attention: fused ones, and products of two activations that reach a softmax."""
        graph, found = self.graph, []
        for node in graph.nodes:
            if not graph.live[node.index] or node.output != 0:
                continue
            query = node.arguments.get("query")
            if fused_attention(node.op) and isinstance(query, Ref):
                size = graph[query.node].shape[-1]
                known = node.arguments.get("scale")
                factor = float(known) if isinstance(known, (int, float)) else size**-0.5
                factor *= self.constant_back(query.node)
                found.append(Logits(node.index, "query", query.node, size, factor, node.module))
            elif node.op in {"bmm", "baddbmm", "matmul"}:
                first, second = MATRIX_OPERANDS[node.op]
                left, right = node.arguments[first], node.arguments[second]
                if not (graph[left.node].data and graph[right.node].data):
                    continue
                factor, end = self.forward(node.index)
                if end.op in SOFTMAX:
                    factor *= self.constant_back(left.node) * self.constant_back(right.node)
                    factor *= scale(graph, node, first)
                    size = graph[left.node].shape[-1]
                    found.append(Logits(node.index, first, left.node, size, factor, node.module))
        return tuple(found)

    def query_folds(self, logits: Sequence[Logits]) -> list[Fold]:
        """The parameters that can carry a factor on each attention's queries."""
        barrier = [add.node for add in self.adds]
        sites = [Site(one.node, one.argument, one.operand, f"logits of {one.module}") for one in logits]
        folds = fold_sites(self.graph, sites, barrier, {})
        fused = "queries, keys and values come from one fused weight"
        return [
            fold
            if fold.refusal is None or "also consumed" not in fold.refusal.why
            else Fold((), {}, Refusal(fold.refusal.place, fold.refusal.module, fold.refusal.op, fused))
            for fold in folds
        ]

    def head_site(self, name: str, use: Use) -> Site:
        """The activation operand of the product that reads a tied weight out."""
        node = self.graph[use.node]
        others = MATRIX_OPERANDS.get(node.op, ("input", "weight"))
        argument = others[0] if use.argument == others[1] else others[1]
        operand = node.arguments[argument]
        assert isinstance(operand, Ref)
        return Site(node.index, argument, operand.node, f"readout by {name}")
