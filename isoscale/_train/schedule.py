"""When and on what: the learning rate's factor at every step, and the order of the examples."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor


def schedule(shape: str, steps: int, warmup: float = 0.0) -> list[float]:
    """The factor on every learning rate at each of `steps` steps: a function of the fraction of training done.

    Over the first round(warmup * steps) steps it rises as 1/W, 2/W, ..., 1. Then, with p from 0 to 1 over the rest:
    "constant" 1, "linear" 1 - p, "cosine" (1 + cos(pi p)) / 2. The last step's factor is above 0: p = 1 comes after it.
    """
    rising = round(warmup * steps)
    rest = [i / (steps - rising) for i in range(steps - rising)]
    shapes = {
        "constant": lambda p: 1.0,
        "linear": lambda p: 1.0 - p,
        "cosine": lambda p: (1.0 + math.cos(math.pi * p)) / 2.0,
    }
    return [(i + 1) / rising for i in range(rising)] + [shapes[shape](p) for p in rest]


def batches(examples: int, size: int | None, seed: int) -> Iterator[Tensor | None]:
    """Indices of each batch, without end: shuffled passes joined end to end; None for the whole split every time.

    The order depends on the seed, the number of examples and the size alone, and longer runs continue shorter ones.
    """
    generator = torch.Generator().manual_seed(seed)
    left = torch.empty(0, dtype=torch.int64)
    while True:
        if size is None:
            yield None
            continue
        while len(left) < size:
            left = torch.cat([left, torch.randperm(examples, generator=generator)])
        yield left[:size]
        left = left[size:]
