"""What every result of this room shares: it is a frozen record that turns into JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Fact:
    """A frozen result. Subclasses add fields, never behaviour of this class."""

    def to_json(self, *, indent: int | None = None) -> str:
        """The record as JSON text; infinities and NaN, which JSON lacks, become null (the sentence says why)."""
        return json.dumps(_finite(asdict(self)), indent=indent, allow_nan=False, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
