"""Where in a forward pass each quantity is read: ops by their order of execution, found in the traced graph."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal

from isoscale._check.fading import fading
from isoscale._check.quantity import Quantity
from isoscale._plan import Add, Analysis, Chain, Logits, Plan, Ref, Setting, Use, template
from isoscale._rules import ROLES, Role, Rule, get_rule

Source = Literal["output", "argument", "scores"]


@dataclass(frozen=True)
class Reading:
    """A tensor to read: an op's result, one of its arguments, or the logits of a fused attention, times `factor`."""

    op: int
    source: Source
    argument: str
    output: int
    factor: float
    quantity: Quantity


@dataclass(frozen=True)
class Swap:
    """An op to run again with one argument (made from a parameter) as it is after training; `factor` times the change.

    `output` is which of the op's results changes.
    """

    op: int
    argument: str
    output: int
    factor: float
    quantity: Quantity


@dataclass(frozen=True)
class Context:
    """What one size alone does not show: facts that need the other sizes of the check.

    `deepening`: the streams that get more branches. `base_depth`: branches of each stream in the smallest model.
    `growing`: modules (numbers taken out) of attentions whose head size grows. `settings`: the widest model's, whose
    roles show; `shapes`: the smallest model's. `layers`: how many layers of a kind the smallest model has. `names`: its
    parameters outside branches, see `outside`.
    """

    deepening: frozenset[str]
    base_depth: Mapping[str, int]
    growing: frozenset[str]
    settings: Mapping[str, Setting]
    shapes: Mapping[str, tuple[int, ...]]
    layers: Mapping[Quantity, int] = field(default_factory=dict)
    names: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def setting(self, own: Setting, names: Collection[str]) -> Setting:
        """The widest model's setting of the same parameter; in a model of other depth, whose parameters have other
        `names`, of one in the same kind of place, and of the same shape in the smallest model if there is one."""
        if own.name in self.settings and names == self.settings.keys():
            return self.settings[own.name]
        found = [setting for setting in self.settings.values() if alike(setting, own)]
        exact = [setting for setting in found if self.shapes.get(setting.name) == own.shape]
        return next(iter(exact or found), own)


def outside(settings: Iterable[Setting]) -> dict[tuple[str, int], str]:
    """Parameters outside branches by their name without numbers and their rank among equals.

    In a flat `nn.Sequential` the readout is 7.weight in one model and 12.weight in a deeper one: its rank stays.
    """
    found: dict[tuple[str, int], str] = {}
    ranks: Counter[str] = Counter()
    for setting in settings:
        if setting.stream is None:
            short = template(setting.name)
            found[short, ranks[short]] = setting.name
            ranks[short] += 1
    return found


def alike(one: Setting, other: Setting) -> bool:
    """Whether two parameters are in the same kind of place."""
    same_place = (one.stream, one.tail, len(one.shape)) == (other.stream, other.tail, len(other.shape))
    return same_place and template(one.name) == template(other.name)


@dataclass(frozen=True)
class Sites:
    """Everything to be read from one model."""

    readings: tuple[Reading, ...]
    swaps: tuple[Swap, ...]


def find_sites(analysis: Analysis, order: Sequence[int], plan: Plan, context: Context) -> Sites:
    """The sites of a traced model; `order[node]` is the place of the node's op in the order of execution."""
    finder = finder_of(analysis, order, plan, context)
    readings = [*finder.streams(), *at_half_depth([*finder.preactivations(), *finder.logits()], context)]
    return Sites(tuple(readings), tuple(finder.swaps()))


