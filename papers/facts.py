"""Facts of a figure as JSON and back. Facts are frozen dataclasses of numbers, words, tuples and such dataclasses."""

import json
import math
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

F = TypeVar("F")


def to_json(facts: Any) -> dict[str, Any]:
    """A JSON-able dictionary, six significant digits, None for what is not finite."""
    return {name: _plain(value) for name, value in asdict(facts).items()}


def from_json(kind: type[F], values: dict[str, Any]) -> F:
    """The facts again: null becomes None where the field may be None, nan where it is a number."""
    hints = get_type_hints(kind)
    return kind(**{name: _typed(hints[name], value) for name, value in values.items()})


@dataclass(frozen=True)
class Golden:
    """The recorded facts of a paper's figures: `folder`/<figure>.json holds a record a preset."""

    folder: Path

    def read(self, figure: str, preset: str) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.folder / f"{figure}.json").read_text())[preset]
        return record

    def presets(self, figure: str) -> tuple[str, ...]:
        path = self.folder / f"{figure}.json"
        return tuple(json.loads(path.read_text())) if path.exists() else ()

    def write(self, figure: str, preset: str, facts: Any) -> None:
        """Write facts into the golden file, beside the other presets'."""
        path = self.folder / f"{figure}.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        kept[preset] = to_json(facts)
        path.write_text(json.dumps(kept, separators=(",", ":"), sort_keys=True, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _typed(hint: Any, value: Any) -> Any:
    """`value` as the annotation says it was before JSON."""
    if get_origin(hint) in (Union, UnionType):
        if value is None:
            return None
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
    if value is None:
        return math.nan
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        each = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        return tuple(_typed(kind, item) for kind, item in zip(each, value, strict=True))
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value)
    return float(value) if hint is float else value
