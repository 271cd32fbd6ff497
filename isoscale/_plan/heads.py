"""Multipliers outside branches: readouts (tied ones too) and attention logits whose head size grows."""

from collections.abc import Mapping

from isoscale._plan.analysis import Analysis, Logits
from isoscale._plan.facts import Attention, Refusal
from isoscale._plan.parameters import Assigned
from isoscale._plan.tails import fold_sites


def readouts(
    wide: Analysis, narrow: Analysis, assigned: Mapping[str, Assigned]
) -> tuple[dict[str, float], list[Refusal]]:
    """Where the readout multiplier goes: output weights take it themselves, tied ones hand it to the norm before them.

    Returns for each parameter that takes it the factor which the model itself applies there, target over base width.
    """
    factors: dict[str, float] = {}
    refusals: list[Refusal] = []
    for name, item in assigned.items():
        if item.fans.role == "output":
            factors[name] = head_constant(wide, name) / head_constant(narrow, name)
        if not item.tied:
            continue
        folds = []
        for analysis in (wide, narrow):
            heads = [use for use in analysis.uses[name] if use.kind == "matrix"]
            sites = [analysis.head_site(name, use) for use in heads]
            folds.append((fold_sites(analysis.graph, sites, [add.node for add in analysis.adds], {}), analysis, heads))
        (big_folds, analysis, heads), (small_folds, thin, thin_heads) = folds
        for big, small, use, other in zip(big_folds, small_folds, heads, thin_heads):
            if big.refusal is not None:
                refusals.append(big.refusal)
            after = analysis.forward(use.node)[0] / thin.forward(other.node)[0]
            for parameter in big.parameters:
                factors[parameter] = after * big.existing[parameter] / small.existing.get(parameter, 1.0)
    return factors, refusals


def head_constant(analysis: Analysis, name: str) -> float:
    """Known numbers multiplied right before and right after an output weight."""
    for use in analysis.uses[name]:
        if use.kind == "matrix":
            site = analysis.head_site(name, use)
            return analysis.constant_back(site.operand) * analysis.forward(use.node)[0]
    return 1.0


def attentions(target: Analysis, thin: Analysis) -> tuple[Attention, ...]:
    """Attentions whose head size grows, and who can carry the extra factor on their logits."""
    wide, narrow = target.logits, thin.logits
    if len(wide) != len(narrow):
        return ()
    pairs: list[tuple[Logits, Logits]] = [(big, small) for big, small in zip(wide, narrow) if big.size != small.size]
    folds = target.query_folds([big for big, _ in pairs]) if pairs else []
    return tuple(
        Attention(big.module, small.size, big.size, big.scale / small.scale, fold.parameters, fold.refusal)
        for (big, small), fold in zip(pairs, folds)
    )
