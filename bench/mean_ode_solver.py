"""C3, C4 and the solver's cost against brute force (one large finite net), as ratios in one run.

The gain at equal error: a net's error falls as its cost^-1/2, so brute force at the solver's error e would
cost cost_brute (e_brute / e)^2. Errors are rms over repetitions; costs are process time of the same repetitions,
interleaved.
"""

import math
import time
from collections.abc import Callable

import torch
from mean_ode_claims import Claim, save
from torch import Tensor

from isoscale.theory.mean_ode import march as marching
from isoscale.theory.mean_ode.march import march
from isoscale.theory.mean_ode.network import Net, train
from isoscale.theory.mean_ode.particles import draw
from isoscale.theory.mean_ode.setting import Reduced, Setting, reduced, setting_a, setting_b, setting_f

K = 20


def timed(work: Callable[[], tuple[Tensor, Tensor]]) -> tuple[float, Tensor, Tensor]:
    start = time.process_time()
    f, h = work()
    return time.process_time() - start, f.double(), h.double()


def solver(problem: Reduced, particles: int, nodes: int, seed: int) -> tuple[Tensor, Tensor]:
    U, V = draw(problem, particles, nodes, seed=seed, dtype=torch.float32)
    out = march(problem, U, V, K)
    return out.f[-1, 0], out.h[-1, 0] @ problem.Q.T.to(out.h)


def brute(setting: Setting, side: int, seed: int) -> tuple[Tensor, Tensor]:
    out = train(setting, [Net(side, side, seed)], K)
    return out.f[-1, 0], out.h[-1, 0]


def compare(setting: Setting, repetitions: int = 6) -> dict[str, dict[str, float]]:
    """Cost and rms errors of f and h by method, against a reference of 8 x 4 x 2^16 particles."""
    problem = reduced(setting)
    U, V = draw(problem, 2**16, 4, 8, seed=1000, dtype=torch.float32)
    out = march(problem, U, V, K, tolerance=1e-5)
    f, h = out.f[-1].double(), out.h[-1].double() @ problem.Q.T
    methods: dict[str, Callable[[int], tuple[Tensor, Tensor]]] = {
        "brute 100x100": lambda seed: brute(setting, 100, seed),
        "brute 200x200": lambda seed: brute(setting, 200, seed),
        **{
            f"solver S=3 P={P}": lambda seed, P=P: solver(problem, P, 3, seed)  # type: ignore[misc]
            for P in (1024, 4096, 16384)
        },
        "solver S=4 P=4096": lambda seed: solver(problem, 4096, 4, seed),
    }
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
    for seed in range(repetitions):
        for name, method in methods.items():
            if name.startswith("brute") and seed >= 4:
                continue
            cost, f1, h1 = timed(lambda: method(seed))  # noqa: B023
            rows[name].append((cost, float(((f1 - f.mean(0)) ** 2).mean()), float(((h1 - h.mean(0)) ** 2).mean())))
    result = {}
    for name, row in rows.items():
        cost, f2, h2 = (sum(x) / len(x) for x in zip(*row))
        result[name] = {"seconds": cost, "f": math.sqrt(f2), "h": math.sqrt(h2)}
    se = [float((x.var(0) / len(x)).mean().sqrt()) for x in (f, h)]
    result["reference"] = {"seconds": math.nan, "f": se[0], "h": se[1]}
    return result


def gain(rows: dict[str, dict[str, float]], field: str, method: str = "solver S=3 P=4096") -> float:
    """Cost of brute force at the method's error over the method's cost (brute 200x200 extrapolated; see above)."""
    big, mine = rows["brute 200x200"], rows[method]
    return big["seconds"] * (big[field] / mine[field]) ** 2 / mine["seconds"]


def toy(points: int) -> float:
    """C3: largest error over entries and seeds, D=8, din=dout=1, n=3, k=1, 5, 10."""
    problem = reduced(setting_a(8, 1, 1, 3))
    U, V = draw(problem, 2**17, 4, 6, seed=77)
    exact = march(problem, U, V, 10, tolerance=1e-8).f.mean(1)
    worst = 0.0
    for seed in range(3):
        U, V = draw(problem, points, 4, seed=seed)
        gap = march(problem, U, V, 10, tolerance=1e-8).f[:, 0] - exact
        worst = max(worst, float(gap[[1, 5, 10]].abs().max()))
    return worst


def sweeps(setting: Setting, particles: int) -> tuple[float, float]:
    """Sweeps over all particles a solve: with the Jacobian from a few particles, and plain Picard (no Jacobian)."""
    problem, kept, counts = reduced(setting), marching._jacobian, []
    for jacobian in (kept, lambda problem, u, v, H: kept(problem, u, v, H) * 0):
        marching._jacobian = jacobian
        U, V = draw(problem, particles, 3, dtype=torch.float32)
        counts.append(march(problem, U, V, K).sweeps / (2 * K + 1))
    marching._jacobian = kept
    return counts[0], counts[1]


def sampling_error(setting: Setting, seeds: int = 6) -> float:
    """C4 on other data: rms error of f at k=20, S=4 and P=4096."""
    problem = reduced(setting)
    U, V = draw(problem, 2**15, 4, 4, seed=1000, dtype=torch.float32)
    exact = march(problem, U, V, K).f[-1].double().mean(0)
    gaps = [solver(problem, 4096, 4, seed)[0].double() - exact for seed in range(seeds)]
    return float(torch.stack(gaps).square().mean().sqrt())


def main() -> None:
    torch.set_num_threads(1)
    settings = {"A": setting_a(), "B": setting_b(), "F(100)": setting_f(100)}
    tables = {name: compare(setting) for name, setting in settings.items()}
    for name, table in tables.items():
        for method, row in table.items():
            print(f"{name:7} {method:22} {row['seconds']:8.3f} s   f {row['f']:.2e}   h {row['h']:.2e}", flush=True)
    newton, picard = sweeps(settings["B"], 4096)
    a, b = tables["A"]["solver S=4 P=4096"], tables["B"]["solver S=4 P=4096"]
    draws = {seed: sampling_error(setting_a(seed=seed)) for seed in (7, 15, 19)}
    claims = [
        Claim("C3", "toy, Sobol 2^14: largest error", toy(2**14), high=3e-4),
        Claim("C3", "toy, Sobol 2^16: largest error", toy(2**16), high=1e-4),
        Claim("C4", "B, k=20, S=4 P=4096: rms error of f", b["f"], high=6e-3),
        Claim("C4", "A, k=20, S=4 P=4096: rms error of f", a["f"], high=1e-3),
        *(Claim("C4", f"A on data {seed}, the same: rms error of f", x, high=1e-3) for seed, x in draws.items()),
        Claim("C4", "A, k=20, S=4 P=4096: rms error of h", a["h"], high=6e-3),
        Claim("cost", "A: gain over brute force at equal error of f", gain(tables["A"], "f"), low=15),
        Claim("cost", "B: gain over brute force at equal error of f", gain(tables["B"], "f"), low=5),
        Claim("cost", "F(100): gain over brute force at equal error of h", gain(tables["F(100)"], "h"), low=100),
        Claim("cost", "B: sweeps a solve, few-particle Jacobian", newton, high=3.5),
        Claim("cost", "B: sweeps a solve, plain Picard (control)", picard, low=3.5),
    ]
    gains = {
        name: {f"{m} {x}": gain(t, x, m) for m in t if m.startswith("solver") for x in "fh"}
        for name, t in tables.items()
    }
    save("mean_ode_solver", claims, {"tables": tables, "gains": gains})


if __name__ == "__main__":
    main()
