"""Networks of one shape, stacked: member i is row i of every tensor, and one call steps them all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from isoscale._train.setup import LossFunction, Setup


@dataclass(frozen=True)
class Segment:
    """Settings of one member for one run of entries of its row: those of a planned parameter group."""

    start: int
    stop: int
    lr: float
    weight_decay: float
    eps: float | None


@dataclass
class Stack:
    """M networks of one shape and their optimizer's state.

    values: (M, P), row i holds all parameters of member i end to end. buffers: name -> (M, *shape), BatchNorm's
    statistics of each member among them. moments: the optimizer's state, (M, P) each. segments: for each member, the
    settings along its row. coefficients: for each member, its momentum or its betas. Members never meet in an
    operation, so a row does not depend on who shares the stack.
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
    taken: int = 0

    @property
    def members(self) -> int:
        return len(self.values)

    def parameters(self, values: Tensor) -> dict[str, Tensor]:
        """The named parameters in rows of joined ones: (..., P) to name -> (..., *shape)."""
        parts = values.split([shape.numel() for shape in self.shapes.values()], dim=-1)
        return {name: part.unflatten(-1, shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def losses(self, values: Tensor, loss: LossFunction, x: Tensor, y: Tensor, shared: bool) -> Tensor:
        """The loss of every member, (M,): on the same examples (`shared`) or each on its own row of x and y."""

        def one(row: Tensor, buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return loss(functional_call(self.skeleton, (self.parameters(row), buffers), (x,)), y)

        found: Tensor = self._over_members(one, shared)(values, self.buffers, x, y)
        return found

    def scores(self, loss: LossFunction, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and fraction of right answers (0 for real targets) of every member on the same examples, (M,) each."""

        def one(row: Tensor, buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            output = functional_call(self.skeleton, (self.parameters(row), buffers), (x,))
            right = torch.zeros(()) if y.is_floating_point() else (output.argmax(-1) == y).double().mean()
            return loss(output, y), right

        found: tuple[Tensor, Tensor] = self._over_members(one, shared=True)(self.values, self.buffers, x, y)
        return found

    def step(self, loss: LossFunction, x: Tensor, y: Tensor, shared: bool, factors: Sequence[float]) -> Tensor:
        """One optimizer step of every member, at its learning rates times its factor; the losses before it, (M,)."""
        values = self.values.detach().requires_grad_()
        losses = self.losses(values, loss, x, y, shared)
        # Members are independent, so the gradient of the sum holds each member's own.
        (gradient,) = torch.autograd.grad(losses.sum(), values)
        self.taken += 1
        update = self._descend if self.optimizer == "sgd" else self._adapt
        with torch.no_grad():
            for row, (segments, factor) in enumerate(zip(self.segments, factors, strict=True)):
                for segment in segments:
                    update(gradient, row, segment, factor)
        return losses.detach()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these members only; the memory of the others is freed."""
        chosen = torch.tensor(rows)
        self.values = self.values[chosen]
        self.buffers = {name: buffer[chosen] for name, buffer in self.buffers.items()}
        self.moments = [moment[chosen] for moment in self.moments]
        self.segments = [self.segments[row] for row in rows]
        self.coefficients = [self.coefficients[row] for row in rows]

    def _over_members(self, one: Callable[..., Any], shared: bool) -> Callable[..., Any]:
        data = None if shared else 0
        batched = vmap(one, in_dims=(0, 0, data, data))

        def call(*arguments: Any) -> Any:
            # Fused attention has no batching rule and would run member by member.
            with sdpa_kernel(SDPBackend.MATH):
                return batched(*arguments)

        return call

    def _descend(self, gradient: Tensor, row: int, at: Segment, factor: float) -> None:
        """torch's fused SGD, the very kernel that `train` uses, on one run of entries."""
        values, gradient, *moments = _run([self.values, gradient, *self.moments], row, at)
        (momentum,) = self.coefficients[row]
        torch._fused_sgd_(
            [values], [gradient], moments if momentum else [], weight_decay=at.weight_decay, momentum=momentum,
            lr=at.lr * factor, dampening=0.0, nesterov=self.nesterov, maximize=False, is_first_step=self.taken == 1,
        )  # fmt: skip

    def _adapt(self, gradient: Tensor, row: int, at: Segment, factor: float) -> None:
        """torch's fused Adam or AdamW on one run of entries."""
        values, gradient, first, second = _run([self.values, gradient, *self.moments], row, at)
        beta1, beta2 = self.coefficients[row]
        kernel = torch._fused_adam_ if self.optimizer == "adam" else torch._fused_adamw_
        kernel(
            [values], [gradient], [first], [second], [], [torch.tensor(float(self.taken))], lr=at.lr * factor,
            beta1=beta1, beta2=beta2, weight_decay=at.weight_decay, eps=at.eps or 0.0, amsgrad=False, maximize=False,
        )  # fmt: skip


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
    )


def _run(tensors: Sequence[Tensor], row: int, at: Segment) -> list[Tensor]:
    return [tensor[row, at.start : at.stop] for tensor in tensors]


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
