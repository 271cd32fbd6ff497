"""isoscale: tune hyperparameters on a small network, carry them to a wider and deeper one.

The public names load on first use, so that ``import isoscale`` costs milliseconds and torch is
only imported by the names that train or plan.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

_HOMES: dict[str, str] = {}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'isoscale' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
