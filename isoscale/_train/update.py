"""The optimizer's step on stacked rows: torch's fused kernels row by row on a CPU, broadcast formulas on a device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Update = Callable[[Sequence[float]], None]
"""Steps every member, at its learning rates times its factor."""


@dataclass(frozen=True)
class Segment:
    """Settings of one member for one run of entries of its row: those of a planned parameter group."""

    start: int
    stop: int
    lr: float
    weight_decay: float
    eps: float | None


def update_of(
    optimizer: str, nesterov: bool, taken: int, values: Tensor, gradient: Tensor, moments: Sequence[Tensor],
    segments: Sequence[Sequence[Segment]], coefficients: Sequence[Sequence[float]],
    *, broadcast: bool = False,
) -> Update:  # fmt: skip
    """The step of `optimizer` on rows of values (M, P) that have taken `taken` steps; all tensors change in place.

    segments, coefficients: of each member. The update is bound to these tensors: make a new one when they change.
    broadcast: take the device's formulas on a CPU too.
    """
    if broadcast or values.device.type != "cpu":
        return _Broadcast(optimizer, nesterov, taken, values, gradient, moments, segments, coefficients)
    rows: list[list[Tensor]] = [[tensor[row] for tensor in (values, gradient, *moments)] for row in range(len(values))]
    work = [
        (row, at, [tensor[at.start : at.stop] for tensor in rows[row]], tuple(coefficients[row]))
        for row in range(len(values))
        for at in segments[row]
    ]
    return _Descent(work, nesterov, taken) if optimizer == "sgd" else _Adaptive(work, optimizer, taken)


Work = Sequence[tuple[int, Segment, list[Tensor], tuple[float, ...]]]
"""(member, its settings, views of values, gradient and moments, momentum or betas), for every segment."""


class _Descent:
    """torch's fused SGD, the very kernel that `train` uses; elementwise formulas took 4 times as long."""

    def __init__(self, work: Work, nesterov: bool, taken: int) -> None:
        self._work, self._nesterov, self._first = work, nesterov, taken == 0

    def __call__(self, factors: Sequence[float]) -> None:
        for row, at, (values, gradient, *moments), (momentum,) in self._work:
            torch._fused_sgd_(
                [values], [gradient], moments if momentum else [], weight_decay=at.weight_decay, momentum=momentum,
                lr=at.lr * factors[row], dampening=0.0, nesterov=self._nesterov, maximize=False,
                is_first_step=self._first,
            )  # fmt: skip
        self._first = False


class _Adaptive:
    """torch's fused Adam or AdamW."""

    def __init__(self, work: Work, optimizer: str, taken: int) -> None:
        self._work, self._taken = work, torch.tensor(float(taken))
        self._kernel = torch._fused_adam_ if optimizer == "adam" else torch._fused_adamw_

    def __call__(self, factors: Sequence[float]) -> None:
        self._taken += 1
        kernel, taken = self._kernel, [self._taken]
        for row, at, (values, gradient, first, second), (beta1, beta2) in self._work:
            kernel(
                [values], [gradient], [first], [second], [], taken, lr=at.lr * factors[row], beta1=beta1, beta2=beta2,
                weight_decay=at.weight_decay, eps=at.eps or 0.0, amsgrad=False, maximize=False,
            )  # fmt: skip


class _Broadcast:
    """The same step as formulas over all rows at once: a few launches whatever the number of members."""

    def __init__(
        self, optimizer: str, nesterov: bool, taken: int, values: Tensor, gradient: Tensor, moments: Sequence[Tensor],
        segments: Sequence[Sequence[Segment]], coefficients: Sequence[Sequence[float]],
    ) -> None:  # fmt: skip
        self._optimizer, self._nesterov, self._taken = optimizer, nesterov, taken
        self._values, self._gradient, self._moments = values, gradient, moments
        self._lr = self._along([[(at, at.lr) for at in own] for own in segments])
        self._decay = self._along([[(at, at.weight_decay) for at in own] for own in segments])
        self._eps = self._along([[(at, at.eps or 0.0) for at in own] for own in segments])
        self._coefficients = [self._column(each) for each in zip(*coefficients, strict=True)]
        self._raw = list(zip(*coefficients, strict=True))

    def _column(self, entries: Sequence[float]) -> Tensor:
        return torch.tensor(entries, dtype=self._values.dtype, device=self._values.device).unsqueeze(1)

    def _along(self, settings: Sequence[Sequence[tuple[Segment, float]]]) -> Tensor:
        rows = torch.zeros(self._values.shape, dtype=self._values.dtype)
        for row, own in zip(rows, settings, strict=True):
            for at, value in own:
                row[at.start : at.stop] = value
        return rows.to(self._values.device)

    def __call__(self, factors: Sequence[float]) -> None:
        self._taken += 1
        rates = self._lr * self._column(factors)
        if self._optimizer == "sgd":
            self._descend(rates)
        else:
            self._adapt(rates)

    def _descend(self, rates: Tensor) -> None:
        (momentum,) = self._coefficients
        gradient = self._gradient.addcmul(self._values, self._decay)
        if self._moments:
            (velocity,) = self._moments
            velocity.copy_(gradient if self._taken == 1 else velocity * momentum + gradient)
            gradient = (
                gradient + momentum * velocity if self._nesterov else torch.where(momentum > 0, velocity, gradient)
            )
        self._values.sub_(rates * gradient)

    def _adapt(self, rates: Tensor) -> None:
        beta1, beta2 = self._coefficients
        first, second = self._moments
        gradient = self._gradient
        if self._optimizer == "adam":
            gradient = gradient.addcmul(self._values, self._decay)
        else:
            self._values.mul_(1 - rates * self._decay)
        first.lerp_(gradient, (1 - beta1).expand_as(first))
        second.mul_(beta2).addcmul_(gradient, gradient * (1 - beta2))
        short1, short2 = (self._column([1 - beta**self._taken for beta in each]) for each in self._raw)
        self._values.sub_(rates / short1 * first / (second.sqrt() / short2.sqrt() + self._eps))
