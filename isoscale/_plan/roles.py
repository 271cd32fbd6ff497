"""Roles from the ops that consume each parameter: what is summed over (fan-in), and what comes out (fan-out)."""

import math
from dataclasses import dataclass, replace

from isoscale._plan.facts import Role
from isoscale._plan.graph import Graph, Node
from isoscale._plan.ops import CONVOLUTIONS, LINEARS, MATRIX_OPERANDS, NORMS, VIEWS, fused_attention, spread, words
from isoscale._plan.signals import EMBEDDINGS, signals, table_of

RECURRENT = frozenset({"mkldnn_rnn_layer", "lstm", "gru", "rnn_tanh", "rnn_relu", "_thnn_fused_lstm_cell"})
ELEMENTWISE = words(
    """add sub rsub mul div cat stack where index_add scatter_add index_put copy lerp addcmul addcdiv maximum minimum
    merge masked_fill scatter _prelu_kernel prelu pow gt ge lt le eq ne masked_scatter slice_scatter select_scatter
    index_copy bernoulli expand atan2 complex _to_copy baddbmm clamp clamp_min"""
)


@dataclass(frozen=True)
class Use:
    """One op that mixes a parameter with data: as a matrix (`kind`), a table, or element by element.

    A `gain` multiplies a weight's rows before data meets it; a `product` with another parameter is what data meets.

    `fan_in`: how many numbers are summed into one; `fan_out`: the parameter's other elements; `batch`: separate
    matrices side by side (experts). `trouble` says why no role follows.
    """

    node: int
    op: str
    argument: str
    module: str
    kind: str
    fan_in: int
    fan_out: int
    batch: int = 1
    trouble: str | None = None


def uses(graph: Graph) -> dict[str, tuple[Use, ...]]:
    """For each parameter the ops that mix it with data, followed through views, casts and arithmetic of parameters."""
    signal = signals(graph)
    return {name: tuple(follow(graph, leaf, signal)) for name, leaf in graph.parameters.items()}


def factor(node: Node, name: str) -> bool:
    """Whether the argument is multiplied (not a bias)."""
    return name in MATRIX_OPERANDS.get(node.op, ("input", "weight"))


@dataclass(frozen=True)
class Step:
    """How far a parameter was followed: `broadcast` into a larger weight (a gain), `summed` against another one."""

    node: int
    broadcast: bool = False
    summed: int = 0


def follow(graph: Graph, leaf: int, signal: list[bool]) -> list[Use]:
    found: list[Use] = []
    todo, seen = [Step(leaf)], {leaf}
    parameter = graph[leaf]
    while todo:
        step = todo.pop(0)
        for consumer, argument in graph.consumers[step.node]:
            node = graph[consumer]
            if node.output not in (0, -1):
                continue
            # A spread parameter goes on as an activation once a parameter (not data) multiplies it.
            if signal[consumer] or node.op in EMBEDDINGS:
                use = consumption(graph, node, argument, step.node, parameter, signal)
                use = derived(use, step, parameter.numel)
                if use not in found:
                    found.append(use)
            elif consumer not in seen:
                seen.add(consumer)
                todo.append(onward(graph, node, argument, step))
    return sorted(found, key=lambda use: use.node)


def onward(graph: Graph, node: Node, argument: str, step: Step) -> Step:
    """Through an op among parameters: a product with another one sums over an axis, arithmetic may spread it."""
    multiplied = node.op in MATRIX_OPERANDS or node.op in LINEARS or node.op in CONVOLUTIONS
    if multiplied and factor(node, argument):
        others = [i for name, i in node.inputs if i != step.node and graph.parametric[i] and factor(node, name)]
        if others:
            return Step(node.index, step.broadcast, summed_size(graph, node, argument, step.node))
    grows = node.numel > graph[step.node].numel and node.op not in VIEWS and node.op not in {"cat", "stack"}
    return Step(node.index, step.broadcast or (grows and not multiplied), step.summed)


def summed_size(graph: Graph, node: Node, argument: str, operand: int) -> int:
    shape = graph[operand].shape
    if node.op in CONVOLUTIONS or node.op in LINEARS or len(shape) == 1:
        return shape[-1]
    return shape[-1] if argument == MATRIX_OPERANDS[node.op][0] else shape[-2]


