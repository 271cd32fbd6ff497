"""Models of a user's own: growth hidden by a final norm, a tied embedding, heads that grow in size, a fixed init."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES, CLASSES, TOKENS = 6, 4, 11


def vectors(count: int = 16) -> Tensor:
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(0))


def tokens(count: int = 6, length: int = 7) -> Tensor:
    return torch.randint(TOKENS, (count, length), generator=torch.Generator().manual_seed(0))


class HiddenGrowth(nn.Module):
    """h <- h + relu(W h) without norms, then a norm: the output can not show what the stream does."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(FEATURES, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)
        for block in self.blocks:
            nn.init.normal_(block.weight, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(torch.relu(h))
        return self.head(self.norm(h))


class FixedStd(nn.Module):
    """A pre-LN network whose author draws every matrix from N(0, 0.2^2), whatever the width is."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(FEATURES, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)
        for block in self.blocks:
            nn.init.normal_(block.weight, std=0.2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for norm, block in zip(self.norms, self.blocks):
            h = h + block(norm(h))
        return self.head(self.norm(h))


class Attention(nn.Module):
    """Two heads at every width, with separate projections, in plain operations."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, h: Tensor) -> Tensor:
        batch, length, width = h.shape
        q, k, v = (each(h).view(batch, length, 2, -1).transpose(1, 2) for each in (self.q, self.k, self.v))
        mixed = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1) @ v
        return self.o(mixed.transpose(1, 2).reshape(batch, length, width))


class Language(nn.Module):
    """Tokens, pre-LN attention whose head size grows with width, readout tied to the embedding or not."""

    def __init__(self, width: int, depth: int, tied: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.blocks = nn.ModuleList(Attention(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, TOKENS, bias=False)
        if tied:
            nn.init.normal_(self.embed.weight, std=0.3)
            self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        for norm, block in zip(self.norms, self.blocks):
            h = h + block(norm(h))
        return self.head(self.norm(h))


def untied(width: int, depth: int) -> nn.Module:
    return Language(width, depth, tied=False)


def tied(width: int, depth: int) -> nn.Module:
    return Language(width, depth, tied=True)


class Plain(nn.Module):
    """No residual branches: width alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second, self.last = (
            nn.Linear(FEATURES, width),
            nn.Linear(width, width),
            nn.Linear(width, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.second(F.relu(self.first(x)))))
