"""Formulas for a few operations of torch that stack better than torch's own: the same value, other roundings.

Modes that are active while a network runs. Softmax over few classes costs an order more per entry than one over many,
and fused attention has no batching rule (docs/engine.md). Dropout takes its masks from outside, so that each member of
a stack has its own generator.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

NARROW = 16  # classes below which the loss lays its entries out along the examples

Mask = Callable[[Tensor, float], Tensor]
"""(the tensor that is dropped out, probability) -> its mask: zeros, and 1 / (1 - probability)."""


class Dropout(TorchFunctionMode):
    """While active, dropout (also that of attention weights) multiplies by masks that `mask` gives, in order."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self.mask = mask

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = self.replacement(func, args, dict(kwargs or {}))
        return func(*args, **(kwargs or {})) if found is None else found

    def replacement(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
        if func is F.dropout:
            return self.dropout(*args, **kwargs)
        if func is F.scaled_dot_product_attention and _dropped(*args, **kwargs):
            return attention(*args, **kwargs, drop=self.dropout)
        return None

    def dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * self.mask(x, p) if training and p else x


class Stackable(Dropout):
    """While active, cross entropy and attention too take the formulas below."""

    def replacement(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
        if func is F.cross_entropy:
            return cross_entropy(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return attention(*args, **kwargs, drop=self.dropout)
        return super().replacement(func, args, kwargs)


def cross_entropy(
    output: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor | None:  # fmt: skip
    """-mean_i log softmax(z_i)[y_i] for few classes, the examples along the contiguous dimension."""
    plain = weight is None and size_average is None and reduce is None and ignore_index < 0
    classes = output.dim() == 2 and target.dim() == 1 and not target.is_floating_point()
    if not plain or not classes or reduction != "mean" or label_smoothing or output.shape[1] >= NARROW:
        return None
    log = F.log_softmax(output.mT.contiguous(), 0)
    counts = target != ignore_index
    right = log.gather(0, target.clamp(min=0).unsqueeze(0)).squeeze(0)
    return -torch.where(counts, right, 0.0).sum() / counts.sum()


def attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False,
    *, scale: float | None = None, enable_gqa: bool = False, drop: Callable[[Tensor, float], Tensor],
) -> Tensor | None:  # fmt: skip
    """dropout(softmax(q k^T / sqrt(head size) + mask)) v."""
    if enable_gqa or (attn_mask is not None and attn_mask.dtype == torch.bool):
        return None
    logits = (q * (1.0 / math.sqrt(q.shape[-1]) if scale is None else scale)) @ k.mT
    if is_causal:
        hidden = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).tril().logical_not()
        logits = logits.masked_fill(hidden, -math.inf)
    weights = (logits if attn_mask is None else logits + attn_mask).softmax(-1)
    return (drop(weights, dropout_p) if dropout_p else weights) @ v


def _dropped(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, dropout_p: float = 0.0, *_: Any, **__: Any
) -> bool:
    return dropout_p > 0


def bernoulli(shape: Sequence[int], p: float, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """A mask: each entry 0 with probability p, else 1 / (1 - p)."""
    if p >= 1:
        return torch.zeros(shape, dtype=dtype)
    return torch.empty(shape, dtype=dtype).bernoulli_(1 - p, generator=generator).div_(1 - p)


def dropout_generator(seed: int) -> torch.Generator:
    """A member's own source of masks, apart from that of its data order."""
    return torch.Generator().manual_seed((seed + 0x9E3779B97F4A7C15) % 2**63)
