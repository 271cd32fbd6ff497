"""The error law: how far finite nets are from the mean ODE, measured over shapes and seeds, and fitted.

Legend: L depth, M hidden width, D embedding dimension, k gradient steps, R seeds; f outputs, h^L embeddings.

    rms(f_net - f_limit) ~ a/L + b sqrt(D/(L M))          Chizat, arXiv 2509.10167, theorem 3 (2LP blocks, D = O(LM))

Bias and spread are separated as they should be: the seeds' mean gives the Euler bias (less R^-1 of the variance), the
seeds' standard deviation the fluctuation. Data, W_E and W_U stay fixed across seeds, else the limit itself changes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isoscale.theory.mean_ode.fits import Estimate, Fit, fit_law, slopes
from isoscale.theory.mean_ode.march import Progress
from isoscale.theory.mean_ode.network import Net, batches, train
from isoscale.theory.mean_ode.setting import BadSetting, Setting
from isoscale.theory.mean_ode.solver import mean_ode

OBSERVABLES = ("outputs", "embeddings")


@dataclass(frozen=True)
class Row:
    """One shape at one step for one observable: `squares` the squared rms error of every seed, `bias` of the seeds'
    mean, `std` over seeds (all a coordinate), `reference` the limit's own rms error."""

    L: int
    M: int
    D: int
    k: int
    observable: str
    squares: tuple[float, ...]
    bias: float
    std: float
    reference: float

    @property
    def rms(self) -> float:
        return math.sqrt(sum(self.squares) / len(self.squares))

    @property
    def doubt(self) -> str:
        """Why this row does not belong in a fit, or an empty string."""
        if not all(map(math.isfinite, self.squares)):
            return "a net diverged"
        if self.D > self.L * self.M:
            return f"D = {self.D} > L M = {self.L * self.M}: outside the theorem (D = O(LM))"
        if self.rms < 3 * self.reference:
            return "within three standard errors of the reference"
        return ""


@dataclass(frozen=True)
class ErrorLaw:
    """Fits of rows at step `k` for one observable: `linear`, `quadrature`, exponents of the fluctuation (std over
    seeds) in L, M (and D where it varies), the overall exponent of the rms error in LM (or LM/D), and how many rows
    were left out, by reason. `with_D` says that b multiplies sqrt(D/(LM)), otherwise 1/sqrt(LM)."""

    k: int
    observable: str
    linear: Fit
    quadrature: Fit
    fluctuation: Mapping[str, Estimate]
    overall: Estimate
    left_out: Mapping[str, int]
    with_D: bool

    def sentences(self) -> tuple[str, ...]:
        a, b = self.linear.coefficients["a"], self.linear.coefficients["b"]
        q = self.quadrature.coefficients
        exponents = ", ".join(f"{name} {e.value:+.3f}({e.se:.3f})" for name, e in self.fluctuation.items())
        spread = "sqrt(D/(LM))" if self.with_D else "/ sqrt(LM)"
        return (
            f"k={self.k} {self.observable}: error = {a.value:.3f}/L + {b.value:.3f} {spread}, "
            f"R2 {self.linear.r2:.4f}, {self.linear.shapes} shapes",
            f"in quadrature: a {q['a'].value:.3f}, b {q['b'].value:.3f}, R2 {self.quadrature.r2:.4f}; "
            f"fluctuation exponents {exponents}",
        )


