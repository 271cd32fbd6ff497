"""The fold, proved on the spot: random factors on tails against the same factors on the branches themselves."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from isoscale._plan.analysis import Analysis
from isoscale._plan.branches import find_residuals
from isoscale._plan.execution import plain_execution
from isoscale._plan.facts import Structure, StructureError
from isoscale._plan.graph import Graph
from isoscale._plan.sizes import Size, described, example
from isoscale._plan.streams import Add
from isoscale._plan.tails import Fold, Site, fold_sites
from isoscale._plan.trace import Inputs, Recorder, call, convert, flatten, record

LOW_PRECISION = (torch.float32, torch.float16, torch.bfloat16)
EXACT = 1e-10
RELATIVE = 1e-3
"""A wrong tail makes an error of the size of the change itself."""
SPREADS = (2.0, 1e-3)
"""Octaves of the random factors; the second where values steer the code and a large change would run other ops."""


@dataclass(frozen=True)
class Proof:
    """What the comparison of folded and explicit multipliers gave, in float64 on real inputs.

    `error`: largest difference of any output, relative to the largest output. `change`: how far the factors moved the
    outputs (where nothing moves nothing is proved, `idle`; where little moves they must agree so much better).
    `branches` were folded, `skipped` had refused, `readouts` were tied readouts folded into the norm before them.
    """

    error: float
    change: float
    branches: int
    skipped: int
    readouts: int

    @property
    def holds(self) -> bool:
        if self.branches + self.readouts == 0:
            return self.error <= EXACT
        return self.error <= EXACT and self.error <= RELATIVE * self.change and not self.idle

    @property
    def idle(self) -> bool:
        """The factors moved nothing beyond rounding: the model's output does not show its branches on this batch."""
        return self.error <= EXACT and self.change <= 1e3 * torch.finfo(torch.float64).eps

    def __str__(self) -> str:
        return (
            f"{self.branches} branches and {self.readouts} tied readouts folded ({self.skipped} refused): relative "
            f"error {self.error:.1e} while the outputs change by {self.change:.2g}"
        )


OTHER_OPS = "values of tensors steer the model's code, and two runs execute different ops: the fold can not be proved"


class OtherOps(StructureError):
    """A run did not execute the ops of the recorded one."""


class Double(TorchDispatchMode):
    """Run ops in float64 even where the model casts to a lower precision, so that nothing is rounded away."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") in LOW_PRECISION:
            kwargs["dtype"] = torch.float64
        args = tuple(torch.float64 if arg in LOW_PRECISION else arg for arg in args) if has_dtype(args) else args
        if func is torch.ops.aten._grouped_mm.default and args[0].dtype == torch.float64:
            return grouped_product(*args, **kwargs)
        return func(*args, **kwargs)


def grouped_product(rows: Tensor, matrices: Tensor, offs: Tensor | None = None, bias: Any = None, **_: Any) -> Tensor:
    """`_grouped_mm` of sorted rows with stacked matrices, which torch has in low precision only."""
    if rows.dim() != 2 or matrices.dim() != 3 or offs is None or bias is not None:
        raise StructureError("_grouped_mm with this layout has no float64 form: the fold can not be proved here")
    ends = offs.tolist()
    pieces = [rows[a:b] @ matrix for a, b, matrix in zip([0, *ends], ends, matrices)]
    rest = rows.new_zeros(rows.shape[0] - ends[-1], matrices.shape[-1])
    return torch.cat([*pieces, rest])


def has_dtype(args: Any) -> bool:
    return any(isinstance(arg, torch.dtype) for arg in args)


class Multiply(TorchDispatchMode):
    """Multiply operands of chosen ops, found by the order in which ops run; `ops` are the names they must have."""

    def __init__(self, factors: Mapping[int, Sequence[tuple[str, float]]], ops: Sequence[str] | None = None) -> None:
        super().__init__()
        self.factors, self.count, self.ops = factors, 0, ops

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, args = dict(kwargs or {}), list(args)
        chosen = self.factors.get(self.count, ())
        if self.ops is not None and (self.count >= len(self.ops) or func._schema.name != self.ops[self.count]):
            raise OtherOps(OTHER_OPS)
        self.count += 1
        for name, factor in chosen:
            schema = func._schema.arguments
            if name not in [argument.name for argument in schema]:
                raise OtherOps(OTHER_OPS)
            position = [argument.name for argument in schema].index(name)
            value = args[position] if position < len(args) else kwargs[name]
            written = schema[position].alias_info is not None and schema[position].alias_info.is_write
            value = value.mul_(factor) if written else value * factor  # `branch += stream` writes into the branch
            if position < len(args):
                args[position] = value
            else:
                kwargs[name] = value
        return func(*args, **kwargs)


class CountingRecorder(Recorder):
    """Also remembers the place of each node's op in the order of execution."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.order: list[int] = []
        self.ops: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        self.ops.append(func._schema.name)
        self.order.extend([self.count] * (len(self.nodes) - len(self.order)))
        self.count += 1
        return out


