"""A run as one row of text and bytes, and back, exactly.

JSON has no inf and no nan, so numbers that may be either are written as the strings "inf", "-inf" and "nan" (the
places that hold them hold nothing but numbers, so the way back is unambiguous). Curves are little-endian 64-bit
numbers behind a JSON header, compressed: exact, and a tenth of the text.
"""

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from isoscale._records.run import Config, Curve, Run, digest

_NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


class RunError(ValueError):
    """A run or a configuration that cannot be recorded; the sentence names the field and the way out."""


class Row(NamedTuple):
    """A run as it is stored: its identity, JSON of the configuration, JSON of the result, packed curves, checksum."""

    identity: str
    config: str
    result: str
    curves: bytes
    checksum: str


def plain_config(config: Config, where: str = "config") -> dict[str, Any]:
    """`config` as plain JSON values (numpy numbers become numbers, tuples become lists), or a RunError."""
    if not isinstance(config, Mapping):
        raise RunError(
            f"{where} is a {type(config).__name__}, not a mapping of names to values: pass dict(lr=0.1, ...)"
        )
    plain = {}
    for name, value in config.items():
        if not isinstance(name, str):
            raise RunError(f"{where} has the key {name!r}: names are text")
        plain[name] = _plain(value, f"{where}[{name!r}]")
    return plain


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise RunError(f"{where} is {value}: a configuration is an identity, and inf and nan have none")
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise RunError(
        f"{where} is a {type(value).__name__}: configurations hold numbers, text, true/false, null and short lists, "
        "so that they have one identity on every machine"
    )


def encode(run: Run) -> Row:
    """`run` as a row. Raises RunError where a field cannot be recorded exactly."""
    config = plain_config(run.config)
    if run.status not in ("finished", "diverged"):
        raise RunError(f'status is {run.status!r}: it is "finished" or "diverged"')
    result = {
        "metrics": {_name(k, "metrics"): _number(v, f"metrics[{k!r}]") for k, v in run.metrics.items()},
        "status": run.status,
        "diverged_at": None if run.diverged_at is None else _integer(run.diverged_at, "diverged_at"),
        "steps": _integer(run.steps, "steps"),
        "flops": None if run.flops is None else _number(run.flops, "flops"),
        "seconds": None if run.seconds is None else _number(run.seconds, "seconds"),
        "data": {_name(k, "data"): _text(v, f"data[{k!r}]") for k, v in run.data.items()},
        "versions": {_name(k, "versions"): _text(v, f"versions[{k!r}]") for k, v in run.versions.items()},
    }
    texts = _text_of(config), _text_of(result)
    curves = _pack(run.curves)
    return Row(digest(config), *texts, curves, checksum(*texts, curves))


def decode(row: Row) -> Run:
    """The run of a row. Raises RunError where the row's checksum does not hold (a damaged file)."""
    if checksum(row.config, row.result, row.curves) != row.checksum:
        raise RunError(f"run {row.identity[:12]} is damaged: its checksum does not hold")
    result = json.loads(row.result)
    return Run(
        config=json.loads(row.config),
        metrics={name: _read_number(value) for name, value in result["metrics"].items()},
        status=result["status"],
        diverged_at=result["diverged_at"],
        steps=result["steps"],
        flops=_read_number(result["flops"]),
        seconds=_read_number(result["seconds"]),
        curves=_unpack(row.curves),
        data=result["data"],
        versions=result["versions"],
    )


def checksum(config: str, result: str, curves: bytes) -> str:
    content = b"\0".join((config.encode(), result.encode(), curves))
    return hashlib.blake2s(content, digest_size=8).hexdigest()


def _text_of(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str):
        raise RunError(f"{where} has the key {name!r}: names are text")
    return name


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise RunError(f"{where} is a {type(value).__name__}, not text: write str(...)")
    return value


def _integer(value: Any, where: str) -> int:
    if not isinstance(value, Integral):
        raise RunError(f"{where} is {value!r}, a {type(value).__name__}: it counts steps, so it is an int")
    return int(value)


def _number(value: Any, where: str) -> int | float | str:
    if isinstance(value, Integral):
        return int(value)
    if not isinstance(value, Real):
        raise RunError(f"{where} is a {type(value).__name__}: return a plain number (of a tensor: .item())")
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _read_number(value: Any) -> Any:
    return _NON_FINITE[value] if isinstance(value, str) else value


def _pack(curves: Mapping[str, Curve]) -> bytes:
    if not curves:
        return b""
    header, parts = [], []
    for name, curve in curves.items():
        if len(curve.step) != len(curve.value):
            raise RunError(f"curve {name!r} has {len(curve.step)} steps and {len(curve.value)} values")
        header.append([_name(name, "curves"), len(curve.step)])
        try:
            parts.append(struct.pack(f"<{len(curve.step)}q", *curve.step))
            parts.append(struct.pack(f"<{len(curve.value)}d", *curve.value))
        except (struct.error, TypeError, OverflowError) as error:
            raise RunError(f"curve {name!r} holds something that is no number: {error}") from error
    return zlib.compress(b"\n".join((json.dumps(header).encode(), b"".join(parts))))


def _unpack(packed: bytes) -> dict[str, Curve]:
    if not packed:
        return {}
    header, _, body = zlib.decompress(packed).partition(b"\n")
    curves, at = {}, 0
    for name, count in json.loads(header):
        step = struct.unpack_from(f"<{count}q", body, at)
        value = struct.unpack_from(f"<{count}d", body, at + 8 * count)
        curves[name] = Curve(step, value)
        at += 16 * count
    return curves
