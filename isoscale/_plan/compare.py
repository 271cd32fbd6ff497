"""Two sizes side by side: which streams deepen, and what must not multiply with depth."""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

from isoscale._plan.analysis import Analysis
from isoscale._plan.facts import StructureError
from isoscale._plan.graph import Graph, Node
from isoscale._plan.ops import HOMOGENEOUS, LINEAR, NORMS
from isoscale._plan.roles import Use
from isoscale._plan.sizes import Traced
from isoscale._plan.streams import Add, Chain, breaks, kind_of_place, template
from isoscale._plan.sums import last_op

Kind = tuple[str, str, str]
Depths = dict[str, tuple[int, int]]
"""Depth of each chain by name: (base, target)."""


def chain_depths(base: Traced, target: Traced) -> dict[str, int]:
    """For every chain of the target its depth at base: outermost ones in order, nested ones by where they are."""
    first, second = base.residuals.outermost(), target.residuals.outermost()
    if len(first) != len(second):
        raise StructureError(
            f"the base model has {len(first)} residual streams ({names(first)}), the target "
            f"{len(second)} ({names(second)}): depth ratios cannot be formed. Streams must not appear or vanish "
            "between the two sizes; choose a base in which every stage that the target has is there"
        )
    found = {big.name: small.depth for small, big in zip(first, second)}
    inner = nested_depths(base)
    for chain in target.residuals.chains:
        if chain.enclosing is not None:
            key = nested_key(target, chain)
            depths = inner.get(key, {chain.depth})
            if len(depths) != 1:
                depths = {chain.depth} if chain.depth in depths else depths
            found[chain.name] = min(depths)
    return found


def nested_depths(traced: Traced) -> dict[tuple[str, str], set[int]]:
    found: dict[tuple[str, str], set[int]] = {}
    for chain in traced.residuals.chains:
        if chain.enclosing is not None:
            found.setdefault(nested_key(traced, chain), set()).add(chain.depth)
    return found


def nested_key(traced: Traced, chain: Chain) -> tuple[str, str]:
    outer = next(add for add in traced.residuals.adds if add.node == chain.enclosing)
    return template(outer.module), template(chain.adds[0].module)


def names(chains: Iterable[Chain]) -> str:
    return ", ".join(f"{chain.name}: {chain.depth}" for chain in chains) or "none"


def streams(traced: Traced, base_depth: dict[str, int]) -> tuple[Chain, ...]:
    """The chains that count: those that deepen, and the outermost others that hold no deepening one."""
    every = traced.residuals.chains
    growing = {chain.name for chain in every if chain.depth != base_depth[chain.name]}
    holders = {add.node: chain for chain in every for add in chain.adds}

    def above(chain: Chain) -> Iterable[Chain]:
        while chain.enclosing is not None:
            chain = holders[chain.enclosing]
            yield chain

    holding = {outer.name for chain in every if chain.name in growing for outer in above(chain)}
    both = sorted(name for name in growing & holding if not held_by_few(traced, name, base_depth[name]))
    if both:
        raise StructureError(
            f"stream {both[0]!r} and a stream nested in its branches both deepen between base and target: there is no "
            "single depth. Change one of the two depths at a time"
        )
    return tuple(
        chain for chain in every if chain.name in growing or (chain.enclosing is None and chain.name not in holding)
    )


def held_by_few(traced: Traced, name: str, base_depth: int) -> bool:
    """Whether what holds the nested streams are adds of a kind that no deepening branch has: an outer skip.

    A U-Net with additive skips is one: the skip's branch holds the inner stages, and does not multiply itself.
    """
    chain = next(chain for chain in traced.residuals.chains if chain.name == name)
    holders = {other.enclosing for other in traced.residuals.chains}
    of_kind = {add.node: kind for add, kind in zip(chain.adds, kinds(chain))}
    outer = {of_kind[add.node] for add in chain.adds if add.node in holders}
    count = sum(kind in outer for kind in of_kind.values())
    return count <= base_depth and count < chain.depth


def kinds(chain: Chain) -> list[str]:
    """Where each add of a chain is, numbers taken out."""
    return [kind_of_place(add.module) for add in chain.adds]


