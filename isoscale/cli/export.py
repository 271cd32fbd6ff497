"""`isoscale export`: finished runs into the tools people look at runs with."""

import time
from pathlib import Path
from typing import Literal

import typer

from isoscale._export import TARGETS, Exported
from isoscale._export import export as export_runs
from isoscale._records.records import Records
from isoscale._records.store import Store
from isoscale._sweep.spec import load_spec
from isoscale.cli.runs import METRIC, SOURCE, read

Target = Literal["wandb", "trackio", "tensorboard", "optuna", "csv", "parquet"]


def register(app: typer.Typer) -> None:
    app.command()(export)


def export(
    source: Path = SOURCE,
    to: Target = typer.Option(help="The tool or the kind of file."),
    output: Path = typer.Option(None, "--output", "-o", help="File or folder; by default beside the store."),
    project: str = typer.Option("isoscale", help="wandb, trackio: the project's name."),
    metric: str = METRIC,
    online: bool = typer.Option(False, help="wandb: send at once; otherwise `wandb sync` does."),
    follow: bool = typer.Option(False, help="Go on as units finish, until the sweep is complete."),
    every: float = typer.Option(30.0, min=0.1, help="With --follow: seconds between two looks."),
) -> None:
    """Export finished runs; again, also while a sweep runs, adds only what is new."""
    store = _store(source)
    place = output or (store or source).with_name(TARGETS[to])
    if follow and store is None:
        raise ValueError(f"--follow: {source} is a table; only a store (or its spec) grows")
    while True:
        complete = store is None or _complete(store)
        records = read(source)
        if len(records) or not follow or complete:
            _say(export_runs(records, to, place, project=project, metric=metric, online=online), to, records)
        if complete or not follow:
            return
        time.sleep(every)


def _store(source: Path) -> Path | None:
    if source.suffix == ".csv":
        return None
    return Path(load_spec(source).store.path) if source.suffix == ".toml" else source


def _complete(path: Path) -> bool:
    with Store(path, create=False) as store:
        progress = store.progress()
    return progress.done + progress.poisoned == progress.units


def _say(done: Exported, to: str, records: Records) -> None:
    hint = {
        "wandb": f"; next: wandb sync {done.path / 'wandb'}/offline-run-*",
        "trackio": f"; next: TRACKIO_DIR={done.path.absolute()} trackio show",
        "tensorboard": f"; next: tensorboard --logdir {done.path}",
        "optuna": f"; next: optuna-dashboard {done.path}",
    }.get(to, "")
    typer.echo(f"{done.runs} runs in {done.path}, {done.added} written now{hint}")
