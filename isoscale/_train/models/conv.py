"""Convolutional residual networks of one resolution, so that depth is one number: without and with BatchNorm."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isoscale._train.models.parts import example_batch, normal_fan_in, zero

FINEST = 16  # images larger than this are made smaller by the stem, to about this size


def stem(inputs: tuple[int, ...], width: int) -> nn.Conv2d:
    """The first convolution: to `width` channels, strided for images larger than 16 pixels."""
    channels, *sides = inputs
    stride = max(1, min(sides) // FINEST)
    return nn.Conv2d(channels, width, kernel_size=2 * stride + 1, stride=stride, padding=stride, bias=False)


def pooled(h: Tensor, cells: int) -> Tensor:
    """Means of the map over `cells` x `cells` parts of it, one after another: (batch, channels cells^2)."""
    return h.mean(dim=(2, 3)) if cells == 1 else F.adaptive_avg_pool2d(h, cells).flatten(1)


class ConvBlock(nn.Module):
    """The branch conv(relu(conv(relu(h)))), without normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv2(torch.relu(self.conv1(torch.relu(h))))


class ConvBNBlock(nn.Module):
    """The pre-activation branch conv(relu(bn(conv(relu(bn(h))))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        h = self.conv1(torch.relu(self.bn1(h)))
        return self.conv2(torch.relu(self.bn2(h)))


def initialise(network: nn.Module, readout: nn.Linear, zero_init: bool, zero_readout: bool) -> None:
    """N(0, 1/fan_in) for every convolution and the readout; then zeros where they are asked for."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            normal_fan_in(layer.weight)
    nn.init.zeros_(readout.bias)
    for block in network.modules():
        if zero_init and isinstance(block, ConvBlock | ConvBNBlock):
            zero(block.conv2)
    if zero_readout:
        zero(readout)


class ConvResNet(nn.Module):
    """h <- h + beta conv(relu(conv(relu(h)))), then f = W_out mean(relu(h)) / gamma0: no normalisation.

    Shapes: (batch, channels, height, width) -> (batch, outputs). Every weight starts as N(0, 1/fan_in). The mean is
    over the whole map, or over `pool` x `pool` parts of it, all of which the readout sees.
    Source: Bordelon et al., ICLR 2024, whose residual networks have no normalisation.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        inputs: tuple[int, ...],
        outputs: int,
        beta: float = 1.0,
        gamma0: float = 1.0,
        zero_init: bool = False,
        zero_readout: bool = False,
        pool: int = 1,
    ) -> None:
        super().__init__()
        self.inputs, self.beta, self.gamma0, self.pool = tuple(inputs), beta, gamma0, pool
        self.stem = stem(inputs, width)
        self.blocks = nn.ModuleList(ConvBlock(width) for _ in range(depth))
        self.readout = nn.Linear(width * pool**2, outputs)
        initialise(self, self.readout, zero_init, zero_readout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + self.beta * block(h)
        return self.readout(pooled(torch.relu(h), self.pool)) / self.gamma0

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (example_batch(self.inputs),)


class ConvResNetBN(nn.Module):
    """h <- h + beta conv(relu(bn(conv(relu(bn(h)))))), then f = W_out mean(relu(bn(h))) / gamma0.

    Shapes: (batch, channels, height, width) -> (batch, outputs).
    Source: He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", 2016.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        inputs: tuple[int, ...],
        outputs: int,
        beta: float = 1.0,
        gamma0: float = 1.0,
        zero_init: bool = False,
        zero_readout: bool = False,
        pool: int = 1,
    ) -> None:
        super().__init__()
        self.inputs, self.beta, self.gamma0, self.pool = tuple(inputs), beta, gamma0, pool
        self.stem = stem(inputs, width)
        self.blocks = nn.ModuleList(ConvBNBlock(width) for _ in range(depth))
        self.norm = nn.BatchNorm2d(width)
        self.readout = nn.Linear(width * pool**2, outputs)
        initialise(self, self.readout, zero_init, zero_readout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + self.beta * block(h)
        return self.readout(pooled(torch.relu(self.norm(h)), self.pool)) / self.gamma0

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (example_batch(self.inputs),)
