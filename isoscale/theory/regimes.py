"""In which regime does an architecture train, how far is it from its limit, and what would bring it nearer?

Legend: D embedding (stream) width, M hidden width of a block, L number of blocks, rho = L M / D; u, v the rows of a
block's first and second matrix in the normal form h + 1/(L M) sum_j v_j rho(u_j.h / D), with standard deviations
sigma_u = sqrt(D) rho^a, sigma_v = sqrt(D) rho^g; k gradient steps.

The exponents are `_rules.phase`'s; here they only meet sizes. Source: Chizat, arXiv 2509.10167 (theorem 3 and its phase
diagram); the error law's constants are measured (bench/mean_ode_d_law.py, docs/theory/mean_ode.md).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from isoscale._rules.phase import CRITICAL, STOCHASTIC, Regime2LP, phase

Kind = Literal["outside"] | Regime2LP

NEAR = 1.0
"""Octaves of sigma_v within which a network of finite size counts as on a boundary line (a factor of two)."""


class BadShape(ValueError):
    """Sizes or scales that make no network."""


@dataclass(frozen=True)
class Regime:
    """The regime of a shape, with its distances to the boundaries.

    `to_critical` and `to_stochastic` are octaves of sigma_v above (+) or below (-) the lines sigma_v = sqrt(D) and
    "the random sum of all blocks is Theta(1)"; `g`, `a` the exponents in rho that the scales amount to;
    `initial_deviation` and `local_update` the predicted sizes rho^e, up to constants of order 1 (None: no theory).
    """

    kind: Kind
    D: int
    L: int
    M: int
    sigma_u: float
    sigma_v: float
    rho: float
    g: float
    a: float
    to_critical: float
    to_stochastic: float
    initial_deviation: float | None
    local_update: float | None

    def sentences(self) -> tuple[str, ...]:
        """The facts in words, for a terminal."""
        meaning = {
            "outside": f"D = {self.D} > L M = {self.L * self.M}: outside the theory, whose bounds need D = O(L M); "
            "add depth or hidden units, or read the other numbers as extrapolations",
            "subcritical": "local updates are maximal and the initial noise of the blocks is small",
            "critical": "local updates are maximal: pre-activations inside blocks move by Theta(1); neural mean ODE",
            "lazy ODE": "blocks stay near their linearisation; the stream still follows a deterministic ODE",
            "lazy SDE": "blocks are linearised, and their random sum moves the stream by Theta(1): a stochastic limit",
            "explosive": "the random sum of the blocks grows with the size: initialisation explodes",
        }
        return (
            f"{self.kind}: {meaning[self.kind]}",
            f"output scale sigma_v = {self.sigma_v:.3g} is {_octaves(self.to_critical)} the critical sqrt(D) = "
            f"{math.sqrt(self.D):.3g} and {_octaves(self.to_stochastic)} the stochastic line",
        )


def _octaves(distance: float) -> str:
    if abs(distance) < 0.05:
        return "at"
    return f"{2 ** abs(distance):.3g} times {'above' if distance > 0 else 'below'}"


def regime(D: int, L: int, M: int, sigma_u: float | None = None, sigma_v: float | None = None) -> Regime:
    """The regime of L two-layer blocks of M hidden units on a stream of width D, in the normal form of this page.

    `sigma_u`, `sigma_v` default to the critical sqrt(D). A shape within a factor of two of a boundary is called by the
    boundary's name. D > L M is outside the theory: kind "outside", with a sentence. Raises `BadShape` on nonsense.

    >>> regime(64, 32, 64).kind
    'critical'
    >>> regime(64, 32, 64, sigma_v=(32 * 64) ** 0.5).kind
    'lazy SDE'
    """
    for name, size in (("D", D), ("L", L), ("M", M)):
        if size < 1:
            raise BadShape(f"{name} = {size} must be at least 1")
    u, v = (math.sqrt(D) if s is None else float(s) for s in (sigma_u, sigma_v))
    for name, scale in (("sigma_u", u), ("sigma_v", v)):
        if not (math.isfinite(scale) and scale > 0):
            raise BadShape(f"{name} = {scale} must be finite and > 0: exponents are logarithms of it")
    rho = L * M / D
    octave = math.log2(rho)
    to_critical, inner = math.log2(v / math.sqrt(D)), min(0.0, math.log2(u / math.sqrt(D)))
    to_stochastic = to_critical + inner - float(STOCHASTIC) * octave
    flat = math.nan if octave == 0 else 1 / octave
    g, a = to_critical * flat, math.log2(u / math.sqrt(D)) * flat
    if D > L * M:
        return Regime("outside", D, L, M, u, v, rho, g, a, to_critical, to_stochastic, None, None)
    kind: Kind
    near = {"critical": abs(to_critical), "lazy SDE": abs(to_stochastic)}
    closest = min(near, key=lambda name: near[name])
    if near[closest] <= NEAR or math.isnan(g):
        kind = "critical" if closest == "critical" else "lazy SDE"
    else:
        kind = phase(Fraction(g), Fraction(a)).regime
    # At the point itself the exponents are exact functions of (g, a): evaluate them, then raise rho to them.
    deviation, update = 2.0**to_stochastic, 2.0 ** -max(to_critical - float(CRITICAL), 0.0)
    known = u <= 2 * math.sqrt(D) and to_stochastic <= NEAR
    return Regime(kind, D, L, M, u, v, rho, g, a, to_critical, to_stochastic, deviation, update if known else None)


# error^2 = (a/L + c D/(LM))^2 + b^2 D/(LM) a coordinate: setting E(D), D = 5..100, tanh, eta = 1, n = 10 points,
# measured by bench/mean_ode_d_law.py (facts: bench/facts/mean_ode_d_law.json). Steps k: (a, b, c).
ERROR_LAW: Mapping[int, tuple[float, float, float]] = {
    1: (0.0, 0.528, 0.140),
    5: (0.0, 0.420, 0.164),
    10: (0.131, 0.386, 0.119),
    20: (0.325, 0.360, 0.004),
}


@dataclass(frozen=True)
class Distance:
    """Predicted rms distance of a shape to its limit a coordinate: Euler `bias` a/L + c D/(LM), `spread`
    b alpha sqrt(D/(LM)) over seeds, `total` in quadrature; `cost` L M D, multiply-adds of a product a point."""

    D: int
    L: int
    M: int
    bias: float
    spread: float
    total: float
    cost: int


def distance(D: int, L: int, M: int, *, alpha: float = 1.0, steps: int = 20) -> Distance:
    """Predicted distance of (D, L, M) to the limit after `steps` steps, by the measured error law.

    `alpha` = sigma_v / sqrt(D) multiplies the spread where it exceeds 1. Raises `BadShape` for a number of steps
    at which no law was measured.
    """
    if steps not in ERROR_LAW:
        raise BadShape(f"steps = {steps}: the error law was measured at {', '.join(map(str, ERROR_LAW))}")
    a, b, c = ERROR_LAW[steps]
    bias, spread = a / L + c * D / (L * M), b * max(1.0, alpha) * math.sqrt(D / (L * M))
    return Distance(D, L, M, bias, spread, math.hypot(bias, spread), L * M * D)


@dataclass(frozen=True)
class Assessment:
    """Facts about an architecture: its regime, its own distance to its limit, the proxy's, and the proxies that halve
    the proxy's distance: by depth alone, by width alone, and the cheapest (None where none was found)."""

    regime: Regime
    residual_scale: float
    own: Distance
    proxy: Distance
    deeper: Distance | None
    wider: Distance | None
    cheapest: Distance | None
    steps: int
    valid: bool
    validity: str

    def sentences(self) -> tuple[str, ...]:
        """The facts in words, for a terminal."""
        lines = [*self.regime.sentences()]
        for name, each in (("this architecture", self.own), ("the proxy", self.proxy)):
            if name == "the proxy" and each == self.own:
                continue
            lines.append(
                f"{name} (D={each.D}, L={each.L}, M={each.M}) is {each.total:.2g} a coordinate from its limit: "
                f"depth {each.bias:.2g}, spread over seeds {each.spread:.2g}"
            )
        for name, option in (("deeper", self.deeper), ("wider", self.wider), ("cheapest", self.cheapest)):
            if option is not None:
                lines.append(
                    f"half of that, {name}: L={option.L}, M={option.M}, at "
                    f"{option.cost / self.proxy.cost:.3g} times the cost"
                )
        return (*lines, self.validity)

    def facts(self) -> Mapping[str, object]:
        """A flat JSON-able record."""
        result: dict[str, object] = {
            "regime": self.regime.kind,
            "octaves_to_critical": self.regime.to_critical,
            "octaves_to_stochastic": self.regime.to_stochastic,
            "rho": self.regime.rho,
            "residual_scale": self.residual_scale,
            "steps": self.steps,
            "valid": self.valid,
            "validity": self.validity,
        }
        for name in ("own", "proxy", "deeper", "wider", "cheapest"):
            option: Distance | None = getattr(self, name)
            result[name] = None if option is None else {k: getattr(option, k) for k in ("D", "L", "M", "total", "cost")}
        return result


