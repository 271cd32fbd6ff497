"""A sweep's events on a stream: a bar that keeps itself up to date on a terminal, else a plain line per unit.

with display(sys.stderr) as progress:
    sweep(train, configs, store="runs.sqlite", progress=progress)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from isoscale._sweep.events import Event

_WORDS = {
    "failed": "failed, will be tried again",
    "died": "lost its worker, will be tried again",
    "poisoned": "set aside",
}


@contextmanager
def display(stream: TextIO) -> Iterator[Callable[[Event], None]]:
    """A callback for `sweep(progress=...)` that draws on `stream` while the block runs."""
    console = Console(file=stream, highlight=False)
    if not console.is_terminal:
        yield lambda event: _write_line(stream, event)
        return
    columns = (
        BarColumn(),
        TextColumn("{task.fields[facts]}", markup=False),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, facts="")

        def draw(event: Event) -> None:
            if event.kind in _WORDS:
                console.print(Text(line(event)))
            if event.unit:
                bar.update(task, description=event.unit)
            bar.update(task, completed=event.progress.runs_done, total=event.progress.runs, facts=summary(event))

        yield draw


def _write_line(stream: TextIO, event: Event) -> None:
    if event.kind != "tick":
        stream.write(line(event) + "\n")
        stream.flush()


def summary(event: Event) -> str:
    """How far the sweep is, in a few words: "96/240 runs, about 3 min left"."""
    facts = event.progress
    parts = [f"{facts.runs_done}/{facts.runs} runs"]
    if facts.poisoned:
        parts.append(f"{facts.poisoned} units set aside")
    if facts.remaining is not None and facts.remaining > 0:
        parts.append(f"about {duration(facts.remaining)} left")
    return ", ".join(parts)


def line(event: Event) -> str:
    """An event as one printable line."""
    if event.kind == "finished" and event.seconds is not None:
        return f"{summary(event)}: {event.unit} ({event.runs} runs in {duration(event.seconds)})"
    if event.kind in _WORDS:
        return f"{summary(event)}: {event.unit} {_WORDS[event.kind]}: {event.error}"
    return f"{summary(event)}: {event.kind}"


def duration(seconds: float) -> str:
    """Seconds for a reader: "0.4 s", "12 s", "3 min", "2 h 05 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