def measure(
    setting: Setting,
    shapes: Sequence[tuple[int, int]],
    seeds: int,
    steps: Iterable[int],
    *,
    reference_particles: int = 2**15,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> list[Row]:
    """Train `seeds` nets of every shape (L, M) and compare them with the mean ODE at the given steps.

    Raises `BadSetting` where the reference itself cannot be trusted, with the solver's sentence.
    """
    steps = sorted(set(steps))
    if seeds < 2 or not shapes:
        raise BadSetting(
            f"seeds = {seeds}, {len(shapes)} shapes: the fluctuation needs at least two seeds and one shape"
        )
    solution = mean_ode(setting, steps[-1], particles=reference_particles, replicates=4)
    if not solution.status.ok or solution.value is None:
        raise BadSetting(f"no limit to compare with: {solution.status.sentence}")
    limit = {"outputs": solution.value.f[steps], "embeddings": solution.value.h[steps]}
    nets = [Net(L, M, seed) for L, M in shapes for seed in range(seeds)]
    differences: dict[str, list[Tensor | None]] = {name: [None] * len(nets) for name in OBSERVABLES}
    done = 0
    for group in batches(nets, setting):
        out = train(setting, [nets[i] for i in group], steps[-1], record=steps, dtype=dtype)
        for name, field in (("outputs", out.f), ("embeddings", out.h)):
            gap = field.double() - limit[name][:, None].to(field.device)
            for column, i in enumerate(group):
                differences[name][i] = gap[:, column].cpu()
        done += len(group)
        if progress is not None:
            progress(done, len(nets))
    rows = []
    for s, (L, M) in enumerate(shapes):
        for name in OBSERVABLES:
            mine = [x for x in differences[name][s * seeds : (s + 1) * seeds] if x is not None]
            for t, k in enumerate(steps):
                rows.append(_row(L, M, setting.D, k, name, torch.stack([x[t] for x in mine]), solution.error[name]))
    return rows


def _row(L: int, M: int, D: int, k: int, name: str, gap: Tensor, reference: float) -> Row:
    """gap (R, n, coordinates)."""
    R = len(gap)
    variance = float(gap.var(0).mean())
    bias = float((gap.mean(0) ** 2).mean()) - variance / R
    squares = tuple(float(x) for x in (gap**2).mean((-1, -2)))
    return Row(L, M, D, k, name, squares, math.sqrt(max(bias, 0.0)), math.sqrt(variance), reference)


def fit_rows(
    rows: Sequence[Row],
    k: int,
    observable: str = "outputs",
    *,
    min_depth: int = 8,
    with_D: bool = True,
    resamples: int = 100,
) -> ErrorLaw:
    """Fit the law to the rows of step k with L >= min_depth that the theory speaks of; `with_D` False leaves the factor
    sqrt(D) out (what a wrong theory would say; and the convention of b for a single D)."""
    mine = [row for row in rows if row.k == k and row.observable == observable and min_depth <= row.L]
    left: dict[str, int] = {}
    for row in mine:
        if row.doubt:
            left[row.doubt.split(":")[0]] = left.get(row.doubt.split(":")[0], 0) + 1
    kept = [row for row in mine if not row.doubt]
    if len(kept) < 4:
        raise BadSetting(f"{len(kept)} rows left at k={k} ({left}): a law of two terms needs at least 4 shapes")
    L, M, D = ([float(getattr(row, name)) for row in kept] for name in "LMD")
    factor = D if with_D else [1.0] * len(D)
    squares = [row.squares for row in kept]
    varies = {name: x for name, x in (("L", L), ("M", M), ("D", D)) if len(set(x)) > 1}
    spread = [row.std for row in kept]
    size = np.array(L) * np.array(M) / np.array(factor)
    return ErrorLaw(
        k,
        observable,
        fit_law("linear", L, M, factor, squares, resamples=resamples),
        fit_law("quadrature", L, M, factor, squares, resamples=resamples),
        dict(zip(varies, slopes(spread, *varies.values()))),
        slopes([row.rms for row in kept], size)[0],
        left,
        with_D,
    )


def error_law(
    settings: Setting | Sequence[Setting],
    shapes: Sequence[tuple[int, int]],
    *,
    seeds: int = 10,
    steps: Iterable[int] = (5, 20),
    observable: str = "outputs",
    min_depth: int = 8,
    with_D: bool = True,
    reference_particles: int = 2**15,
    progress: Progress | None = None,
) -> tuple[ErrorLaw, ...]:
    """Measure and fit the error law at each of `steps`: one setting, or several that differ in D (the D law)."""
    chosen = [settings] if isinstance(settings, Setting) else list(settings)
    steps = sorted(set(steps))
    how: dict[str, Any] = {"reference_particles": reference_particles, "progress": progress}
    rows = [row for setting in chosen for row in measure(setting, shapes, seeds, steps, **how)]
    return tuple(fit_rows(rows, k, observable, min_depth=min_depth, with_D=with_D) for k in steps)
