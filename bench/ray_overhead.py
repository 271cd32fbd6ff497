"""What a driver costs per unit of a large sweep: CPU time and memory along 10,000 units, and the same through Ray.

    python bench/ray_overhead.py [units] [units through Ray]

Units that train nothing, one run each, so that all that is left is the driver's own work: claim, hand out, take the
answer, one transaction, and tell how far the sweep is. A window is a tenth of the sweep; flat means that the last
costs what the second did (the first starts up). CPU of the driver's process, which through Ray includes Ray's threads
in it. Other work on the machine makes each CPU second do less, so a fixed piece of work is timed at the end of every
window, and the windows are compared in its units ("relative"). Writes bench/facts/ray_overhead.json.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from isoscale import Run, sweep
from isoscale._records.run import digest
from isoscale._records.unit import Unit
from isoscale._sweep.events import Event
from isoscale._sweep.executor import Executor, Result, run_unit
from isoscale._sweep.ray_executor import RayExecutor

FACTS = Path(__file__).parent / "facts" / "ray_overhead.json"
WINDOWS = 10


def nothing(batch: Sequence[dict[str, Any]]) -> list[Run]:
    return [Run(config, {"train_loss": float(config["seed"])}, seconds=0.0) for config in batch]


class Instant:
    """An executor whose units are done as soon as a thread gets to them."""

    slots = 64

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def submit(self, unit: Unit) -> Future[Result]:
        return self._pool.submit(run_unit, nothing, unit.configs)

    def close(self) -> None:
        self._pool.shutdown()


def resident() -> float:
    """MB of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def yardstick() -> float:
    """CPU seconds of a fixed piece of work, the least of five."""

    def once() -> float:
        start = time.process_time()
        for seed in range(1000):
            digest({"rule": "sp", "seed": seed, "lr": 0.5})
        return time.process_time() - start

    return min(once() for _ in range(5))


def measured(count: int, make: Callable[[], Executor]) -> dict[str, Any]:
    """CPU milliseconds a unit and MB by window, and the seconds between the call and the first unit."""
    configs = [
        {"rule": "sp", "optimizer": "sgd", "width": 8 * (1 + seed % 10), "depth": 2, "seed": seed}
        for seed in range(count)
    ]
    marks: list[tuple[float, float, float]] = []
    yards: list[float] = []
    aside = 0.0  # CPU seconds of the yardstick itself
    finished = 0

    def note(event: Event) -> None:
        nonlocal finished, aside
        finished += event.kind == "finished"
        if event.kind == "start" or (event.kind == "finished" and finished % (count // WINDOWS) == 0):
            marks.append((time.process_time() - aside, time.perf_counter(), resident()))
            start = time.process_time()
            yards.append(yardstick())
            aside += time.process_time() - start

    with tempfile.TemporaryDirectory() as folder:
        executor = make()
        start = time.process_time()
        sweep(nothing, configs, store=Path(folder) / "runs.sqlite", batch=1, executor=executor, progress=note)
        executor.close()
    each = count // WINDOWS
    cpu = [round(1e3 * (b[0] - a[0]) / each, 3) for a, b in pairwise(marks)]
    relative = [each / (0.5 * (a + b)) for each, (a, b) in zip(cpu, pairwise(yards), strict=True)]
    memory = [round(mark[2], 1) for mark in marks]
    return {
        "units": count,
        "queueing_cpu_ms_per_unit": round(1e3 * (marks[0][0] - start) / count, 3),
        "cpu_ms_per_unit": cpu,
        "wall_ms_per_unit": round(1e3 * (marks[-1][1] - marks[0][1]) / count, 3),
        "memory_mb": memory,
        "relative": [round(one / relative[1], 2) for one in relative],
        "memory_growth_kb_per_unit": round(1e3 * (memory[-1] - memory[1]) / (count - each), 3),
    }


def main() -> None:
    count, through_ray = (int(word) for word in [*sys.argv[1:], "10000", "1000"][:2])
    facts = {"in this process": measured(count, Instant)}
    if find_spec("ray") is not None:
        facts["through Ray, on this machine"] = measured(through_ray, lambda: RayExecutor(nothing, in_flight=16))
    for name, each in facts.items():
        print(name)
        for key, value in each.items():
            print(f"  {key}: {value}")
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
