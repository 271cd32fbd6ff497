"""`isoscale demo`: the main job on handwritten digits, from sweep to verdict to page."""

import time
from pathlib import Path

import typer

from isoscale._report import summary
from isoscale._sweep.spec import parse_spec
from isoscale._transfer import judge
from isoscale.cli.runs import train_all, write_page

SPEC = """\
# What `isoscale demo` runs: does the learning rate tuned on a small residual network hold for wider and deeper ones?
rules = ["sp", "mup", "depth_mup"]
seeds = 5

[store]
path = "{folder}/runs.sqlite"

[model]
name = "preln_mlp"

[data]
name = "digits"

[base]
width = 32
depth = 3

[sizes]
widths = [32, 48, 64, 96, 128]
depths = [3, 6, 12, 24]
target = {{ width = 48, depth = 24 }}

[optimizers.adamw]
lr = {{ log2 = [-8.5, -3.5], step = 0.5 }}

[optimizers.sgd]
lr = {{ log2 = [-5, 0], step = 0.5 }}
momentum = 0.9

[train]
steps = 100
batch_size = 128
schedule = "cosine"
evaluations = 2
"""


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    folder: Path = typer.Option(Path("demo"), help="Where the runs and the spec are kept."),
    output: Path = typer.Option(Path("report.html"), "--output", "-o", help="The page to write."),
    workers: int = typer.Option(2, min=0, help="Processes on this machine."),
) -> None:
    """Tune a small residual network on handwritten digits, carry the learning rate wide and deep, prove it."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    text = SPEC.format(folder=folder.as_posix())
    (folder / "spec.toml").write_text(text)
    spec = parse_spec(text)
    sizes = ", ".join(f"{width}x{depth}" for width, depth in spec.all_sizes())
    typer.echo(
        f"Pre-LN residual MLPs of width x depth {sizes} on digits, {len(spec.rules)} rules, {len(spec.optimizers)} "
        f"optimizers: {spec.count()} runs. The same command goes on after an interruption."
    )
    records = train_all(spec, workers=workers, batch=55)
    verdicts = judge(records)
    typer.echo(summary(verdicts), nl=False)
    page = write_page(records, verdicts, output, commands=["isoscale demo"])
    typer.echo(f"\n{len(records)} runs, {time.perf_counter() - started:.0f} s in all. Open {page}")
