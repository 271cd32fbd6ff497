"""isoscale: tune hyperparameters on a small network, carry them to a wider and deeper one.

The public names load on first use, so that ``import isoscale`` costs milliseconds and torch is
only imported by the names that train or plan.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

_HOMES: dict[str, str] = {
    "Axis": "isoscale._sweep.search",
    "Check": "isoscale._check",
    "Curve": "isoscale._records.run",
    "Plan": "isoscale._plan",
    "Recipe": "isoscale._tune",
    "Records": "isoscale._records.records",
    "Rule": "isoscale._rules",
    "Run": "isoscale._records.run",
    "Span": "isoscale._sweep.sample",
    "Store": "isoscale._records.store",
    "Tuning": "isoscale._tune",
    "UpdateScale": "isoscale._rules",
    "Verdict": "isoscale._transfer",
    "coord_check": "isoscale._check",
    "export": "isoscale._export",
    "get_rule": "isoscale._rules",
    "judge": "isoscale._transfer",
    "plan": "isoscale._plan",
    "report_facts": "isoscale._report",
    "sample": "isoscale._sweep.sample",
    "search": "isoscale._sweep.search",
    "sweep": "isoscale._sweep.sweep",
    "train": "isoscale._train",
    "train_batch": "isoscale._train",
    "tune": "isoscale._tune",
    "write_report": "isoscale._report",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'isoscale' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
