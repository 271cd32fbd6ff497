"""A table as TOML: what the standard library reads and does not write."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


def dumps(table: Mapping[str, Any]) -> str:
    """TOML of a table of plain values; None is left out.

    >>> print(dumps({"a": 1, "b": {"c": [0.5, "x"]}, "d": [{"e": True}]}), end="")
    a = 1
    <BLANKLINE>
    [b]
    c = [0.5, "x"]
    <BLANKLINE>
    [[d]]
    e = true
    """
    return "".join(line + "\n" for line in _lines(table, ())).lstrip("\n")


def _lines(table: Mapping[str, Any], place: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if value is not None and not _is_table(value)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        name = ".".join(map(_key, (*place, key)))
        if isinstance(value, Mapping):
            inner = _lines(value, (*place, key))
            only_tables = value and all(isinstance(each, Mapping) for each in value.values())
            lines += inner if only_tables else ["", f"[{name}]", *inner]
        elif _is_table(value):
            for each in value:
                lines += ["", f"[[{name}]]", *_lines(each, (*place, key))]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, Sequence) and bool(value) and all(isinstance(each, Mapping) for each in value)
    )


def _key(key: str) -> str:
    bare = key and all(each.isascii() and (each.isalnum() or each in "_-") for each in key)
    return key if bare else json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(each) for each in value if each is not None) + "]"
    raise TypeError(f"{type(value).__name__} has no place in TOML")


def _text(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL; of several lines where the text has them, to be read."""
    lines = [json.dumps(each, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f") for each in text.split("\n")]
    return '"' + lines[0] + '"' if len(lines) == 1 else '"""\n' + "\n".join(lines) + '"""'
