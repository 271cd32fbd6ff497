"""The coordinate check: does anything grow with width or depth that should not, and which parameter is to blame."""

from isoscale._check.causes import Cause
from isoscale._check.check import Check
from isoscale._check.coord import coord_check
from isoscale._check.errors import CheckError
from isoscale._check.lines import Line
from isoscale._check.quantity import Quantity

__all__ = ["Cause", "Check", "CheckError", "Line", "Quantity", "coord_check"]
