"""The command line: composes the rooms, owns argv, printing and exit codes.

Rooms that need torch are imported inside the commands that use them, so that `isoscale --help` answers at once
(the roof is the one place where a deferred import is allowed).
"""

import sys
import traceback
from pathlib import Path

import typer

import isoscale
from isoscale._records.schema import StoreError
from isoscale._records.wording import printable
from isoscale._sweep.events import SweepError
from isoscale._sweep.local import WorkerStartError
from isoscale.cli import budget, cite, demo, export, planning, runs, scaling, theory, tune

LOG = Path("isoscale-error.log")
USAGE, FAILED, INTERRUPTED = 64, 70, 130

EXPECTED = (ValueError, OSError, LookupError, StoreError, SweepError, WorkerStartError)
"""What a sentence answers; anything else is a fault of ours, or of the code that was handed over."""

# 2 means "cannot tell" to `isoscale verify`, so a mistyped command must not exit with it.
typer.BadParameter.__bases__[0].exit_code = USAGE  # type: ignore[attr-defined]

app = typer.Typer(
    help="Tune hyperparameters on a small network, carry them to a wide and deep one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for room in (budget, cite, demo, export, planning, runs, scaling, theory, tune):
    room.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"isoscale {isoscale.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Tune hyperparameters on a small network, carry them to a wide and deep one."""


def main() -> None:
    """Run the command; a mistake is told in a sentence, its traceback goes to isoscale-error.log."""
    try:
        app()
    except KeyboardInterrupt:
        typer.secho("\nisoscale: stopped. Every finished run is kept; the same command goes on from there.", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        typer.secho(f"isoscale: {_sentence(error)}", err=True, fg="red")
        sys.exit(FAILED)


def _sentence(error: Exception) -> str:
    expected = isinstance(error, EXPECTED)
    text = printable(str(error)) or type(error).__name__
    if not expected:
        text = f"an error of ours or of the code you handed over: {type(error).__name__}: {text}"
    try:
        LOG.write_text("".join(traceback.format_exception(error)))
    except OSError:
        return text
    return text if expected else f"{text}\n(traceback: {LOG.resolve()})"
