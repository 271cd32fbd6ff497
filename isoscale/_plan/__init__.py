"""Who gets what: roles, initialisation, learning rate, eps and decay of every parameter of any module.

`plan`, `Plan`, `PlanError` and `Planner` say who gets what; the rest is the door for measurements of a running model:
what a recorded forward pass is made of, and how to run one in the same way again.
"""

from isoscale._plan.analysis import Analysis, Logits
from isoscale._plan.execution import plain_execution
from isoscale._plan.graph import Ref
from isoscale._plan.planning import Planner, plan
from isoscale._plan.plans import Plan, PlanError
from isoscale._plan.proof import restore
from isoscale._plan.recording import Recorded, recorded
from isoscale._plan.roles import Use
from isoscale._plan.settings import Setting
from isoscale._plan.sizes import example
from isoscale._plan.streams import Add, Chain, template
from isoscale._plan.trace import call, convert, flatten

__all__ = [
    "Add",
    "Analysis",
    "Chain",
    "Logits",
    "Plan",
    "PlanError",
    "Planner",
    "Recorded",
    "Ref",
    "Setting",
    "Use",
    "call",
    "convert",
    "example",
    "flatten",
    "plain_execution",
    "plan",
    "recorded",
    "restore",
    "template",
]
