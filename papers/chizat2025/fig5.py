"""Figure 5: over 2100 nets the distance to the limit is a/L + b sqrt(D/(LM)).

Legend: L depth, M hidden width, D embedding dimension, k gradient steps; rms output error against the mean ODE of the
same D. Setting E(D): din = dout = D and no other layers, so that the loss sees every coordinate (with a readout of
fixed size the average over D hides the square root: docs/theory/mean_ode.md).
"""

from dataclasses import dataclass
from typing import Any

from isoscale.theory.mean_ode import fit_rows, measure, setting_b

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"D": (5, 20), "L": (8, 16, 32), "M": (1, 4, 16), "seeds": 4, "steps": (1, 5), "particles": 2**12},
    "cpu": {"D": (5, 10, 20, 50), "L": (3, 10, 30, 100), "M": (1, 3, 10, 30, 100), "seeds": 5, "steps": (1, 5, 20),
            "particles": 2**14},
    "full": {"D": (2, 5, 10, 20, 50, 100), "L": (3, 10, 30, 60, 100, 200), "M": (1, 3, 10, 30, 100, 200), "seeds": 10,
             "steps": (1, 5, 10, 20), "particles": 2**15},
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """`rms[t][i]` at `steps[t]` of shape i = (`D[i]`, `L[i]`, `M[i]`), of `nets` nets in all; a step, the fit over
    5 <= D <= L M, L >= 8: `a`, `b`, `r2`, and `r2_without` the factor sqrt(D); exponents of the spread over seeds."""

    nets: int
    steps: tuple[int, ...]
    D: tuple[int, ...]
    L: tuple[int, ...]
    M: tuple[int, ...]
    rms: tuple[tuple[float, ...], ...]
    a: tuple[float, ...]
    b: tuple[float, ...]
    r2: tuple[float, ...]
    r2_without: tuple[float, ...]
    exponents: tuple[tuple[float, float, float], ...]


def facts(preset: str = "cpu", progress: Any = None) -> Facts:
    chosen = PRESETS[preset]
    shapes = [(L, M) for L in chosen["L"] for M in chosen["M"]]
    rows, total = [], len(chosen["D"]) * len(shapes) * chosen["seeds"]
    for i, D in enumerate(chosen["D"]):
        before = i * len(shapes) * chosen["seeds"]
        told = None if progress is None else lambda done, of, before=before: progress(before + done, total)
        rows += measure(
            setting_b(D),
            shapes,
            chosen["seeds"],
            chosen["steps"],
            reference_particles=chosen["particles"],
            progress=told,
        )
    rows = [row for row in rows if row.observable == "outputs"]
    fitted = [row for row in rows if row.D >= 5]
    laws = [fit_rows(fitted, k, resamples=2) for k in chosen["steps"]]
    without = [fit_rows(fitted, k, with_D=False, resamples=2) for k in chosen["steps"]]
    first = [row for row in rows if row.k == chosen["steps"][0]]
    return Facts(
        total,
        tuple(chosen["steps"]),
        tuple(row.D for row in first),
        tuple(row.L for row in first),
        tuple(row.M for row in first),
        tuple(tuple(row.rms for row in rows if row.k == k) for k in chosen["steps"]),
        tuple(law.linear.coefficients["a"].value for law in laws),
        tuple(law.linear.coefficients["b"].value for law in laws),
        tuple(law.linear.r2 for law in laws),
        tuple(law.linear.r2 for law in without),
        tuple((law.fluctuation["L"].value, law.fluctuation["M"].value, law.fluctuation["D"].value) for law in laws),
    )


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`.

    Measured error against the fitted law, a panel a step, a colour a D.
    """
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(3.5 * len(facts.steps), 3.5)
    figure.set_layout_engine("constrained")
    sizes = sorted(set(facts.D))
    panels = figure.subplots(1, len(facts.steps), squeeze=False)[0]
    for panel, k, rms, a, b, r2 in zip(panels, facts.steps, facts.rms, facts.a, facts.b, facts.r2):
        law = [a / L + b * (D / (L * M)) ** 0.5 for D, L, M in zip(facts.D, facts.L, facts.M)]
        for i, D in enumerate(sizes):
            at = [j for j, value in enumerate(facts.D) if value == D]
            panel.loglog([law[j] for j in at], [rms[j] for j in at], "o", color=f"C{i}", markersize=3, label=f"D = {D}")
        ends = [min(law), max(law)]
        panel.loglog(ends, ends, color="0.5", linewidth=1)
        panel.set(xlabel="a/L + b sqrt(D/(LM))", ylabel="rms output error", title=f"k = {k}, R2 = {r2:.3f}")
    panels[-1].legend(fontsize="small")
    return figure
