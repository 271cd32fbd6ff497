"""The same models under u-muP: every layer, residual and the loss replaced by unit_scaling's, its AdamW."""

import torch
import unit_scaling as uu
import unit_scaling.functional as U
from torch import nn
from torch.nn import functional as F
from unit_scaling.core.functional import transformer_residual_scaling_rule

BASE = 32


class MlpBlock(nn.Module):
    def __init__(self, width, tau):
        super().__init__()
        self.tau = tau
        self.norm = uu.LayerNorm(width)
        self.up = uu.Linear(width, 2 * width)
        self.down = uu.Linear(2 * width, width)

    def forward(self, x):
        x, skip = U.residual_split(x, tau=self.tau)
        x = self.down(U.gelu(self.up(self.norm(x))))
        return U.residual_add(x, skip, tau=self.tau)


class Mlp(nn.Module):
    def __init__(self, width, depth, features=64, classes=10):
        super().__init__()
        taus = [transformer_residual_scaling_rule()(i, depth) for i in range(depth)]
        self.embed = uu.Linear(features, width)
        self.blocks = uu.DepthSequential(*(MlpBlock(width, tau) for tau in taus))
        self.norm = uu.LayerNorm(width)
        self.head = uu.LinearReadout(width, classes)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.embed(x))))


class Block(nn.Module):
    def __init__(self, width, taus):
        super().__init__()
        self.heads, self.taus = width // 16, taus
        self.norm1, self.norm2 = uu.LayerNorm(width), uu.LayerNorm(width)
        self.qkv = uu.Linear(width, 3 * width)
        self.out = uu.Linear(width, width)
        self.up = uu.Linear(width, 4 * width)
        self.down = uu.Linear(4 * width, width)

    def attend(self, x):
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        y = U.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))

    def forward(self, x):
        x, skip = U.residual_split(x, tau=self.taus[0])
        x = U.residual_add(self.attend(self.norm1(x)), skip, tau=self.taus[0])
        x, skip = U.residual_split(x, tau=self.taus[1])
        return U.residual_add(self.down(U.gelu(self.up(self.norm2(x)))), skip, tau=self.taus[1])


class Gpt(nn.Module):
    def __init__(self, width, depth, vocabulary=128, context=32):
        super().__init__()
        taus = [transformer_residual_scaling_rule()(i, 2 * depth) for i in range(2 * depth)]
        self.tokens = uu.Embedding(vocabulary, width)
        self.places = uu.Embedding(context, width)
        self.blocks = uu.DepthSequential(*(Block(width, taus[2 * i : 2 * i + 2]) for i in range(depth)))
        self.norm = uu.LayerNorm(width)
        self.head = uu.LinearReadout(width, vocabulary)

    def forward(self, tokens):
        x = U.add(self.tokens(tokens), self.places(torch.arange(tokens.shape[1])))
        return self.head(self.norm(self.blocks(x)))


MODELS = {"mlp": Mlp, "gpt": Gpt}


def prepared(kind, width, depth, lr):
    model = MODELS[kind](width, depth)
    return model, uu.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)


def loss(logits, targets):
    logits, targets = logits.flatten(0, -2), targets.flatten()
    return U.cross_entropy(logits, targets) if logits.requires_grad else F.cross_entropy(logits, targets)
