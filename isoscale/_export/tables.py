"""Tables: CSV (read again by `Records.from_csv`) and Parquet, curves included."""

from pathlib import Path
from typing import Any

from isoscale._export.files import replacing
from isoscale._export.flat import clean, plain_value, unique
from isoscale._records.extras import load
from isoscale._records.records import Records


def to_csv(records: Records, path: Path) -> None:
    with replacing(path) as draft:
        records.to_csv(draft)


def to_parquet(records: Records, path: Path) -> None:
    """One row a run. Columns config.*, metrics.*, data.*, versions.*, facts, and of each curve its steps and values.

    A column of numbers and text together becomes text, since a column has one type.
    """
    polars = load("polars", extra="exports", purpose="an export to Parquet")
    columns: dict[str, list[Any]] = {"identity": [run.identity for run in records]}
    for prefix in ("config", "metrics", "data", "versions"):
        names = list(dict.fromkeys(name for run in records for name in getattr(run, prefix)))
        for name, shown in zip(names, unique(names), strict=True):
            values = [getattr(run, prefix).get(name) for run in records]
            columns[f"{prefix}.{shown}"] = _one_type([plain_value(value) for value in values])
    for fact in ("status", "diverged_at", "steps", "flops", "seconds"):
        columns[fact] = [getattr(run, fact) for run in records]
    names = list(dict.fromkeys(name for run in records for name in run.curves))
    for name, shown in zip(names, unique(names), strict=True):
        curves = [run.curves.get(name) for run in records]
        columns[f"curves.{shown}.step"] = [None if curve is None else list(curve.step) for curve in curves]
        columns[f"curves.{shown}.value"] = [None if curve is None else list(curve.value) for curve in curves]
    with replacing(path) as draft:
        polars.DataFrame(columns, strict=True).write_parquet(draft)


def _one_type(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1:
        return [None if value is None else clean(str(value)) for value in values]
    return values
