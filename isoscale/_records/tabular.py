"""Runs from and to a CSV file. Every mistake of a file is reported at once, with its row and column."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from isoscale._records.codec import RunError, plain_config
from isoscale._records.run import Config, Run
from isoscale._records.wording import printable

NEEDED = ("rule", "optimizer", "width", "depth", "seed")
WHOLE = ("width", "depth", "seed")
FACTS = ("status", "diverged_at", "steps_done", "flops", "seconds")
PREFIXES = ("config", "metrics", "data", "versions")
TRACKER = frozenset(
    ("Name", "State", "Notes", "User", "Tags", "Created", "Updated", "Runtime", "Sweep", "ID", "Hostname", "Group")
)
"""Columns that the table of Weights & Biases adds to the user's own: they say nothing about the training."""
SHOWN = 30
LONGEST_CELL = 1 << 24


class CsvError(ValueError):
    """A CSV file that is no table of runs; `mistakes` lists all of them, with row and column."""

    def __init__(self, path: Path, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        more = f"\n  ... and {len(mistakes) - SHOWN} more" if len(mistakes) > SHOWN else ""
        head = f"{path} has {len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}:"
        super().__init__(printable("\n  ".join([head, *mistakes[:SHOWN]]) + more))


@dataclass(frozen=True)
class _Layout:
    """What each column of the file is: a name of the configuration, a metric, or a fact of the run."""

    names: tuple[str, ...]
    config: tuple[int, ...]
    metrics: tuple[int, ...]
    facts: Mapping[str, int]
    labels: Mapping[int, str]


def read_csv(path: Path, columns: Mapping[str, str], constants: Config, metrics: frozenset[str]) -> tuple[Run, ...]:
    header, lines = _read_table(path)
    constants = plain_config(constants, "constants")
    layout, mistakes = _lay_out(header, columns, constants, metrics)
    if mistakes:
        raise CsvError(path, mistakes)
    runs: list[Run] = []
    seen: dict[str, int] = {}
    for row, cells in lines:
        found: list[str] = []
        if len(cells) != len(header):
            mistakes.append(f"row {row}: {len(cells)} cells under {len(header)} columns")
            continue
        run = _read_row(cells, layout, constants, found)
        mistakes += [f"row {row}, {mistake}" for mistake in found]
        if run is None:
            continue
        if run.identity in seen:
            mistakes.append(
                f"row {row}: the same configuration as row {seen[run.identity]}: a column that tells the two apart "
                "(a seed?) is missing, or a run is there twice"
            )
        seen.setdefault(run.identity, row)
        runs.append(run)
    if not runs and not mistakes:
        mistakes.append("row 2: there is a header and no run")
    if mistakes:
        raise CsvError(path, mistakes)
    return tuple(runs)


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise CsvError(path, [f"row {row}: byte {error.start} is not UTF-8: save the file as UTF-8"]) from error
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        table = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except csv.Error as error:
        raise CsvError(path, [f"row {reader.line_num}: {error}"]) from error
    finally:
        csv.field_size_limit(limit)
    if not table:
        raise CsvError(path, ["the file is empty: the first row names the columns"])
    return table[0][1], table[1:]


def _lay_out(
    header: Sequence[str], columns: Mapping[str, str], constants: Config, metrics: frozenset[str]
) -> tuple[_Layout, list[str]]:
    mistakes = [
        f"columns names {old!r}, which the file does not have; it has {', '.join(header)}{_near(old, header)}"
        for old in columns
        if old not in header
    ]
    kinds = [_kind(columns.get(title, title), metrics) for title in header]
    if {"Name", "State"} <= set(header):
        kinds = [
            ("tracker", name) if title in TRACKER - set(columns) else (kind, name)
            for title, (kind, name) in zip(header, kinds, strict=True)
        ]
    names = tuple(name for _, name in kinds)
    for at, name in enumerate(names):
        if not name:
            mistakes.append(f"row 1, column {at + 1}: a column without a name")
        elif kinds[at] in kinds[:at]:
            mistakes.append(f"row 1, column {at + 1}: a second column {name!r}")
        elif kinds[at] == ("config", name) and name in constants:
            mistakes.append(f"row 1, column {at + 1}: {name!r} is given as a constant as well")
    for name in NEEDED:
        if ("config", name) not in kinds and name not in constants:
            mistakes.append(
                f"row 1: no column {name!r}: rename one with columns={{...: {name!r}}} (--column ...={name}) or "
                f"give it as constants={{{name!r}: ...}} (--constant {name}=...){_near(name, header)}"
            )
    if not any(kind == "metrics" and name.endswith("loss") for kind, name in kinds):
        mistakes.append(f'row 1: no column that ends in "loss": a run is judged by one{_near("train_loss", header)}')
    places = {kind: tuple(at for at, (own, _) in enumerate(kinds) if own == kind) for kind in (*PREFIXES, "facts")}
    facts = {names[at]: at for at in places["facts"]}
    facts |= {name: at for at, (kind, name) in enumerate(kinds) if (kind, name) == ("tracker", "State")}
    labels = {at: kinds[at][0] for kind in ("data", "versions") for at in places[kind]}
    return _Layout(names, places["config"], places["metrics"], facts, labels), mistakes


def _kind(title: str, metrics: frozenset[str]) -> tuple[str, str]:
    """What a column holds, by its title: plain names for what is usual, "metrics.x" or "config.x" for the rest."""
    for prefix in PREFIXES:
        if title.startswith(prefix + ".") and len(title) > len(prefix) + 1:
            return prefix, title[len(prefix) + 1 :]
    if title in FACTS:
        return "facts", title
    return ("metrics" if title.endswith(("loss", "accuracy")) or title in metrics else "config"), title


def _title(kind: str, name: str) -> str:
    return name if _kind(name, frozenset()) == (kind, name) else f"{kind}.{name}"


def _near(name: str, among: Sequence[str]) -> str:
    near = get_close_matches(name, among, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _read_row(cells: Sequence[str], layout: _Layout, constants: Config, mistakes: list[str]) -> Run | None:
    """The run of a row; None where it cannot be read, with the reasons added to `mistakes`."""
    before = len(mistakes)
    config = dict(constants)
    for at in layout.config:
        if cells[at]:
            config[layout.names[at]] = _read_config(layout.names[at], cells[at], mistakes)
    for name in NEEDED:
        if name not in config:
            mistakes.append(f"column {name}: empty")
    numbers = {
        layout.names[at]: _read_number(layout.names[at], cells[at], mistakes) for at in layout.metrics if cells[at]
    }
    facts = {
        name: _read_number(name, cells[at], mistakes)
        for name, at in layout.facts.items()
        if cells[at] and name not in ("status", "State")
    }
    status = _read_status(cells, layout, numbers, mistakes)
    if len(mistakes) > before:
        return None
    labels = [(group, layout.names[at], cells[at]) for at, group in layout.labels.items() if cells[at]]
    steps = facts.get("steps_done", config.get("steps", 0))
    return Run(
        config=config,
        metrics=numbers,
        status=status,
        diverged_at=None if "diverged_at" not in facts else int(facts["diverged_at"]),
        steps=int(steps) if isinstance(steps, int | float) else 0,
        flops=facts.get("flops"),
        seconds=facts.get("seconds"),
        data={key: value for group, key, value in labels if group == "data"},
        versions={key: value for group, key, value in labels if group == "versions"},
    )


def _read_status(
    cells: Sequence[str], layout: _Layout, numbers: Mapping[str, float], mistakes: list[str]
) -> Literal["finished", "diverged"]:
    """As the file says, otherwise by the losses: one that is inf or nan, or none that was written, is divergence."""
    said = cells[layout.facts["status"]] if "status" in layout.facts else ""
    if said not in ("", "finished", "diverged"):
        mistakes.append(f'column status: {said!r} is neither "finished" nor "diverged"')
    losses = [value for name, value in numbers.items() if name.endswith("loss")]
    diverged = not losses or not all(map(math.isfinite, losses))
    state = cells[layout.facts["State"]] if "State" in layout.facts else "finished"
    if diverged and state != "finished" and not said:
        mistakes.append(
            f"column State: {state[:60]!r} without a finite loss: that run did not end, which is not the same as "
            "that it diverged; export finished runs only, or say diverged in a column status"
        )
    if said == "finished" and diverged:
        mistakes.append("column status: finished, but no loss is a finite number")
    return "diverged" if said == "diverged" or diverged else "finished"


def _read_config(name: str, cell: str, mistakes: list[str]) -> Any:
    value = _read_value(cell)
    if name in WHOLE:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or (name != "seed" and value < 1):
            mistakes.append(f"column {name}: {cell[:60]!r} is not a whole number{'' if name == 'seed' else ' above 0'}")
    elif name in ("rule", "optimizer"):
        return cell
    elif isinstance(value, float) and not math.isfinite(value):
        mistakes.append(f"column {name}: {cell!r} in a hyperparameter")
    elif name == "lr" and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
        mistakes.append(f"column lr: {cell[:60]!r} is not a learning rate (a number, not negative)")
    return value


def _read_number(name: str, cell: str, mistakes: list[str]) -> float:
    try:
        return float(cell)
    except ValueError:
        mistakes.append(f"column {name}: {cell[:60]!r} is not a number")
        return math.nan


def _read_value(cell: str) -> Any:
    if cell[0] in '"[':  # text that looks like a number, and lists, are written as JSON
        try:
            return plain_config({"value": json.loads(cell)})["value"]
        except (ValueError, RunError):
            return cell
    if cell in ("true", "True", "false", "False"):
        return cell in ("true", "True")
    if cell == "null":
        return None
    if cell.replace("_", "") != cell:  # Python's 1_000 is text elsewhere
        return cell
    for read in (int, float):
        try:
            return read(cell)
        except ValueError:
            continue
    return cell


def write_csv(path: Path, runs: Iterable[Run]) -> None:
    runs = tuple(runs)
    columns = [
        *dict.fromkeys(("config", name) for run in runs for name in run.config),
        *dict.fromkeys(("metrics", name) for run in runs for name in run.metrics),
        *(("facts", name) for name in FACTS),
        *dict.fromkeys(("data", name) for run in runs for name in run.data),
        *dict.fromkeys(("versions", name) for run in runs for name in run.versions),
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([_title(kind, name) for kind, name in columns])
        for run in runs:
            cells = _cells(run)
            writer.writerow([cells.get(column, "") for column in columns])


def _cells(run: Run) -> dict[tuple[str, str], str]:
    facts = dict(zip(FACTS, (run.status, run.diverged_at, run.steps, run.flops, run.seconds), strict=True))
    return {
        **{("config", name): _write_value(name, value) for name, value in run.config.items()},
        **{("metrics", name): repr(float(value)) for name, value in run.metrics.items()},
        **{("facts", name): str(value) for name, value in facts.items() if value is not None},
        **{("data", name): value for name, value in run.data.items()},
        **{("versions", name): value for name, value in run.versions.items()},
    }


def _write_value(name: str, value: Any) -> str:
    if isinstance(value, str):
        if name in ("rule", "optimizer"):
            return value
        plain = value and value == value.strip() and _read_value(value) == value
        obeyed = not value.isprintable() or value[:1] in "=+-@"  # by a terminal, or as a formula by a spreadsheet
        return value if plain and not obeyed and isinstance(_read_value(value), str) else json.dumps(value)
    if value is None or isinstance(value, bool | list | tuple):
        return json.dumps(value)
    return repr(value)
