"""Pre-LN transformers: a vision transformer and a character model. Heads grow in number with width, never in size."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isoscale._train.models.parts import example_batch, zero

FINEST = 8  # tokens along a side of an image, at most, when no patch is given


class Attention(nn.Module):
    """Multi-head self-attention with heads of a fixed size; (batch, tokens, width) to the same."""

    def __init__(self, width: int, head_size: int, causal: bool) -> None:
        super().__init__()
        if width % head_size:
            raise ValueError(
                f"width {width} is not a multiple of head_size {head_size} - heads grow in number with width, at a "
                f"fixed size - take a multiple of {head_size}, or another head_size"
            )
        self.head_size, self.causal = head_size, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        batch, tokens, width = h.shape
        heads = self.qkv(h).view(batch, tokens, 3, width // self.head_size, self.head_size)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)  # each (batch, heads, tokens, head_size)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class MLP(nn.Module):
    """W_2 gelu(W_1 h), four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, h: Tensor) -> Tensor:
        return self.contract(F.gelu(self.expand(h)))


class Block(nn.Module):
    """Two branches on one stream: h <- h + beta attention(LN(h)); h <- h + beta MLP(LN(h))."""

    def __init__(self, width: int, head_size: int, beta: float, causal: bool, zero_init: bool) -> None:
        super().__init__()
        self.beta = beta
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, head_size, causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width)
        if zero_init:
            zero(self.attention.proj)
            zero(self.mlp.contract)

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.beta * self.attention(self.norm1(h))
        return h + self.beta * self.mlp(self.norm2(h))


class ViT(nn.Module):
    """Patches, positions, `depth` pre-LN blocks (two branches each), then f = W_out mean(LN(h)) / gamma0.

    Shapes: (batch, channels, height, width) -> (batch, outputs).
    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, with mean pooling.
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
        head_size: int = 8,
        patch: int | None = None,
    ) -> None:
        super().__init__()
        self.inputs, self.gamma0 = tuple(inputs), gamma0
        channels, *sides = inputs
        patch = patch or fitting_patch(*sides)
        if any(side % patch for side in sides):
            raise ValueError(f"patch {patch} does not divide the image's sides {sides} - take a divisor of both")
        self.patches = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.positions = nn.Parameter(torch.empty(sides[0] // patch * (sides[1] // patch), width))
        nn.init.normal_(self.positions, std=0.02)
        self.blocks = nn.ModuleList(Block(width, head_size, beta, False, zero_init) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, outputs)
        if zero_readout:
            zero(self.readout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            h = block(h)
        return self.readout(self.norm(h).mean(dim=1)) / self.gamma0

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (example_batch(self.inputs),)


def fitting_patch(height: int, width: int) -> int:
    """The smallest patch, of two pixels or more, that divides both sides into at most `FINEST` tokens each."""
    for patch in range(2, min(height, width) + 1):
        if height % patch == 0 and width % patch == 0 and max(height, width) // patch <= FINEST:
            return patch
    raise ValueError(f"no square patch divides {height}x{width} pixels into at most {FINEST} a side - give `patch`")


class GPT(nn.Module):
    """A causal pre-LN transformer over tokens: logits of the next token at every position, divided by gamma0.

    Shapes: (batch, tokens) of integers -> (batch, tokens, outputs); at most inputs[0] tokens, `outputs` of them
    different. Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; readout untied.
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
        head_size: int = 8,
    ) -> None:
        super().__init__()
        (self.context,), self.vocabulary, self.gamma0 = inputs, outputs, gamma0
        self.tokens = nn.Embedding(outputs, width)
        self.positions = nn.Parameter(torch.empty(self.context, width))
        nn.init.normal_(self.positions, std=0.02)
        self.blocks = nn.ModuleList(Block(width, head_size, beta, True, zero_init) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, outputs, bias=False)
        if zero_readout:
            zero(self.readout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.positions[: x.shape[1]]
        for block in self.blocks:
            h = block(h)
        return self.readout(self.norm(h)) / self.gamma0

    def example_inputs(self) -> tuple[Tensor, ...]:
        generator = torch.Generator(device="cpu").manual_seed(0)
        return (torch.randint(self.vocabulary, (2, self.context), generator=generator, device="cpu"),)
