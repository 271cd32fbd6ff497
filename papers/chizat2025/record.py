"""Facts of a figure as JSON and back. Facts are flat frozen dataclasses of numbers, strings and nested tuples."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F")
GOLDEN = Path(__file__).parent / "golden"


def to_json(facts: Any) -> dict[str, Any]:
    """A JSON-able dictionary, six significant digits, None for what is not finite."""
    return {name: _plain(value) for name, value in asdict(facts).items()}


def from_json(kind: type[F], values: dict[str, Any]) -> F:
    return kind(**{name: _tuples(value) for name, value in values.items()})


def golden(figure: str, preset: str) -> dict[str, Any]:
    """The recorded facts of a figure (golden/<figure>.json holds a record a preset)."""
    record: dict[str, Any] = json.loads((GOLDEN / f"{figure}.json").read_text())[preset]
    return record


def record(figure: str, preset: str, facts: Any) -> None:
    """Write facts into the golden file, beside the other presets'."""
    path = GOLDEN / f"{figure}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[preset] = to_json(facts)
    path.write_text(json.dumps(kept, separators=(",", ":"), sort_keys=True, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _tuples(value: Any) -> Any:
    if value is None:
        return math.nan
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
