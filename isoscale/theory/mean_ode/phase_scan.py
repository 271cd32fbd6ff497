"""The phase diagram, measured: train nets at sigma_v = sqrt(D) rho^g, sigma_u = sqrt(D) rho^a and fit exponents in rho.

Legend: rho = L M / D; eta_v = eta, eta_u = eta min(1, D/sigma_v^2) (the rule for any sigma_v); start rms(h^L - h^0) at
initialisation, update rms((U_k - U_0).h/D), nonlinearity of the block's change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from isoscale._rules.phase import Phase, phase
from isoscale.theory.mean_ode.fits import Estimate, slopes
from isoscale.theory.mean_ode.march import Progress
from isoscale.theory.mean_ode.network import Net
from isoscale.theory.mean_ode.observables import motion
from isoscale.theory.mean_ode.setting import Setting


@dataclass(frozen=True)
class PhasePoint:
    """One (g, a): exponents in rho measured (None where training diverged) and what `_rules` predicts, with the rms
    values by rho that they were fitted to and the largest loss after training."""

    g: float
    a: float
    start: Estimate
    update: Estimate | None
    nonlinearity: Estimate | None
    predicted: Phase
    starts: tuple[float, ...]
    updates: tuple[float, ...]
    loss: float


@dataclass(frozen=True)
class PhaseScan:
    """Points over g and a at ratios `rho`; exponents are fitted on rho >= `fitted_from`."""

    rho: tuple[float, ...]
    fitted_from: float
    steps: int
    points: tuple[PhasePoint, ...]


def rates(setting: Setting, sigma_v: float) -> tuple[float, float]:
    """(eta_u, eta_v) for any sigma_v: eta_v = eta, eta_u = eta min(1, D / sigma_v^2)."""
    return setting.eta_u * min(1.0, setting.D / sigma_v**2), setting.eta_v


def phase_scan(
    setting: Setting,
    gs: Sequence[Fraction],
    shapes: Sequence[tuple[int, int]],
    *,
    inner: Sequence[Fraction] = (Fraction(0),),
    steps: int = 20,
    seeds: int = 8,
    fitted_from: float = 16.0,
    progress: Progress | None = None,
) -> PhaseScan:
    """Train `seeds` nets at every (g, a) and shape (L, M) and fit the exponents of what is seen in rho = L M / D.

    The exponents to compare with are read from `_rules.phase`, never written here.
    """
    cells = [(g, a) for a in inner for g in gs]
    rho = [L * M / setting.D for L, M in shapes]
    seen: dict[tuple[Fraction, Fraction], list[tuple[float, float, float, float]]] = {cell: [] for cell in cells}
    for s, (L, M) in enumerate(shapes):
        nets = []
        for g, a in cells:
            sigma_v = setting.D**0.5 * rho[s] ** float(g)
            eta_u, eta_v = rates(setting, sigma_v)
            scales = {
                "sigma_u": setting.D**0.5 * rho[s] ** float(a),
                "sigma_v": sigma_v,
                "eta_u": eta_u,
                "eta_v": eta_v,
            }
            nets += [Net(L, M, seed, **scales) for seed in range(seeds)]
        found = motion(setting, nets, steps)
        for i, cell in enumerate(cells):
            mine = slice(i * seeds, (i + 1) * seeds)
            start, update, bent = (
                float(x[mine].square().mean().sqrt()) for x in (found.start, found.update, found.nonlinearity)
            )
            seen[cell].append((start, update, bent, float(found.loss[mine].max())))
        if progress is not None:
            progress(s + 1, len(shapes))
    kept = [s for s, ratio in enumerate(rho) if ratio >= fitted_from]
    ratios = [rho[s] for s in kept]
    points = []
    for g, a in cells:
        starts, updates, bents, losses = zip(*seen[g, a])
        broken = not all(value < 1e3 for value in losses)
        fit = lambda values: slopes([values[s] for s in kept], ratios)[0]  # noqa: E731
        points.append(
            PhasePoint(
                float(g), float(a), fit(starts), None if broken else fit(updates), None if broken else fit(bents),
                phase(g, a), starts, updates, max(losses),
            )
        )  # fmt: skip
    return PhaseScan(tuple(rho), fitted_from, steps, tuple(points))
