"""Networks of one shape, stacked: member i is row i of every tensor, and one call steps them all."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from isoscale._train.replay import Pass
from isoscale._train.setup import Setup
from isoscale._train.update import Segment, Update, update_of


@dataclass
class Stack:
    """M networks of one shape and their optimizer's state.

    values, gradient: (M, P), row i holds all parameters of member i end to end. buffers: name -> (M, *shape),
    BatchNorm's statistics of each member among them. moments: the optimizer's state, (M, P) each. segments: for each
    member, the settings along its row. coefficients: for each member, its momentum or its betas. Members never meet in
    an operation, so a row does not depend on who shares the stack.
    """

    skeleton: nn.Module
    optimizer: str
    nesterov: bool
    shapes: dict[str, torch.Size]
    values: Tensor
    buffers: dict[str, Tensor]
    moments: list[Tensor]
    segments: list[tuple[Segment, ...]]
    coefficients: list[tuple[float, ...]]
    through: Pass
    taken: int = 0

    def __post_init__(self) -> None:
        self._bind()

    @property
    def members(self) -> int:
        return len(self.values)

    def member(self, row: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The parameters and buffers of one member, by name."""
        return {n: p[row] for n, p in self._parameters.items()}, {n: b[row] for n, b in self.buffers.items()}

    def step(self, x: Tensor, y: Tensor, factors: Sequence[float], masks: list[Tensor], coming: int = 0) -> Tensor:
        """One optimizer step of every member, at its learning rates times its factor; the losses before it, (M,).

        x, y: (M, batch, ...), or (batch, ...) where all members share them (`through.shared`). masks: (M, *shape) for
        every dropout. coming: how many steps will follow, which is what tracing one is worth.
        """
        inputs = (list(self._parameters.values()), self.buffers, x, y, masks)
        losses, gradients = self.through(inputs, coming, check=self.taken == 0)
        torch._foreach_copy_(self._gradients, list(gradients))
        self.taken += 1
        with torch.no_grad():
            self._update(factors)
        return losses

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these members only; the memory of the others is freed."""
        chosen = torch.tensor(rows, device=self.values.device)
        self.values = self.values[chosen]
        self.buffers = {name: buffer[chosen] for name, buffer in self.buffers.items()}
        self.moments = [moment[chosen] for moment in self.moments]
        self.segments = [self.segments[row] for row in rows]
        self.coefficients = [self.coefficients[row] for row in rows]
        self._bind()

    def _bind(self) -> None:
        """The named views into the joined rows, and the update that works on them."""
        self._gradient = torch.zeros_like(self.values)
        self._parameters = self._named(self.values)
        self._gradients = list(self._named(self._gradient).values())
        own = (self.values, self._gradient, self.moments, self.segments, self.coefficients)
        self._update: Update = update_of(self.optimizer, self.nesterov, self.taken, *own)

    def _named(self, rows: Tensor) -> dict[str, Tensor]:
        parts = rows.split([shape.numel() for shape in self.shapes.values()], dim=1)
        return {n: part.view(len(rows), *shape) for (n, shape), part in zip(self.shapes.items(), parts, strict=True)}


def stacked(setups: Sequence[Setup]) -> Stack:
    """Stack set-ups of one shape and one optimizer; the models and optimizers given are left as they were."""
    first = setups[0]
    settings = [settings_of(setup) for setup in setups]
    models = [dict(setup.model.named_parameters()) for setup in setups]
    # Parameters with the same settings in every member lie side by side, so that one kernel call steps them.
    names = sorted(models[0], key=lambda name: [each[name] for each in settings])
    values = torch.stack([torch.cat([model[name].reshape(-1) for name in names]) for model in models]).detach()
    buffers = [dict(setup.model.named_buffers()) for setup in setups]
    descent = first.settings.optimizer == "sgd"
    momentum = any(setup.settings.momentum for setup in setups)
    shapes = {name: models[0][name].shape for name in names}
    return Stack(
        skeleton=first.model,
        optimizer=first.settings.optimizer,
        nesterov=first.settings.nesterov,
        shapes=shapes,
        values=values,
        buffers={name: torch.stack([each[name] for each in buffers]) for name in buffers[0]},
        moments=[torch.zeros_like(values) for _ in range(int(momentum) if descent else 2)],
        segments=[_segments(each, shapes) for each in settings],
        coefficients=[
            (setup.settings.momentum,) if descent else (setup.settings.beta1, setup.settings.beta2) for setup in setups
        ],
        through=_pass(first, names),
    )


PASSES: OrderedDict[str, Pass] = OrderedDict()
"""The passes of this process by what they compute, the latest last: a trace serves every stack of its shape."""
KEPT = 32


def _pass(setup: Setup, names: Sequence[str]) -> Pass:
    key = _meaning(setup, names)
    found = PASSES.pop(key, None) or Pass(setup.model, setup.loss, names, setup.settings.batch_size is None)
    # What the key cannot see (a closure's values, say), the first step of every stack does: it compares.
    found.skeleton, found.loss = setup.model, setup.loss
    PASSES[key] = found
    if len(PASSES) > KEPT:
        PASSES.popitem(last=False)
    return found


def _meaning(setup: Setup, names: Sequence[str]) -> str:
    """What a pass computes, as far as it shows: modules with their plain attributes, tensors, loss, batch."""
    modules = [
        (name, type(module).__qualname__, sorted((k, _shown(v)) for k, v in vars(module).items() if k[:1] != "_"))
        for name, module in setup.model.named_modules()
    ]
    state = [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in setup.model.state_dict().items()]
    x, y, loss = setup.data.x_train, setup.data.y_train, setup.loss
    examples = [(tuple(each.shape), each.dtype, each.device) for each in (x, y)]
    named = getattr(loss, "__code__", loss)
    return repr((modules, state, examples, setup.settings.batch_size, named, setup.settings.loss, tuple(names)))


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, bool | int | float | str | tuple | list | None) else type(value).__name__


def settings_of(setup: Setup) -> dict[str, tuple[float, float, float]]:
    """(lr, weight decay, eps) of every parameter by name; eps is -1 where the optimizer has none."""
    names = {id(parameter): name for name, parameter in setup.model.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"], group.get("eps", -1.0))
        for group in setup.optimizer.param_groups
        for parameter in group["params"]
    }


def _segments(settings: dict[str, tuple[float, float, float]], shapes: dict[str, torch.Size]) -> tuple[Segment, ...]:
    found: list[Segment] = []
    at = 0
    for name, shape in shapes.items():
        lr, weight_decay, eps = settings[name]
        start, at = at, at + shape.numel()
        segment = Segment(start, at, lr, weight_decay, None if eps < 0 else eps)
        if found and replace(found[-1], start=0, stop=0) == replace(segment, start=0, stop=0):
            segment = replace(segment, start=found.pop().start)
        found.append(segment)
    return tuple(found)
