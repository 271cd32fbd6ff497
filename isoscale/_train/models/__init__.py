"""Reference networks of the papers, written as any PyTorch user would write them.

None of them knows how it should change with width or depth: that is the plan's job. To add one is to write the
module and one row of `MODELS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from isoscale._train.models.conv import ConvResNet, ConvResNetBN
from isoscale._train.models.mlp import PreLNMLP, ResidualMLP
from isoscale._train.models.transformer import GPT, ViT

IMAGE, VECTOR, TOKENS = "image", "vector", "tokens"


@dataclass(frozen=True)
class Model:
    """A reference network: how to build it, and what it asks of the data.

    `build(width, depth, *, inputs, outputs, beta=1.0, gamma0=1.0, zero_init=False, zero_readout=False, **options)`
    returns a plain `nn.Module` with a method `example_inputs() -> tuple[Tensor, ...]`. `inputs` is the shape of one
    example (image: channels, height, width; vector: features; tokens: context length), `outputs` the number of
    classes, tokens or regression targets. `kinds` are the kinds of data it reads, `options` the extra keyword
    arguments it takes, `source` where the architecture is from.
    """

    name: str
    build: Callable[..., nn.Module]
    kinds: tuple[str, ...]
    options: tuple[str, ...]
    source: str


_ROWS = (
    Model("residual_mlp", ResidualMLP, (VECTOR, IMAGE), ("activation",), "Bordelon et al., ICLR 2024, section 2"),
    Model("preln_mlp", PreLNMLP, (VECTOR, IMAGE), ("activation",), "two-layer pre-LN blocks; Yang et al., 2023"),
    Model("conv_resnet", ConvResNet, (IMAGE,), ("pool",), "Bordelon et al., ICLR 2024, section 3: no normalisation"),
    Model("conv_resnet_bn", ConvResNetBN, (IMAGE,), ("pool",), "He et al., 2016: pre-activation"),
    Model("vit", ViT, (IMAGE,), ("head_size", "patch"), "Dosovitskiy et al., 2021"),
    Model("gpt", GPT, (TOKENS,), ("head_size",), "Radford et al., 2019"),
)
MODELS = MappingProxyType({row.name: row for row in _ROWS})
"""Every reference network by name."""
