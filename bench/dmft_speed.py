"""One-pass solver against the Monte-Carlo fixed point and against dense networks; ratios of CPU time in one run.

Legend: L depth, T steps, S sampled width, N width of dense networks. "At equal error" scales the slower one's time by
the square of the ratio of errors, since both errors fall as S^-1/2. Runs are interleaved: one of each, then again.
Writes bench/facts/dmft_speed.json.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from dmft_claims import problem, relative
from mean_ode_claims import Claim, save

from isoscale.theory.dmft.fixed_point import solve_fixed_point
from isoscale.theory.dmft.network import draw, train_networks
from isoscale.theory.dmft.oracles import autograd_networks
from isoscale.theory.dmft.solver import Sampling, solve_limit


def timed(run: Callable[[], object]) -> tuple[float, object]:
    began = time.process_time()
    result = run()
    return time.process_time() - began, result


def fixed_point(S: int = 2048, seeds: int = 2) -> tuple[list[Claim], dict]:
    task = problem(steps=24, eta0=0.3)
    limit = solve_limit(task, 8, sampling=Sampling(8192, 4, seed=11)).require()
    rows: dict[str, list[tuple[float, float]]] = {"one pass": [], "one pass, drop 1e-2": [], "fixed point": []}
    iterations, status = [], []
    for seed in range(seeds):
        for label, drop in (("one pass", 1e-6), ("one pass, drop 1e-2", 1e-2)):
            seconds, found = timed(lambda: solve_limit(task, 8, sampling=Sampling(S, 1, drop=drop, seed=seed)))
            rows[label].append((seconds, relative(found.value.f, limit.f)))
        seconds, slow = timed(
            lambda: solve_fixed_point(task, 8, particles=S, damping=0.5, seed=seed, max_iterations=100)
        )
        iterations.append(slow.value.iterations if slow.value else None)
        status.append(slow.status.sentence)
        if slow.value is not None:
            rows["fixed point"].append((seconds, relative(slow.value.f, limit.f)))
    mean = {label: np.sqrt(np.mean(np.square(each), axis=0)) for label, each in rows.items()}
    t, e = mean["one pass"]
    ft, fe = mean["fixed point"]
    dt, de = mean["one pass, drop 1e-2"]
    return [
        Claim("P1", "fixed point over one pass, CPU time at equal S, L = 8, T = 24", ft / t, 10),
        Claim("P2", "the same at equal error (goal 100)", ft / t * (fe / e) ** 2, 100),
        Claim("P3", "fixed point over one pass with drop = 1e-2, at equal error", ft / dt * (fe / de) ** 2, 100),
    ], {"(seconds, error)": {k: v.tolist() for k, v in mean.items()}, "iterations": iterations, "status": status}


def dense(N: int, repeats: int) -> tuple[list[Claim], dict]:
    task = problem(steps=12, eta0=0.3)
    ours, ours_drop, theirs, autograd = [], [], [], []
    for seed in range(repeats):
        ours.append(timed(lambda: solve_limit(task, 8, sampling=Sampling(N, 1, "iid", center=False, seed=seed)))[0])
        cheap = Sampling(N, 1, "iid", center=False, drop=1e-2, seed=seed)
        ours_drop.append(timed(lambda: solve_limit(task, 8, sampling=cheap))[0])
        weights = draw(task, 8, N, 1, seed)
        theirs.append(timed(lambda: train_networks(task, 8, N, 1, weights=weights))[0])
        if N <= 4096:
            autograd.append(timed(lambda: autograd_networks(task, 8, weights))[0])
    ratio, automatic = np.sum(theirs) / np.sum(ours), np.sum(autograd) / np.sum(ours)
    return [
        Claim(
            f"N{N} autograd",
            f"dense autograd network over one pass, N = {N}, L = 8, T = 12",
            automatic,
            80 if N == 4096 else 1,
        ),
        Claim(f"N{N} by hand", f"hand-written dense network over one pass, N = {N}", ratio, 1),
    ], {"one pass": ours, "one pass, drop 1e-2": ours_drop, "dense by hand": theirs, "dense autograd": autograd}


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
