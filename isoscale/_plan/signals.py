"""Activations against weights: which nodes of a graph hold a signal that layers act on, and which a weight being made.

What depends on the inputs is a signal, with one exception: a stack of matrices of which data chooses some (experts)
stays a weight. What depends on parameters alone is a weight being made (standardised, normed, sliced), except learned
tables: looked up, normalised, spread over the batch, or given to a layer as its input.
"""

from isoscale._plan.graph import PARAMETER, Graph, Node, Ref
from isoscale._plan.ops import CONVOLUTIONS, LINEARS, MATRIX_OPERANDS, NORMS, VIEWS, spread

EMBEDDINGS = frozenset({"embedding", "_embedding_bag", "_embedding_bag_forward_only"})
SELECTIONS = frozenset({"index", "index_select", "gather"})
TRANSPOSITIONS = frozenset({"t", "transpose", "permute", "numpy_T"})
WEIGHT_ARITHMETIC = VIEWS | NORMS | frozenset({"mul", "div", "add", "sub", "cat", "stack"})


def signals(graph: Graph) -> list[bool]:
    """For each node whether it holds an activation."""
    found: list[bool] = []
    chosen: set[int] = set()
    for node in graph.nodes:
        if selects_weights(graph, node, found, chosen):
            chosen.add(node.index)
            found.append(False)
            continue
        known = node.data
        if not known and graph.parametric[node.index]:
            known = (
                any(found[source] for _, source in node.inputs)
                or node.op in EMBEDDINGS
                or (node.op in NORMS and not standardises(graph, node))
                or (node.op in MATRIX_OPERANDS and any(spread(graph, source) for _, source in node.inputs))
                or maps_table(graph, node)
            )
        found.append(known)
    return found


def selects_weights(graph: Graph, node: Node, found: list[bool], chosen: set[int]) -> bool:
    """Matrices taken out of a stack of them by indices that depend on data, or a view of such ones."""
    source = node.arguments.get("self")
    if not node.data or not isinstance(source, Ref):
        return False
    if node.op in SELECTIONS:
        stack = graph[source.node]
        return (
            not found[source.node]
            and bool(graph.parametric[source.node])
            and min(len(stack.shape), len(node.shape)) > 2
        )
    return node.op in VIEWS and source.node in chosen


def standardises(graph: Graph, node: Node) -> bool:
    """A norm that makes a weight (weight standardisation): what comes out is a layer's weight, not its input."""
    todo, seen = [node.index], set[int]()
    while todo:
        index = todo.pop()
        for consumer, argument in graph.consumers[index]:
            reader = graph[consumer]
            if (reader.op in CONVOLUTIONS or reader.op in LINEARS) and argument == "weight":
                return True
            if reader.op in {"mm", "addmm"} and argument == "mat2" and node.arguments.get("weight") is None:
                return True
            if not reader.data and reader.op in WEIGHT_ARITHMETIC and consumer not in seen:
                seen.add(consumer)
                todo.append(consumer)
    return False


def maps_table(graph: Graph, node: Node) -> bool:
    """A layer applied to a table (coordinates, learned positions): its output is an activation.

    Told from arithmetic of weights by the form of a linear layer: the table first, the layer's weight second. For a
    constant table a transposed weight will do; for a learned one the weight must be the very layer's that runs.
    """
    if node.op in LINEARS or node.op in CONVOLUTIONS:
        table, weight = node.inputs[0][1], node.inputs[1][1]
        return not graph.parametric[table] or owned(graph, node, table, weight)
    if node.op not in {"mm", "addmm"}:
        return False
    table, weight = (node.arguments[name].node for name in MATRIX_OPERANDS[node.op])
    if graph[weight].op not in TRANSPOSITIONS:
        return False
    return not graph.parametric[table] or owned(graph, node, table, weight)


def owned(graph: Graph, node: Node, table: int, weight: int) -> bool:
    """Whether the weight belongs to the module that runs, and the table to another."""
    while graph[weight].op != PARAMETER and graph[weight].op in VIEWS and graph[weight].inputs:
        weight = graph[weight].inputs[0][1]
    name = graph[weight].parameter
    if name is None or name.rpartition(".")[0] != node.module:
        return False
    return all(other.rpartition(".")[0] != node.module for other in graph.names(graph.parametric[table]))


def table_of(graph: Graph, node: Node, operand: int, signal: list[bool]) -> bool:
    """Whether the op is a layer applied to the operand, a learned table."""
    if signal[operand] or not (node.op in LINEARS or node.op in {"mm", "addmm"}) or node.data:
        return False
    first = "input" if node.op in LINEARS else MATRIX_OPERANDS[node.op][0]
    value = node.arguments.get(first)
    return isinstance(value, Ref) and value.node == operand and maps_table(graph, node)
