"""Regimes of two-layer residual blocks whose embedding D and hidden width M grow separately from the depth L.

Legend: D embedding, M hidden width, L depth, rho = L M / D; u, v rows of a block's input and output weights with
standard deviations sigma_u = sqrt(D) rho^a and sigma_v = sqrt(D) rho^g; block 1/(L M) sum_j v_j rho(u_j.h / D).
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from isoscale._rules.power import Exponent, exact

Regime2LP = Literal["subcritical", "critical", "lazy ODE", "lazy SDE", "explosive"]

CRITICAL = Fraction(0)
"""g at which sigma_v = sqrt(D): the limit is the neural mean ODE, features inside blocks move by Theta(1)."""
STOCHASTIC = Fraction(1, 2)
"""g + min(a, 0) at which the random sum of all blocks is Theta(1) at initialisation: the limit is an SDE."""


@dataclass(frozen=True)
class Phase:
    """Exponents of rho = L M / D at one point of the phase diagram.

    residual_scale: of sigma_v / (L M) against the critical sqrt(D) / (L M). initial_deviation: rms of h^L - h^0 at
    initialisation. local_update: rms of a pre-activation's change in a block, None where no theory gives it.
    """

    regime: Regime2LP
    residual_scale: Fraction
    initial_deviation: Fraction
    local_update: Fraction | None


def phase(g: Exponent, a: Exponent = 0) -> Phase:
    """The phase at sigma_v = sqrt(D) rho^g, sigma_u = sqrt(D) rho^a (arXiv 2509.10167, phase diagram).

    initial_deviation = g + min(a, 0) - 1/2: below 0 it vanishes, at 0 the limit is random, above it explodes.
    local_update = -max(g, 0): the learning rate of u must shrink as D / sigma_v^2 once v is large. It is not known
    for a > 0 (pre-activations saturate) nor beyond explosion.
    """
    scale, inner = exact(g, "g"), exact(a, "a")
    felt = scale + min(inner, Fraction(0))
    deviation = felt - STOCHASTIC
    known = inner <= 0 and deviation <= 0
    return Phase(_regime(scale, felt), scale, deviation, -max(scale, Fraction(0)) if known else None)


def phase_of_branch(alpha: Exponent) -> Phase:
    """The phase of a branch multiplied by L^-alpha with D and M fixed: g = 1 - alpha, since sigma_v / (L M) ~ L^-alpha.

    alpha = 1 is critical, alpha = 1/2 the lazy SDE: blocks together move the stream, features inside them freeze.
    """
    return phase(1 - exact(alpha, "alpha"))


def _regime(scale: Fraction, felt: Fraction) -> Regime2LP:
    if felt > STOCHASTIC:
        return "explosive"
    if felt == STOCHASTIC:
        return "lazy SDE"
    if scale > CRITICAL:
        return "lazy ODE"
    return "critical" if scale == CRITICAL else "subcritical"
