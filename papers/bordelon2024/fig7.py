"""Figure 7: deep linear networks, where the limit is exact: kernels over layer time, how feature learning moves them.

Legend: N width, L residual blocks, tau = l / L layer time, t step; H stream kernel, G gradient kernel, K tangent kernel
K = Phi^L + lam b^2 sum_l G^{l+1} o H^l + G^0 o Kx at one step; gamma0 strength of feature learning (0: lazy). The limit
by closed matrix equations (no sampling), finite networks by dense training.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isoscale.theory.dmft import Problem, lazy_limit, solve_linear, train_networks

from .limit import (
    COLOURS,
    Slope,
    guide,
    log_errors,
    numbers,
    panels,
    size_axis,
    slope_of,
    slope_over,
    squared_errors,
    task,
)  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"depth": 4, "steps": 6, "widths": (32, 64, 128), "nets": (12, 8, 4), "gamma0": (0.05, 0.1, 0.5, 1.0)},
    "cpu": {"depth": 16, "steps": 16, "widths": (64, 128, 256, 512, 1024), "nets": (48, 32, 24, 16, 8),
            "gamma0": (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)},
    "gpu": {"depth": 32, "steps": 32, "widths": (128, 256, 512, 1024, 2048, 4096), "nets": (64, 48, 32, 24, 12, 8),
            "gamma0": (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)},
    "full": {"depth": 64, "steps": 64, "widths": (128, 256, 512, 1024, 2048, 4096), "nets": (64, 64, 48, 32, 16, 8),
             "gamma0": (0.0125, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)},
}  # fmt: skip


@dataclass(frozen=True)
class Feature:
    """One gamma0: the limit's `loss` and (mean over networks of the largest width) `net_loss`, T+1 each; mean of <h^2>
    over points at the last step against layer time in the limit (`size`) and in the networks (`net_size`)."""

    gamma0: float
    loss: tuple[float, ...]
    net_loss: tuple[float, ...]
    size: tuple[float, ...]
    net_size: tuple[float, ...]


@dataclass(frozen=True)
class Facts:
    """`shown` strengths in full at `depth`; relative `errors` of f, H at the last layer and K of single nets against
    the limit at gamma0 = 1, with exponents in N; |K(T-1) - K(0)| / |K(0)| of the limit (`moved`) and of networks of the
    largest width (`net_moved`, whose K moves from its own start) for every gamma0, with the limit's exponent in gamma0
    over gamma0 <= 0.1; `lazy_gap`: relative distance of K(0) to the lazy limit's kernel."""

    depth: int
    steps: int
    tau: tuple[float, ...]
    shown: tuple[Feature, ...]
    widths: tuple[int, ...]
    errors: tuple[tuple[float, ...], ...]
    slopes: tuple[Slope, ...]
    gamma0: tuple[float, ...]
    moved: tuple[float, ...]
    net_moved: tuple[float, ...]
    moved_slope: Slope
    lazy_gap: float


