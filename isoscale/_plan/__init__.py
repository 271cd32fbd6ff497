"""Who gets what: roles, initialisation, learning rate, eps and decay of every parameter of any module."""

from isoscale._plan.planning import plan
from isoscale._plan.plans import Plan, PlanError

__all__ = ["Plan", "PlanError", "plan"]