def derived(use: Use, step: Step, numel: int) -> Use:
    """The use of a parameter that reaches data inside of something made with other parameters."""
    if step.summed and use.kind == "vector":
        return replace(use, kind="product", fan_in=step.summed, fan_out=max(1, numel // step.summed))
    if step.summed:
        trouble = f"it is multiplied with another parameter, and {use.op} reads the product as one weight"
        return replace(use, kind="product", fan_in=1, fan_out=1, batch=1, trouble=trouble)
    if step.broadcast and use.kind == "matrix":
        return replace(use, kind="gain", fan_in=1, fan_out=numel, batch=1)
    return use


def consumption(graph: Graph, node: Node, argument: str, operand: int, leaf: Node, signal: list[bool]) -> Use:
    """How the op reads the operand that was made from the parameter alone."""
    shape, op = graph[operand].shape, node.op
    numel = min(graph[operand].numel, leaf.numel)
    place = (node.index, op, argument, node.module)
    is_signal = signal[operand] or table_of(graph, node, operand, signal)
    if op in EMBEDDINGS:
        return Use(*place, "table", 1, shape[-1])
    if op in MATRIX_OPERANDS and argument in MATRIX_OPERANDS[op]:
        partner = [i for name, i in node.inputs if name in MATRIX_OPERANDS[op] and i != operand]
        if is_signal or (spread(graph, operand) and partner and not signal[partner[0]]):
            return Use(*place, "vector", 1, numel)
        first = argument == MATRIX_OPERANDS[op][0]
        size = shape[-1] if first or len(shape) == 1 else shape[-2]
        batch = batched(graph, operand, shape, numel) if len(shape) == 3 else 1
        return Use(*place, "matrix", size, max(1, numel // size), batch)
    if op in LINEARS and argument == "weight":
        return Use(*place, "matrix", shape[-1], max(1, numel // shape[-1]))
    if op in CONVOLUTIONS and argument == "weight":
        kernel = math.prod(shape[2:])
        size = shape[0] // int(node.arguments.get("groups", 1)) if node.arguments.get("transposed") else shape[1]
        return Use(*place, "matrix", size * kernel, max(1, numel // (size * kernel)))
    if op in RECURRENT and len(shape) == 2:
        return Use(*place, "matrix", shape[1], shape[0])
    known = op in ELEMENTWISE or op in NORMS or fused_attention(op) or op in CONVOLUTIONS | LINEARS | RECURRENT
    known = known or op in VIEWS or op in MATRIX_OPERANDS
    if not known and len(shape) > 1:
        trouble = f"{op} in {node.module or 'the model itself'} consumes it in a way that is not known here"
        return Use(*place, "unknown", 1, numel, 1, trouble)
    return Use(*place, "vector", 1, numel)


def batched(graph: Graph, operand: int, shape: tuple[int, ...], numel: int) -> int:
    """Separate matrices side by side; an axis that only repeats the parameter is none."""
    return shape[0] if math.prod(shape) == numel else 1


@dataclass(frozen=True)
class Fans:
    """Sizes at target and base width, and the role that their growth gives."""

    role: Role
    fan_in: int
    fan_out: int
    base_fan_in: int
    base_fan_out: int
    evidence: str
    trouble: str | None = None


def role_of(grows_in: bool, grows_out: bool) -> Role:
    if grows_in and grows_out:
        return "hidden"
    if grows_in:
        return "output"
    return "input" if grows_out else "scalar"


def fans(wide: tuple[Use, ...], narrow: tuple[Use, ...], name: str) -> list[Fans]:
    """One entry for each distinct way in which a parameter is used, from aligned uses at target and base width."""
    found: list[Fans] = []
    if [(use.op, use.argument) for use in wide] != [(use.op, use.argument) for use in narrow]:
        if {(use.op, use.argument) for use in wide} != {(use.op, use.argument) for use in narrow}:
            other = "it is used by other ops at the target width than at the base width"
            return [Fans("scalar", 1, 1, 1, 1, "", other)]
        wide, narrow = first_of_kind(wide), first_of_kind(narrow)
    for big, small in zip(wide, narrow):
        role = role_of(big.fan_in != small.fan_in, big.fan_out != small.fan_out)
        trouble: str | None = big.trouble
        if big.batch != small.batch and (
            big.fan_in != small.fan_in or big.fan_out // big.batch != small.fan_out // small.batch
        ):
            trouble = f"both the number of its matrices in {big.op} and their size grow"
        evidence = f"{describe_use(big)} in {big.module or 'the model itself'}"
        entry = Fans(role, big.fan_in, big.fan_out, small.fan_in, small.fan_out, evidence, trouble)
        if not any(same(entry, other) for other in found):
            found.append(entry)
    return found


def first_of_kind(found: tuple[Use, ...]) -> tuple[Use, ...]:
    kinds: dict[tuple[str, str], Use] = {}
    for use in found:
        kinds.setdefault((use.op, use.argument), use)
    return tuple(kinds[key] for key in sorted(kinds))


def same(first: Fans, second: Fans) -> bool:
    """Same role and same growth: ratios decide, not sizes (slices of one fused weight)."""
    return (
        first.role == second.role
        and first.trouble == second.trouble
        and first.fan_in * second.base_fan_in == second.fan_in * first.base_fan_in
        and first.fan_out * second.base_fan_out == second.fan_out * first.base_fan_out
    )


def describe_use(use: Use) -> str:
    if use.kind == "table":
        return f"{use.op} looks rows of it up"
    if use.kind == "gain":
        return f"a weight of {use.op} is multiplied by it"
    if use.kind == "product":
        return f"{use.op} reads a product with another parameter in which {use.fan_in} numbers are summed"
    if use.kind == "matrix":
        return f"{use.op} sums {use.fan_in} numbers into each of its outputs with it"
    return f"{use.op} applies it element by element"