def layer_kinds(graph: Graph, chain: Chain) -> list[str]:
    """Where each add of a chain is, or what its branch ends with if the model itself adds it."""
    return [kind_of_place(add.module) or last_op(graph, add.branch)[1] for add in chain.adds]


def split_fixed(chain: Chain, other: Chain) -> tuple[list[bool], list[bool]]:
    """Which adds of a deepening chain are of a kind that does not multiply: a position network, a pooling head.

    They are no part of the depth. Given for the target's chain and for the base's.
    """
    after, before = kinds(chain), kinds(other)
    counts = Counter(after), Counter(before)
    fixed = {kind for kind in counts[0] if counts[0][kind] == counts[1].get(kind, 0)}
    return [kind in fixed for kind in after], [kind in fixed for kind in before]


def segments(places: Sequence[str]) -> list[frozenset[str]]:
    """Kinds of adds in groups that follow one another without mixing: an encoder's, then a decoder's."""
    found: list[tuple[int, set[str]]] = []  # the last place of each group, and its kinds
    for position, kind in enumerate(places):
        if any(kind in group for _, group in found):
            continue
        last, group = max(p for p, other in enumerate(places) if other == kind), {kind}
        while found and found[-1][0] > position:
            end, more = found.pop()
            last, group = max(last, end), group | more
        found.append((last, group))
    return [frozenset(group) for _, group in found]


def parts(chain: Chain, target: Graph, other: Chain, base: Graph) -> list[tuple[list[bool], list[bool]]]:
    """How a deepening chain and the base's fall into parts that deepen by different factors; else one part."""
    after, before = layer_kinds(target, chain), layer_kinds(base, other)
    groups = segments(after)
    found = [([kind in group for kind in after], [kind in group for kind in before]) for group in groups]
    ratios = {Fraction(sum(big), max(1, sum(small))) for big, small in found}
    if len(ratios) == 1 or groups != segments(before):
        return [([True] * len(after), [True] * len(before))]
    return found


def part_of(chain: Chain, chosen: list[bool], name: str, unread: int = 0) -> Chain:
    return Chain(tuple(add for add, keep in zip(chain.adds, chosen) if keep), chain.enclosing, name, unread)


def same_chains(analysis_chains: tuple[Chain, ...], target: Traced, base: Traced) -> tuple[Chain, ...]:
    """The base model's chains that correspond to the target's chosen ones."""
    outer = dict(zip((c.name for c in target.residuals.outermost()), base.residuals.outermost()))
    found: list[Chain] = []
    keys = {nested_key(target, chain) for chain in analysis_chains if chain.enclosing is not None}
    for chain in analysis_chains:
        if chain.enclosing is None:
            found.append(outer[chain.name])
    found += [c for c in base.residuals.chains if c.enclosing is not None and nested_key(base, c) in keys]
    return tuple(found)


def inside(analysis: Analysis, use: Use, shared: frozenset[tuple[str, str]] = frozenset()) -> bool:
    place = analysis.place(use)
    return bool(place.branches) and not place.on_stream and (template(use.module), use.op) not in shared


def feeds(analysis: Analysis) -> dict[tuple[str, str], int]:
    """How many branches the uses of one kind feed at least, by module template and op.

    At least: one block's values may be read by all later blocks, and still belong to that block.
    """
    found: dict[tuple[str, str], int] = {}
    for found_uses in analysis.uses.values():
        for use in found_uses:
            key, count = (template(use.module), use.op), len(analysis.place(use).branches)
            found[key] = min(found.get(key, count), count)
    return found


def shared_by_all(base: Analysis, target: Analysis) -> frozenset[tuple[str, str]]:
    """Uses that feed more branches in the deeper model: a conditioning shared by all blocks lies outside of them."""
    before, after = feeds(base), feeds(target)
    return frozenset(key for key, count in after.items() if key in before and count > before[key])


def outside_uses(analysis: Analysis, shared: frozenset[tuple[str, str]]) -> dict[Kind, list[Use]]:
    """The uses outside of branches by kind: the parameter's name up to numbers, the op and the argument."""
    found: dict[Kind, list[Use]] = {}
    for name, found_uses in analysis.uses.items():
        for use in found_uses:
            if not inside(analysis, use, shared):
                found.setdefault((template(name), use.op, use.argument), []).append(use)
    return found


