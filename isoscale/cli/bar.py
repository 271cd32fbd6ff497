"""Progress of a command's own long work, as a bar or as lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import Progress


@contextmanager
def bar(label: str, *, lines: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that draws a bar on a terminal, else a line at each call (`lines`), or nothing."""
    if not sys.stderr.isatty():
        yield lambda done, total: typer.echo(f"{label}: {done} of {total}", err=True) if lines else None
        return
    with Progress(console=Console(stderr=True)) as drawn:
        task = drawn.add_task(label, total=None)
        yield lambda done, total: drawn.update(task, completed=done, total=total)
