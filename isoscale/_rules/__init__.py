"""What may be said of sizes: exact exponents of width and depth, derived, checked and compared up to gauge."""

from isoscale._rules.entry import KINDS, ROLES, Entry, Kind, Role, Weight
from isoscale._rules.gauge import Difference, Invariants, compare, fold, invariants, same_up_to_gauge, unfold
from isoscale._rules.named import RULES, aligned, depth_alpha, get_rule
from isoscale._rules.optimizers import (
    OPTIMIZERS,
    REFUSED_OPTIMIZERS,
    Optimizer,
    UnknownName,
    UpdateScale,
    get_optimizer,
)
from isoscale._rules.phase import Phase, phase, phase_of_branch
from isoscale._rules.power import ONE, Power
from isoscale._rules.regime import Regime, Scaling
from isoscale._rules.rule import Rule, RuleError
from isoscale._rules.scales import SCALES, Scale
from isoscale._rules.table import Row, table

__all__ = [
    "KINDS",
    "ONE",
    "OPTIMIZERS",
    "REFUSED_OPTIMIZERS",
    "ROLES",
    "RULES",
    "SCALES",
    "Difference",
    "Entry",
    "Invariants",
    "Kind",
    "Optimizer",
    "Phase",
    "Power",
    "Regime",
    "Role",
    "Row",
    "Rule",
    "RuleError",
    "Scale",
    "Scaling",
    "UnknownName",
    "UpdateScale",
    "Weight",
    "aligned",
    "compare",
    "depth_alpha",
    "fold",
    "get_optimizer",
    "get_rule",
    "invariants",
    "phase",
    "phase_of_branch",
    "same_up_to_gauge",
    "table",
    "unfold",
]
