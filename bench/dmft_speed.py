"""One-pass solver against the Monte-Carlo fixed point and against dense networks; ratios of CPU time in one run.

Legend: L depth, T steps, S sampled width, N width of dense networks. "At equal error" scales the slower one's time by
the square of the ratio of errors, since both errors fall as S^-1/2. Runs are interleaved: one of each, then again.
Writes bench/facts/dmft_speed.json.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from dmft_claims import problem, relative
from mean_ode_claims import Claim, save

from isoscale.theory.dmft.fixed_point import solve_fixed_point
from isoscale.theory.dmft.network import draw, train_networks
from isoscale.theory.dmft.oracles import autograd_networks
from isoscale.theory.dmft.solver import Sampling, solve_limit


def timed(run: Callable[..., Any], *args: object, **options: object) -> tuple[float, Any]:
    began = time.process_time()
    result = run(*args, **options)
    return time.process_time() - began, result


def fixed_point(S: int = 2048, seeds: int = 2) -> tuple[list[Claim], dict]:
    task = problem(steps=24, eta0=0.3)
    limit = solve_limit(task, 8, sampling=Sampling(8192, 4, seed=11)).require()
    rows: dict[str, list[tuple[float, float]]] = {"one pass": [], "one pass, drop 1e-2": [], "fixed point": []}
    status = []
    for seed in range(seeds):
        for label, drop in (("one pass", 1e-6), ("one pass, drop 1e-2", 1e-2)):
            seconds, found = timed(solve_limit, task, 8, sampling=Sampling(S, 1, drop=drop, seed=seed))
            rows[label].append((seconds, relative(found.value.f, limit.f)))
        options = {"particles": S, "damping": 0.5, "seed": seed, "max_iterations": 100}
        seconds, slow = timed(solve_fixed_point, task, 8, **options)
        status.append(slow.status.sentence)
        if slow.value is not None:
            rows["fixed point"].append((seconds, relative(slow.value.f, limit.f)))
    mean = {label: np.sqrt(np.mean(np.square(each), axis=0)) for label, each in rows.items()}
    (t, e), (dt, de), (ft, fe) = (mean[label] for label in rows)
    return [
        Claim("P1", "fixed point over one pass, CPU time at equal S, L = 8, T = 24", ft / t, 10),
        Claim("P2", "the same at equal error (goal 100)", ft / t * (fe / e) ** 2, 100),
        Claim("P3", "fixed point over one pass with drop = 1e-2, at equal error", ft / dt * (fe / de) ** 2, 100),
    ], {"(seconds, error)": {k: v.tolist() for k, v in mean.items()}, "status": status}


def dense(N: int, repeats: int) -> tuple[list[Claim], dict]:
    task = problem(steps=12, eta0=0.3)
    times: dict[str, list[float]] = {label: [] for label in ("one pass", "drop 1e-2", "by hand", "autograd")}
    for seed in range(repeats):
        for label, drop in (("one pass", 1e-6), ("drop 1e-2", 1e-2)):
            sampling = Sampling(N, 1, "iid", center=False, drop=drop, seed=seed)
            times[label].append(timed(solve_limit, task, 8, sampling=sampling)[0])
        weights = draw(task, 8, N, 1, seed)
        times["by hand"].append(timed(train_networks, task, 8, N, 1, weights=weights)[0])
        times["autograd"].append(timed(autograd_networks, task, 8, weights)[0])
    hand, automatic = (float(np.sum(times[label]) / np.sum(times["one pass"])) for label in ("by hand", "autograd"))
    goal = 80 if N == 4096 else 1
    return [
        Claim(f"N{N} autograd", f"dense autograd network over one pass, N = {N}, L = 8, T = 12", automatic, goal),
        Claim(f"N{N} by hand", f"hand-written dense network over one pass, N = {N}", hand, 1),
    ], {"cpu seconds": times}


def main() -> None:
    torch.set_num_threads(1)
    claims, facts = fixed_point()
    for N, repeats in ((1024, 2), (2048, 1), (4096, 1)):
        more, measured = dense(N, repeats)
        claims += more
        facts[f"dense, N = {N}"] = measured
    save("dmft_speed", claims, facts)


if __name__ == "__main__":
    main()
