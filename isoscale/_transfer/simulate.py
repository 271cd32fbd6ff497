"""Sweeps with a known answer: curves of realistic shape whose optimum and edge are put where the caller says.

They measure the statistics of this room (coverage of an interval, rates of false verdicts), and let a user plan a
sweep: how many seeds would tell a drift of this size on a curve this flat?
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from isoscale._records.run import Run
from isoscale._transfer.curve import Array, Size
from isoscale._transfer.errors import RunsError


def _balance(left: float, right: float) -> Callable[[Array, float], Array]:
    """log(1 + K (exp(-left z) / left + exp(right z) / right - its minimum)): slow on the left, trouble on the right."""

    def shape(z: Array, curvature: float) -> Array:
        level = 1 / left + 1 / right
        rise = np.exp(-left * z) / left + np.exp(np.minimum(right * z, 300.0)) / right - level
        return np.asarray(np.log1p(2 * curvature / (left + right) * rise))

    return shape


def _flat(z: Array, curvature: float) -> Array:
    return np.asarray(curvature * (0.15 * z**2 + 0.1 * z**4 / (1 + 0.05 * z**2)))


@dataclass(frozen=True)
class Shape:
    """Log loss above its minimum, z octaves from the optimum: c z^2 near it; diverges beyond `edge`."""

    rise: Callable[[Array, float], Array]
    edge: float = np.inf


SHAPES: Mapping[str, Shape] = {
    "quadratic": Shape(lambda z, c: np.asarray(c * z**2)),
    "leaning": Shape(lambda z, c: np.asarray(2 * c / 0.36 * (np.exp(0.6 * z) - 0.6 * z - 1))),
    "adam": Shape(_balance(0.5, 1.2)),
    "cliff": Shape(_balance(0.5, 2.5), 1.4),
    "wall": Shape(_balance(0.4, 6.0), 0.8),
    "flat": Shape(_flat),
}


@dataclass(frozen=True)
class World:
    """How simulated losses come about. All spreads are standard deviations of log loss, but `shift`: octaves by which a
    seed's whole curve is displaced. `noise` is a run's own, `level` a seed's along its curve."""

    shape: str = "adam"
    curvature: float = 0.03
    noise: float = 0.02
    level: float = 0.1
    shift: float = 0.0
    edge_spread: float = 0.1
    best_loss: float = 0.3
    settings: Mapping[str, object] = field(default_factory=dict)

    def losses(self, x: Array, optimum: float, seeds: int, rng: np.random.Generator) -> Array:
        """[seeds, x] losses around an optimum at position `optimum`; inf where a seed diverged."""
        if self.shape not in SHAPES:
            raise RunsError(f"shape={self.shape!r}: known shapes are {', '.join(SHAPES)}")
        shape = SHAPES[self.shape]
        z = x[None] - optimum - rng.normal(0.0, 1.0, (seeds, 1)) * self.shift
        y = shape.rise(z, self.curvature) + rng.normal(0.0, self.level, (seeds, 1))
        y = y + rng.normal(0.0, self.noise, y.shape)
        edge = shape.edge + rng.normal(0.0, self.edge_spread, (seeds, 1))
        return np.asarray(np.where(z > edge, np.inf, self.best_loss * np.exp(y)))

    def runs(
        self,
        optima: Mapping[Size, float],
        *,
        x: Iterable[float] = tuple(np.arange(-13.0, -3.9, 0.5)),
        seeds: int = 3,
        rng: np.random.Generator,
        rule: str = "depth_mup",
        optimizer: str = "adamw",
        hyperparameter: str = "lr",
    ) -> list[Run]:
        """Runs of a sweep over the sizes in `optima`, whose optima are at the positions given (log2)."""
        grid = np.asarray(list(x), dtype=np.float64)
        found = []
        for (width, depth), optimum in optima.items():
            losses = self.losses(grid, optimum, seeds, rng)
            for s in range(seeds):
                for at, position in enumerate(grid):
                    config = {
                        "rule": rule, "optimizer": optimizer, "width": width, "depth": depth, "seed": s,
                        hyperparameter: float(2.0**position), **self.settings,
                    }  # fmt: skip
                    loss = float(losses[s, at])
                    diverged = not np.isfinite(loss)
                    flops = 6.0 * width**2 * depth
                    found.append(
                        Run(config, {"train_loss": loss}, "diverged" if diverged else "finished",
                            10 if diverged else None, 100, flops, flops / 1e9)
                    )  # fmt: skip
        return found
