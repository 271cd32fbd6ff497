"""Packages that only some need: imported where they are used, missed with the line that installs them."""

from importlib import import_module
from typing import Any


class MissingPackage(ValueError):
    """An optional package is absent; the sentence has the line that installs it."""


def load(module: str, *, extra: str, purpose: str) -> Any:
    """The module of an optional package. Raises MissingPackage where it cannot be imported."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingPackage(
            f"{purpose} needs {module.partition('.')[0]}, which cannot be imported here ({error}): "
            f"pip install 'isoscale[{extra}]'"
        ) from error
