"""Simulated sweeps with a known answer: the optimum of each rule moves by a set number of octaves per doubling."""

import math
import random
from collections.abc import Iterable, Sequence

from isoscale._records.run import Run

MOVES = {  # octaves per doubling of width, of depth
    "sp": (-0.85, -0.6),
    "mup": (0.0, -0.5),
    "depth_mup": (0.0, 0.0),
}
WIDTHS, DEPTHS = (32, 64, 128, 256), (3, 6, 12, 24)


def simulate(
    rules: Iterable[str] = tuple(MOVES),
    optimizers: Iterable[str] = ("adamw",),
    widths: Sequence[int] = WIDTHS,
    depths: Sequence[int] = DEPTHS,
    rates: Sequence[float] = tuple(2.0**k for k in range(-11, -2)),
    seeds: int = 3,
    noise: float = 0.01,
    **settings: object,
) -> list[Run]:
    """Widths at the smallest depth and depths at the smallest width, three seeds, nine rates; far right diverges."""
    chance = random.Random(0)
    sizes = sorted({(width, depths[0]) for width in widths} | {(widths[0], depth) for depth in depths})
    return [
        _run(chance, rule, optimizer, size, (widths[0], depths[0]), rate, seed, noise, settings)
        for optimizer in optimizers
        for rule in rules
        for size in sizes
        for rate in rates
        for seed in range(seeds)
    ]


def _run(
    chance: random.Random, rule: str, optimizer: str, size: tuple[int, int], base: tuple[int, int], rate: float, seed: int,
    noise: float, settings: dict[str, object],
) -> Run:  # fmt: skip
    over_width, over_depth = MOVES.get(rule, (0.0, 0.0))
    doublings = math.log2(size[0] / base[0]), math.log2(size[1] / base[1])
    best = (-4.5 if optimizer == "sgd" else -7.0) + over_width * doublings[0] + over_depth * doublings[1]
    if optimizer == "sgd":
        rate *= 8
    away = math.log2(rate) - best
    level = 0.42 - 0.035 * sum(doublings) + 0.02 * math.sin(seed)
    loss = level * (1 + 0.035 * away**2 + 0.012 * max(away, 0.0) ** 3) * math.exp(chance.gauss(0.0, noise))
    diverged = away > 3.6 + chance.uniform(-0.4, 0.4)
    config = {
        "model": "residual_mlp", "rule": rule, "optimizer": optimizer, "width": size[0], "depth": size[1],
        "base_width": base[0], "base_depth": base[1], "seed": seed, "lr": rate, "steps": 400, "batch_size": 64,
        "data": "digits", "schedule": "cosine", "warmup": 0.1, **settings,
    }  # fmt: skip
    work = 6.0 * size[0] ** 2 * size[1] * 400 * 64
    return Run(
        config,
        {"train_loss": math.inf if diverged else loss, "test_loss": math.inf if diverged else 1.3 * loss},
        status="diverged" if diverged else "finished",
        diverged_at=37 if diverged else None,
        steps=37 if diverged else 400,
        flops=work,
        seconds=0.2 + work / 4e9,
        data={"name": "digits", "sha256": "5f3a" * 16},
        versions={"isoscale": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
    )
