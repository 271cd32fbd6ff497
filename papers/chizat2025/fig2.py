"""Figure 2: the distance of finite nets to the limit is a/L + b/sqrt(LM).

Legend: L depth, M hidden width, k gradient steps; rms output error over seeds against the mean ODE. Setting A.
The paper fits by hand (a = 0.15, b = 0.22 for its own data); here a and b are fitted to logarithms with intervals.
"""

from dataclasses import dataclass
from typing import Any

from isoscale.theory.mean_ode import fit_rows, measure, setting_a

PRESETS = {
    "smoke": {"depths": (4, 8, 16, 32), "widths": (1, 4, 16), "seeds": 4, "steps": 5, "particles": 2**12},
    "cpu": {"depths": (2, 4, 8, 16, 32, 64, 100), "widths": (1, 3, 10, 30, 100), "seeds": 10, "steps": 20,
            "particles": 2**15},
    "full": {"depths": (2, 4, 8, 16, 32, 64, 100, 200), "widths": (1, 2, 4, 8, 16, 32, 64, 100, 200), "seeds": 20,
             "steps": 100, "particles": 2**16},
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """`rms[i]` of shape (`L[i]`, `M[i]`); the fit of depths >= 8 with 95% intervals over seeds, in linear form and in
    quadrature; exponents of the spread over seeds in L and M."""

    steps: int
    L: tuple[int, ...]
    M: tuple[int, ...]
    rms: tuple[float, ...]
    a: tuple[float, float, float]
    b: tuple[float, float, float]
    r2: float
    quadrature_a: float
    quadrature_b: float
    exponent_L: float
    exponent_M: float


def facts(preset: str = "cpu", progress: Any = None) -> Facts:
    chosen = PRESETS[preset]
    shapes = [(L, M) for L in chosen["depths"] for M in chosen["widths"]]
    k = int(chosen["steps"])
    rows = measure(
        setting_a(), shapes, int(chosen["seeds"]), [k], reference_particles=int(chosen["particles"]), progress=progress
    )
    law = fit_rows(rows, k, with_D=False)
    mine = [row for row in rows if row.observable == "outputs"]
    a, b = (law.linear.coefficients[name] for name in "ab")
    return Facts(
        k,
        tuple(row.L for row in mine),
        tuple(row.M for row in mine),
        tuple(row.rms for row in mine),
        (a.value, a.low, a.high),
        (b.value, b.low, b.high),
        law.linear.r2,
        law.quadrature.coefficients["a"].value,
        law.quadrature.coefficients["b"].value,
        law.fluctuation["L"].value,
        law.fluctuation["M"].value,
    )


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`.

    Error against L, a line a width, dots measured, lines fitted.
    """
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(5, 4)
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    for i, M in enumerate(sorted(set(facts.M))):
        L, rms = zip(*[(l, e) for l, m, e in zip(facts.L, facts.M, facts.rms) if m == M])
        panel.loglog(L, rms, "o", color=f"C{i}", markersize=4, label=f"M = {M}")
        panel.loglog(L, [facts.a[0] / l + facts.b[0] / (l * M) ** 0.5 for l in L], color=f"C{i}", linewidth=1)
    panel.set(xlabel="L", ylabel="rms output error", title=f"k = {facts.steps}, R2 = {facts.r2:.3f}")
    panel.legend(fontsize="small")
    return figure
