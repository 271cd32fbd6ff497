"""All sizes along one axis: planned, traced, measured from every seed, and turned into lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from isoscale._check.demands import Axis, Demands
from isoscale._check.lines import MARGIN, UNALIGNED, Line, judged
from isoscale._check.measure import Measured, Task, Traced, measure, sites_of, trace_size
from isoscale._check.quantity import Quantity
from isoscale._check.sites import Sites
from isoscale._plan import Plan, template

NO_GRADIENT = 1e-5
"""A gradient this much smaller than the model's largest is rounding: keys' biases, a bias in front of a norm."""

Progress = Callable[[int, int, str], None]
Size = dict[str, Any]


@dataclass(frozen=True)
class Along:
    """Everything measured along one axis: measured[i][j] at sizes[i] from seed j; `numbers` are the sizes."""

    axis: Axis
    numbers: tuple[float, ...]
    traced: tuple[Traced, ...]
    sites: tuple[Sites, ...]
    measured: tuple[tuple[Measured, ...], ...]

    def positions(self, quantity: Quantity) -> list[float]:
        """The sizes against which a quantity is fitted: in depth, the branches of its own stream."""
        if self.axis == "width":
            return list(self.numbers)
        depths = [one.plan.depths for one in self.traced]
        if quantity.stream is not None and all(quantity.stream in each for each in depths):
            own = [float(each[quantity.stream][1]) for each in depths]
            if len(set(own)) == len(own):
                return own
        return list(self.numbers)

    def quantities(self) -> list[Quantity]:
        """What was measured at every size, in the order of the forward pass."""
        common = set(self.measured[0][0].squares)
        for row in self.measured:
            for one in row:
                common &= set(one.squares)
        return [quantity for quantity in self.measured[0][0].squares if quantity in common]

    def without_gradient(self) -> set[str]:
        """Parameters (numbers taken out) that no gradient reaches, up to rounding, at some size."""
        found = set()
        for row in self.measured:
            for one in row:
                largest = max((live.gradient for live in one.live), default=0.0)
                small = {template(live.name) for live in one.live if live.gradient <= NO_GRADIENT * largest}
                large = {template(live.name) for live in one.live if live.gradient > NO_GRADIENT * largest}
                found |= small - large
        return found

    def lines(self, demands: Demands, tolerance: float) -> list[Line]:
        """Every quantity's line; updates of parameters without a gradient are shown and not judged."""
        idle = self.without_gradient()
        demanded = {
            quantity: None
            if quantity.kind == "update" and template(quantity.parameter or "") in idle
            else demands.of(quantity, self.axis)
            for quantity in self.quantities()
        }
        family = sum(declared is not None for declared in demanded.values())
        found = []
        for quantity, declared in demanded.items():
            values = [[one.rms(quantity) for one in row] for row in self.measured]
            sums = self.axis == "width" and quantity.kind == "update" and quantity.role in ("hidden", "output")
            floor = UNALIGNED if sums else MARGIN
            places = self.positions(quantity)
            found.append(judged(self.axis, quantity, places, values, declared, tolerance, family, floor))
        return found


@dataclass
class Runner:
    """Plans, traces and trains; counts what is done for whoever watches."""

    task: Task
    plan_at: Callable[[Mapping[str, Any]], Plan]
    base: Size
    grids: Mapping[Axis, Sequence[Size]]
    seeds: tuple[int, ...]
    progress: Progress | None = None
    done: int = field(default=0)
    count: int = field(default=0)
    plans: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.count = sum(len(sizes) for sizes in self.grids.values()) * (len(self.seeds) + 1)

    def along(self, axis: Axis) -> Along:
        """Everything along one axis. The widest plan is made on both: only growth shows a parameter's role."""
        sizes = [{**self.base, **size} for size in self.grids[axis]]
        plans = [self.plan(size) for size in sizes]
        wide = self.grids["width"]
        widest = self.plan({**self.base, **wide[-1]}) if wide else plans[-1]
        traced = []
        for size, plan in zip(sizes, plans):
            traced.append(trace_size(self.task, plan, size))
            self.tell(f"traced {named(size)}")
        empty: tuple[tuple[Measured, ...], ...] = ((),) * len(traced)
        found = Along(
            axis,
            tuple(numbers(sizes, self.base, plans, axis)),
            tuple(traced),
            sites_of(traced, plans[-1], widest),
            empty,
        )
        return self.extended(found, self.seeds)

    def more(self, found: Along) -> Along:
        """As many seeds again."""
        have = len(found.measured[0])
        self.count += len(found.traced) * len(self.seeds)
        return self.extended(
            found, tuple(max(self.seeds) + 1 + have - len(self.seeds) + i for i in range(len(self.seeds)))
        )

    def extended(self, found: Along, seeds: tuple[int, ...]) -> Along:
        rows = []
        for one, sites, row in zip(found.traced, found.sites, found.measured):
            for seed in seeds:
                row = (*row, measure(self.task, one, sites, seed))
                self.tell(f"trained {named(one.size)}, seed {seed}")
            rows.append(row)
        return replace(found, measured=tuple(rows))

    def plan(self, size: Size) -> Plan:
        """The plan of a size, made once."""
        for known in self.plans:
            if known.target == size:
                return known
        self.plans.append(self.plan_at(size))
        return self.plans[-1]

    def tell(self, what: str) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.count, what)


def numbers(sizes: Sequence[Size], base: Size, plans: Sequence[Plan], axis: Axis) -> list[float]:
    """Each size as one number: the first key that changes, or the count of branches where that is no number."""
    changing = [key for key in base if len({str(size[key]) for size in sizes}) > 1]
    for key in changing:
        if all(isinstance(size[key], (int, float)) for size in sizes):
            return [float(size[key]) for size in sizes]
    if axis == "depth":
        return [float(sum(now for _, now in plan.depths.values())) for plan in plans]
    return [max(max(s.fan_in, s.fan_out) for s in plan.settings) for plan in plans]


def named(size: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in size.items())
