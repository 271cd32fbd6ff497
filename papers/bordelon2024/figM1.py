"""Branches scaled by L^-alpha, alpha in {1/2, 3/4, 1}, random and zero-initialised: all transfer; what differs?

Legend: L residual blocks, alpha branch exponent, lam = L^(2 alpha - 1) the blocks' rate, sig_w std of the blocks' first
weights (0: branches start at zero, as in ReZero); eta0 learning rate; Phi kernel of the last features. Infinite width,
relu; alpha = 0 (unscaled branches) is the control that must not transfer. Best eta0 by final loss, sampled networks of
one width under all rates at once; the approach to infinite depth exactly, on linear networks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from isoscale.theory.dmft import Problem, Sampling, best_rate, sample_networks, solve_linear, solve_linear_deep

from .limit import Slope, guide, log_errors, panels, size_axis, slope_of, task

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"depths": (2, 4, 8), "exact": (4, 8, 16), "steps": 4, "sampling": (64, 4), "step": 1.0, "low": -8.0},
    "cpu": {"depths": (2, 4, 8, 16), "exact": (8, 16, 32, 64, 128), "steps": 8, "sampling": (128, 4), "step": 0.5,
            "low": -8.0},
    "gpu": {"depths": (2, 4, 8, 16, 32, 64), "exact": (8, 16, 32, 64, 128, 256), "steps": 12, "sampling": (2048, 8),
            "step": 0.5, "low": -20.0},
    "full": {"depths": (2, 4, 8, 16, 32, 64, 128), "exact": (8, 16, 32, 64, 128, 256, 512), "steps": 24,
             "sampling": (4096, 8), "step": 0.25, "low": -40.0},
}  # fmt: skip
CASES = (
    ("alpha = 1/2", 0.5, 1.0), ("alpha = 3/4", 0.75, 1.0), ("alpha = 1", 1.0, 1.0), ("zero init", 0.5, 0.0),
    ("unscaled (alpha = 0)", 0.0, 1.0),
)  # fmt: skip
COLOURS = ("#1f5fa8", "#3b7d4f", "#b8430e", "#7a4fa3", "#7a8699")
RATE = 0.3


@dataclass(frozen=True)
class Case:
    """One scaling: log2 of the best eta0 at every depth with its standard error (nan where it lies at an end of the
    rates), the drift in octaves per doubling of depth; movement of the kernel Phi over training at eta0 = 0.3; for
    linear networks the relative error of f against infinite depth and its exponent (nan where there is no limit)."""

    name: str
    alpha: float
    sig_w: float
    log2: tuple[float, ...]
    se: tuple[float, ...]
    drift: Slope
    moved: tuple[float, ...]
    errors: tuple[float, ...]
    approach: Slope


@dataclass(frozen=True)
class Facts:
    steps: int
    depths: tuple[int, ...]
    exact: tuple[int, ...]
    cases: tuple[Case, ...]


def facts(preset: str = "cpu", progress: Any = None) -> Facts:
    chosen = PRESETS[preset]
    depths, found = chosen["depths"], []
    for i, (name, alpha, sig_w) in enumerate(CASES):
        problem = task("relu", chosen["steps"], P=8, alpha=alpha, sig_w=sig_w, eta0=RATE)
        problem = problem if alpha else problem.with_(lam=1.0)
        log2, se, moved = [], [], []
        for j, L in enumerate(depths):
            best = _best(problem, L, -4.0 if alpha else chosen["low"], chosen["step"], *chosen["sampling"])
            log2.append(best[0])
            se.append(best[1])
            moved.append(_movement(problem, L, *chosen["sampling"]))
            if progress is not None:
                progress(i * len(depths) + j + 1, len(CASES) * len(depths))
        errors = _approach(alpha, sig_w, chosen["steps"], chosen["exact"])
        nan = Slope(math.nan, math.nan, math.nan)
        found.append(
            Case(name, alpha, sig_w, tuple(log2), tuple(se), _drift(depths, log2, se), tuple(moved), tuple(errors),
                 slope_of(chosen["exact"], errors) if alpha else nan)
        )  # fmt: skip
    return Facts(chosen["steps"], depths, chosen["exact"], tuple(found))


def _best(problem: Problem, L: int, low: float, step: float, S: int, R: int) -> tuple[float, float]:
    """log2 of the best eta0 and its standard error. Unscaled branches need rates far below the others' range."""
    grid = [2.0**x for x in np.arange(low, 2.01, step)]
    found = best_rate(problem, L, grid, sampling=Sampling(S, R, drop=1e-3, seed=L))
    value = found.value
    if value is None or not found.status.ok:
        return math.nan, math.nan
    return value.log2, max(found.error["log2"], step / 8)


