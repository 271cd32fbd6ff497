"""Do the response terms vanish with depth? Each measurement of docs/theory/responses.md.

Legend: L depth, N width, S sampled width, A, B response kernels; "full" the limit, "truncated" the same with A = B = 0
(backward weights independent of forward ones). One-layer blocks, alpha = 1/2. Distances are relative (Frobenius).
Writes bench/facts/dmft_responses.json.
"""

import json
import math
import sys

import numpy as np
import torch
from dmft_claims import problem, read, relative
from mean_ode_claims import FACTS, Claim, save
from torch import Tensor

from isoscale.theory.dmft.linear import solve_linear
from isoscale.theory.dmft.network import train_networks
from isoscale.theory.dmft.problem import Problem
from isoscale.theory.dmft.riccati import solve_linear_deep
from isoscale.theory.dmft.solver import Sampling, sample_networks


def exact() -> tuple[list[Claim], dict]:
    """Linear networks, no sampling: the gap between full and truncated, and the size of A, at every depth."""
    task, Ls = problem(activation="linear", eta0=0.2), [2, 4, 8, 16, 32, 64, 128]
    gap, size, middle = {}, {}, {}
    for L in Ls:
        full, truncated = (solve_linear(task, L, response=r).require() for r in (True, False))
        gap[L] = relative(truncated.f, full.f)
        middle[L] = math.sqrt(L) * float(full.A[L // 2].norm())
        size[L] = float(full.A.norm(dim=(1, 2)).mean())
    deep, cut = (solve_linear_deep(task, response=r).require() for r in (True, False))
    limit = relative(cut.f, deep.f)
    ode = task.with_(alpha=1.0)
    vanishing = {
        L: relative(solve_linear(ode, L, response=False).require().f, solve_linear(ode, L).require().f) for L in Ls
    }
    slope = float(np.polyfit(np.log(Ls[2:]), np.log([vanishing[L] for L in Ls[2:]]), 1)[0])
    scaling = float(np.polyfit(np.log(Ls[2:]), np.log([size[L] for L in Ls[2:]]), 1)[0])
    first = {}
    for beta0 in (0.5, 1.0):
        step = problem(activation="linear", steps=1, beta0=beta0, gamma0=1e-3)
        full, truncated = (solve_linear_deep(step, response=r).require().f[1] for r in (True, False))
        first[beta0] = float((truncated / full).mean())
    return [
        Claim("X1", "linear: gap of f at infinite depth (Riccati)", limit, 0.02),
        Claim("X2", "gap at L = 128 over gap at infinite depth", gap[128] / limit, 0.95, 1.05),
        Claim(
            "X3",
            "slope of |A^l| in L (-1/2: each vanishes, their sum over L blocks does not)",
            scaling,
            -0.6,
            -0.4,
        ),
        Claim(
            "X0 beta0 = 1",
            "first step, L = infinity: truncated over full (2/3 by hand)",
            first[1.0],
            0.66666,
            0.66667,
        ),
        Claim("X0 beta0 = 1/2", "the same (8/9 by hand)", first[0.5], 0.88888, 0.88890),
        Claim("X4-", "alpha = 1: slope of the gap in L (-1: there they do vanish)", slope, -1.15, -0.85),
    ], {
        "gap": gap,
        "limit": limit,
        "sqrt(L) |A| at mid depth": middle,
        "gap at alpha = 1": vanishing,
        "first step": first,
    }


def dense(name: str, L: int, N: int, networks: int) -> tuple[list[Claim], dict]:
    """Dense networks, trained with all their entries, against both theories sampled at the same width.

    Both theories are centred, and so are the networks: f(0) = 0 in all three. z is the distance of the networks' mean
    from each theory along the difference of the two, in standard errors of networks and theories together.
    """
    task = problem(activation=name, eta0=0.3)
    nets = torch.cat([train_networks(task, L, N, 1, seed=31 * r + 5, centred=True).f for r in range(networks)])
    theories = {
        label: sample_networks(task, L, Sampling(4096, 4, response=response, seed=77))[0].f
        for label, response in (("full", True), ("truncated", False))
    }
    full, truncated = (each.mean(0) for each in theories.values())
    along = (truncated - full) / (truncated - full).norm()

    def project(f: Tensor) -> tuple[float, float]:
        p = (f * along).sum((1, 2, 3))
        return float(p.mean()), float(p.std() / len(p) ** 0.5)

    (m, s), (a, sa), (b, sb) = project(nets), project(theories["full"]), project(theories["truncated"])
    z_full, z_truncated = abs(m - a) / math.hypot(s, sa), abs(m - b) / math.hypot(s, sb)
    share = (m - a) / (b - a)
    label = f"{name}, L = {L}"
    return [
        Claim(f"Y1 {label}", "position of the nets' mean between full (0) and truncated (1)", share, -0.25, 0.25),
        Claim(f"Y2 {label}", "z of the nets against the full theory", z_full, 0, 4),
        Claim(f"Y3- {label}", "z of the nets against the truncated theory", z_truncated, 5),
    ], {
        "N": N, "networks": networks, "gap": relative(truncated, full),
        "standard error of the position": s / abs(b - a),
        "net mean - full": relative(nets.mean(0), full), "net mean - truncated": relative(nets.mean(0), truncated),
    }  # fmt: skip


def same_law(name: str = "tanh", N: int = 48, L: int = 16, R: int = 600) -> tuple[list[Claim], dict]:
    """No limit: ensembles of width N by the conditioned recursion, with and without responses, and dense ones."""
    task: Problem = problem(activation=name, eta0=0.3, steps=5)
    nets = train_networks(task, L, N, R, seed=3).f.flatten(1)
    z = {}
    for response in (True, False):
        ours = sample_networks(task, L, Sampling(N, R, "iid", center=False, drop=1e-9, response=response))[0].f.flatten(
            1
        )
        spread = ((ours.var(0) + nets.var(0)) / R).sqrt()
        z[response] = float(((ours.mean(0) - nets.mean(0)) / spread).abs().max())
    return [
        Claim("V1", f"{name}, N = {N}, L = {L}: largest z of mean outputs, with responses", z[True], 0, 4.5),
        Claim("V2-", "without", z[False], 6),
    ], {"networks": R}


def main() -> None:
    torch.set_num_threads(1)
    claims, facts = exact()
    if "exact" in sys.argv[1:]:  # the unsampled part alone, into the facts that are there
        old = json.loads((FACTS / "dmft_responses.json").read_text())
        kept = [read(row) for row in old["claims"] if not row["name"].startswith("X")]
        save("dmft_responses", claims + kept, old["facts"] | facts)
        return
    more, facts["same law"] = same_law()
    claims += more
    for name in ("tanh", "relu"):
        for L, N, networks in ((4, 512, 24), (16, 512, 24), (64, 512, 16)):
            more, facts[f"{name}, L = {L}"] = dense(name, L, N, networks)
            claims += more
    save("dmft_responses", claims, facts)


if __name__ == "__main__":
    main()