def assess(
    embedding: int,
    depth: int,
    hidden: int,
    *,
    depth_exponent: float = 1.0,
    multiplier: float = 1.0,
    input_std: float | None = None,
    output_std: float | None = None,
    proxy: tuple[int, int, int] | None = None,
    steps: int = 20,
    max_depth: int | None = None,
) -> Assessment:
    """The regime of a residual network as practitioners write it, its distance to the limit, and better proxies.

    Block: h + multiplier * depth^-depth_exponent * W2 rho(W1 h), W1 (hidden, embedding) with std `input_std` (default
    embedding^-1/2), W2 (embedding, hidden) with std `output_std` (default hidden^-1/2). In the normal form that is
    sigma_u = D input_std and sigma_v = L M * branch * output_std: fan-in initialisation with exponent 1 is
    alpha = sigma_v/sqrt(D) = sqrt(M/D) (CompleteP), with exponent 1/2 it is sqrt(L M / D): the stochastic line.
    `proxy` = (embedding, depth, hidden) is the shape to improve (default: the architecture itself); `max_depth`
    bounds the improved one (default 4 * its depth). Raises `BadShape` on sizes and scales that make no network.
    """
    if min(embedding, depth, hidden, *(proxy or (1,))) < 1:
        raise BadShape(f"embedding, depth, hidden = {embedding}, {depth}, {hidden}, proxy = {proxy}: all at least 1")
    branch = multiplier * depth**-depth_exponent
    scale = branch * (hidden**-0.5 if output_std is None else output_std)
    found = regime(
        embedding,
        depth,
        hidden,
        embedding * (embedding**-0.5 if input_std is None else input_std),
        scale * depth * hidden,
    )
    D, L, M = proxy or (embedding, depth, hidden)
    # A proxy shares the target's parametrisation, critical or not: what it is to its alpha, the target is.
    alpha = 2.0**found.to_critical
    own = distance(embedding, depth, hidden, alpha=alpha, steps=steps)
    start = distance(D, L, M, alpha=alpha, steps=steps)
    deeper, wider, cheapest = _halving(start, alpha, steps, max_depth or 4 * L)
    valid = found.kind in ("critical", "subcritical") and 5 <= D <= L * M
    return Assessment(found, scale, own, start, deeper, wider, cheapest, steps, valid, _validity(valid, found, steps))


