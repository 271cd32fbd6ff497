"""One size of the model: trained for a few steps from several seeds, and what was read before and after."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from isoscale._check.errors import CheckError
from isoscale._check.probe import Probe, Seen, updated
from isoscale._check.quantity import Quantity
from isoscale._check.sites import Context, Sites, find_sites, layers_of, outside
from isoscale._plan import (
    Analysis,
    Plan,
    PlanError,
    call,
    convert,
    flatten,
    plain_execution,
    recorded,
    restore,
    template,
)

Loss = Callable[..., Tensor]
Setup = Callable[[Plan, nn.Module], Any]


@dataclass(frozen=True)
class Task:
    """What is trained at every size: builder, batch, loss, steps, and how the plan is put to use."""

    build: Callable[..., nn.Module]
    inputs: Any
    loss: Callable[[Any], Tensor]
    setup: Setup
    steps: int


@dataclass(frozen=True)
class Traced:
    """The model at one size: its plan, the graph of a training-mode forward pass, and the order of its ops."""

    size: Mapping[str, Any]
    plan: Plan
    analysis: Analysis
    order: Sequence[int]


@dataclass(frozen=True)
class Live:
    """What one parameter really had, against its plan; pooled over places in `causes`.

    `rms`, `planned_rms`: at initialisation. `lr`, `eps`: of its live group, over the planned ratio, before the first
    step; `last_lr`: after the last one. `gradient`: its root mean square at the last step. `live_eps`: as it is.
    """

    name: str
    rms: float
    planned_rms: float
    numel: int
    lr: float | None
    last_lr: float | None
    eps: float | None
    live_eps: float | None
    gradient: float

    @property
    def decay(self) -> float | None:
        """What a scheduler has made of the learning rate, over the first one."""
        return self.last_lr / self.lr if self.lr and self.last_lr is not None else None


@dataclass
class Measured:
    """Mean squares of every quantity from one seed at one size, and the facts about its parameters."""

    squares: dict[Quantity, list[float]] = field(default_factory=dict)
    live: tuple[Live, ...] = ()
    scheduler: str = ""
    losses: tuple[float, ...] = ()

    def add(self, quantity: Quantity, tensor: Tensor) -> None:
        self.squares.setdefault(quantity, []).append(float(tensor.detach().double().square().mean()))

    def rms(self, quantity: Quantity) -> float:
        """Root of the mean square over the layers that the quantity pools."""
        found = self.squares[quantity]
        return math.sqrt(sum(found) / len(found))


def trace_size(task: Task, plan: Plan, size: Mapping[str, Any]) -> Traced:
    """Record one forward pass of the real model in training mode, as the measurements will run it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = plan.init_(task.build(**size)).train()
        run(model, task.inputs)  # fills the model's caches, so that later passes execute the same ops
        torch.manual_seed(0)
        found = recorded(model, copied(task.inputs))
    return Traced(size, plan, found.analysis, found.order)


def measure(task: Task, traced: Traced, sites: Sites, seed: int) -> Measured:
    """Build, set up, read, train, read again. Nobody's random numbers are touched."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = task.build(**traced.size).train()
        optimizer, scheduler = steppers(task.setup(traced.plan, model))
        found = Measured()
        planned = {setting.name: setting for setting in traced.plan.settings}
        start = {name: rms(parameter) for name, parameter in model.named_parameters() if name in planned}
        rates = rates_of(model, optimizer, traced.plan)
        found.scheduler = refusal(traced.plan, scheduler)
        first, before = read(task, model, sites, seed)
        losses = [step(task, model, optimizer, scheduler, seed) for _ in range(task.steps)]
        last, after = read(task, model, sites, seed)
        ends = rates_of(model, optimizer, traced.plan)
    compare(found, sites, first, last)
    differences(found, before, after)
    found.losses = tuple(losses)
    lives = []
    for name, parameter in model.named_parameters():
        if name in planned:
            gradient = 0.0 if parameter.grad is None else rms(parameter.grad)
            own, end = rates.get(name, Rates()), ends.get(name, Rates())
            target = start[name] if planned[name].own_init else planned[name].rms
            lives.append(
                Live(name, start[name], target, parameter.numel(), own.lr, end.lr, own.eps, own.live_eps, gradient)
            )
            place = Quantity("gradient", "init", f"of {template(name)}", template(name), stream=planned[name].stream)
            found.squares.setdefault(place, []).append(gradient**2)
    found.live = tuple(lives)
    return found


def steppers(result: Any) -> tuple[torch.optim.Optimizer, Any]:
    """What a setup returned: an optimizer, or an optimizer and its scheduler."""
    optimizer, scheduler = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise CheckError(
            f"setup returned {type(optimizer).__name__}: return the optimizer that trains the model, or a pair "
            "(optimizer, scheduler), as in `plan.init_(model); return plan.optimizer(model, lr=1e-3)`"
        )
    return optimizer, scheduler


def refusal(plan: Plan, scheduler: Any) -> str:
    """What the plan has against a scheduler, in its own words; empty where nothing."""
    if scheduler is None:
        return ""
    try:
        plan.check_scheduler(scheduler)
    except PlanError as error:
        return str(error)
    return ""


def run(model: nn.Module, inputs: Any) -> Any:
    return call(model, copied(inputs))


def copied(inputs: Any) -> Any:
    """The batch again: models may write into it."""
    return convert(inputs, lambda tensor: tensor.detach().clone())


def read(task: Task, model: nn.Module, sites: Sites, seed: int) -> tuple[Seen, list[Tensor]]:
    """One forward pass with the probe; buffers and random numbers are as they were afterwards."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        batch = copied(task.inputs)
        with plain_execution(), Probe(sites) as probe:
            out = call(model, batch)
    restore(model, buffers)
    return probe.seen, results(out)