def trunk(analysis: Analysis, found: dict[Kind, list[Use]], growing: set[Kind]) -> Counter[Kind]:
    """How many of the uses of each kind are no heads of their own.

    Heads that layers of the trunk still read (a stack of all blocks' outputs, fused by one layer) are none.
    """
    fixed = [use.node for kind, uses in found.items() if kind not in growing for use in uses]
    ancestors = analysis.graph.ancestors
    return Counter(
        {
            kind: sum(
                analysis.place(use).on_stream
                or not only_returned(analysis, use)
                or any(node != use.node and ancestors[node] >> use.node & 1 for node in fixed)
                for use in uses
            )
            for kind, uses in found.items()
        }
    )


def only_returned(analysis: Analysis, use: Use) -> bool:
    """A head of its own (deep supervision): nothing but the output depends on it, and it is no part of the trunk."""
    place = analysis.place(use)
    feeds_adds = any(analysis.graph.is_ancestor(use.node, add.stream) for add in analysis.adds)
    return place.returned and not place.branches and not feeds_adds and bool(analysis.adds)


def check_outside(base: Analysis, target: Analysis, shared: frozenset[tuple[str, str]]) -> None:
    """Refuse layers that multiply with depth without lying in a residual branch (norms on the stream apart)."""
    small, big = outside_uses(base, shared), outside_uses(target, shared)
    growing = {kind for kind, uses in big.items() if len(uses) > len(small.get(kind, ()))}
    before, after = trunk(base, small, growing), trunk(target, big, growing)
    more = [key for key, count in after.items() if count > before.get(key, 0) and key[1] not in NORMS]
    if not more:
        return
    kinds = {key[0] for key in more}
    where = sorted(
        f"{name} ({use.op} in {use.module or 'the model itself'})"
        for name, found in target.uses.items()
        for use in found
        if template(name) in kinds and not inside(target, use, shared)
    )
    extra = "; ".join(where[:4]) + (f"; and {len(where) - 4} more" if len(where) > 4 else "")
    skips = [node.module for add, node in all_breaks(target) if node.op not in NORMS and node.op not in HOMOGENEOUS]
    hint = (
        f" (the stream of the model is no identity at {skips[0]!r}: a long skip, a gate or a projection)"
        if skips
        else ""
    )
    raise StructureError(
        f"layers outside residual branches multiply with depth: {extra}{hint}. Depth scaling needs "
        "stream <- stream + branch(stream); in a plain stack, with gates on the stream (highway), with concatenation "
        "(DenseNet) or with weights on long skips no multiplier makes the limit of depth exist. Keep the depth fixed "
        "and scale the width, or make the blocks residual"
    )


def all_breaks(analysis: Analysis) -> list[tuple[Add, Node]]:
    return [pair for chain in analysis.chains for pair in breaks(analysis.graph, chain, analysis.residuals.adds)]


def stream_trouble(base: Analysis, target: Analysis, pairs: dict[str, str]) -> tuple[set[str], list[str]]:
    """Streams with a norm at every block, and warnings about other ops that sit on a stream at every block."""
    normed: set[str] = set()
    warnings: list[str] = []
    small = {chain.name: chain for chain in base.chains}
    for chain in target.chains:
        other = small.get(pairs.get(chain.name, ""))
        before = Counter(node.op for _, node in breaks(base.graph, other, base.residuals.adds)) if other else Counter()
        found = Counter(node.op for _, node in breaks(target.graph, chain, target.residuals.adds))
        for op, count in found.items():
            if count <= before.get(op, 0) or (other is not None and other.depth == chain.depth and count <= 2):
                continue
            if op in NORMS:
                normed.add(chain.name)
            elif op not in HOMOGENEOUS | LINEAR:
                warnings.append(
                    f"stream {chain.name!r} goes through {op} at every block: it is no identity there, and a limit of "
                    "infinite depth need not exist"
                )
    return normed, warnings