@contextmanager
def exact(seed: int) -> Iterator[None]:
    """Same random numbers, float64 everywhere, one way of executing."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            with plain_execution(), torch.autocast("cpu", enabled=False):
                yield
    finally:
        torch.set_default_dtype(before)


def prove(
    build: Callable[..., nn.Module],
    size: Size,
    inputs: Inputs = None,
    structure: Structure | None = None,
    *,
    seed: int = 0,
) -> Proof:
    """Build the model for real (choose a small size), multiply tails by random factors, compare with the branches.

    Every parameter is first moved by noise, so that zero initialisations do not hide a branch. Each branch gets its own
    factor in [1/4, 4] (branches that share a tail get one), each tied readout too. With `structure`, its streams must
    have the depth found here at one of its two depths.

    Raises StructureError where the model at this size is not the one that the structure describes.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(**size)
        batch = example(model, inputs)
        shake(model)
    model = model.double().eval()
    batch = convert(batch, lambda t: t.double() if t.is_floating_point() else t)
    state = {name: buffer.clone() for name, buffer in model.named_buffers()}
    run(model, batch, {}, seed)  # fills the model's caches, so that every later run executes the same ops
    recorder = CountingRecorder()
    with exact(seed), Double():
        graph = record(model, copy.deepcopy(batch), recorder)
    analysis = chosen_chains(graph, structure, size)
    adds = {add.node for add in analysis.adds}
    plan = sites(analysis)
    done = [site.consumer in adds for site, fold in plan if fold.refusal is None]
    skipped = sum(fold.refusal is not None for _, fold in plan)
    for spread in SPREADS:
        try:
            error, change = compare(model, batch, plan, recorder, state, seed, spread)
        except OtherOps:
            if spread == SPREADS[-1]:
                raise
            continue
        break
    return Proof(error, change, sum(done), skipped, len(done) - sum(done))


def compare(
    model: nn.Module,
    batch: Inputs,
    plan: list[tuple[Site, Fold]],
    recorder: CountingRecorder,
    state: Mapping[str, Tensor],
    seed: int,
    spread: float,
) -> tuple[float, float]:
    """Folded against explicit, and explicit against none, for factors within so many octaves of 1."""
    folded = fold_factors(plan, seed, spread)
    operand: dict[int, list[tuple[str, float]]] = {}
    for (site, fold), factor in zip(plan, folded):
        if fold.refusal is None:
            operand.setdefault(recorder.order[site.consumer], []).append((site.argument, factor))
    restore(model, state)
    plain = run(model, batch, {}, seed)
    restore(model, state)
    explicit = run(model, batch, operand, seed, recorder.ops)
    restore(model, state)
    tensors = dict(model.named_parameters())
    scaled: dict[str, float] = {}
    for (_, fold), factor in zip(plan, folded):
        scaled.update(dict.fromkeys(fold.parameters, factor))
    with torch.no_grad():
        before = {name: tensors[name].clone() for name in scaled}
        for name, factor in scaled.items():
            tensors[name].mul_(factor)
    result = run(model, batch, {}, seed)
    with torch.no_grad():
        for name, tensor in before.items():
            tensors[name].copy_(tensor)
    return distance(result, explicit), distance(plain, explicit)


