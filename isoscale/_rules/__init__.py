"""What may be said of sizes: exact exponents of width and depth, derived, checked and compared up to gauge."""

from isoscale._rules.entry import ROLES, Entry, Role, Weight
from isoscale._rules.gauge import Difference, Invariants, compare, fold, invariants, same_up_to_gauge, unfold
from isoscale._rules.named import RULES, depth_alpha, get_rule
from isoscale._rules.optimizers import OPTIMIZERS, REFUSED_OPTIMIZERS, Optimizer, UnknownName, get_optimizer
from isoscale._rules.power import ONE, Power
from isoscale._rules.regime import Regime, Scaling
from isoscale._rules.rule import Rule, RuleError

__all__ = [
    "ONE",
    "OPTIMIZERS",
    "REFUSED_OPTIMIZERS",
    "ROLES",
    "RULES",
    "Difference",
    "Entry",
    "Invariants",
    "Optimizer",
    "Power",
    "Regime",
    "Role",
    "Rule",
    "RuleError",
    "Scaling",
    "UnknownName",
    "Weight",
    "compare",
    "depth_alpha",
    "fold",
    "get_optimizer",
    "get_rule",
    "invariants",
    "same_up_to_gauge",
    "unfold",
]
