"""What a sweep will cost, by a short measurement of each size; the cheapest proxy whose predicted regret is small."""

import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from isoscale._records.run import Config
from isoscale._sweep.batches import Train

SHORT = (2, 8)  # steps of the two measurements, whose difference is what a step costs
TOGETHER = 4  # configurations measured together
Size = tuple[int, int]


@dataclass(frozen=True)
class Price:
    """One size of a sweep: runs, FLOPs and core seconds of all of them, and what a run takes on its own; bytes of
    memory above that of the idle process, for `TOGETHER` runs in one batch.
    """

    size: Size
    runs: int
    flops: float
    seconds: float
    seconds_a_run: float
    flops_a_run: float
    bytes: float


def price(train: Train, configs: Iterable[Config]) -> tuple[Price, ...]:
    """The price of a sweep's configurations, by size: each is trained for a few steps, in one process of its own.

    seconds a run = start + steps (t[8 steps] - t[2 steps]) / 6 from `TOGETHER` runs trained together; FLOPs as the runs
    themselves count them. `train` must be importable there. Evaluations at the end of a run are in the start.
    """
    grouped: dict[Size, list[Config]] = {}
    for config in configs:
        grouped.setdefault((int(config["width"]), int(config["depth"])), []).append(config)
    # Smallest first: a process knows only the largest memory it ever had.
    ordered = sorted(grouped.items(), key=lambda item: item[0][0] ** 2 * item[0][1])
    found = []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        samples = [[dict(each) for each in members[:TOGETHER]] for _, members in ordered]
        idle = pool.submit(_idle, train, samples[0]).result() if samples else 0.0
        for (size, members), sample in zip(ordered, samples, strict=True):
            flops, start, step, peak = pool.submit(_measured, train, sample).result()
            steps = [int(each.get("steps", 1)) for each in members]
            seconds = math.fsum(start + step * each for each in steps)
            whole = math.fsum(flops * each for each in steps)
            count = len(members)
            found.append(Price(size, count, whole, seconds, seconds / count, whole / count, peak - idle))
    return tuple(found)


def _idle(train: Train, configs: Sequence[dict[str, Any]]) -> float:
    """Bytes of a process that has its imports and its data and trains next to nothing."""
    train([{**configs[0], "steps": 1}])
    return _peak()


def _measured(train: Train, configs: Sequence[dict[str, Any]]) -> tuple[float, float, float, float]:
    """(FLOPs a step, seconds a run before its steps, seconds a step and run, peak bytes) in this process."""
    train([{**config, "steps": 1} for config in configs])  # plans are paid once and not by every run
    seconds = []
    for steps in SHORT:
        start = time.perf_counter()
        runs = train([{**config, "steps": steps} for config in configs])
        seconds.append((time.perf_counter() - start) / len(configs))
    step = max((seconds[1] - seconds[0]) / (SHORT[1] - SHORT[0]), 1e-9)
    flops = max((run.flops or 0.0) / max(1, run.steps) for run in runs)
    return flops, max(seconds[0] - SHORT[0] * step, 0.0), step, _peak()


def _peak() -> float:
    """Bytes of the process's largest memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


@dataclass(frozen=True)
class Proposal:
    """A proxy: its size and seeds, what tuning there costs, its predicted regret (and upper 95% end), and how many
    times cheaper it is than tuning the target directly with the same grid and seeds."""

    size: Size
    seeds: int
    flops: float
    regret: float
    high: float
    saving: float


Predict = Callable[[Size, int], tuple[float, float]]
"""(proxy, seeds) -> predicted regret and its upper 95% end."""


def propose(
    base: Size, target: Size, values: int, flops: Callable[[Size], float], predict: Predict, bound: float,
    seeds: Sequence[int] = (1, 2, 3, 5, 8, 12, 20, 30),
) -> tuple[Proposal, ...]:  # fmt: skip
    """Proxies from half the base to the target in doublings, whose predicted regret is at most `bound`, cheapest first.

    `values`: points of the grid; `flops(size)`: of one run. Empty where no proxy reaches the bound.
    """
    sizes = [(width, depth) for width in _doublings(base[0], target[0]) for depth in _doublings(base[1], target[1])]
    direct = {count: values * count * flops(target) for count in seeds}
    found = []
    for size in sizes:
        each = flops(size)
        for count in seeds:
            regret, high = predict(size, count)
            if regret <= bound:
                cost = values * count * each
                found.append(Proposal(size, count, cost, regret, high, direct[count] / cost))
                break
    return tuple(sorted(found, key=lambda proposal: proposal.flops))


def _doublings(base: int, target: int) -> list[int]:
    """Half the base, the base and its doublings up to the target."""
    found = [base // 2] if base % 2 == 0 and base >= 4 else []
    while base < target:
        found.append(base)
        base *= 2
    return [*found, target]


def scaled(prices: Sequence[Price], workers: int) -> tuple[float, float]:
    """(FLOPs, wall seconds) of all sizes together on `workers` processes."""
    return math.fsum(each.flops for each in prices), math.fsum(each.seconds for each in prices) / max(1, workers)
