"""describe(): what a model is made of, compared between two sizes. The door between tracing and planning."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from isoscale._plan.analysis import Analysis
from isoscale._plan.compare import (
    chain_depths,
    check_outside,
    inside,
    part_of,
    parts,
    same_chains,
    shared_by_all,
    split_fixed,
    stream_trouble,
    streams,
)
from isoscale._plan.execution import sweep_caches
from isoscale._plan.facts import Attention, Branch, Parameter, Refusal, Role, Stream, Structure, StructureError
from isoscale._plan.heads import attentions, readouts
from isoscale._plan.initial import clones, drawn, follows_depth
from isoscale._plan.parameters import Assigned, assign, overrides, unused, without_gradient
from isoscale._plan.sizes import Size, Traced, Tracer, depth_keys, described
from isoscale._plan.streams import Chain, stream_name, template
from isoscale._plan.trace import Inputs

__all__ = ["Attention", "Branch", "Parameter", "Refusal", "Role", "Stream", "Structure", "StructureError", "describe"]


@dataclass(frozen=True)
class Sizes:
    """The three models that are compared: base, base width at target depth (the same names as the target), target."""

    base: Analysis
    thin: Analysis
    target: Analysis
    depths: Mapping[str, int]
    shared: frozenset[tuple[str, str]]

    @property
    def widened(self) -> bool:
        return self.thin.graph.shapes != self.target.graph.shapes


def describe(
    build: Callable[..., nn.Module],
    base: Mapping[str, Any],
    target: Mapping[str, Any],
    inputs: Inputs = None,
    *,
    roles: Mapping[str, str] | None = None,
    postnorm: str = "refuse",
) -> Structure:
    """Trace the model at base and target (shapes only) and say what each parameter and each residual branch is.

    Widths are compared between two models of the same depth, whose parameters have the same names; depths are counted
    per stream. Nothing real of the target's size is allocated unless its control flow depends on values of tensors.
    `base_rms` and `base_mean` are left at zero: they need real builds.

    Raises StructureError, naming module and op, where a role or a depth can not be told.
    """
    tracer = Tracer(build, inputs)
    try:
        deep = depth_keys(tracer, base, target)
        thin, deep = thin_size(tracer, base, target, deep)
        sizes = compare_sizes(tracer, base, thin, target)
    finally:
        sweep_caches()
    check_outside(sizes.base, sizes.target, sizes.shared)
    pairs = {c.name: b.name for c, b in zip(sizes.target.chains, sizes.base.chains)}
    normed, warnings = stream_trouble(sizes.base, sizes.target, pairs)
    deepening = [c.name for c in sizes.target.chains if c.depth != sizes.depths[c.name] and c.name in normed]
    if deepening and postnorm != "allow":
        raise StructureError(
            f"stream {deepening[0]!r} has a norm on it after every block (post-norm): the norm rescales the stream, "
            "so a branch multiplier also changes how fast the stream forgets its past, and the depth limits of the "
            'theory (residual branches summed on an identity) do not apply. postnorm="allow" scales each branch '
            "before the norm by the rule's l^-alpha all the same"
        )
    assigned = assign(sizes.thin, sizes.target, overrides(roles, tuple(sizes.target.graph.shapes)), sizes.widened)
    parameters, more = fill(sizes, assigned)
    copies, own = initial_facts(build, base, thin, sizes, {n: p.base_names for n, p in parameters.items()})
    heads, refusals = readouts(sizes.target, sizes.thin, assigned)
    for name, factor in heads.items():
        old = parameters[name]
        readout = old.stream is None
        parameters[name] = replace(old, readout=readout, existing=old.existing * factor)
    return Structure(
        parameters=parameters,
        streams={chain.name: stream(sizes, chain, chain.name in normed) for chain in sizes.target.chains},
        warnings=(
            *warnings,
            *merging(sizes),
            *more,
            *own,
            *unused(assigned),
            *without_gradient(sizes.target),
            *(note for item in assigned.values() for note in item.notes),
        ),
        refusals=tuple(refusals),
        attentions=attentions(sizes.target, sizes.thin),
        clones=copies,
        depth_keys=deep,
        width_keys=tuple(key for key in target if key not in deep and base.get(key) != target[key]),
    )


def merging(sizes: Sizes) -> list[str]:
    """Streams that are summed: said with the place, since the depth is then no single number."""
    graph = sizes.target.graph
    places = dict.fromkeys(
        template(graph[index].module) or "the model itself" for index in sizes.target.residuals.merges
    )
    depths = ", ".join(f"{c.name}: {sizes.depths[c.name]} -> {c.depth}" for c in sizes.target.chains)
    return [
        f"two streams are summed in {place}: each keeps its own depth ({depths}), and what follows is counted with one "
        "of them; see that these are the depths you mean"
        for place in places
    ]


def initial_facts(
    build: Callable[..., nn.Module], base: Size, thin: Size, sizes: Sizes, pools: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[tuple[str, ...], ...], list[str]]:
    """Copied layers, and what to say about them and about initial scales that follow depth."""
    elements = sum(math.prod(shape) for shape in sizes.thin.graph.shapes.values())
    deep = drawn(build, thin, elements)
    copies = clones(deep)
    notes = []
    if deep and sizes.base.graph.shapes.keys() != sizes.thin.graph.shapes.keys():
        changed = follows_depth(drawn(build, base, elements), deep, pools)
        if changed:
            listed = ", ".join(f"{name} by {factor:.3g}" for name, factor in list(changed.items())[:4])
            notes.append(
                f"the model's own initialisation follows depth ({listed}): it is replaced by the base model's measured "
                "one times the rule's factor, not multiplied"
            )
    return copies, notes


def thin_size(tracer: Tracer, base: Size, target: Size, deep: tuple[str, ...]) -> tuple[Size, tuple[str, ...]]:
    """Base width at target depth: the base size with only the depth keys changed."""
    wanted = set(tracer(target).graph.shapes)
    rest = [key for key in target if key not in deep and base.get(key) != target[key]]
    problem: Exception | None = None
    # Keys that only change depth together (a list of layer kinds and its length) fail one at a time.
    for count in range(min(len(rest), 3) + 1):
        for more in itertools.combinations(rest, count):
            size = {**base, **{key: target[key] for key in (*deep, *more)}}
            try:
                traced = tracer(size)
            except StructureError as error:
                problem = error
                continue
            if set(traced.graph.shapes) == wanted:
                return size, tuple(key for key in target if key in deep or key in more)
    here = set(tracer({**base, **{key: target[key] for key in deep}}).graph.shapes) if problem is None else set()
    extra = sorted((wanted ^ here) if here else wanted)[:4]
    raise StructureError(
        f"width changes the set of parameters (depth is {', '.join(deep) or 'not changed'}; the rest of the size is "
        f"taken as width): {', '.join(extra)} are there at one width only. Roles come from the same parameter at two "
        "widths; choose a base in which they all exist"
    ) from problem


def compare_sizes(tracer: Tracer, base: Size, thin: Size, target: Size) -> Sizes:
    first, middle, last = tracer(base), tracer(thin), tracer(target)
    if [len(c.adds) for c in middle.residuals.chains] != [len(c.adds) for c in last.residuals.chains]:
        raise StructureError(
            f"the residual streams differ between {described(thin)} and {described(target)}, which have the same "
            "depth: width must not change how many branches there are"
        )
    depths = chain_depths(first, last)
    chosen = streams(last, depths)
    rows = separated(chosen, same_chains(chosen, last, first), first, middle, last, depths)
    target_analysis = Analysis(last.graph, last.residuals, tuple(big for big, _, _ in rows))
    thin_analysis = Analysis(middle.graph, middle.residuals, tuple(thin for _, thin, _ in rows))
    base_analysis = Analysis(first.graph, first.residuals, tuple(small for _, _, found in rows for small in found))
    shared = shared_by_all(base_analysis, target_analysis)
    return Sizes(base_analysis, thin_analysis, target_analysis, depths, shared)


Row = tuple[Chain, Chain, tuple[Chain, ...]]
"""One stream at the target, at base width and target depth, and at base (several chains if it is nested)."""


def separated(
    chosen: tuple[Chain, ...],
    small: tuple[Chain, ...],
    first: Traced,
    middle: Traced,
    last: Traced,
    depths: dict[str, int],
) -> list[Row]:
    """The streams, with the branches that do not multiply taken out of those that deepen."""
    rows: list[Row] = []
    for chain in chosen:
        thin = middle.residuals.chains[last.residuals.chains.index(chain)]
        if chain.enclosing is not None:
            rows.append((chain, thin, ()))
            continue
        other = small[[c for c in chosen if c.enclosing is None].index(chain)]
        if chain.depth == depths[chain.name]:
            rows.append((chain, thin, (other,)))
            continue
        fixed, base_fixed = split_fixed(chain, other)
        moving, base_moving = [not f for f in fixed], [not f for f in base_fixed]
        trio = (
            part_of(chain, moving, chain.name, chain.unread),
            part_of(thin, moving, chain.name, thin.unread),
            part_of(other, base_moving, chain.name, other.unread),
        )
        rows += own_depths(last, first, *trio)
        if any(fixed):
            rest = f"{chain.name} (fixed)"
            rows.append((part_of(chain, fixed, rest), part_of(thin, fixed, rest), (part_of(other, base_fixed, rest),)))
        depths.update({big.name: small.depth for big, _, smalls in rows for small in smalls[:1]})
    nested = tuple(c for c in small if c.enclosing is not None)
    if nested and rows:
        rows[-1] = (rows[-1][0], rows[-1][1], (*rows[-1][2], *nested))
    return rows


def own_depths(target: Traced, base: Traced, chain: Chain, thin: Chain, other: Chain) -> list[Row]:
    """The chain as it is, or in parts that deepen by different factors (a decoder behind an encoder)."""
    split = parts(chain, target.graph, other, base.graph)
    if len(split) == 1:
        return [(chain, thin, (other,))]
    rows: list[Row] = []
    for big, small in split:
        own = stream_name([add.module or target.graph[add.branch].module for add, keep in zip(chain.adds, big) if keep])
        name = chain.name if not rows else f"{chain.name} ({own})"
        rows.append((part_of(chain, big, name), part_of(thin, big, name), (part_of(other, small, name),)))
    return rows


def stream(sizes: Sizes, chain: Chain, postnorm: bool) -> Stream:
    analysis = sizes.target
    branches = []
    constants: dict[str, set[float]] = {}
    for add in sizes.base.adds:
        constants.setdefault(template(add.module), set()).add(round(sizes.base.constant_back(add.branch), 12))
    for add in chain.adds:
        fold = analysis.tails[add]
        refusal = fold.refusal
        if refusal is not None and add.carried:
            why = "the branch carries the stream itself (a long skip, or a residual around residuals)"
            refusal = replace(refusal, why=f"{why}: {refusal.why}")
        constant = analysis.constant_back(add.branch)
        name, before = analysis.branch_name(add), tuple(sorted(constants.get(template(add.module), ())))
        branches.append(Branch(name, add.module, fold.parameters, refusal, analysis.hook(add), constant, before))
    return Stream(chain.name, sizes.depths[chain.name], chain.depth, tuple(branches), postnorm)


def fill(sizes: Sizes, assigned: Mapping[str, Assigned]) -> tuple[dict[str, Parameter], list[str]]:
    """The records of all parameters: stream, tail, counterparts in the base model."""
    warnings: list[str] = []
    where = {name: stream_at(sizes, sizes.target, name) for name in assigned}
    tail = tail_constants(sizes.target)
    base_tail = tail_constants(sizes.base)
    for name, item in assigned.items():
        if item.sibling is not None:
            where[name] = where[item.sibling]
            if item.sibling in tail:
                tail[name] = tail[item.sibling]
    partners = counterparts(sizes, where, tail, base_tail)
    found: dict[str, Parameter] = {}
    for name, item in assigned.items():
        fan = item.fans
        existing = 1.0
        if name in tail:
            before = [base_tail[other] for other in partners[name] if other in base_tail]
            existing = tail[name] * len(before) / sum(before) if before else 1.0
        found[name] = Parameter(
            name=name,
            shape=sizes.target.graph.shapes[name],
            role=fan.role,
            fan_in=fan.fan_in,
            fan_out=fan.fan_out,
            base_fan_in=fan.base_fan_in,
            base_fan_out=fan.base_fan_out,
            stream=where[name],
            tail=name in tail,
            readout=fan.role == "output" and where[name] is None,
            evidence=fan.evidence,
            base_rms=0.0,
            base_mean=0.0,
            existing=existing,
            base_names=partners[name],
            aliases=sizes.target.graph.aliases.get(name, ()),
        )
    changed = sorted({round(p.existing, 6) for p in found.values() if p.existing != 1.0})
    if changed:
        warnings.append(f"the model itself already multiplies branches by a depth factor {changed}: it is divided out")
    return found, warnings


def stream_at(sizes: Sizes, analysis: Analysis, name: str) -> str | None:
    """The stream inside of whose branches all uses of a parameter lie; None for one that starts a stream itself."""
    within, outside = set(), []
    starts = {(add.node, add.stream_name) for add in analysis.adds}
    if any((use.node, use.argument) in starts for use in analysis.uses[name]):
        return None
    for use in analysis.uses[name]:
        if inside(analysis, use, sizes.shared):
            within |= {analysis.stream_of[position] for position in analysis.place(use).branches}
        else:
            outside.append(use)
    deepening = {s for s in within if ratio(sizes, analysis, s) != 1.0}
    if deepening and outside:
        raise StructureError(
            f"{name} is used both inside the branches of stream {min(deepening)!r} and outside of them (by "
            f"{outside[0].op} in {outside[0].module or 'the model itself'}): one weight can not have both learning "
            "rates. Untie it, or keep the depth fixed"
        )
    if len({ratio(sizes, analysis, s) for s in within}) > 1:
        raise StructureError(
            f"{name} is used in branches of {len(within)} streams ({', '.join(sorted(within))}) that deepen by "
            "different factors: one weight can not have both learning rates. Change their depths by the same factor"
        )
    return min(within) if within and not outside else None


def ratio(sizes: Sizes, analysis: Analysis, name: str) -> float:
    for chain, other in zip(analysis.chains, sizes.target.chains):
        if chain.name == name and other.name in sizes.depths:
            return other.depth / sizes.depths[other.name]
    return 1.0


def tail_constants(analysis: Analysis) -> dict[str, float]:
    found: dict[str, float] = {}
    for fold in analysis.tails.values():
        found.update(fold.existing)
    return found


def counterparts(
    sizes: Sizes, where: Mapping[str, str | None], tail: Mapping[str, float], base_tail: Mapping[str, float]
) -> dict[str, tuple[str, ...]]:
    """For each parameter the base model's parameters of the same signature: never matched by a layer's number."""
    base, thin = sizes.base, sizes.thin
    if set(base.graph.shapes) == set(thin.graph.shapes):
        return {name: (name,) for name in thin.graph.shapes}
    pools: dict[tuple[Any, ...], list[str]] = {}
    for name, shape in base.graph.shapes.items():
        for key in signatures(base, name, name in base_tail, shape, sizes.shared):
            pools.setdefault(key, []).append(name)
    found: dict[str, tuple[str, ...]] = {}
    for name, shape in thin.graph.shapes.items():
        keys = signatures(thin, name, name in tail, shape, sizes.shared)
        pool = next((pools[key] for key in keys if key in pools), None)
        if pool is None:
            raise StructureError(
                f"{name} has no counterpart in the base model (no parameter there is used by the same op in the same "
                "kind of place): its base initialisation is unknown. Choose a base that has every kind of layer"
            )
        found[name] = (name,) if name in pool and where[name] is None else tuple(pool)
    return found


def signatures(
    analysis: Analysis, name: str, tail: bool, shape: tuple[int, ...], shared: frozenset[tuple[str, str]]
) -> list[tuple[Any, ...]]:
    """From the strictest to the loosest: the name with only its first number open, with all open, without the shape.

    By name alone where the op is none or another one: an expert that no token went to.
    """
    kinds = tuple(sorted({(use.op, use.argument, inside(analysis, use, shared)) for use in analysis.uses[name]}))
    return [
        ("first", first_number_open(name), kinds, tail, shape),
        ("all", template(name), kinds, tail, shape),
        ("kind", template(name), kinds),
        ("name", template(name)),
    ]


def first_number_open(name: str) -> str:
    parts = name.split(".")
    for position, part in enumerate(parts):
        if part.isdigit():
            parts[position] = "*"
            break
    return ".".join(parts)
