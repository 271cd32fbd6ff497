"""The cost of knowing the best learning rate to +-1/4 octave: search in lockstep, plain loop over a grid, Optuna's TPE.

    python bench/sweep_speed.py [family ...] [--device cuda] [--searches 1]

Process CPU seconds and FLOPs, one core, in one run. A family's losses come from a pool: every seed at every value of a
half-octave grid of 13. On a device, wall seconds. Plain runs are timed before and after the searches, in one process.

plain   `train`, one run after another (eager, fused optimizer), over the whole grid with seed after seed until the same
        estimator is as sure. Seconds: a run of each value is timed; times the seeds needed, the median over orders of
        the pool's seeds, extrapolated as 1 / sqrt(seeds) where the pool has too few (kind to the grid: a part
        of an interval's width does not shrink with seeds).
optuna  TPE at its defaults over the grid's range driving the same loop. Its trials draw losses from the pool's mean
        curve and spread; counted are the trials after which, for the first time, 19 of 20 studies are within 1/4 octave
        of that curve's minimum, by the better of two readings (best trial; parabola through the trials within 1.5
        octaves of it). Its own overhead is not counted. Left out where optuna cannot be imported.
ours    `search` in this process, everything counted, with fresh seeds each time.
"""

import argparse
import json
import logging
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from isoscale._records.records import Records
from isoscale._records.run import Config, Run
from isoscale._sweep.decide import LEVEL, Axis
from isoscale._sweep.search import Found, search
from isoscale._train import prepare, train_batch
from isoscale._train.lockstep import ENGINE, bytes_each, pays, placed
from isoscale._train.loop import train_prepared
from isoscale._transfer.curve import LossCurve, curves
from isoscale._transfer.optimum import Optimum, find_optimum
from isoscale._transfer.scale import Scale

FACTS = Path(__file__).parent / "facts" / "sweep_speed.json"
LR = Scale("lr")
PRECISION = 0.25
COMMON = {"rule": "depth_mup", "optimizer": "adamw", "schedule": "cosine", "data": "digits"}
MLP = COMMON | {"model": "residual_mlp", "steps": 100, "batch_size": 128, "beta": 0.5}
SMALL = COMMON | {"steps": 40, "evaluations": 1}
Family = tuple[Config, int, int, int]
FAMILIES: dict[str, Family] = {  # configuration, lowest log2 lr of the grid, seeds of the pool, searches
    "residual MLP 32x3": (MLP | {"width": 32, "depth": 3}, -8, 24, 5),
    "residual MLP 32x12": (MLP | {"width": 32, "depth": 12}, -8, 16, 3),
    "pre-LN MLP 64x3": (COMMON | {"model": "preln_mlp", "steps": 100, "width": 64, "depth": 3}, -10, 12, 3),
    "conv net with BN, 8 channels, depth 2": (
        SMALL | {"model": "conv_resnet_bn", "width": 8, "depth": 2, "batch_size": 32}, -9, 6, 1),
    "vit 64x2": (SMALL | {"model": "vit", "width": 64, "depth": 2, "batch_size": 16}, -11, 5, 1),
    "gpt 64x2": (
        SMALL | {"model": "gpt", "data": "text", "context": 16, "width": 64, "depth": 2, "batch_size": 8}, -10, 4, 1),
}  # fmt: skip


def estimate(runs: Records) -> Optimum:
    (by_size,) = curves(runs, LR, "train_loss").values()
    (curve,) = by_size.values()
    return find_optimum(curve, LR, LEVEL)


def based(config: Config) -> Config:
    return {**config, "base_width": config["width"], "base_depth": config["depth"]}


def timed(work: Callable[[], object], device: str) -> tuple[float, object]:
    clock = time.process_time if device == "cpu" else time.perf_counter  # runs end with figures: nothing is left to do
    start = clock()
    result = work()
    return clock() - start, result


def train(config: Config, device: str) -> Run:
    return train_prepared(placed(prepare(config), device))


