"""Networks of one shape, stacked: member i is row i of every tensor, and one call steps them all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from isoscale._train.kernels import Stackable
from isoscale._train.setup import LossFunction, Setup
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
    loss: LossFunction
    taken: int = 0

    def __post_init__(self) -> None:
        self._bind()

    @property
    def members(self) -> int:
        return len(self.values)

    def step(self, x: Tensor, y: Tensor, factors: Sequence[float], masks: Sequence[Tensor] = ()) -> Tensor:
        """One optimizer step of every member, at its learning rates times its factor; the losses before it, (M,).

        x, y: (M, batch, ...), each member's own examples. masks: (M, *shape) for every dropout.
        """
        leaves = {name: parameter.detach().requires_grad_() for name, parameter in self._parameters.items()}

        def one(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, masks: list[Tensor]
        ) -> Tensor:
            return self.loss(self._output(parameters, buffers, x, iter(masks)), y)

        losses: Tensor = vmap(one)(leaves, self.buffers, x, y, list(masks))
        # Members are independent, so the gradient of the sum holds each member's own.
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
        torch._foreach_copy_(self._gradients, list(gradients))
        self.taken += 1
        with torch.no_grad():
            self._update(factors)
        return losses.detach()

    def scores(self, x: Tensor, y: Tensor, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Loss and fraction of right answers (0 for real targets) of some members on the same examples, (rows,) each.

        As the skeleton stands, in training or evaluation mode; it may draw nothing.
        """

        def one(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
        ) -> tuple[Tensor, Tensor]:
            output = self._output(parameters, buffers, x, iter(()))
            right = x.new_zeros(()) if y.is_floating_point() else (output.argmax(-1) == y).double().mean()
            return self.loss(output, y), right

        parameters, buffers = self._parameters, self.buffers
        if list(rows) != list(range(self.members)):
            chosen = torch.tensor(rows, device=self.values.device)
            parameters = {name: parameter[chosen] for name, parameter in parameters.items()}
            buffers = {name: buffer[chosen] for name, buffer in buffers.items()}
        # To each its own examples, though they are the same: shared ones would go through kernels that know how many.
        own = (each.expand(len(rows), *each.shape) for each in (x, y))
        with torch.no_grad():
            found: tuple[Tensor, Tensor] = vmap(one)(parameters, buffers, *own)
        return found

    def _output(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, masks: Iterator[Tensor]
    ) -> Tensor:
        with Stackable(lambda like, p: next(masks)):
            output: Tensor = functional_call(self.skeleton, (parameters, buffers), (x,))
        return output

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
        loss=first.loss,
    )


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
