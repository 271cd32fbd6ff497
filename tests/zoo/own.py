"""Models in plain torch, each with one trap."""

import math
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.zoo.entry import Entry

SIZES = {"base": {"width": 16, "depth": 2}, "target": {"width": 32, "depth": 4}}


def vectors(features: int = 5) -> torch.Tensor:
    return torch.randn(4, features, generator=torch.Generator().manual_seed(0))


def sequence(width: int = 5) -> torch.Tensor:
    return torch.randn(2, 6, width, generator=torch.Generator().manual_seed(0))


def picture(size: int = 16) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


class Stack(nn.Module):
    """Stem, blocks of one kind, readout."""

    def __init__(self, block, width: int, depth: int, norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Linear(5, width)
        self.blocks = nn.ModuleList([block(width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def stack(block, **options):
    return lambda width, depth: Stack(block, width, depth, **options)


class Branch(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def inner(self, x):
        return self.down(F.gelu(self.up(self.norm(x))))


class PreLN(Branch):
    def forward(self, x):
        return x + self.inner(x)


class InPlace(Branch):
    def forward(self, x):
        y = self.inner(x)
        y += x
        return y


class StreamInPlace(Branch):
    def forward(self, x):
        x = x.clone()
        x.add_(self.inner(x))
        return x


class HalfStream(Branch):
    """The add is done on a slice of the stream only, in place."""

    def forward(self, x):
        x = x.clone()
        x[:2] += self.inner(x[:2])
        return x


class Checkpointed(Branch):
    reentrant = True

    def forward(self, x):
        return x + checkpoint(self.inner, x, use_reentrant=self.reentrant)


class CheckpointedAgain(Checkpointed):
    reentrant = False


class Autocast(Branch):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return x + self.inner(x)


class Squash(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (1 - torch.tanh(x) ** 2)


class CustomFunction(Branch):
    def forward(self, x):
        return x + self.down(Squash.apply(self.up(self.norm(x))))


def hand_written_gelu(x):
    return 0.5 * x * (1.0 + torch.tanh(0.79788 * (x + 0.044715 * x * x * x)))


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch.jit is deprecated, and in use
    scripted = torch.jit.script(hand_written_gelu)


class Scripted(Branch):
    def forward(self, x):
        return x + self.down(scripted(self.up(self.norm(x))))


class Detached(Branch):
    """A second branch that gradient does not pass is no part of the stream's depth."""

    def forward(self, x):
        y = x + self.inner(x)
        return y + (torch.round(y) - y).detach()


class Macaron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = Branch(width), Branch(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        x = x + 0.5 * self.first.inner(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + 0.5 * self.last.inner(x)


class Parallel(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = Branch(width), Branch(width)

    def forward(self, x):
        return x + self.one.inner(x) + self.two.inner(x)


class Glu(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.gate, self.value = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(3 * width, width, bias=False)

    def forward(self, x):
        y = self.norm(x)
        return x + self.out(F.silu(self.gate(y)) * self.value(y))


class ReZero(Branch):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x + self.gain * self.inner(x)


class LayerScale(Branch):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-4))

    def forward(self, x):
        return x + self.gamma * self.inner(x)


class Fixup(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.zeros(())) for _ in range(3))
        self.scale = nn.Parameter(torch.ones(()))
        self.one, self.two = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.two.weight)

    def forward(self, x):
        y = torch.relu(self.one(x + self.a) + self.b)
        return x + (self.two(y) * self.scale + self.c)


class Excite(Branch):
    """Squeeze and excitation at the end: the gate reads what it gates."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.squeeze, self.excite = nn.Linear(width, 4), nn.Linear(4, width)

    def forward(self, x):
        y = self.inner(x)
        return x + y * torch.sigmoid(self.excite(torch.relu(self.squeeze(y))))


class SideGate(Branch):
    """A gate that reads the block's input: the tail is the gated factor."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.gate = nn.Linear(width, width)

    def forward(self, x):
        return x + torch.sigmoid(self.gate(x)) * self.inner(x)


class TailUnderTanh(Branch):
    def forward(self, x):
        return x + torch.tanh(self.inner(x))


class TailUnderRelu(Branch):
    def forward(self, x):
        return x + torch.relu(self.inner(x))


class BareNorm(Branch):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.last = nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, x):
        return x + self.last(self.inner(x))


class SandwichNorm(Branch):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.last = nn.LayerNorm(width)

    def forward(self, x):
        return x + self.last(self.inner(x))


class WeightNorm(Branch):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.down = nn.utils.parametrizations.weight_norm(self.down)

    def forward(self, x):
        return x + self.inner(x)


class SpectralNorm(Branch):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.down = nn.utils.parametrizations.spectral_norm(self.down)

    def forward(self, x):
        return x + self.inner(x)


class Lora(Branch):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.a, self.b = nn.Parameter(torch.randn(4, width) / 9), nn.Parameter(torch.zeros(2 * width, 4))

    def forward(self, x):
        return x + self.down(F.gelu(F.linear(self.norm(x), self.up.weight + self.b @ self.a, self.up.bias)))


class Highway(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.gate = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        t = torch.sigmoid(self.gate(x))
        return t * torch.relu(self.layer(x)) + (1 - t) * x


class PlainLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x):
        return torch.relu(self.layer(x))


class PostNorm(Branch):
    def forward(self, x):
        return self.norm(x + self.down(F.gelu(self.up(x))))


class TanhStream(Branch):
    def forward(self, x):
        return torch.tanh(x + self.inner(x))


class LinearSkip(Branch):
    """A learned matrix on every skip."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.skip = nn.Linear(width, width)

    def forward(self, x):
        return self.skip(x) + self.inner(x)


class Hybrid(Branch):
    """One more weight that is no part of any branch: a learned gain on the stream of every block."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.keep = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.keep * x + self.inner(x)


class Universal(nn.Module):
    """One block, used again and again."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.block, self.head, self.depth = nn.Linear(5, width), PreLN(width), nn.Linear(width, 3), depth

    def forward(self, x):
        x = self.stem(x)
        for _ in range(self.depth):
            x = self.block(x)
        return self.head(x)


class Multiplied(nn.Module):
    """Its own 1/sqrt(depth) in the code and in the initialisation."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head, self.depth = nn.Linear(5, width), nn.Linear(width, 3), depth
        self.blocks = nn.ModuleList([Branch(width) for _ in range(depth)])

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block.inner(x) / math.sqrt(self.depth)
        return self.head(x)


class Stacked(nn.Module):
    """All layers' weights in one tensor."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head, self.depth = nn.Linear(5, width), nn.Linear(width, 3), depth
        self.weight = nn.Parameter(torch.randn(depth, width, width) / math.sqrt(width))

    def forward(self, x):
        x = self.stem(x)
        for layer in range(self.depth):
            x = x + torch.relu(x) @ self.weight[layer]
        return self.head(x)


class ConvBlock(nn.Module):
    """Pre-activation with a projection where the shape changes; `batch_norm` and `in_place` as told."""

    def __init__(self, before: int, after: int, stride: int, norm: bool, in_place: bool) -> None:
        super().__init__()
        self.one = nn.BatchNorm2d(before) if norm else nn.Identity()
        self.two = nn.BatchNorm2d(after) if norm else nn.Identity()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=not norm)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=not norm)
        self.project = nn.Conv2d(before, after, 1, stride, bias=False) if before != after or stride > 1 else None
        self.in_place = in_place

    def forward(self, x):
        y = F.relu(self.one(x))
        shortcut = x if self.project is None else self.project(y)
        y = self.conv2(F.relu(self.two(self.conv1(y))))
        if self.in_place:
            y += shortcut
            return y
        return shortcut + y


class WideResNet(nn.Module):
    def __init__(self, width: int, depth: int, norm: bool = True, in_place: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        blocks, before = [], 8
        for stage, after in enumerate((width, 2 * width, 4 * width)):
            for block in range(depth):
                stride = 2 if stage and not block else 1
                blocks.append(ConvBlock(before, after, stride, norm, in_place))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(before) if norm else nn.Identity()
        self.head = nn.Linear(before, 4)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.blocks(self.stem(x)))).mean((2, 3)))


class BasicBlock(nn.Module):
    """Post-activation (He et al., 2015) with an in-place ReLU on the stream."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if before != after or stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += shortcut
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1)
        blocks = []
        for stage in range(2):
            for block in range(depth):
                first = stage and not block
                blocks.append(
                    BasicBlock(width * (stage if first else stage + 1), width * (stage + 1), 2 if first else 1)
                )
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(2 * width, 4)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Encoder(nn.Module):
    def __init__(self, width: int, depth: int, first: bool = True, heads: int = 4) -> None:
        super().__init__()
        self.stem = nn.Linear(5, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, norm_first=first, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.encoder(self.stem(x)))


class EncoderDecoder(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(5, width)
        self.transformer = nn.Transformer(width, width // 8, depth, depth, 2 * width, norm_first=True, batch_first=True)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        y = self.stem(x)
        return self.head(self.transformer(y, y[:, :4]))


class DiTBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = nn.MultiheadAttention(width, width // 8, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        nn.init.zeros_(self.modulation[1].weight)
        nn.init.zeros_(self.modulation[1].bias)

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)[:, None].chunk(6, dim=-1)
        y = self.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * self.attention(y, y, y, need_weights=False)[0]
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 5)
        self.time = nn.Sequential(nn.Linear(8, width), nn.SiLU(), nn.Linear(width, width))
        self.positions = nn.Parameter(torch.randn(1, 6, width) * 0.02)
        self.blocks = nn.ModuleList([DiTBlock(width) for _ in range(depth)])
        self.last = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, x, t):
        angles = t[:, None] * torch.exp(-torch.arange(4) / 2)[None]
        c = self.time(torch.cat([angles.cos(), angles.sin()], -1))
        x = self.stem(x) + self.positions
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.last(F.silu(c))[:, None].chunk(2, dim=-1)
        return self.head(self.norm(x) * (1 + scale) + shift)


class DenseResidual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(width * (i + 1), width, 3, 1, 1) for i in range(3)])

    def forward(self, x):
        found = [x]
        for conv in self.convs:
            found.append(F.leaky_relu(conv(torch.cat(found, 1)), 0.2))
        return x + 0.2 * self.convs[-1](torch.cat(found[:-1], 1))


class RRDB(nn.Module):
    """Residual in residual: the outer branch carries the stream itself."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1)
        self.blocks = nn.ModuleList([nn.Sequential(*[DenseResidual(width) for _ in range(3)]) for _ in range(depth)])
        self.trunk, self.head = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, x):
        x = first = self.stem(x)
        for block in self.blocks:
            x = x + 0.2 * block(x)
        return self.head(first + self.trunk(x))


class SuperResolution(nn.Module):
    """A global skip around the body (EDSR): only the inner stream deepens."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, 3, 3, 1, 1)
        self.body = nn.ModuleList([ConvBlock(width, width, 1, False, False) for _ in range(depth)])
        self.last = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x):
        y = first = self.stem(x)
        for block in self.body:
            y = block(y)
        return self.head(first + self.last(y))


class UViT(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 5)
        self.down = nn.ModuleList([PreLN(width) for _ in range(depth)])
        self.up = nn.ModuleList([PreLN(width) for _ in range(depth)])
        self.join = nn.ModuleList([nn.Linear(2 * width, width) for _ in range(depth)])

    def forward(self, x):
        x, skips = self.stem(x), []
        for block in self.down:
            x = block(x)
            skips.append(x)
        for join, block in zip(self.join, self.up):
            x = block(join(torch.cat([x, skips.pop()], -1)))
        return self.head(x)


class DenseNet(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(5, width)
        self.layers = nn.ModuleList([nn.Linear(width * (i + 1), width) for i in range(depth)])
        self.head = nn.Linear(width * (depth + 1), 3)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, torch.relu(layer(x))], -1)
        return self.head(x)


