"""`isoscale theory` and `isoscale reproduce`: what the limits say of an architecture, and the papers' figures."""

import json
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import typer

from isoscale.cli.bar import bar
from isoscale.cli.predict import predict

theory = typer.Typer(help="The limits: in which regime an architecture trains, how far it is from its limit.")


def register(app: typer.Typer) -> None:
    app.add_typer(theory, name="theory")
    app.command("reproduce")(reproduce)


theory.command("predict")(predict)


@theory.callback()
def about() -> None:
    """The limits: in which regime an architecture trains, how far it is from its limit."""


@theory.command()
def regime(
    embedding: int = typer.Option(help="D: width of the residual stream."),
    depth: int = typer.Option(help="L: number of two-layer blocks."),
    hidden: int = typer.Option(help="M: hidden width of a block."),
    depth_exponent: float = typer.Option(1.0, help="a: branches are multiplied by depth^-a."),
    multiplier: float = typer.Option(1.0, help="Constant before every branch."),
    input_std: float = typer.Option(None, help="Std of a block's first weight; default embedding^-1/2."),
    output_std: float = typer.Option(None, help="Std of a block's second weight; default hidden^-1/2."),
    proxy: str = typer.Option(None, help="Embedding,depth,hidden of a proxy, e.g. 64,12,256."),
    steps: int = typer.Option(20, help="Gradient steps at which the error law is read."),
    as_json: bool = typer.Option(False, "--json", help="Print the facts as JSON."),
) -> None:
    """In which regime does this architecture train, how far is a proxy from its limit, and which proxy is nearer?"""
    from isoscale.theory.regimes import assess

    found = assess(
        embedding,
        depth,
        hidden,
        depth_exponent=depth_exponent,
        multiplier=multiplier,
        input_std=input_std,
        output_std=output_std,
        proxy=_shape(proxy),
        steps=steps,
    )
    if as_json:
        typer.echo(json.dumps(found.facts(), indent=2))
        return
    for sentence in found.sentences():
        typer.echo(sentence)


def _shape(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"--proxy {text!r}: three whole numbers, embedding,depth,hidden, e.g. --proxy 64,12,256")
    embedding, depth, hidden = map(int, parts)
    return embedding, depth, hidden


def reproduce(
    paper: str = typer.Argument(help="bordelon2024, chizat2025, or neighbours."),
    figure: str = typer.Argument(None, help="One figure, e.g. fig5; all of them without it."),
    preset: str = typer.Option("cpu", help="cpu takes minutes; full is the paper's size."),
    folder: Path = typer.Option(Path("figures"), help="Where facts (JSON) and pictures (PNG) go."),
    record: bool = typer.Option(False, help="Also write the facts into the golden files."),
    data: Path = typer.Option(None, help="A folder of images (CIFAR-10, Tiny ImageNet, ...) that figures train on."),
    cache: Path = typer.Option(None, help="Where runs are kept, to go on after an interruption; default FOLDER/runs."),
    workers: int = typer.Option(2, min=0, help="Processes that train; 0 trains in this one."),
) -> None:
    """Make a paper's figures again: the facts as JSON, the pictures as PNG."""
    if find_spec("matplotlib") is None:
        raise ValueError("the pictures need matplotlib: pip install 'isoscale[papers]'")
    package = "isoscale_papers" if find_spec("isoscale_papers") else "papers"  # as installed, or in a checkout
    papers = import_module(package)
    known = sorted(path.name for path in Path(papers.__path__[0]).iterdir() if (path / "__init__.py").exists())
    if paper not in known:
        raise ValueError(f"no paper {paper!r}; there are {', '.join(known)}")
    figures = import_module(f"{package}.{paper}").FIGURES
    records = import_module(f"{package}.{paper}.record")
    if figure is not None and figure not in figures:
        raise ValueError(f"{paper} has no {figure!r}; there are {', '.join(figures)}")
    folder.mkdir(parents=True, exist_ok=True)
    training = {"data": data, "cache": cache or folder / "runs", "workers": workers}
    for name in [figure] if figure else list(figures):
        module = figures[name]
        if preset not in module.PRESETS:
            raise ValueError(f"{name} has no preset {preset!r}; there are {', '.join(module.PRESETS)}")
        taken = signature(module.facts).parameters
        if figure is not None and data is not None and "data" not in taken:
            raise ValueError(f"{name} trains on no images, it comes from theory: leave --data out")
        with bar(f"{paper} {name}") as progress:
            facts = module.facts(preset, progress, **{key: training[key] for key in training if key in taken})
        stem = folder / f"{paper}-{name}-{preset}"
        stem.with_suffix(".json").write_text(json.dumps(records.to_json(facts)) + "\n")
        module.draw(facts).savefig(stem.with_suffix(".png"), dpi=120)
        if record:
            records.record(name, preset, facts)
        typer.echo(f"wrote {stem}.json and {stem}.png")
