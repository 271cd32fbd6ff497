"""The recorded facts of the comparison."""

from pathlib import Path
from typing import Any

from ..facts import Golden, from_json, to_json

__all__ = ["GOLDEN", "from_json", "golden", "record", "to_json"]

GOLDEN = Golden(Path(__file__).parent / "golden")


def golden(figure: str, preset: str = "cpu") -> dict[str, Any]:
    """The recorded facts of a figure at a preset, as `from_json` reads them."""
    return GOLDEN.read(figure, preset)


def record(figure: str, preset: str, facts: Any) -> None:
    """Write a figure's facts into its golden file."""
    GOLDEN.write(figure, preset, facts)
