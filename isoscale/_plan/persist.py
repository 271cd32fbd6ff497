"""A plan as JSON: canonical, versioned, sealed with a digest."""

import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoscale._plan.errors import PlanError

FORMAT = "isoscale-plan"
RECIPE = "isoscale-recipe"
VERSION = 1


def digest(content: Mapping[str, Any]) -> str:
    """Sha256 of the canonical JSON of the content: the plan's identity, the same on every machine."""
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PlanError(
            f"the plan cannot be written as JSON: {error}. Sizes are plain numbers, strings, lists and booleans."
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> str:
    """The text of a plan's file."""
    envelope = {"format": FORMAT, "version": VERSION, "sha256": digest(content), "plan": dict(content)}
    return json.dumps(envelope, indent=1, allow_nan=False) + "\n"


def opened(text: str, where: str) -> dict[str, Any]:
    """The content of a plan's text; a torn, edited or foreign one raises PlanError."""
    again = "save it again with plan.save(path)"
    try:
        envelope = _inside_recipe(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{where} is not a whole JSON file ({error}): torn or not a plan; {again}.") from error
    if not isinstance(envelope, dict) or envelope.get("format") != FORMAT:
        raise PlanError(f"{where} is not a plan: its format is not {FORMAT!r}; {again}.")
    if envelope.get("version") != VERSION:
        raise PlanError(
            f"{where} has plan version {envelope.get('version')!r} and this isoscale reads {VERSION}: plan again with "
            "isoscale.plan(...), or use the isoscale that wrote it."
        )
    content = envelope.get("plan")
    if not isinstance(content, dict) or digest(content) != envelope.get("sha256"):
        raise PlanError(
            f"{where} was changed after it was written: its sha256 does not fit. An edited factor would train silently "
            f"wrong; {again}, and override roles with plan(..., roles=...)."
        )
    return content


def _inside_recipe(text: str) -> Any:
    """The JSON of the text; of a recipe (`isoscale tune` writes them, as TOML or JSON) the plan in it."""
    if f'format = "{RECIPE}"' in text:
        plan = tomllib.loads(text).get("plan")
        return json.loads(plan["json"]) if isinstance(plan, dict) and isinstance(plan.get("json"), str) else None
    envelope = json.loads(text)
    if isinstance(envelope, dict) and envelope.get("format") == RECIPE:
        return envelope.get("plan")
    return envelope


def write(path: str | Path, text: str) -> None:
    """Write the whole file or nothing: a reader never sees half a plan."""
    target = Path(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(path: str | Path) -> dict[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is not text: not a plan; save it again with plan.save(path).") from error
    return opened(text, str(path))
