"""The recorded facts of this paper's figures."""

from pathlib import Path
from typing import Any

from ..facts import Golden, from_json, to_json

__all__ = ["GOLDEN", "from_json", "golden", "record", "to_json"]

GOLDEN = Path(__file__).parent / "golden"
_RECORDS = Golden(GOLDEN)


def golden(figure: str, preset: str) -> dict[str, Any]:
    """The recorded facts of a figure at a preset, as `from_json` reads them."""
    return _RECORDS.read(figure, preset)


def record(figure: str, preset: str, facts: Any) -> None:
    """Write a figure's facts into its golden file."""
    _RECORDS.write(figure, preset, facts)
