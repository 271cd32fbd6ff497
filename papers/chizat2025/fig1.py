"""Figure 1: with one hidden unit a layer, the stream of a trained deep ResNet follows the mean ODE.

Legend: L depth, M = 1 hidden width, k = K gradient steps, h^l stream after l layers, s = l/L, h(s) the limit.
Setting A (D = 10, five inputs, one output, ten points, tanh), one coordinate for one training point.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from isoscale.theory.mean_ode import Net, forward, mean_ode, setting_a, slopes, train

PRESETS = {
    "smoke": {"depths": (10, 30, 90), "steps": 5, "seeds": 4, "particles": 1024},
    "cpu": {"depths": (10, 30, 100, 300, 1000), "steps": 100, "seeds": 10, "particles": 8192},
    "full": {"depths": (10, 30, 100, 300, 1000, 3000), "steps": 100, "seeds": 20, "particles": 32768},
}
SHOWN = 3


@dataclass(frozen=True)
class Facts:
    """`paths[d][r]` a coordinate of h^l at `grid` for depth d and seed r (a few), `limit` of the mean ODE there;
    `deviation[d]` sup over l of the rms of h^l - h(l/L), and `slope` its exponent in L."""

    steps: int
    depths: tuple[int, ...]
    grid: tuple[float, ...]
    paths: tuple[tuple[tuple[float, ...], ...], ...]
    limit: tuple[float, ...]
    deviation: tuple[float, ...]
    slope: float
    slope_low: float
    slope_high: float


def facts(preset: str = "cpu", progress: Any = None) -> Facts:
    chosen = PRESETS[preset]
    setting, K, seeds = setting_a(), int(chosen["steps"]), int(chosen["seeds"])
    limit = mean_ode(setting, K, particles=int(chosen["particles"])).require()
    grid = np.linspace(0, 1, 101)
    paths, deviation = [], []
    for d, L in enumerate(chosen["depths"]):
        nets = [Net(L, 1, seed) for seed in range(seeds)]
        h = forward(setting, nets, train(setting, nets, K).weights).h.double().numpy()
        exact = limit.path(K, np.arange(L + 1) / L)
        deviation.append(float(np.sqrt(((h - exact[:, None]) ** 2).mean((1, 2, 3)).max())))
        at = np.minimum((grid * L).astype(int), L)
        paths.append(tuple(tuple(map(float, h[at, r, 0, 0])) for r in range(min(SHOWN, seeds))))
        if progress is not None:
            progress(d + 1, len(chosen["depths"]))
    slope = slopes(deviation, chosen["depths"])[0]
    return Facts(
        K,
        tuple(chosen["depths"]),
        tuple(map(float, grid)),
        tuple(paths),
        tuple(map(float, limit.path(K, grid)[:, 0, 0])),
        tuple(deviation),
        slope.value,
        slope.low,
        slope.high,
    )


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`.

    A panel a depth, nets in grey, the mean ODE in red.
    """
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(3 * len(facts.depths), 3)
    figure.set_layout_engine("constrained")
    for panel, L, paths, deviation in zip(
        figure.subplots(1, len(facts.depths), sharey=True), facts.depths, facts.paths, facts.deviation
    ):
        for path in paths:
            panel.plot(facts.grid, path, color="0.6", linewidth=1)
        panel.plot(facts.grid, facts.limit, color="tab:red", linewidth=2)
        panel.set(title=f"L = {L}, sup rms {deviation:.2f}", xlabel="l / L")
    figure.suptitle(f"M = 1, k = {facts.steps}: deviation ~ L^{facts.slope:.2f}")
    return figure
