"""Loss and accuracy of a network on one split, without training it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CHUNK = 512  # examples a forward pass


@dataclass(frozen=True)
class Scores:
    """Mean loss over the examples, and the fraction of right answers where the targets are classes or tokens."""

    loss: float
    accuracy: float | None


def evaluate(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, most: int) -> Scores:
    """The scores of `model`, in evaluation mode, on at most `most` examples spread evenly over the split."""
    x, y = spread(x, most), spread(y, most)
    classes = not y.is_floating_point()
    total, right = 0.0, 0.0
    model.eval()
    with torch.no_grad():
        for some_x, some_y in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
            output = model(some_x)
            total += float(loss(output, some_y)) * len(some_x)
            if classes:
                right += float((output.argmax(-1) == some_y).double().mean()) * len(some_x)
    model.train()
    return Scores(total / len(x), right / len(x) if classes else None)


def spread(examples: Tensor, most: int) -> Tensor:
    """At most `most` of the examples, evenly spread over them."""
    if len(examples) <= most:
        return examples
    return examples.index_select(0, torch.arange(most, device=examples.device) * len(examples) // most)
