"""What fades at initialisation as the model gets wider, because it comes through a matrix onto few numbers.

A matrix whose fan-in alone grows (role "output") carries 1/width, wherever it is: at the start its random sum goes as
width^-1/2, and so does what is made of it alone: a bottleneck of fixed size, a state's parameters, one shared key.
"""

from collections.abc import Iterable, Mapping

from isoscale._plan import Analysis

FACTORS: Mapping[str, frozenset[str]] = {
    "mul": frozenset({"self", "other"}),
    "mm": frozenset({"self", "mat2"}),
    "bmm": frozenset({"self", "mat2"}),
    "matmul": frozenset({"self", "other"}),
    "addmm": frozenset({"mat1", "mat2"}),
    "baddbmm": frozenset({"batch1", "batch2"}),
    "div": frozenset({"self"}),
    "scaled_dot_product_attention": frozenset({"value"}),
}
"""Operands of which one that fades makes the result fade. Of any other op all that depend on data have to."""

AFRESH = frozenset(
    {"softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax", "logsumexp", "sigmoid", "softplus"}
    | {"log_sigmoid_forward", "exp", "exp2", "cos", "log", "rsqrt", "reciprocal"}
)
"""Ops whose result does not go to zero with their operand. Norms are recognised by their name."""


def fading(analysis: Analysis, onto_few: Iterable[int]) -> frozenset[int]:
    """The nodes that fade: those in `onto_few` (products with a role-output weight), and all that follows from them."""
    graph, found = analysis.graph, set(onto_few)
    for node in graph.nodes:
        if node.op in AFRESH or "norm" in node.op or node.op.startswith("_scaled_dot_product"):
            continue
        factors = FACTORS.get(node.op, frozenset())
        data = [(name, source) for name, source in node.inputs if graph[source].data]
        product = any(source in found for name, source in data if name in factors)
        rest = [source for name, source in data if name not in factors]
        if product or (not factors and rest and all(source in found for source in rest)):
            found.add(node.index)
    return frozenset(found)
