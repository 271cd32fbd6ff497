"""Figure 5: loss, outputs and kernels of finite networks converge to the mean-field limit as width grows.

Legend: N width, L residual blocks, t step; f outputs, Phi the kernel of the last features, G that of the first
gradients; error: relative rms over networks, in Frobenius norm over all pairs of points and steps. alpha = 1/2.
"""

from dataclasses import dataclass
from typing import Any

import torch

from isoscale.theory.dmft import Problem, Sampling, sample_networks, solve_linear, train_networks

from .limit import (
    COLOURS,
    MARKS,
    Slope,
    guide,
    log_errors,
    numbers,
    panels,
    size_axis,
    slope_over,
    squared_errors,
    task,
)  # fmt: skip

ACTIVATIONS = ("linear", "tanh", "relu")
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"depth": 2, "steps": 4, "widths": (16, 32, 64), "nets": (16, 12, 8), "limit": (256, 2)},
    "cpu": {"depth": 8, "steps": 12, "widths": (64, 128, 256, 512, 1024), "nets": (64, 48, 32, 24, 12),
            "limit": (4096, 4)},
    "gpu": {"depth": 16, "steps": 24, "widths": (128, 256, 512, 1024, 2048, 4096), "nets": (64, 64, 48, 32, 16, 8),
            "limit": (16384, 8)},
    "full": {"depth": 32, "steps": 48, "widths": (128, 256, 512, 1024, 2048, 4096, 8192),
             "nets": (64, 64, 64, 48, 32, 16, 8), "limit": (65536, 8)},
}  # fmt: skip
QUANTITIES = ("f", "Phi", "G")


@dataclass(frozen=True)
class Convergence:
    """One activation: `limit` and, for some widths, the mean `losses` of networks (T+1 each); rms relative `errors`
    [quantity][width] of single networks, the exponents in N, and `noise`: the limit's own relative error of f."""

    activation: str
    limit: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    errors: tuple[tuple[float, ...], ...]
    slopes: tuple[Slope, ...]
    noise: float


@dataclass(frozen=True)
class Facts:
    """Convergence in width at depth `depth`, `nets` networks of each width; errors and slopes in order of f, Phi, G."""

    depth: int
    steps: int
    widths: tuple[int, ...]
    nets: tuple[int, ...]
    each: tuple[Convergence, ...]


def facts(preset: str = "cpu", progress: Any = None) -> Facts:
    chosen = PRESETS[preset]
    total = len(ACTIVATIONS) * len(chosen["widths"])
    each = []
    for i, name in enumerate(ACTIVATIONS):
        done = i * len(chosen["widths"])
        told = None if progress is None else lambda n, done=done: progress(done + n, total)
        each.append(_converge(task(name, chosen["steps"]), name, chosen, told))
    return Facts(chosen["depth"], chosen["steps"], chosen["widths"], chosen["nets"], tuple(each))


def _converge(problem: Problem, name: str, chosen: dict[str, Any], told: Any) -> Convergence:
    depth, (S, R) = chosen["depth"], chosen["limit"]
    sampled = sample_networks(problem, depth, Sampling(S, R, seed=7), kernels=True)[0]
    kernels = sampled.kernels
    assert kernels is not None
    f = solve_linear(problem, depth).require().f.to(problem.X.device) if name == "linear" else sampled.f.mean(0)
    noise = 0.0 if name == "linear" else float((sampled.f.std(0) / R**0.5).norm() / f.norm())
    exact = {"f": f, "Phi": kernels.Phi_last.mean(0), "G": kernels.G_first.mean(0)}
    squared: dict[str, list[Any]] = {quantity: [] for quantity in QUANTITIES}
    losses = []
    for n, (N, count) in enumerate(zip(chosen["widths"], chosen["nets"], strict=True)):
        parts = [_trained(problem, depth, N, seed) for seed in range(count)]
        for quantity in QUANTITIES:
            squared[quantity].append(squared_errors(torch.cat([part[quantity] for part in parts]), exact[quantity]))
        losses.append(numbers(torch.cat([part["loss"] for part in parts]).mean(0)))
        if told is not None:
            told(n + 1)
    return Convergence(
        name,
        numbers(problem.loss_of(f)),
        tuple(losses),
        tuple(tuple(float(each.mean() ** 0.5) for each in squared[quantity]) for quantity in QUANTITIES),
        tuple(slope_over(chosen["widths"], squared[quantity]) for quantity in QUANTITIES),
        noise,
    )


def _trained(problem: Problem, depth: int, N: int, seed: int) -> dict[str, Any]:
    """One dense network, by ordinary backpropagation."""
    net = train_networks(problem, depth, N, 1, seed=1000 * N + seed, kernels=True)
    kernels = net.kernels
    assert kernels is not None
    return {"f": net.f, "Phi": kernels.Phi_last, "G": kernels.G_first, "loss": net.loss}


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: losses of networks and limit, errors of f and of kernels."""
    figure, (left, middle, right) = panels(figure, 3, 4.2, 4.2)
    shown = next(one for one in facts.each if one.activation == "relu")
    for i, (N, loss) in enumerate(zip(facts.widths, shown.losses, strict=True)):
        left.plot(loss, color=f"{0.8 - 0.55 * i / max(1, len(facts.widths) - 1):.2f}", linewidth=1.3, label=f"N = {N}")
    left.plot(shown.limit, "--", color=COLOURS["relu"], linewidth=2.2, label="limit")
    left.set(xlabel="step t", ylabel="mean training loss", title=f"relu, L = {facts.depth}", ylim=(0, None))
    left.legend(fontsize="small", frameon=False)
    for one in facts.each:
        style = {"color": COLOURS[one.activation], "marker": MARKS[one.activation], "markersize": 5, "linewidth": 1.2}
        middle.plot(facts.widths, one.errors[0], label=f"{one.activation}: {one.slopes[0].said()}", **style)
        for k, dashes in ((1, "-"), (2, "--")):
            label = f"{one.activation} {'Phi' if k == 1 else 'G'}: {one.slopes[k].said()}"
            right.plot(facts.widths, one.errors[k], linestyle=dashes, label=label, **style)
    for panel, title, k in ((middle, "outputs f", 0), (right, "kernels", 1)):
        log_errors(panel)
        size_axis(panel, facts.widths, "width N")
        guide(panel, facts.widths, -0.5, 0.8 * min(one.errors[k][0] for one in facts.each), "N^(-1/2)")
        panel.set(ylabel="relative error of one network", title=f"{title}: exponent [95%]")
    middle.legend(fontsize="x-small", frameon=False)
    right.set_ylim(0.35 * min(min(one.errors[k]) for one in facts.each for k in (1, 2)), None)
    right.legend(fontsize="x-small", frameon=False, loc="lower left")
    return figure
