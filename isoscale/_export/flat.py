"""A run as trackers and tables want it: a name, plain keys and values, rows by step."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from isoscale._records.run import Run

LONGEST = 1000  # characters of a text; a megabyte in a name helps nobody
_NAMED = ("rule", "optimizer", "model", "width", "depth", "lr", "seed")


def clean(text: str) -> str:
    r"""`text` without what a page, a terminal or an encoder would trip over: such characters become their escapes.

    >>> clean("a\x00b \ud800")
    'a\\x00b \\ud800'
    """
    shown = text[:LONGEST]
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in shown)


def name_of(run: Run) -> str:
    """A name for people, unique by the identity at its end, safe as the name of a file."""
    parts = [f"{name}={run.config[name]}" for name in _NAMED if name in run.config]
    safe = re.sub(r"[^A-Za-z0-9=.+-]+", "_", " ".join(part[:40] for part in parts)).lstrip(".-")
    return f"{safe[:120]}_{run.identity[:12]}"


def config_of(run: Run) -> dict[str, Any]:
    """The configuration with what else fixes the run: its data and the versions, prefixed."""
    more = {f"data.{name}": value for name, value in run.data.items()}
    more |= {f"versions.{name}": value for name, value in run.versions.items()}
    return plain({**run.config, **more})


def summary_of(run: Run) -> dict[str, Any]:
    """What came out at the end."""
    facts = {"status": run.status, "steps_done": run.steps, "diverged_at": run.diverged_at}
    costs = {"flops": run.flops, "seconds": run.seconds, "identity": run.identity}
    return plain({**run.metrics, **{name: value for name, value in (facts | costs).items() if value is not None}})


def rows_of(run: Run) -> list[tuple[int, dict[str, float]]]:
    """(step, values by metric) of all curves together, ascending."""
    rows: dict[int, dict[str, float]] = {}
    for name, curve in zip(unique(run.curves), run.curves.values(), strict=True):
        for step, value in zip(curve.step, curve.value, strict=True):
            rows.setdefault(step, {})[name] = value
    return sorted(rows.items())


def unique(names: Iterable[str]) -> list[str]:
    """Each name clean, and still different from every other."""
    seen: dict[str, None] = {}
    for name in names:
        shown = wished = clean(name) or "_"
        count = 1
        while shown in seen:
            count += 1
            shown = f"{wished}~{count}"
        seen[shown] = None
    return list(seen)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Clean keys, and values that every tracker takes: numbers, text, true/false; lists as JSON."""
    return dict(zip(unique(values), map(plain_value, values.values()), strict=True))


def plain_value(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        value = json.dumps(value)
    return clean(value) if isinstance(value, str) else value


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has not, as text, for trackers that keep JSON."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
