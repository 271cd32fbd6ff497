"""Figure 3: the loss of the mean ODE, and how the weights of one unit move in training, layer after layer.

Legend: L depth, M hidden width, k gradient steps, (u_1, v_1) the first unit of a layer, started equal in all layers.
Setting A. What the limit says: u_1 is a regular function of depth at every k, so neighbours differ by Theta(1/L).
"""

from dataclasses import dataclass
from typing import Any

import torch

from isoscale.theory.mean_ode import Net, Weights, initial, mean_ode, setting_a, train

PRESETS = {
    "smoke": {"depths": (10, 20), "M": 8, "steps": 5, "particles": 1024},
    "cpu": {"depths": (25, 50, 100, 200), "M": 50, "steps": 100, "particles": 8192},
    "full": {"depths": (25, 50, 100, 200), "M": 200, "steps": 100, "particles": 32768},
}
SHOWN = 8


@dataclass(frozen=True)
class Facts:
    """`loss` of the limit and `net_loss` of the deepest net by k; `tracks[l][k]` the first two coordinates of u_1 for a
    few layers of the deepest net; `moved` |U_K - U_0|/|U_0| there; `increments[d]` L times the rms difference of u_1
    between neighbouring layers for depth d."""

    steps: int
    depths: tuple[int, ...]
    loss: tuple[float, ...]
    net_loss: tuple[float, ...]
    layers: tuple[int, ...]
    tracks: tuple[tuple[tuple[float, float], ...], ...]
    moved: float
    increments: tuple[float, ...]


def facts(preset: str = "cpu", progress: Any = None) -> Facts:
    chosen = PRESETS[preset]
    setting, K, M = setting_a(), int(chosen["steps"]), int(chosen["M"])
    limit = mean_ode(setting, K, particles=int(chosen["particles"])).require()
    increments = []
    for d, L in enumerate(chosen["depths"]):
        nets = [Net(L, M)]
        start = initial(setting, nets)
        for tensor in start:
            tensor[:, 0, 0] = tensor[0, 0, 0].clone()
        shown = tuple(range(0, L, max(1, L // SHOWN)))[:SHOWN]
        weights, tracks, losses = Weights(start.U.clone(), start.V.clone()), [], []
        for k in range(K + 1):
            tracks.append(weights.U[list(shown), 0, 0, :2].tolist())
            out = train(setting, nets, 1 if k < K else 0, weights=weights)  # one step at a time, to watch the weights
            losses.append(float(out.loss[0, 0]))
        gaps = (weights.U[1:, 0, 0] - weights.U[:-1, 0, 0]).double()
        increments.append(L * float(gaps.square().mean().sqrt()))
        if progress is not None:
            progress(d + 1, len(chosen["depths"]))
    moved = float(torch.linalg.norm(weights.U - start.U) / torch.linalg.norm(start.U))
    return Facts(
        K,
        tuple(chosen["depths"]),
        tuple(map(float, limit.loss)),
        tuple(losses),
        shown,
        tuple(tuple((track[l][0], track[l][1]) for track in tracks) for l in range(len(shown))),
        moved,
        tuple(increments),
    )


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`.

    Losses on the left, tracks of u_1 on the right.
    """
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(9, 4)
    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(facts.loss, color="tab:red", label="mean ODE")
    left.semilogy(facts.net_loss, "--", color="0.3", label=f"L = {facts.depths[-1]}")
    left.set(xlabel="k", ylabel="loss")
    left.legend()
    for layer, track in zip(facts.layers, facts.tracks):
        right.plot(*zip(*track), color=f"{0.8 * layer / facts.depths[-1]:.2f}", linewidth=1)
    right.set(xlabel="u_1[0]", ylabel="u_1[1]", title=f"|U_K - U_0|/|U_0| = {facts.moved:.2f}")
    return figure
