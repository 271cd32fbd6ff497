"""Residual multilayer perceptrons: the theory's (one weight per block) and the practitioner's (pre-LN, two)."""

import math

from torch import Tensor, nn

from isoscale._train.models.parts import ACTIVATIONS, example_batch, normal_fan_in, zero


class ResidualMLP(nn.Module):
    """h <- h + beta W_l phi(h), then f = W_out phi(h) / gamma0: one weight per block, no biases, no norms.

    Shapes: (batch, *inputs) -> (batch, outputs). Every weight starts as N(0, 1/fan_in).
    Source: Bordelon, Noci, Li, Hanin, Pehlevan, "Depthwise Hyperparameter Transfer in Residual Networks", ICLR 2024.
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
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.inputs, self.beta, self.gamma0 = tuple(inputs), beta, gamma0
        self.activation = ACTIVATIONS[activation]
        self.stem = nn.Linear(math.prod(inputs), width, bias=False)
        self.blocks = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))
        self.readout = nn.Linear(width, outputs, bias=False)
        for parameter in self.parameters():
            normal_fan_in(parameter)
        if zero_init:
            for block in self.blocks:
                zero(block)
        if zero_readout:
            zero(self.readout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x.flatten(1))
        for block in self.blocks:
            h = h + self.beta * block(self.activation(h))
        return self.readout(self.activation(h)) / self.gamma0

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (example_batch(self.inputs),)


class PreLNBlock(nn.Module):
    """The branch W_2 phi(W_1 LN(h)), with biases."""

    def __init__(self, width: int, activation: str, zero_init: bool) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.contract = nn.Linear(width, width)
        if zero_init:
            zero(self.contract)

    def forward(self, h: Tensor) -> Tensor:
        return self.contract(self.activation(self.expand(self.norm(h))))


class PreLNMLP(nn.Module):
    """h <- h + beta W_2 phi(W_1 LN(h)), then f = W_out LN(h) / gamma0, all as PyTorch initialises it.

    Shapes: (batch, *inputs) -> (batch, outputs).
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
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.inputs, self.beta, self.gamma0 = tuple(inputs), beta, gamma0
        self.stem = nn.Linear(math.prod(inputs), width)
        self.blocks = nn.ModuleList(PreLNBlock(width, activation, zero_init) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, outputs)
        if zero_readout:
            zero(self.readout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x.flatten(1))
        for block in self.blocks:
            h = h + self.beta * block(h)
        return self.readout(self.norm(h)) / self.gamma0

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (example_batch(self.inputs),)
