"""What the theory's figures share: their task, errors between networks and the limit, slopes with intervals.

Legend: N width, L residual blocks, P training points, D inputs, T steps, t step; f outputs, H and Phi kernels of the
stream and of its activations, G kernels of the gradients. The task: D = 6 normal inputs, P points with normal targets
of rms 1, square loss, full batches: the paper's is CIFAR-10, where the limit cannot be had to three digits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoscale.theory.dmft import Problem

Array = NDArray[np.float64]
COLOURS = {"linear": "#1f5fa8", "tanh": "#b8430e", "relu": "#3b7d4f"}
MARKS = {"linear": "o", "tanh": "s", "relu": "^"}
RATES = {"linear": 0.2, "tanh": 0.5, "relu": 0.3}


@dataclass(frozen=True)
class Slope:
    """An exponent with its 95% interval."""

    value: float
    low: float
    high: float

    def said(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def task(activation: str, steps: int, P: int = 4, **changes: Any) -> Problem:
    """The figures' problem, on a GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(P, 6, generator=generator, dtype=torch.float64)
    Y = torch.randn(P, 1, generator=generator, dtype=torch.float64)
    Y = Y / (Y**2).mean().sqrt()
    settings: dict[str, Any] = {"eta0": RATES[activation], "activation": activation} | changes
    return Problem(X.to(device), Y.to(device), steps, **settings)


def squared_errors(found: Tensor, limit: Tensor) -> Array:
    """Relative squared error of each replica (R, ...) against the limit (...): |x - x_inf|^2 / |x_inf|^2."""
    gap = (found - limit).flatten(1).square().sum(1) / limit.square().sum()
    return gap.cpu().numpy()


def slope_over(sizes: Sequence[int], squared: Sequence[Array], resamples: int = 500) -> Slope:
    """Exponent of the rms error in the size; interval by resampling the replicas of every size."""
    rng = np.random.default_rng(0)

    def fit(samples: Sequence[Array]) -> float:
        return float(np.polyfit(np.log(sizes), [0.5 * np.log(each.mean()) for each in samples], 1)[0])

    drawn = [fit([each[rng.integers(len(each), size=len(each))] for each in squared]) for _ in range(resamples)]
    return Slope(fit(squared), *(float(x) for x in np.quantile(drawn, (0.025, 0.975))))


def slope_of(sizes: Sequence[float], errors: Sequence[float]) -> Slope:
    """Exponent of numbers without noise; the interval is the range of the exponents between neighbouring sizes."""
    x, y = np.log(sizes), np.log(errors)
    value = float(np.polyfit(x, y, 1)[0])
    local = np.diff(y) / np.diff(x)
    return Slope(value, float(min(local.min(), value)), float(max(local.max(), value)))


def slope_resampled(sizes: Sequence[int], statistic: Callable[[np.random.Generator | None], Sequence[float]]) -> Slope:
    """Exponent of `statistic(rng)`, positive numbers one a size, which resamples its own replicas with `rng` (None: as
    they are)."""
    rng = np.random.default_rng(0)

    def fit(values: Sequence[float]) -> float:
        return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])

    drawn = [fit(values) for values in (statistic(rng) for _ in range(300)) if min(values) > 0]
    return Slope(fit(statistic(None)), *(float(x) for x in np.quantile(drawn, (0.025, 0.975))))


def numbers(values: Any) -> tuple[float, ...]:
    """A tensor or array of one dimension as floats."""
    return tuple(float(x) for x in values)


def panels(figure: Any, count: int, width: float = 4.0, height: float = 3.6) -> tuple[Any, Any]:
    """A figure, new or given, and `count` panels in a row."""
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(width * count, height)
    figure.set_layout_engine("constrained")
    drawn = figure.subplots(1, count, squeeze=False)[0]
    for panel in drawn:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25, linewidth=0.6)
    return figure, drawn


def size_axis(panel: Any, sizes: Sequence[int], label: str) -> None:
    """A log axis that names exactly these sizes."""
    panel.set_xscale("log", base=2)
    panel.set_xticks(list(sizes), [str(size) for size in sizes])
    panel.minorticks_off()
    panel.set_xlabel(label)


def log_errors(panel: Any) -> None:
    """A log axis of errors with ticks at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_locator(NullLocator())


def guide(panel: Any, sizes: Sequence[int], exponent: float, at: float, text: str) -> None:
    """A dotted line of a known exponent, through `at` at the first size."""
    panel.plot(sizes, [at * (size / sizes[0]) ** exponent for size in sizes], ":", color="0.4", linewidth=1.2)
    end = (sizes[-1], at * (sizes[-1] / sizes[0]) ** exponent)
    panel.annotate(text, end, textcoords="offset points", xytext=(0, -12), color="0.4", fontsize="small", ha="right")