def _validity(valid: bool, found: Regime, steps: int) -> str:
    law = (
        "the law was measured for tanh blocks, full-batch gradient descent at eta = 1, square loss, D = 5 to 100 "
        f"<= L M, after {steps} steps: trust ratios between shapes, not absolute numbers, on other tasks"
    )
    return law if valid else f"outside the law's validity ({found.kind}): {law}"


def _halving(
    start: Distance, alpha: float, steps: int, max_depth: int
) -> tuple[Distance | None, Distance | None, Distance | None]:
    """The least deeper, the least wider and the cheapest (D, L, M) at half of `start`'s distance."""

    def at(L: int, M: int) -> Distance:
        return distance(start.D, L, M, alpha=alpha, steps=steps)

    goal = start.total / 2
    deeper = next((x for L in range(start.L, 16 * start.L + 1) if (x := at(L, start.M)).total <= goal), None)
    wider = _least_width(start, start.L, goal, alpha, steps)
    found = [_least_width(start, L, goal, alpha, steps) for L in range(1, max_depth + 1)]
    return deeper, wider, min((x for x in found if x is not None), key=lambda x: (x.cost, x.L), default=None)


def _least_width(start: Distance, L: int, goal: float, alpha: float, steps: int) -> Distance | None:
    """The narrowest M at depth L within `goal`, by bisection: the distance falls with M."""
    low, high = 0, 1
    while distance(start.D, L, high, alpha=alpha, steps=steps).total > goal:
        low, high = high, 2 * high
        if high > 64 * start.M * max(1, start.L // L):
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if distance(start.D, L, middle, alpha=alpha, steps=steps).total > goal:
            low = middle
        else:
            high = middle
    return distance(start.D, L, high, alpha=alpha, steps=steps)
