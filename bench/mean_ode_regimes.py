"""C9 to C13: the lazy limit, broken symmetries, the best alpha, the phase diagram and the subcritical limit."""

from dataclasses import asdict
from fractions import Fraction as F
from itertools import pairwise

import torch
from mean_ode_claims import Claim, save

from isoscale.theory.mean_ode.fits import slopes
from isoscale.theory.mean_ode.lazy import lazy_ode
from isoscale.theory.mean_ode.limits import LazyPoint, best_alpha, distance_to_lazy, distance_to_subcritical
from isoscale.theory.mean_ode.phase_scan import PhaseScan, phase_scan
from isoscale.theory.mean_ode.setting import setting_a, setting_b

GS = [F(g) for g in ("-1", "-1/2", "-1/4", "0", "1/8", "1/4", "3/8", "1/2", "5/8", "3/4")]
SHAPES = [(10, 4), (20, 8), (40, 16), (80, 32)]


def order(points: tuple[LazyPoint, ...], k: int, low: float, high: float) -> float:
    """Minus the exponent of the distance in alpha, from `low` to `high`."""
    mine = [p for p in points if p.k == k and low <= p.alpha <= high]
    return -slopes([p.distance for p in mine], [p.alpha for p in mine])[0].value


def halving(points: tuple[LazyPoint, ...], field: str) -> float:
    """Largest relative departure from halving per doubling of alpha, for alpha >= 8."""
    worst = 0.0
    for k in {p.k for p in points}:
        values = [getattr(p, field) for p in points if p.k == k and p.alpha >= 8]
        worst = max(worst, *(abs(2 * b / a - 1) for a, b in pairwise(values)))
    return worst


def lazy_claims() -> tuple[list[Claim], dict[str, object]]:
    setting, alphas = setting_b(activation="erf"), (4, 8, 16, 32)
    exact = lazy_ode(setting, 20)
    points = distance_to_lazy(setting, alphas, (1, 5, 10, 20))
    broken = setting_b(activation="shifted_tanh", law="skewed")
    skewed = distance_to_lazy(broken, (4, 8, 16, 32, 64), (1, 5, 10, 20), particles=3 * 4096)
    best = best_alpha(setting, (8, 16, 32, 64, 128), (0.75, 1, 1.5, 2, 3, 4, 6), 20)
    claims = [Claim("C9", "lazy ODE, k<=20: S=10 against S=12", exact.error["outputs"], high=1e-6)]
    claims += [
        Claim("C9", f"order in alpha, 4 to 16, k={k}", order(points, k, 4, 16), 1.9, 2.1) for k in (1, 5, 10, 20)
    ]
    claims += [Claim("C9", f"{x}: departure from halving per doubling", halving(points, x), high=0.05)
               for x in ("move", "nonlinearity")]  # fmt: skip
    claims += [Claim("C10", f"symmetry broken (control): order in alpha, k={k}", order(skewed, k, 16, 32), 0.85, 1.15)
               for k in (1, 5, 10, 20)]  # fmt: skip
    late = order(skewed, 20, 32, 64)
    claims.append(Claim("C10", "symmetry broken (control): order in alpha, k=20, 32 to 64", late, 0.85, 1.15))
    claims.append(Claim("C11", "least error to the lazy limit: exponent in LM", best.slope.value, -0.40, -0.30))
    facts = {"lazy": [asdict(p) for p in points], "broken": [asdict(p) for p in skewed], "best alpha": asdict(best)}
    return claims, facts


def phase_claims(scan: PhaseScan) -> list[Claim]:
    claims = []
    for p in scan.points:
        deviation, update = float(p.predicted.initial_deviation), p.predicted.local_update
        if p.g <= 0.625:
            gap = p.start.value - deviation
            claims.append(Claim("C12", f"initial deviation, g={p.g:g}: exponent minus {deviation:g}", gap, -0.06, 0.06))
        if update is not None and p.update is not None and p.g <= 0.5:
            gap = p.update.value - float(update)
            claims.append(Claim("C12", f"local update, g={p.g:g}: exponent minus {float(update):g}", gap, -0.08, 0.08))
    return claims


def main() -> None:
    torch.set_num_threads(1)
    claims, facts = lazy_claims()
    scan = phase_scan(setting_b(), GS, SHAPES, seeds=16)
    claims += phase_claims(scan)
    ratios = (0.25, 0.125, 0.0625)
    for name, setting in (("A", setting_a()), ("B", setting_b())):
        gaps = distance_to_subcritical(setting, ratios, 20)
        facts[f"subcritical {name}"] = dict(zip(map(str, ratios), gaps))
        claims.append(
            Claim("C13", f"{name}: order of |f(sigma_v) - f(0)| in sigma_v", slopes(gaps, ratios)[0].value, 1.9, 2.1)
        )
    facts["phase scan B"] = asdict(scan)
    facts["phase scan A"] = asdict(phase_scan(setting_a(), GS, SHAPES, seeds=16))
    save("mean_ode_regimes", claims, facts)


if __name__ == "__main__":
    main()
