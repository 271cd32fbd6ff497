"""The smallest networks in which one open question of the scaling rule shows, one each: bench/open_questions.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def linear(fan_in: int, fan_out: int) -> nn.Linear:
    """A layer without bias whose entries are N(0, 1/fan_in)."""
    layer = nn.Linear(fan_in, fan_out, bias=False)
    nn.init.normal_(layer.weight, std=fan_in**-0.5)
    return layer


class Attention(nn.Module):
    """Two heads whose size grows with width, over the 8 rows of a digit; then one weight per block, pre-LN.

    `extra` multiplies the logits: the plan's own scale is 1/d_head, and (d_head / d_base)^1/2 takes it back to the
    usual square root (the gauge: exactly the network that has the square root in it).
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.heads, self.extra = 2, 1.0
        self.stem, self.places = linear(8, width), nn.Parameter(0.5 * torch.randn(8, width))
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    **{name: linear(width, width) for name in ("query", "key", "value", "proj", "dense")},
                    **{name: nn.LayerNorm(width) for name in ("norm", "norm2")},
                }
            )
            for _ in range(depth)
        )
        self.norm, self.readout = nn.LayerNorm(width), linear(width, 10)

    def logits(self, layer: nn.ModuleDict, h: Tensor) -> Tensor:
        """q.k over the square root of the head size: (batch, heads, rows, rows)."""
        q, k = (self.split(layer[name](h)) for name in ("query", "key"))
        return self.extra * (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5

    def split(self, h: Tensor) -> Tensor:
        return h.reshape(*h.shape[:-1], self.heads, h.shape[-1] // self.heads).transpose(1, 2)

    def forward(self, x: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        h = self.stem(x.reshape(x.shape[0], 8, 8)) + self.places
        for layer in self.layers:
            normed = layer["norm"](h)
            logits = self.logits(layer, normed)
            if seen is not None:
                seen.append(logits)
            mixed = torch.softmax(logits, -1) @ self.split(layer["value"](normed))
            h = h + layer["proj"](mixed.transpose(1, 2).reshape(h.shape))
            h = h + layer["dense"](F.relu(layer["norm2"](h)))
        return self.readout(self.norm(h).mean(1))


class NextCharacter(nn.Module):
    """The next character from the last two, readout tied to the embedding or not."""

    def __init__(self, width: int, depth: int, *, tied: bool, vocabulary: int) -> None:
        super().__init__()
        self.tokens, self.previous = nn.Embedding(vocabulary, width), linear(width, width)
        self.blocks = nn.ModuleList(linear(width, width) for _ in range(depth))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.3)
        nn.init.normal_(self.readout.weight, std=0.3)
        if tied:
            self.readout.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x[:, -1]) + self.previous(self.tokens(x[:, -2]))
        for block in self.blocks:
            h = h + block(F.relu(h))
        return self.readout(self.norm(h))


class NormAtTail(nn.Module):
    """h <- h + BN(W relu(h)): the branch ends in BatchNorm's gain and bias."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.readout = linear(64, width), linear(width, 10)
        self.blocks = nn.ModuleList(linear(width, width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, track_running_stats=False) for _ in range(depth))

    def forward(self, x: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        h = self.stem(x.flatten(1))
        for block, norm in zip(self.blocks, self.norms):
            h = h + norm(block(F.relu(h)))
        if seen is not None:
            seen.append(h)
        return self.readout(F.relu(h))


class PreLN(nn.Module):
    """h <- h + W_2 relu(W_1 LN(h) + b_1) + b_2, as PyTorch initialises it: gains and biases inside and at the end."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.readout = nn.Linear(64, width), nn.Linear(width, 10)
        for name, made in (
            ("norms", lambda: nn.LayerNorm(width)),
            ("expands", lambda: nn.Linear(width, width)),
            ("contracts", lambda: nn.Linear(width, width)),
        ):
            self.add_module(name, nn.ModuleList(made() for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        h = self.stem(x.flatten(1))
        for norm, expand, contract in zip(self.norms, self.expands, self.contracts):
            branch = contract(F.relu(expand(norm(h))))
            if seen is not None:
                seen.append(branch)
            h = h + branch
        return self.readout(self.norm(h))


class Blocks(nn.Module):
    """`blocks` blocks of `each` branches; one weight a branch: h <- h + W relu(h).

    parallel: a block's functions read the same stream and are summed before they are added to it, one branch. scale:
    of the weights in branches. Shows the stream's first and last state.
    """

    def __init__(self, width: int, blocks: int, each: int, parallel: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        self.parallel = parallel
        self.stem, self.readout = linear(64, width), linear(width, 10)
        self.blocks = nn.ModuleList(nn.ModuleList(linear(width, width) for _ in range(each)) for _ in range(blocks))
        for weight in self.blocks.parameters():
            nn.init.normal_(weight, std=scale * width**-0.5)

    def forward(self, x: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        h = self.stem(x.flatten(1))
        if seen is not None:
            seen.append(h)
        for block in self.blocks:
            if self.parallel:
                first, *rest = (branch(F.relu(h)) for branch in block)
                h = h + sum(rest, first)
                continue
            for branch in block:
                h = h + branch(F.relu(h))
        if seen is not None:
            seen.append(h)
        return self.readout(F.relu(h))


class Towers(nn.Module):
    """Two streams of their own depths over the same digit, joined by a product of features before the readout."""

    def __init__(self, width: int, left: int, right: int) -> None:
        super().__init__()
        self.stems = nn.ModuleList(linear(64, width) for _ in range(2))
        self.left = nn.ModuleList(linear(width, width) for _ in range(left))
        self.right = nn.ModuleList(linear(width, width) for _ in range(right))
        self.readout = linear(width, 10)

    def forward(self, x: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        ends = []
        for stem, tower in zip(self.stems, (self.left, self.right)):
            h = stem(x.flatten(1))
            for branch in tower:
                h = h + branch(F.relu(h))
            ends.append(h)
        if seen is not None:
            seen.extend(ends)
        return self.readout(F.relu(ends[0]) * torch.tanh(ends[1]))
