"""Figure 4: the phase diagram of the residual scale.

Legend: L depth, M hidden width, D embedding, rho = L M / D; sigma_v = sqrt(D) rho^g, sigma_u = sqrt(D) rho^a.
The paper prints sigma_u on the axis; the regimes only make sense for the scale of the output layer, sigma_v here.
Setting B; exponents in rho of rms(h^L - h^0) at initialisation and of the local update rms((U_k - U_0).h/D).
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from isoscale.theory.mean_ode import phase_scan, setting_b

_GS = tuple(map(Fraction, ("-1", "-1/2", "-1/4", "0", "1/8", "1/4", "3/8", "1/2", "5/8", "3/4")))
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"g": _GS[1::2], "a": (Fraction(0),), "shapes": ((10, 4), (20, 8), (40, 16)), "seeds": 4, "steps": 5},
    "cpu": {"g": _GS, "a": (Fraction(0),), "shapes": ((10, 4), (20, 8), (40, 16), (80, 32)), "seeds": 16, "steps": 20},
    "full": {"g": tuple(map(Fraction, ("-1/4", "0", "1/4", "1/2", "3/4"))),
             "a": tuple(map(Fraction, ("-1/2", "-1/4", "0", "1/4", "1/2"))),
             "shapes": ((10, 4), (20, 8), (40, 16), (80, 32)), "seeds": 16, "steps": 20},
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """A point an entry: `g`, `a`, the `regime` that the rules predict, measured and predicted exponents of the initial
    deviation and of the local update (NaN where training diverged, or no theory gives it)."""

    steps: int
    rho: tuple[float, ...]
    g: tuple[float, ...]
    a: tuple[float, ...]
    regime: tuple[str, ...]
    deviation: tuple[float, ...]
    deviation_predicted: tuple[float, ...]
    update: tuple[float, ...]
    update_predicted: tuple[float, ...]


def facts(preset: str = "cpu", progress: Any = None) -> Facts:
    chosen = PRESETS[preset]
    scan = phase_scan(
        setting_b(),
        chosen["g"],
        chosen["shapes"],
        inner=chosen["a"],
        steps=chosen["steps"],
        seeds=chosen["seeds"],
        fitted_from=4.0 if preset == "smoke" else 16.0,
        progress=progress,
    )
    nan = float("nan")
    known = [p.predicted.local_update for p in scan.points]
    return Facts(
        scan.steps,
        scan.rho,
        tuple(p.g for p in scan.points),
        tuple(p.a for p in scan.points),
        tuple(p.predicted.regime for p in scan.points),
        tuple(p.start.value for p in scan.points),
        tuple(float(p.predicted.initial_deviation) for p in scan.points),
        tuple(nan if p.update is None else p.update.value for p in scan.points),
        tuple(nan if value is None else float(value) for value in known),
    )


def draw(facts: Facts, figure: Any = None) -> Any:
    """A matplotlib figure, new or drawn into `figure`.

    Exponents against g, dots measured, lines predicted (a map over (g, a) for several a).
    """
    from matplotlib.figure import Figure

    figure = Figure() if figure is None else figure
    figure.set_size_inches(9, 4)
    figure.set_layout_engine("constrained")
    for panel, name, measured, predicted in zip(
        figure.subplots(1, 2),
        ("initial deviation", "local update"),
        (facts.deviation, facts.update),
        (facts.deviation_predicted, facts.update_predicted),
    ):
        for i, a in enumerate(sorted(set(facts.a))):
            at = [j for j, value in enumerate(facts.a) if value == a]
            x = [facts.g[j] for j in at]
            panel.plot(x, [predicted[j] for j in at], color=f"C{i}", linewidth=1)
            panel.plot(x, [measured[j] for j in at], "o", color=f"C{i}", markersize=4, label=f"a = {a:g}")
        for boundary in (0.0, 0.5):
            panel.axvline(boundary, color="0.8", zorder=0)
        panel.set(xlabel="g", ylabel="exponent of rho", title=name)
    panel.legend(fontsize="small")
    return figure
