"""Why each row is as it is, in a sentence, and where it is from."""

from typing import TYPE_CHECKING

from isoscale._rules.entry import Role
from isoscale._rules.optimizers import Optimizer

if TYPE_CHECKING:
    from isoscale._rules.rule import Rule

_WIDTH: dict[Role, str] = {
    "input": "fan-in is fixed, so each coordinate's size is width-free; its gradient shrinks as the readout's entries",
    "hidden": "a random sum over fan-in grows as its square root, an update's aligned sum as fan-in itself",
    "output": "an aligned sum over fan-in grows as fan-in while the number of outputs is fixed",
    "scalar": "neither fan grows, so width leaves it alone",
}


def reason_of(rule: "Rule", role: Role, in_branch: bool, optimizer: Optimizer) -> str:
    """One or two sentences: what width does to this role, and what depth does inside a branch."""
    if rule.width_rates == "constant":
        width = f"{_WIDTH[role]}; this rule scales the init only, never the learning rate"
    else:
        width = _WIDTH[role]
    if not in_branch:
        return width
    if rule.depth_rates == "constant":
        return f"{width}; in depth nothing is scaled"
    felt = "twice, in the gradient and in what the step does" if optimizer.gradient_degree == 1 else "once"
    return f"{width}; each of L branches may move the stream by 1/L, and the step feels l^-{rule.alpha} {felt}"


def source_of(rule: "Rule", role: Role, in_branch: bool) -> str:
    """Where the row is from; the derivation is in docs/theory/rules.md."""
    if in_branch and rule.depth_rates == "derived":
        return f"{rule.source}; depth: arXiv 2309.16620 (alpha = 1/2), arXiv 2505.01618 (alpha = 1)"
    return rule.source
