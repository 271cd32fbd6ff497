"""Simulated sweeps with a known answer: the optimum of each rule moves by a set number of octaves per doubling."""

import math
import random
from collections.abc import Iterable, Sequence

from isoscale._records.run import Run
from isoscale._report.findings import AxisFacts, Carried, Curve, Estimate, ReportFacts, RuleFacts, Spent
from isoscale._report.observe import account, points

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
    """Widths at the smallest depth and depths at the smallest width."""
    chance = random.Random(0)
    base = widths[0], depths[0]
    sizes = sorted({(width, base[1]) for width in widths} | {(base[0], depth) for depth in depths})
    varied = (
        (o, r, s, lr, seed) for o in optimizers for r in rules for s in sizes for lr in rates for seed in range(seeds)
    )
    runs = []
    for optimizer, rule, (width, depth), rate, seed in varied:
        config = {"model": "residual_mlp", "rule": rule, "optimizer": optimizer, "width": width, "depth": depth}
        config |= {"base_width": base[0], "base_depth": base[1], "seed": seed, "lr": rate, "steps": 400}
        config |= {"batch_size": 64, "data": "digits", "schedule": "cosine", "warmup": 0.1, **settings}
        runs.append(_train(config, chance, noise))
    return runs


def _train(config: dict[str, object], chance: random.Random, noise: float) -> Run:
    """A lopsided bowl in log2 lr around the rule's optimum; far to its right training diverges."""
    wider, deeper = (math.log2(config[name] / config[f"base_{name}"]) for name in ("width", "depth"))
    over_width, over_depth = MOVES.get(config["rule"], (0.0, 0.0))
    away = math.log2(config["lr"]) + 7.0 - over_width * wider - over_depth * deeper
    level = 0.42 - 0.035 * (wider + deeper) + 0.02 * math.sin(config["seed"])
    loss = level * (1 + 0.035 * away**2 + 0.012 * max(away, 0.0) ** 3) * math.exp(chance.gauss(0.0, noise))
    diverged = away > 3.6 + chance.uniform(-0.4, 0.4)
    work = 6.0 * config["width"] ** 2 * config["depth"] * 400 * 64
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


def known_facts(runs: list[Run], **more: object) -> ReportFacts:
    """The facts of simulated runs with the statistics replaced by the known answer, give or take 0.1 octave."""
    pairs = dict.fromkeys((run["optimizer"], run["rule"]) for run in runs)
    return ReportFacts(
        title=str(more.pop("title", "residual_mlp on digits")),
        hyperparameter="lr",
        metric="train_loss",
        tolerance=0.25,
        rules=tuple(_known_rule(rule, optimizer, runs) for optimizer, rule in pairs),
        ran=account(runs),
        **more,
    )


def _known_rule(rule: str, optimizer: str, runs: list[Run]) -> RuleFacts:
    mine = [run for run in runs if (run["rule"], run["optimizer"]) == (rule, optimizer)]
    axes = tuple(_known_axis(axis, rule, mine) for axis in ("width", "depth"))
    outcome = "drifts" if any(axis.outcome == "drifts" for axis in axes) else "transfers"
    proxy, direct = Spent("width 32, depth 3", 27, 3e9, 40.0), Spent("width 256, depth 3", 27, 2e11, 900.0)
    return RuleFacts(rule, optimizer, outcome, f"{rule}: {outcome}", axes, proxy, direct)


def _known_axis(axis: str, rule: str, runs: list[Run]) -> AxisFacts:
    other = "depth" if axis == "width" else "width"
    base = min(run[other] for run in runs)
    move = MOVES.get(rule, (0.0, 0.0))[axis == "depth"]
    by_size: dict[int, list[Run]] = {}
    for run in runs:
        if run[other] == base:
            by_size.setdefault(run[axis], []).append(run)
    smallest = min(by_size)
    curves = []
    for size, members in sorted(by_size.items()):
        best = -7.0 + move * math.log2(size / smallest)
        optimum = Estimate(2**best, 2 ** (best - 0.1), 2 ** (best + 0.1))
        seen = points(members, "lr", "train_loss")
        lowest = min((point.loss for point in seen if point.loss is not None), default=None)
        edge = min((point.at for point in seen if point.diverged == point.runs), default=None)
        place = (size, base) if axis == "width" else (base, size)
        curves.append(Curve(*place, seen, optimum, lowest, True, "found", edge and edge / 2**0.5, "edge"))
    outcome = "drifts" if abs(move) > 0.25 else "transfers"
    ends = tuple((float(size), 2 ** (-7.0 + move * math.log2(size / smallest))) for size in (smallest, max(by_size)))
    share = Estimate(100 * move**2, 100 * move**2 - 0.2, 100 * move**2 + 0.2)
    carried = Carried(f"{axis} {max(by_size)}, {other} {base}", "measured", "so much more", Estimate(0.01), share)
    drift = Estimate(move, move - 0.1, move + 0.1)
    said = f"the optimum moves by {move:+.2f} octaves per doubling of {axis}"
    return AxisFacts(axis, f"{other} {base}", outcome, said, tuple(curves), drift, ends, carried=carried)
