"""Ink: the report as one self-contained page, and the verdicts as lines of a terminal."""

from isoscale._report.chart import Table
from isoscale._report.checked import read_check
from isoscale._report.findings import (
    CheckFacts,
    Course,
    Curve,
    Estimate,
    LimitAt,
    Point,
    ReportFacts,
    RuleOverlay,
    SizeDistance,
)
from isoscale._report.gather import facts
from isoscale._report.observe import points
from isoscale._report.page import write_report
from isoscale._report.terminal import summary

report_facts = facts

__all__ = [
    "CheckFacts", "Course", "Curve", "Estimate", "LimitAt", "Point", "ReportFacts", "RuleOverlay", "SizeDistance",
    "Table", "facts", "points", "read_check", "report_facts", "summary", "write_report",
]  # fmt: skip
