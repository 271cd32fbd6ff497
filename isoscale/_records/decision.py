"""A decision of a search: what was done next, on what evidence, and why, as a sentence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Decision:
    """One step of a search: `kind` names what is done, `reason` says why in a sentence, `content` (plain JSON values)
    fixes it. A search that is resumed takes its recorded decisions again, whatever it would decide today."""

    kind: str
    reason: str
    content: Mapping[str, Any]

    def packed(self) -> tuple[str, str, str]:
        """The decision as a row of text."""
        return self.kind, self.reason, json.dumps(dict(self.content), sort_keys=True, allow_nan=False)

    @classmethod
    def unpacked(cls, kind: str, reason: str, content: str) -> "Decision":
        return cls(kind, reason, json.loads(content))
