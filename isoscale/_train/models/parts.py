"""What the reference networks share: an example batch, and the initialisations a user may ask for."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh, "gelu": F.gelu}


def example_batch(shape: tuple[int, ...]) -> Tensor:
    """Two standard normal examples of `shape`, the same every time, whatever device is the default."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    return torch.randn(2, *shape, generator=generator, device="cpu")


def normal_fan_in(weight: Tensor) -> None:
    """Draw entries from N(0, 1/fan_in), the theory's (and LeCun's) initialisation."""
    nn.init.kaiming_normal_(weight, nonlinearity="linear")


def zero(layer: nn.Module) -> None:
    """Set a layer's weight, and its bias if there is one, to zero."""
    for parameter in layer.parameters(recurse=False):
        nn.init.zeros_(parameter)
