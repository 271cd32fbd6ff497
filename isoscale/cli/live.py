"""`isoscale show --serve`: the report of a sweep while it runs."""

from collections.abc import Callable
from pathlib import Path

import typer

from isoscale._records.store import Store
from isoscale._report import ReportFacts
from isoscale._report.live import Moment, server
from isoscale._sweep.display import duration


def serve(store: Path, facts: Callable[[], ReportFacts], *, port: int) -> None:
    """Serve the report of `store` on 127.0.0.1 until interrupted; `facts` reads and judges the runs of the moment."""
    kept: dict[tuple[int, int], ReportFacts | None] = {}

    def moment() -> Moment:
        with Store(store, create=False) as opened:
            progress = opened.progress()
        key = (progress.runs_done, progress.poisoned)
        if key not in kept:
            kept.clear()
            kept[key] = _judged(facts)
        left = "" if progress.remaining is None or progress.complete else f", about {duration(progress.remaining)} left"
        aside = f", {progress.poisoned} units set aside after errors" if progress.poisoned else ""
        status = f"{progress.runs_done} of {progress.runs} runs done{left}{aside}."
        over = progress.complete or progress.done + progress.poisoned == progress.units
        return Moment(kept[key], status if over else f"{status} This page renews itself.", over)

    try:
        serving = server(moment, port)
    except OSError as error:
        raise OSError(f"port {port} cannot be had ({error.strerror}): give another one, or --port 0 for any") from None
    with serving:
        typer.echo(f"the report of {store}: http://127.0.0.1:{serving.server_address[1]}/ (Ctrl-C ends)")
        serving.serve_forever()


def _judged(facts: Callable[[], ReportFacts]) -> ReportFacts | None:
    """None where there is nothing to judge yet."""
    try:
        return facts()
    except ValueError:
        return None
