"""Export: which target, where to, and how much of it was new."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isoscale._export.events import to_tensorboard
from isoscale._export.studies import to_optuna
from isoscale._export.tables import to_csv, to_parquet
from isoscale._export.trackers import checked_project, to_trackio, to_wandb
from isoscale._records.records import Records

TARGETS: Mapping[str, str] = {
    "wandb": "runs.wandb",
    "trackio": "runs.trackio",
    "tensorboard": "runs.tensorboard",
    "optuna": "runs.journal",
    "csv": "runs.csv",
    "parquet": "runs.parquet",
}
"""What runs can be exported to, and the name of the file or folder beside the store."""


@dataclass(frozen=True)
class Exported:
    """Where the runs are now, how many of them there are, and how many this export added."""

    path: Path
    runs: int
    added: int


def export(
    records: Records,
    to: str,
    output: str | os.PathLike[str],
    *,
    project: str = "isoscale",
    metric: str = "train_loss",
    online: bool = False,
) -> Exported:
    """Write `records` to `output` for another tool: "wandb", "trackio", "tensorboard", "optuna", "csv" or "parquet".

    Exporting again, also while a sweep goes on or after an export that was killed, adds what is new and doubles
    nothing; tables are written anew as a whole. `project` names them in W&B and trackio; W&B writes offline runs that
    `wandb sync` sends, unless `online`. `metric` is the objective of Optuna's trials. Characters that a page or a
    terminal would obey are written as their escapes. Raises MissingPackage with the line that installs what is absent
    (extra `exports` or `optuna`), ValueError for a mistake in the arguments.
    """
    path = Path(output)
    if to not in TARGETS:
        raise ValueError(f"to={to!r}: runs can be exported to {', '.join(TARGETS)}")
    if not len(records):
        raise ValueError("there are no finished runs to export yet")
    _check_place(to, path)
    added = len(records)
    if to == "csv":
        to_csv(records, path)
    elif to == "parquet":
        to_parquet(records, path)
    elif to == "tensorboard":
        added = to_tensorboard(records, path)
    elif to == "optuna":
        added = to_optuna(records, path, metric)
    elif to == "trackio":
        added = to_trackio(records, path, checked_project(project))
    else:
        added = to_wandb(records, path, checked_project(project), online)
    return Exported(path, len(records), added)


def _check_place(to: str, path: Path) -> None:
    """No export replaces a store of runs, or a file by a folder."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(15) == b"SQLite format 3":
                raise ValueError(f"{path} is a SQLite file, perhaps a store of runs: choose another --output")
    folder = to in ("wandb", "trackio", "tensorboard")
    if path.exists() and path.is_dir() != folder:
        raise ValueError(
            f"{path} is a {'folder' if path.is_dir() else 'file'}: {to} writes a {'folder' if folder else 'file'}"
        )