def _drift(depths: Sequence[int], log2: Sequence[float], se: Sequence[float]) -> Slope:
    """Octaves per doubling by weighted least squares, wider where points scatter more than their errors."""
    known = [i for i, value in enumerate(log2) if math.isfinite(value)]
    if len(known) < 3:
        return Slope(math.nan, math.nan, math.nan)
    x, y, weight = (np.array(v)[known] for v in (np.log2(depths), np.array(log2), 1 / np.array(se)))
    design = np.stack([np.ones_like(x), x], 1) * weight[:, None]
    covariance = np.linalg.inv(design.T @ design)
    fit = covariance @ design.T @ (y * weight)
    misfit = float(((design @ fit - y * weight) ** 2).sum() / max(1, len(known) - 2))
    half = 1.96 * math.sqrt(covariance[1, 1] * max(1.0, misfit))
    return Slope(float(fit[1]), float(fit[1] - half), float(fit[1] + half))


def _movement(problem: Problem, L: int, S: int, R: int) -> float:
    """|Phi(T, T) - Phi(0, 0)| / |Phi(0, 0)| over points, at the shared rate; nan where that diverges."""
    trained = sample_networks(problem, L, Sampling(S, R, drop=1e-3, seed=L), kernels=True)[0]
    if trained.kernels is None or not bool(trained.alive.all()):
        return math.nan
    Phi, M = trained.kernels.Phi_last.mean(0), problem.M
    return float((Phi[-M:, -M:] - Phi[:M, :M]).norm() / Phi[:M, :M].norm())


def _approach(alpha: float, sig_w: float, steps: int, depths: Sequence[int]) -> list[float]:
    """Relative error of f of linear networks against infinite depth."""
    if not alpha:
        return [math.nan] * len(depths)
    problem = task("linear", steps, P=8, alpha=alpha, eta0=0.1)
    # Blocks that start at zero have the limit of alpha = 1 whatever alpha is: there the first weights drop out.
    limit = solve_linear_deep(problem if sig_w else problem.with_(alpha=1.0)).require().f
    finite = [solve_linear(problem.with_(sig_w=sig_w), L).require().f for L in depths]
    return [float(torch.linalg.norm(f - limit) / torch.linalg.norm(limit)) for f in finite]


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`: best rates, kernel movement, approach to infinite depth."""
    figure, (left, middle, right) = panels(figure, 3, 4.2)
    for case, colour, mark in zip(facts.cases, COLOURS, "os^Dx", strict=True):
        style = {"color": colour, "marker": mark, "markersize": 5, "linewidth": 1.3}
        dashed = {"linestyle": "--"} if not case.alpha else {}
        left.errorbar(facts.depths, case.log2, [1.96 * se for se in case.se], capsize=2, **style, **dashed,
                      label=f"{case.name}: {_said(case.drift)}")  # fmt: skip
        if case.alpha:
            middle.plot(facts.depths, case.moved, label=case.name, **style)
            right.plot(facts.exact, case.errors, label=f"{case.name}: {case.approach.said()}", **style)
    size_axis(left, facts.depths, "depth L")
    left.set(ylabel="log2 of the best eta0 [95%]", title="drift, octaves per doubling of depth")
    size_axis(middle, facts.depths, "depth L")
    middle.set(ylabel="|Phi(end) - Phi(0)| / |Phi(0)|", title=f"kernel movement, relu, eta0 = {RATE:g}", ylim=(0, None))
    log_errors(right)
    size_axis(right, facts.exact, "depth L")
    known = [case.errors[0] for case in facts.cases if case.alpha]
    guide(right, facts.exact, -1.0, 0.7 * min(known), "1 / L")
    right.set(ylabel="relative error of f against L = infinity", title="linear, exact: exponent in L")
    for panel in (left, middle, right):
        panel.legend(fontsize="x-small", frameon=False)
    return figure


def _said(drift: Slope) -> str:
    return "no optimum" if math.isnan(drift.value) else f"{drift.value:+.2f} [{drift.low:+.2f}, {drift.high:+.2f}]"