def results(out: Any) -> list[Tensor]:
    """The tensors of numbers that the model returned, losses (of one element) left out."""
    tensors = [t.detach().clone() for t in flatten(out) if isinstance(t, Tensor) and t.is_floating_point()]
    return [tensor for tensor in tensors if tensor.numel() > 1][:1] or tensors[:1]


def step(task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, seed: int) -> float:
    torch.manual_seed(seed)  # the same dropout at every step: a fixed batch with fixed noise
    optimizer.zero_grad()
    loss = task.loss(run(model, task.inputs))
    try:
        loss.backward()
    except RuntimeError as error:
        raise CheckError(
            f"the model can not be trained, its backward pass fails: {str(error).strip().splitlines()[0]} The check "
            "takes training steps: mend the model (an in-place op on what autograd keeps), or hand over loss="
        ) from error
    optimizer.step()
    if scheduler is not None:
        scheduler.step()
    return float(loss.detach())


def compare(found: Measured, sites: Sites, first: Seen, last: Seen) -> None:
    """Sizes at initialisation, changes of the same tensors, and what each parameter's own update changes."""
    if first.ops != last.ops:
        raise CheckError(
            f"the model's forward pass executes {first.ops} ops at initialisation and {last.ops} after the steps: its "
            "code follows the values of tensors or a counter, and quantities of the two can not be compared. Fix the "
            "path for the check"
        )
    for index, reading in enumerate(sites.readings):
        before, after = first.readings[index], last.readings[index]
        found.add(reading.quantity, before)
        if before.shape == after.shape:
            found.add(replace(reading.quantity, moment="change"), after - before)
    for swap in sites.swaps:
        if same_shapes(first, last, swap.op):
            found.add(swap.quantity, updated(swap, first, last))


def same_shapes(first: Seen, last: Seen, op: int) -> bool:
    """Whether an op met tensors of the same shapes in both passes (experts see other numbers of tokens)."""
    shapes = [[tuple(tensor.shape) for tensor in seen.calls[op].result] for seen in (first, last)]
    return shapes[0] == shapes[1]


def differences(found: Measured, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
    for one, other in zip(before, after):
        found.add(Quantity("output", "init", "of the model"), one)
        if one.shape == other.shape:
            found.add(Quantity("output", "change", "of the model"), other - one)


@dataclass(frozen=True)
class Rates:
    """A live group's learning rate and eps over the planned ratios; None where there is none."""

    lr: float | None = None
    eps: float | None = None
    live_eps: float | None = None


def rates_of(model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan) -> dict[str, Rates]:
    """For each parameter what its group really has, in units of the base model."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    planned = {setting.name: setting for setting in plan.settings}
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names.get(id(parameter))
            if name is not None and name in planned:
                setting, eps = planned[name], group.get("eps")
                live = None if eps is None else float(eps)
                found[name] = Rates(float(group["lr"]) / setting.lr, None if live is None else live / setting.eps, live)
    return found


def rms(tensor: Tensor) -> float:
    return math.sqrt(float(tensor.detach().double().square().mean()))


def sites_of(every: Iterable[Traced], deepest: Plan, widest: Plan) -> tuple[Sites, ...]:
    """The sites of every traced size, told with what the sizes show together."""
    traced = list(every)
    heads: dict[str, set[int]] = {}
    for one in traced:
        for logits in one.analysis.logits:
            heads.setdefault(template(logits.module), set()).add(logits.size)
    context = Context(
        deepening=frozenset(name for name, (base, now) in deepest.depths.items() if base != now),
        base_depth={name: base for name, (base, _) in deepest.depths.items()},
        growing=frozenset(module for module, sizes in heads.items() if len(sizes) > 1),
        settings={setting.name: setting for setting in widest.settings},
        shapes={setting.name: setting.shape for setting in traced[0].plan.settings},
        names=outside(traced[0].plan.settings),
    )
    first = traced[0]
    context = replace(context, layers=layers_of(first.analysis, first.order, first.plan, context))
    return tuple(find_sites(one.analysis, one.order, one.plan, context) for one in traced)