def at_half_depth(readings: list[Reading], context: Context) -> list[Reading]:
    """Of layers that get more with depth, the one half way down: the mean over all of them would move with depth.

    What reaches a layer from below changes along the stream, and the layers of a deeper model begin nearer to its start
    and end nearer to its end. "Half way" is a layer of the smallest model, and the same fraction in the others.
    """
    groups: dict[Quantity, list[Reading]] = {}
    for reading in readings:
        groups.setdefault(reading.quantity, []).append(reading)
    kept = []
    for quantity, group in groups.items():
        count = context.layers.get(quantity, len(group)) if quantity.deepens else 0
        if count:
            middle = group[len(group) * (count // 2) // count]
            group = [replace(middle, quantity=replace(quantity, place=f"{quantity.place}, half way down"))]
        kept += group
    return kept


def finder_of(analysis: Analysis, order: Sequence[int], plan: Plan, context: Context) -> "Finder":
    settings = {setting.name: setting for setting in plan.settings}
    return Finder(analysis, order, settings, context, get_rule(plan.rule), plan.optimizer_name)


def layers_of(analysis: Analysis, order: Sequence[int], plan: Plan, context: Context) -> dict[Quantity, int]:
    """How many layers share each quantity that is read within a layer."""
    finder = finder_of(analysis, order, plan, context)
    return Counter(reading.quantity for reading in [*finder.preactivations(), *finder.logits()])


@dataclass(frozen=True)
class Finder:
    analysis: Analysis
    order: Sequence[int]
    settings: Mapping[str, Setting]
    context: Context
    rule: Rule
    optimizer: str

    def streams(self) -> Iterator[Reading]:
        """The stream before its first branch and after some fractions of them, and every branch."""
        for chain in self.analysis.chains:
            name = self.stream_of(chain)
            if name is None:
                continue
            deepens = name in self.context.deepening
            where = "" if name == "stream" else f" {name}"
            whole = Quantity("stream", "init", "", stream=name, deepens=deepens)
            first = chain.adds[0]
            entry = replace(whole, place=f"before the branches{where}", entry=True)
            yield self.argument(first, first.stream_name, entry)
            kinds = len({self.branch_place(add) for add in chain.adds})
            base = self.context.base_depth.get(name, chain.depth)
            for share in shares(max(1, min(base, chain.depth) // kinds)):
                add = chain.adds[max(0, round(share * len(chain.adds)) - 1)]
                yield self.output(add.node, replace(whole, place=f"after {share} of the branches{where}"))
            for add in chain.adds:
                branch = Quantity("branch", "init", self.branch_place(add), stream=name, deepens=deepens)
                yield self.argument(add, add.branch_name, replace(branch, fading=add.branch in self.fading))

    def stream_of(self, chain: Chain) -> str | None:
        """The plan's name of the stream: the one that the parameters in the chain's branches say they are in."""
        if chain.enclosing is not None:
            return None
        inside = [self.settings[n].stream for add in chain.adds for n in self.inner(add) if n in self.settings]
        known = [name for name in inside if name is not None]
        return max(set(known), key=known.count) if known else chain.name

    def inner(self, add: Add) -> tuple[str, ...]:
        graph = self.analysis.graph
        return graph.names(graph.parametric[add.branch] & ~graph.parametric[add.stream])

    def branch_place(self, add: Add) -> str:
        tails = self.analysis.tails[add].parameters
        if tails:
            return template(tails[0].rpartition(".")[0] or tails[0])
        return template(self.analysis.branch_name(add))

    def preactivations(self) -> Iterator[Reading]:
        """What each matrix returns, unless it is the branch itself or the model's output."""
        graph, done = self.analysis.graph, set[int]()
        for name, use in self.uses():
            setting = self.settings[name]
            if use.kind != "matrix" or setting.tail or use.node in done or self.ends(use.node):
                continue
            done.add(use.node)
            if graph[use.node].output == 0:
                reading = self.output(use.node, self.quantity("preactivation", name, use))
                yield replace(reading, factor=self.declared(setting))

    def ends(self, node: int) -> bool:
        """Whether nothing but views and constant factors lies between the node and the model's output."""
        graph = self.analysis.graph
        while node not in graph.outputs:
            readers = graph.consumers[node]
            if len(readers) != 1 or self.analysis.back(readers[0][0])[1:2] != [node]:
                return False
            node = readers[0][0]
        return True

    def logits(self) -> Iterator[Reading]:
        for one in self.analysis.logits:
            module = template(one.module)
            stream = self.context_stream(one)
            quantity = Quantity(
                "logits",
                "init",
                module,
                stream=stream,
                growing=module in self.context.growing,
                deepens=stream in self.context.deepening,
                fading=one.operand in self.fading or one.node in self.fading,
            )
            if one.argument == "query":
                yield Reading(self.order[one.node], "scores", "query", 0, one.scale, quantity)
            else:
                yield replace(self.output(one.node, quantity), factor=self.analysis.forward(one.node)[0])

    def context_stream(self, one: Logits) -> str | None:
        graph = self.analysis.graph
        for add in self.analysis.adds:
            if graph.is_ancestor(one.node, add.branch) and not graph.is_ancestor(one.node, add.stream):
                names = [self.settings[n].stream for n in self.inner(add) if n in self.settings]
                return next((name for name in names if name is not None), None)
        return None

    def swaps(self) -> Iterator[Swap]:
        """Every op that mixes a parameter with data, to be run again with the parameter's update alone."""
        for name, use in self.uses():
            node, setting = self.analysis.graph[use.node], self.settings[name]
            if node.output < 0 or not isinstance(node.arguments.get(use.argument), Ref):
                continue
            quantity = self.quantity("update", name, use, "change")
            yield Swap(self.order[use.node], use.argument, node.output, self.declared(setting), quantity)

    def declared(self, setting: Setting) -> float:
        """The multiplier that the rule's row has over the one folded into the parameter.

        Times this, what the op returns has every multiplier of its row, also one that the code or a hook applies later,
        and none that the parameter carries for something behind it (1/d of logits, a tied readout's 1/width).
        """
        if setting.own_init:
            return setting.hooked * setting.existing if setting.tail else 1.0
        inside = setting.stream is not None
        role = role_named(setting.role)
        row = self.rule.entry(role, inside, self.optimizer, tail=setting.tail and inside)
        own = row.multiplier.at(fan_in=setting.fan_in, fan_out=setting.fan_out, depth=setting.depth)
        return own / setting.multiplier

    def uses(self) -> Iterator[tuple[str, Use]]:
        for name, found in self.analysis.uses.items():
            if name in self.settings:
                yield from ((name, use) for use in found if use.kind != "product")

    def quantity(self, kind: Literal["preactivation", "update"], name: str, use: Use, moment: str = "init") -> Quantity:
        own = self.settings[name]
        wide = self.context.setting(own, self.settings.keys())
        short = self.short(name)
        several = {use.kind for use in self.analysis.uses[name]}
        return Quantity(
            kind=kind,
            moment="change" if moment == "change" else "init",
            place=f"of {short}" + (f" as a {use.kind}" if len(several) > 1 else ""),
            parameter=short,
            role=role_of_use(wide, use, len(several) > 1),
            stream=own.stream,
            tail=own.tail,
            readout=wide.readout or (use.kind == "matrix" and len(several) > 1),
            deepens=own.stream in self.context.deepening,
            fading=use.node in self.fading if kind == "preactivation" else self.fed_by_fading(use),
        )

    def fed_by_fading(self, use: Use) -> bool:
        """Whether the op multiplies the parameter with something that fades."""
        return use.kind == "matrix" and any(source in self.fading for _, source in self.analysis.graph[use.node].inputs)

    @cached_property
    def fading(self) -> frozenset[int]:
        """Nodes that fade with width at initialisation."""
        few = [
            use.node
            for name, use in self.uses()
            if use.kind == "matrix" and self.context.setting(self.settings[name], self.settings.keys()).role == "output"
        ]
        return fading(self.analysis, few)

    def short(self, name: str) -> str:
        """How the parameter is called at every size: without numbers, or outside branches the smallest model's name."""
        place = self.ranks.get(name)
        return template(name) if place is None else self.context.names.get(place, name)

    @cached_property
    def ranks(self) -> dict[str, tuple[str, int]]:
        return {name: place for place, name in outside(self.settings.values()).items()}

    def output(self, node: int, quantity: Quantity) -> Reading:
        return Reading(self.order[node], "output", "", max(0, self.analysis.graph[node].output), 1.0, quantity)

    def argument(self, add: Add, name: str, quantity: Quantity) -> Reading:
        return Reading(self.order[add.node], "argument", name, 0, 1.0, quantity)


def role_of_use(setting: Setting, use: Use, tied: bool) -> Role:
    """A tied weight is an embedding where it is a table and a readout where it is a matrix."""
    if tied and setting.stream is None:
        return "input" if use.kind == "table" else "output"
    return role_named(setting.role)


def role_named(name: str) -> Role:
    return next(role for role in ROLES if role == name)


def shares(depth: int) -> list[Fraction]:
    """Fractions of `depth` blocks that end with a block: about a quarter, a half, and all of them."""
    parts = (Fraction(1, 4), Fraction(1, 2), Fraction(1))
    return sorted({Fraction(max(1, int(depth * part)), depth) for part in parts})
