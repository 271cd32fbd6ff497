"""The fixed batch of a check and its loss, from as little as the user gives."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isoscale._check.errors import CheckError
from isoscale._plan import call, example, flatten

Loss = Callable[..., Tensor]


def loss_on(
    build: Callable[..., nn.Module], base: Mapping[str, Any], inputs: Any, targets: Tensor | None, loss: Loss | None
) -> tuple[Any, Callable[[Any], Tensor]]:
    """The batch, and the loss as a function of what the model returns on it.

    What is not given is found on the base model: its `example_inputs()`, a loss of its own (a tensor of one element),
    or random classes over the last axis of its output, the same every time.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(**base)
        batch = example(model, inputs)
        if loss is not None and targets is not None:
            return batch, lambda out: loss(out, targets)
        if loss is not None:
            return batch, loss
        with torch.no_grad():
            tensors = real_tensors(call(model.train(), batch))
    if targets is None and tensors and tensors[0].numel() == 1:
        return batch, lambda out: real_tensors(out)[0].sum()
    place = next((index for index, tensor in enumerate(tensors) if tensor.numel() > 1), None)
    if place is None:
        raise CheckError("the model returns no tensor of numbers: give loss=, a function of what it returns")
    goal = random_classes(tensors[place]) if targets is None else targets
    return batch, lambda out: usual(real_tensors(out)[place], goal)


def real_tensors(out: Any) -> list[Tensor]:
    return [item for item in flatten(out) if isinstance(item, Tensor) and item.is_floating_point()]


def random_classes(output: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(2_718)  # not the seed that inputs are drawn with
    return torch.randint(output.shape[-1], output.shape[:-1], generator=generator).to(output.device)


def usual(output: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy over the last axis for classes, mean squared error for real targets."""
    if targets.is_floating_point():
        return F.mse_loss(output, targets)
    return F.cross_entropy(output.flatten(0, -2), targets.flatten())
