"""The named rules. A rule is one row: its defining exponents and the regime that they must come out to be."""

import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from isoscale._rules.entry import Weight
from isoscale._rules.optimizers import unknown
from isoscale._rules.power import ONE, Power
from isoscale._rules.rule import Rule

HALF = Fraction(1, 2)
RANDOM_SUM = Power(fan_in=-HALF)
"""n_in^-1/2: keeps a random sum over fan-in Theta(1)."""
SPECTRAL = Power(fan_in=-HALF, narrowing=HALF)
"""n_in^-1/2 min(1, sqrt(n_out / n_in)): keeps the spectral norm sqrt(n_out / n_in) (arXiv 2310.17813, eq. 1)."""
ALIGNED_SUM = Power(fan_in=Fraction(-1))
"""n_in^-1: keeps an aligned sum over fan-in Theta(1)."""

_SP = Rule(
    "sp",
    input=Weight(ONE, ONE),
    hidden=Weight(ONE, RANDOM_SUM),
    output=Weight(ONE, RANDOM_SUM),
    alpha=Fraction(0),
    width="unstable",
    depth="unstable",
    width_rates="constant",
    depth_rates="constant",
    source="standard parameterization (PyTorch's fan-in init, one learning rate)",
)
_NTK = Rule(
    "ntk",
    input=Weight(ONE, ONE),
    hidden=Weight(RANDOM_SUM, ONE),
    output=Weight(RANDOM_SUM, ONE),
    alpha=Fraction(0),
    width="lazy",
    depth="unstable",
    depth_rates="constant",
    source="arXiv 1806.07572, section 3",
)
_MUP = Rule(
    "mup",
    input=Weight(ONE, ONE),
    hidden=Weight(ONE, SPECTRAL),
    output=Weight(ALIGNED_SUM, ONE),
    alpha=Fraction(0),
    width="feature-learning",
    depth="unstable",
    depth_rates="constant",
    source="arXiv 2203.03466, Table 8; spectral form: arXiv 2310.17813",
)
_MEAN_FIELD = replace(
    _MUP,
    name="mean_field",
    hidden=Weight(SPECTRAL, ONE),
    source="arXiv 2205.09653, eqs. 1-2: muP in the gauge whose weights are all Theta(1)",
)


def depth_alpha(alpha: Fraction | int | str, name: str | None = None) -> Rule:
    """muP in width with branches multiplied by l^-alpha, learning rates derived for it.

    alpha in [1/2, 1]. Below 1/2 the stream grows at initialisation, above 1 the insides of a branch must move by
    l^(alpha-1) for the stream to move at all: either raises RuleError. arXiv 2309.16620, 2310.02244, 2505.01618.
    """
    exponent = Fraction(alpha)
    return replace(
        _MUP,
        name=name or f"depth_alpha({exponent})",
        alpha=exponent,
        depth="feature-learning",
        depth_rates="derived",
    )


_DEPTH_MUP = depth_alpha(HALF, "depth_mup")
_COMPLETEP = depth_alpha(1, "completep")
_UMUP = replace(
    _DEPTH_MUP,
    name="umup",
    hidden=Weight(SPECTRAL, ONE),
    source="arXiv 2407.17465, Table 2: muP in the gauge whose weights are all Theta(1)",
)

_RESNET_2LP = replace(
    _COMPLETEP,
    name="resnet_2lp",
    hidden=Weight(ONE, RANDOM_SUM),
    hidden_tail=Weight(ONE, Power(fan_in=Fraction(-1), fan_out=HALF)),
    source="arXiv 2509.10167, critical scale: h + 1/(L M) sum_j v_j rho(u_j.h / D), u, v ~ sqrt(D) N(0, 1)",
)


def aligned(base: Rule, alignment: Literal["full", "no"]) -> Rule:
    """`base` with a learning rate per layer, derived under an alignment assumption (arXiv 2407.05872).

    full: updates align with activations (p = 1); no: they don't (p = 1/2). In both the initial readout is taken not to
    align with the features' change (w = 1/2), which is what lets standard parameterization learn features.
    """
    return replace(
        base,
        name=f"{base.name}_{alignment}_align",
        width="feature-learning",
        width_rates="derived",
        update_alignment=Fraction(1) if alignment == "full" else HALF,
        readout_alignment=HALF,
        source=f"arXiv 2407.05872: rates of {base.name} derived under {alignment} alignment",
    )


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            _SP,
            _NTK,
            _MEAN_FIELD,
            _MUP,
            _DEPTH_MUP,
            _COMPLETEP,
            _UMUP,
            _RESNET_2LP,
            aligned(_SP, "full"),
            aligned(_SP, "no"),
            aligned(_NTK, "full"),
            aligned(_NTK, "no"),
            aligned(_MUP, "no"),
        )
    }
)
"""The named rules; `get_rule` also knows the family depth_alpha(a)."""

_FAMILY = re.compile(r"depth_alpha\(\s*(-?[0-9]+(?:/[1-9][0-9]*|\.[0-9]+)?)\s*\)")


def get_rule(name: str) -> Rule:
    """The rule called `name`: a key of RULES, or "depth_alpha(3/4)" for any exponent in [1/2, 1].

    Raises UnknownName with the closest match, RuleError for an exponent whose table cannot be stable.
    """
    if name in RULES:
        return RULES[name]
    match = _FAMILY.fullmatch(name)
    if match:
        return depth_alpha(match[1])
    raise unknown("rule", name, [*RULES, "depth_alpha(3/4)"])