class TiedLanguageModel(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, width)
        self.blocks = nn.ModuleList([PreLN(width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class DataDependent(nn.Module):
    """Control flow that reads values: real tensors must do."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 3)
        self.blocks = nn.ModuleList([PreLN(width) for _ in range(depth)])

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            if x.abs().max().item() < 1e9:
                x = block(x)
        return self.head(x)


class GrowingHeads(nn.Module):
    """Head size grows with width; queries have their own projection."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head, self.norm = nn.Linear(5, width), nn.Linear(width, 3), nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            [nn.ModuleDict({k: nn.Linear(width, width) for k in ("q", "k", "v", "o")}) for _ in range(depth)]
        )

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            q, k, v = (layer[name](x).unflatten(-1, (2, -1)).transpose(1, 2) for name in "qkv")
            weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
            x = x + layer["o"]((weights @ v).transpose(1, 2).flatten(-2))
        return self.head(self.norm(x))


ENTRIES = (
    *(
        Entry(name, stack(block), **SIZES, inputs=vectors(), depths=((2, 4),))
        for name, block in {
            "preln": PreLN,
            "inplace": InPlace,
            "stream_inplace": StreamInPlace,
            "half_stream": HalfStream,
            "checkpoint": Checkpointed,
            "checkpoint_nonreentrant": CheckpointedAgain,
            "autocast": Autocast,
            "custom_function": CustomFunction,
            "scripted": Scripted,
            "straight_through": Detached,
            "glu": Glu,
            "rezero": ReZero,
            "layerscale": LayerScale,
            "fixup": Fixup,
            "side_gate": SideGate,
            "tail_under_relu": TailUnderRelu,
            "sandwich": SandwichNorm,
            "weight_norm": WeightNorm,
            "tanh_stream": TanhStream,
        }.items()
    ),
    Entry("parallel", stack(Parallel), **SIZES, inputs=vectors(), depths=((4, 8),)),
    Entry(
        "macaron",
        stack(Macaron),
        **SIZES,
        inputs=sequence(),
        depths=((6, 12),),
        tails=("*.first.down.*", "*.attention.out_proj.*", "*.last.down.*"),
    ),
    Entry("excite", stack(Excite), **SIZES, inputs=vectors(), depths=((2, 4),), refused=4),
    Entry("tail_under_tanh", stack(TailUnderTanh), **SIZES, inputs=vectors(), depths=((2, 4),), refused=4),
    Entry("bare_norm", stack(BareNorm), **SIZES, inputs=vectors(), depths=((2, 4),), refused=4),
    Entry("spectral_norm", stack(SpectralNorm), **SIZES, inputs=vectors(), depths=((2, 4),), refused=4),
    Entry("lora", stack(Lora), **SIZES, inputs=vectors(), error="multiplied with another parameter"),
    Entry("highway", stack(Highway), **SIZES, inputs=vectors(), error="outside residual branches"),
    Entry("plain", stack(PlainLayer), **SIZES, inputs=vectors(), error="outside residual branches"),
    Entry("linear_skip", stack(LinearSkip), **SIZES, inputs=vectors(), error="outside residual branches"),
    Entry("learned_skip_gain", stack(Hybrid), **SIZES, inputs=vectors(), error="outside residual branches"),
    Entry("postnorm_refused", stack(PostNorm), **SIZES, inputs=vectors(), error="post-norm"),
    Entry("postnorm", stack(PostNorm), **SIZES, inputs=vectors(), depths=((2, 4),), postnorm="allow"),
    Entry("universal", Universal, **SIZES, inputs=vectors(), depths=((2, 4),), tails=("block.down.*",)),
    Entry("multiplied", Multiplied, **SIZES, inputs=vectors(), depths=((2, 4),), tails=("blocks.*.down.*",)),
    Entry(
        "stacked", Stacked, **SIZES, inputs=vectors(), depths=((2, 4),), roles={"weight": "hidden"}, tails=("weight",)
    ),
    Entry(
        "wrn_bn",
        WideResNet,
        **SIZES,
        inputs=picture(),
        depths=((6, 12),),
        tails=("blocks.*.conv2.weight",),
        roles={"blocks.1.conv1.weight": "hidden", "stem.weight": "scalar", "head.weight": "output"},
    ),
    Entry(
        "wrn_plain", lambda width, depth: WideResNet(width, depth, False), **SIZES, inputs=picture(), depths=((6, 12),)
    ),
    Entry(
        "wrn_inplace",
        lambda width, depth: WideResNet(width, depth, True, True),
        **SIZES,
        inputs=picture(),
        depths=((6, 12),),
    ),
    Entry("resnet", ResNet, **SIZES, inputs=picture(), depths=((4, 8),), tails=("blocks.*.bn2.*",)),
    Entry(
        "encoder_pre",
        Encoder,
        **SIZES,
        inputs=sequence(),
        depths=((4, 8),),
        roles={"encoder.layers.*.self_attn.in_proj_weight": "hidden"},
        tails=("*.out_proj.*", "*.linear2.*"),
    ),
    Entry(
        "encoder_post",
        lambda width, depth: Encoder(width, depth, False),
        **SIZES,
        inputs=sequence(),
        depths=((4, 8),),
        postnorm="allow",
    ),
    Entry("encoder_decoder", EncoderDecoder, **SIZES, inputs=sequence(), depths=((4, 8), (6, 12))),
    Entry(
        "dit",
        DiT,
        **SIZES,
        inputs=(sequence(), torch.tensor([0.3, 2.0])),
        depths=((4, 8),),
        tails=("*.attention.out_proj.*", "*.mlp.2.*"),
        roles={"time.0.weight": "input", "blocks.*.modulation.1.weight": "hidden"},
    ),
    Entry("rrdb", RRDB, **SIZES, inputs=picture(8), depths=((2, 4),), refused=4),
    Entry("edsr", SuperResolution, **SIZES, inputs=picture(8), depths=((2, 4),)),
    Entry("uvit", UViT, **SIZES, inputs=sequence(), error="long skip"),
    Entry("densenet", DenseNet, **SIZES, inputs=vectors(), error="outside residual branches"),
    Entry(
        "tied",
        TiedLanguageModel,
        **SIZES,
        inputs=torch.tensor([[1, 2, 3]]),
        depths=((2, 4),),
        roles={"embedding.weight": "input"},
        readout=("norm.weight", "norm.bias"),
    ),
    Entry("data_dependent", DataDependent, **SIZES, inputs=vectors(), depths=((2, 4),)),
    Entry("growing_heads", GrowingHeads, **SIZES, inputs=sequence(), depths=((2, 4),)),
)
