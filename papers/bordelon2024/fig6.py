"""Figure 6: loss and kernels of infinitely wide networks converge as depth grows, with error ~ 1/L at alpha = 1/2.

Legend: L residual blocks, tau = l / L layer time, f outputs, H kernel of the stream at its end; error: relative, in
Frobenius norm over points and steps, against L = infinity. Linear networks exactly (Riccati equations in tau); tanh and
relu by the one-pass solver, replicas for the noise; kernels at initialisation exactly for all (lazy limit).
"""

import math
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from isoscale.theory.dmft import Problem, Sampling, lazy_limit, solve_limit, solve_linear, solve_linear_deep

from .limit import (
    COLOURS,
    MARKS,
    Slope,
    guide,
    log_errors,
    numbers,
    panels,
    size_axis,
    slope_of,
    slope_resampled,
    task,
)  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"steps": 4, "exact": (4, 8, 16), "sampled": (2, 4, 8, 16), "limit": (512, 3)},
    "cpu": {"steps": 8, "exact": (4, 8, 16, 32, 64, 128), "sampled": (2, 4, 8, 16, 32), "limit": (8192, 6)},
    "gpu": {"steps": 12, "exact": (4, 8, 16, 32, 64, 128, 256), "sampled": (2, 4, 8, 16, 32, 64),
            "limit": (32768, 12)},
    "full": {"steps": 12, "exact": (4, 8, 16, 32, 64, 128, 256, 512), "sampled": (2, 4, 8, 16, 32, 64, 128),
             "limit": (65536, 24)},
}  # fmt: skip


@dataclass(frozen=True)
class Rate:
    """Relative `errors` at `depths` and their exponent in L; `what` of which `activation`."""

    what: str
    activation: str
    depths: tuple[int, ...]
    errors: tuple[float, ...]
    slope: Slope


@dataclass(frozen=True)
class Profile:
    """The mean of <h^2> over points after training against layer time, at one depth (None: infinite), linear nets."""

    depth: int | None
    tau: tuple[float, ...]
    size: tuple[float, ...]


@dataclass(frozen=True)
class Facts:
    """Losses of linear networks at infinite width over training (`losses`, a row a depth; `limit` at infinite depth),
    kernels over layer time, and rates."""

    steps: int
    depths: tuple[int, ...]
    losses: tuple[tuple[float, ...], ...]
    limit: tuple[float, ...]
    profiles: tuple[Profile, ...]
    rates: tuple[Rate, ...]


def facts(preset: str = "cpu", progress: Any = None) -> Facts:
    chosen = PRESETS[preset]
    problem = task("linear", chosen["steps"], eta0=0.1)
    deep = solve_linear_deep(problem).require()
    depths = chosen["exact"]
    finite = [solve_linear(problem, L).require() for L in depths]
    rates = [
        _exact("outputs f", depths, [_relative(each.f, deep.f) for each in finite]),
        _exact("trained kernel H", depths, [_relative(each.H[-1], deep.H[-1]) for each in finite]),
    ]
    if progress is not None:
        progress(1, 3)
    for i, name in enumerate(("tanh", "relu")):
        start = task(name, 1)
        limit = lazy_limit(start, math.inf).require().H
        first = [_relative(lazy_limit(start, L).require().H, limit) for L in depths]
        rates.append(_exact("initial kernel H", depths, first, name))
        rates.append(_sampled(task(name, chosen["steps"]), name, chosen["sampled"], *chosen["limit"]))
        if progress is not None:
            progress(i + 2, 3)
    profiles = [_profile(L, each) for L, each in zip(depths[:4], finite)]
    return Facts(
        chosen["steps"],
        depths,
        tuple(numbers(each.loss) for each in finite),
        numbers(deep.loss),
        (*profiles, _profile(None, deep)),
        tuple(rates),
    )


def _relative(a: Any, b: Any) -> float:
    return float((a - b).norm() / b.norm())