def facts(preset: str = "cpu", progress: Any = None) -> Facts:
    chosen = PRESETS[preset]
    depth, widths, gammas = chosen["depth"], chosen["widths"], chosen["gamma0"]
    problem = task("linear", chosen["steps"], eta0=0.1)
    total = len(widths) + len(gammas)
    squared: list[list[Any]] = [[], [], []]
    exact = solve_linear(problem, depth).require()
    limits = exact.f, exact.H[-1], _tangent(problem, depth, exact.H, exact.G)
    for i, (N, count) in enumerate(zip(widths, chosen["nets"], strict=True)):
        nets = [_trained(problem, depth, N, seed) for seed in range(count)]
        for k, limit in enumerate(limits):
            squared[k].append(squared_errors(torch.cat([net[k] for net in nets]), limit))
        if progress is not None:
            progress(i + 1, total)
    features, moved, net_moved = [], [], []
    for i, gamma0 in enumerate(gammas):
        strong = problem.with_(gamma0=gamma0)
        limit = solve_linear(strong, depth).require()
        moved.append(_moved(_tangent(strong, depth, limit.H, limit.G)))
        nets = [_trained(strong, depth, widths[-1], seed) for seed in range(max(2, chosen["nets"][-1] // 2))]
        net_moved.append(sum(_moved(net[2][0]) for net in nets) / len(nets))
        if gamma0 in (gammas[0], gammas[-2], gammas[-1]):
            features.append(_feature(strong, gamma0, limit, nets))
        if progress is not None:
            progress(len(widths) + i + 1, total)
    small = [i for i, gamma0 in enumerate(gammas) if gamma0 <= 0.1]
    lazy = lazy_limit(problem, depth).require().K.cpu()
    P = problem.P
    return Facts(
        depth, chosen["steps"], numbers(exact.tau), tuple(features), widths,
        tuple(tuple(float(each.mean() ** 0.5) for each in one) for one in squared),
        tuple(slope_over(widths, one) for one in squared),
        gammas, tuple(moved), tuple(net_moved),
        slope_of([gammas[i] for i in small], [moved[i] for i in small]),
        float((limits[2][0] - lazy[:P, :P]).norm() / lazy[:P, :P].norm()),
    )  # fmt: skip


def _tangent(problem: Problem, L: int, H: Tensor, G: Tensor) -> Tensor:
    """K at every step t < T over training points, (T, P, P), from H (L+1, n, n) and G (L+1, T, T)."""
    M, T, P = problem.M, problem.steps, problem.P
    stream = H.reshape(L + 1, T + 1, M, T + 1, M)
    now = torch.stack([stream[:, t, :P, t, :P] for t in range(T)], 1)  # layers, T, P, P
    g = G.diagonal(dim1=1, dim2=2)[:, :, None, None]
    learned = problem.block_rate(L) * problem.b(L) ** 2
    return now[-1] + learned * (g[1:] * now[:-1]).sum(0) + g[0] * problem.Kx[:P, :P].cpu()


def _moved(K: Tensor) -> float:
    return float((K[-1] - K[0]).norm() / K[0].norm())


def _trained(problem: Problem, L: int, N: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One dense network: f, H of the last layer, K (a row each), loss, and <h^2> over layers at the last step."""
    net = train_networks(problem, L, N, 1, seed=1000 * N + seed, kernels=True)
    kernels, P, T = net.kernels, problem.P, problem.steps
    assert kernels is not None
    H = torch.stack([*(each[0] for each in kernels.Phi), kernels.H_last[0]]).cpu()
    # g does not depend on the point: of its columns (t, mu) one a step is enough.
    G = torch.stack([kernels.G_first[0], *(each[0] for each in kernels.G)]).cpu()[:, ::P, ::P]
    size = H.diagonal(dim1=1, dim2=2)[:, -problem.M :].mean(1)
    assert G.shape[1] == T
    return net.f.cpu(), H[-1][None], _tangent(problem, L, H, G)[None], net.loss[0].cpu(), size


def _feature(problem: Problem, gamma0: float, limit: Any, nets: list[Any]) -> Feature:
    size = limit.H.diagonal(dim1=1, dim2=2)[:, -problem.M :].mean(1)
    losses, sizes = (torch.stack([net[k] for net in nets]).mean(0) for k in (3, 4))
    return Feature(gamma0, numbers(limit.loss), numbers(losses), numbers(size), numbers(sizes))


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: losses, kernels over layer time, errors in N, K's change."""
    figure, (first, second, third, fourth) = panels(figure, 4, 3.6)
    for i, one in enumerate(facts.shown):
        colour = ("#7a8699", COLOURS["linear"], COLOURS["tanh"])[i % 3]
        first.plot(one.loss, color=colour, linewidth=1.6, label=f"gamma0 = {one.gamma0:g}")
        first.plot(one.net_loss, "o", color=colour, markersize=3, fillstyle="none")
        second.plot(facts.tau, one.size, color=colour, linewidth=1.6, label=f"gamma0 = {one.gamma0:g}")
        second.plot(facts.tau, one.net_size, "o", color=colour, markersize=3, fillstyle="none")
    first.set(xlabel="step t", ylabel="training loss", title=f"line: limit, dots: N = {facts.widths[-1]}")
    second.set(xlabel="layer time l / L", ylabel="mean of <h^2> at the end", title=f"L = {facts.depth}")
    first.legend(fontsize="small", frameon=False)
    second.legend(fontsize="small", frameon=False)
    for name, errors, slope, mark in zip(("f", "H at l = L", "tangent kernel K"), facts.errors, facts.slopes, "os^"):
        third.plot(facts.widths, errors, mark + "-", markersize=5, linewidth=1.2, label=f"{name}: {slope.said()}")
    size_axis(third, facts.widths, "width N")
    log_errors(third)
    third.set_ylim(0.4 * min(each[-1] for each in facts.errors), None)
    guide(third, facts.widths, -0.5, 0.8 * min(each[0] for each in facts.errors), "N^(-1/2)")
    third.set(ylabel="relative error of one network", title="exponent [95%]")
    third.legend(fontsize="x-small", frameon=False, loc="lower left")
    fourth.loglog(facts.gamma0, facts.moved, "-", color=COLOURS["linear"], linewidth=1.6, label="limit")
    label = f"N = {facts.widths[-1]}"
    fourth.loglog(facts.gamma0, facts.net_moved, "o", color=COLOURS["linear"], fillstyle="none", label=label)
    fourth.set(xlabel="gamma0", ylabel="|K(end) - K(0)| / |K(0)|", title=f"exponent {facts.moved_slope.said()}")
    fourth.legend(fontsize="small", frameon=False)
    return figure
