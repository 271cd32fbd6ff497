"""Trackers that speak the verbs init, log, finish: Weights & Biases and trackio, through one adapter."""

import io
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

from isoscale._export.files import Ledger
from isoscale._export.flat import clean, config_of, finite, name_of, rows_of, summary_of
from isoscale._records.extras import load
from isoscale._records.records import Records
from isoscale._records.run import Run

Write = Callable[[Run, str], None]


def to_wandb(records: Records, folder: Path, project: str, online: bool) -> int:
    """Runs into `folder`/wandb, without the network; `wandb sync` sends them. `online` sends them at once."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    wandb = load("wandb", extra="exports", purpose="an export to Weights & Biases")
    settings = wandb.Settings(
        silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
    )

    def write(run: Run, id: str) -> None:
        for rest in (folder / "wandb").glob(f"offline-run-*-{id}"):  # of an export that was killed
            shutil.rmtree(rest)
        tracked = wandb.init(
            dir=folder,
            mode="online" if online else "offline",
            id=id,
            resume="allow",
            name=name_of(run),
            group=clean(f"{run.config.get('rule')} {run.config.get('optimizer')}"),
            project=project,
            config=config_of(run),
            settings=settings,
        )
        for step, values in rows_of(run):
            tracked.log(values, step=step)
        tracked.summary.update(summary_of(run))
        tracked.finish()

    try:
        return _each(records, folder, write)
    finally:
        wandb.teardown()


def to_trackio(records: Records, folder: Path, project: str) -> int:
    """Runs into trackio's database in `folder`; `TRACKIO_DIR=FOLDER trackio show` shows them."""
    place = str(folder.absolute())
    if sys.modules.get("trackio") is not None and os.environ.get("TRACKIO_DIR") != place:
        raise ValueError(
            f"trackio was imported before and keeps its runs elsewhere than in {folder}: it takes TRACKIO_DIR when "
            "it is imported; export in a process of its own (isoscale export does)"
        )
    os.environ["TRACKIO_DIR"] = place
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    trackio = load("trackio", extra="exports", purpose="an export to trackio")
    storage = load("trackio.sqlite_storage", extra="exports", purpose="an export to trackio").SQLiteStorage

    def write(run: Run, id: str) -> None:
        name = name_of(run)
        for rest in storage.get_run_records(project):  # of an export that was killed
            if rest["name"] == name:
                storage.delete_run(project, name, rest["id"])
        tracked = trackio.init(
            project=project,
            name=name,
            config=finite(config_of(run)),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        for step, values in rows_of(run):
            tracked.log(finite(values), step=step)
        tracked.log({f"final/{key}": value for key, value in finite(summary_of(run)).items()}, step=run.steps)
        tracked.finish()

    with redirect_stdout(io.StringIO()):
        return _each(records, folder, write)


def checked_project(name: str) -> str:
    """A project's name that is a name to every tracker, and no path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError(f"the project {clean(name)[:100]!r} is not a plain name: letters, digits, - _ . only")
    return name


def _each(records: Records, folder: Path, write: Write) -> int:
    """Write the runs that the folder's ledger does not name; how many."""
    ledger = Ledger(folder)
    written = 0
    for run in records:
        if run.identity not in ledger.identities:
            write(run, run.identity[:16])
            ledger.add(run.identity)
            written += 1
    return written