def _exact(what: str, depths: tuple[int, ...], errors: list[float], activation: str = "linear") -> Rate:
    return Rate(what, activation, depths, tuple(errors), slope_of(depths, errors))


def _profile(depth: int | None, limit: Any) -> Profile:
    """Of the last step's block of H (layers, n, n)."""
    M = limit.f.shape[1]
    size = limit.H.diagonal(dim1=1, dim2=2)[:, -M:].mean(1)
    return Profile(depth, numbers(limit.tau), numbers(size))


def _sampled(problem: Problem, name: str, depths: tuple[int, ...], S: int, R: int) -> Rate:
    """Error of f at all depths but the two largest, which give the limit by Richardson: 2 f(2L) - f(L)."""
    found = [solve_limit(problem, L, sampling=Sampling(S, R, seed=1000 + L)).require() for L in depths]
    replicas = [each.replicas.flatten(1).cpu().numpy() for each in found]

    def errors(rng: Generator | None) -> list[float]:
        drawn = [x if rng is None else x[rng.integers(R, size=R)] for x in replicas]
        mean, noise = [x.mean(0) for x in drawn], [x.var(0, ddof=1).sum() / R for x in replicas]
        limit, spread = 2 * mean[-1] - mean[-2], 4 * noise[-1] + noise[-2]
        gaps = [((x - limit) ** 2).sum() - n - spread for x, n in zip(mean[:-2], noise[:-2])]
        return [math.sqrt(max(float(gap), 1e-12) / float((limit**2).sum())) for gap in gaps]

    shown = depths[:-2]
    return Rate("outputs f", name, shown, tuple(errors(None)), slope_resampled(shown, errors))


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: losses over training, kernels over layer time, errors over L."""
    figure, (left, middle, right) = panels(figure, 3, 4.2, 4.2)
    shades = [f"{0.8 - 0.55 * i / max(1, len(facts.depths) - 1):.2f}" for i in range(len(facts.depths))]
    for L, loss, shade in list(zip(facts.depths, facts.losses, shades, strict=True))[:4]:
        left.plot(loss, color=shade, linewidth=1.3, label=f"L = {L}")
    left.plot(facts.limit, "--", color=COLOURS["linear"], linewidth=2.2, label="L = infinity")
    left.set(xlabel="step t", ylabel="training loss, infinite width", title="linear, alpha = 1/2", ylim=(0, None))
    left.legend(fontsize="small", frameon=False)
    for one, shade in zip(facts.profiles, [*shades[: len(facts.profiles) - 1], ""]):
        deep = one.depth is None
        style = {"color": COLOURS["linear"], "linewidth": 2.2, "linestyle": "--"} if deep else {"color": shade,
                 "marker": "o", "markersize": 3, "linewidth": 1.0}  # fmt: skip
        middle.plot(one.tau, one.size, label="L = infinity" if deep else f"L = {one.depth}", **style)
    middle.set(xlabel="layer time l / L", ylabel="mean of <h^2> after training", title="kernels over layer time")
    looks = {"outputs f": "-", "trained kernel H": "--", "initial kernel H": ":"}
    for one in facts.rates:
        label = f"{one.activation}, {one.what}: {one.slope.said()}"
        right.plot(one.depths, one.errors, looks[one.what], color=COLOURS[one.activation], marker=MARKS[one.activation],
                   markersize=4, linewidth=1.2, label=label)  # fmt: skip
    log_errors(right)
    size_axis(right, sorted({L for one in facts.rates for L in one.depths}), "depth L")
    lowest = min(one.errors[0] * one.depths[0] / facts.depths[0] for one in facts.rates)
    guide(right, facts.depths, -1.0, 0.7 * lowest, "1 / L")
    right.set(ylabel="relative error against L = infinity", title="exponent in L [interval]")
    right.set_ylim(0.02 * min(min(one.errors) for one in facts.rates), None)
    right.legend(fontsize="x-small", frameon=False, loc="lower left")
    return figure