def restore(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Undo what a forward pass wrote into buffers."""
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(state[name])


def shake(model: nn.Module) -> None:
    """Move every parameter away from zeros, ones and tiny gains, by the scale it has or a twentieth."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                size = float(parameter.double().square().mean().sqrt())
                parameter.add_(torch.randn_like(parameter), alpha=0.2 * min(max(size, 0.05), 1.0))


def chosen_chains(graph: Graph, structure: Structure | None, size: Size) -> Analysis:
    """The streams that the structure folds, or the outermost ones."""
    residuals = find_residuals(graph)
    if structure is None:
        return Analysis(graph, residuals, residuals.outermost())
    chains = tuple(chain for chain in residuals.chains if matches(chain.name, structure))
    depths = [[stream.base_depth, stream.depth] for stream in structure.streams.values()]
    got = sum(chain.depth for chain in chains)
    if not structure.nested and got not in (sum(base for base, _ in depths), sum(target for _, target in depths)):
        raise StructureError(
            f"the model at {described(size)} has {got} residual branches in the structure's streams, which have "
            f"{depths}: it is another model. Prove at the plan's base or target size"
        )
    return Analysis(graph, residuals, chains)


def matches(name: str, structure: Structure) -> bool:
    known = structure.streams
    return name in known or (name.split("#")[0] in structure.nested)


def sites(analysis: Analysis) -> list[tuple[Site, Fold]]:
    found = [(site_of(add, analysis), analysis.tails[add]) for add in analysis.adds]
    barrier = [add.node for add in analysis.adds]
    for name, uses in analysis.uses.items():
        kinds = {use.kind for use in uses}
        if kinds == {"table", "matrix"}:
            heads = [analysis.head_site(name, use) for use in uses if use.kind == "matrix"]
            found += list(zip(heads, fold_sites(analysis.graph, heads, barrier, {})))
    return found


def site_of(add: Add, analysis: Analysis) -> Site:
    return Site(add.node, add.branch_name, add.branch, analysis.branch_name(add))


def fold_factors(plan: list[tuple[Site, Fold]], seed: int, spread: float = SPREADS[0]) -> list[float]:
    """A factor per site, within so many octaves of 1; sites that share parameters share it."""
    generator = torch.Generator().manual_seed(seed)
    factors: list[float] = []
    owner: dict[str, int] = {}
    for position, (_, fold) in enumerate(plan):
        shared = [owner[name] for name in fold.parameters if name in owner]
        drawn = float(torch.exp2(spread * (2 * torch.rand((), generator=generator, dtype=torch.float64) - 1)))
        factors.append(factors[shared[0]] if shared else drawn)
        for name in fold.parameters:
            owner.setdefault(name, shared[0] if shared else position)
    return factors


def run(
    model: nn.Module,
    batch: Inputs,
    factors: Mapping[int, Sequence[tuple[str, float]]],
    seed: int,
    ops: Sequence[str] | None = None,
) -> list[Tensor]:
    """The model's floating outputs, with operands multiplied on the way."""
    batch = copy.deepcopy(batch)  # models may write into it
    with exact(seed), Double(), Multiply(factors, ops):
        out = call(model, batch)
    return [t.detach() for t in flatten(out) if isinstance(t, Tensor) and t.is_floating_point()]


def distance(first: list[Tensor], second: list[Tensor]) -> float:
    """Largest difference over outputs, each relative to its own largest value; NaN counts as infinite."""
    worst = 0.0 if len(first) == len(second) and first else math.inf
    for one, other in zip(first, second):
        if one.shape != other.shape:
            return math.inf
        finite = torch.isfinite(other)
        if not torch.equal(finite, torch.isfinite(one)) or not finite.any():
            return math.inf
        size = float(other[finite].abs().max())
        worst = max(worst, float((one[finite] - other[finite]).abs().max()) / (size or 1.0))
    return worst