def shifted(configs: Sequence[Config], by: int, device: str) -> list[Run]:
    """Train with other seeds than asked for: a fresh search under the same question."""
    runs = train_batch([{**config, "seed": config["seed"] + by} for config in configs], device=device)
    return [Run(config, run.metrics, run.status, run.diverged_at, run.steps, run.flops, run.seconds)
            for config, run in zip(configs, runs)]  # fmt: skip


def ours(base: Config, x: np.ndarray, times: int, truth: float, device: str) -> list[dict[str, object]]:
    found = []
    for at in range(times):
        start = float(2.0 ** x[len(x) // 2 + (-2, 0, 2, -1, 1)[at]])
        axis = Axis("lr", start, start * 2.0**-10, start * 2.0**10)
        with tempfile.TemporaryDirectory() as folder:
            job = partial(shifted, by=10_000 * (at + 1), device=device)
            seconds, result = timed(
                partial(
                    search, job, base, axis, store=Path(folder) / "runs.sqlite", estimate=estimate,
                    precision=PRECISION, budget=300, workers=0,
                ),
                device,
            )  # fmt: skip
        assert isinstance(result, Found)
        off = None if result.position is None else abs(result.position - truth)
        found.append({"seconds": seconds, "flops": result.flops, "full runs": result.spent, "status": result.status,
                      "octaves from the pool's minimum": off})  # fmt: skip
    return found


def grid_seeds(x: np.ndarray, losses: np.ndarray, orders: int = 9) -> tuple[float, float]:
    """Seeds that the whole grid needs (median over orders of the pool's), and the share of orders extrapolated."""
    rng, needs, guessed = np.random.default_rng(5), [], 0
    for _ in range(orders):
        order = rng.permutation(len(losses))
        for seeds in range(2, len(losses) + 1):
            curve = LossCurve((1, 1), x, tuple(range(seeds)), losses[order[:seeds]], True, {}, ())
            found = find_optimum(curve, LR, LEVEL)
            half = (found.high - found.low) / 2 if found.status == "found" else math.inf
            if half <= PRECISION:
                needs.append(float(seeds))
                break
        else:
            guessed += 1
            needs.append(len(losses) * (half / PRECISION) ** 2)
    return float(np.median(needs)), guessed / orders


def surrogate(x: np.ndarray, losses: np.ndarray) -> tuple[Callable[[float], tuple[float, float]], float]:
    """(mean, spread) of log loss anywhere, from the pool, and where the mean is least."""
    stable = np.isfinite(losses).all(0)
    log = np.log(losses[:, stable])
    at, spread = x[stable], log.std(0, ddof=1)
    lowest = int(np.argmin(log.mean(0)))
    near = slice(max(0, lowest - 3), lowest + 4)
    smooth = np.polynomial.Polynomial.fit(at[near], log.mean(0)[near], min(4, len(at[near]) - 1))
    fine = np.linspace(at[near][0], at[near][-1], 1201)
    truth = float(fine[np.argmin(smooth(fine))])

    def draw(position: float) -> tuple[float, float]:
        inside = at[near][0] <= position <= at[near][-1]
        mean = float(smooth(position)) if inside else float(np.interp(position, at, log.mean(0)))
        return mean, float(np.interp(position, at, spread))

    return draw, truth


def optuna_trials(x: np.ndarray, losses: np.ndarray, studies: int = 20, most: int = 160) -> dict[str, object]:
    """Trials until 19 of 20 studies are within 1/4 octave, by the better reading."""
    if find_spec("optuna") is None:
        return {"left out": "optuna is not installed"}
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    draw, truth = surrogate(x, losses)
    looks = (20, 30, 40, 60, 80, 120, most)
    hits = {reading: dict.fromkeys(looks, 0) for reading in ("best trial", "parabola")}
    for at in range(studies):
        rng, study = np.random.default_rng(at), optuna.create_study(sampler=optuna.samplers.TPESampler(seed=at))
        tried: list[float] = []
        lost: list[float] = []
        for count in range(1, most + 1):
            trial = study.ask()
            lr = trial.suggest_float("lr", 2.0 ** x[0], 2.0 ** x[-1], log=True)
            mean, spread = draw(math.log2(lr))
            tried.append(math.log2(lr))
            lost.append(mean + spread * float(rng.standard_normal()))
            study.tell(trial, lost[-1])
            if count in looks:
                best = tried[int(np.argmin(lost))]
                hits["best trial"][count] += abs(best - truth) <= PRECISION
                hits["parabola"][count] += abs(parabola(np.array(tried), np.array(lost), best) - truth) <= PRECISION
    need = [n for n in looks if max(each[n] for each in hits.values()) >= 0.95 * studies]
    shares = {reading: {n: hit / studies for n, hit in each.items()} for reading, each in hits.items()}
    return {"trials": need[0] if need else None, "more than": None if need else most, "within 1/4 octave": shares}


def parabola(tried: np.ndarray, lost: np.ndarray, best: float) -> float:
    near = np.abs(tried - best) <= 1.5
    if near.sum() < 4:
        return best
    c, b, _ = np.polyfit(tried[near] - best, lost[near], 2)
    return best if c <= 0 else best + float(np.clip(-b / (2 * c), -1.5, 1.5))


def measure(family: Family, searches_made: int | None, device: str) -> dict[str, object]:
    config, low, seeds, times = family
    times = min(times, searches_made or times)
    base, x = based(config), low + np.arange(13) / 2
    train({**base, "seed": 999, "lr": float(2.0 ** x[0])}, device)  # plans, counts and kernels are warm for all
    pool_seconds, runs = timed(
        lambda: train_batch([{**base, "seed": s, "lr": float(2.0**p)} for s in range(seeds) for p in x], device=device),
        device,
    )
    losses = np.array([run.loss("train_loss") for run in runs]).reshape(seeds, len(x))  # type: ignore[attr-defined]
    _, truth = surrogate(x, losses)
    plain = [timed(lambda p=p: train({**base, "seed": 0, "lr": float(2.0**p)}, device), device) for p in x]
    searches = ours(base, x, times, truth, device)
    plain += [timed(lambda p=p: train({**base, "seed": 1, "lr": float(2.0**p)}, device), device) for p in x[::2]]
    each = float(np.mean([seconds for seconds, _ in plain]))
    flops = float(np.mean([run.flops for _, run in plain]))  # type: ignore[attr-defined]
    need, guessed = grid_seeds(x, losses)
    tpe = optuna_trials(x, losses)
    mine = {name: float(np.median([s[name] for s in searches])) for name in ("seconds", "flops", "full runs")}
    trials = tpe.get("trials") or tpe.get("more than")
    first = placed(prepare({**base, "seed": 0, "lr": 0.01}), device)
    return {
        "engine": ENGINE, "device": device, "trained in lockstep": pays(first), "bytes a member": bytes_each(first),
        "plain: seconds a run": each, "batched: seconds a run": float(pool_seconds) / (seeds * len(x)),
        "plain: seeds": need, "plain: share of orders extrapolated": guessed, "plain: runs": need * len(x),
        "plain: seconds": need * len(x) * each, "plain: flops": need * len(x) * flops,
        "optuna": tpe, "ours": mine, "searches": searches,
        "ratio to plain, seconds": need * len(x) * each / mine["seconds"],
        "ratio to plain, flops": need * len(x) * flops / mine["flops"],
        "ratio to optuna, seconds": None if trials is None else trials * each / mine["seconds"],
        "ratio to optuna is a lower bound": tpe.get("more than") is not None,
    }  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("families", nargs="*")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--searches", type=int, help="of each family, at most")
    given = arguments.parse_args()
    path = FACTS if given.device == "cpu" else FACTS.with_name("sweep_speed_device.json")
    facts = json.loads(path.read_text()) if path.exists() else {"command": "python bench/sweep_speed.py"}
    for name, family in FAMILIES.items():
        if given.families and not any(word in name for word in given.families):
            continue
        facts[name] = measure(family, given.searches, given.device)
        shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in facts[name].items() if k != "searches"}
        print(f"{name}: {json.dumps(shown)}", flush=True)
        path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
