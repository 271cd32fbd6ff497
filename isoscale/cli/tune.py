"""`isoscale tune`: the whole loop for a user's own model, from a builder and data to a recipe."""

from pathlib import Path

import typer

from isoscale.cli.planning import BASE, OPTIMIZER, RULE, named, size


def register(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    model: str = typer.Argument(help="my.py:build, a function of the size that returns the model."),
    data: str = typer.Option(
        help="my.py:data, a function that returns (x, y) of train and test (tensors, Datasets or batches); or an .npz."
    ),
    base: str = BASE,
    target: str = typer.Option(help="The size to train in the end: width=1024,depth=48."),
    loss: str = typer.Option(
        "", help="my.py:loss(output, y); default: cross entropy for classes and tokens, else MSE."
    ),
    rule: str = RULE,
    optimizer: str = OPTIMIZER,
    hp: list[str] = typer.Option(["lr"], help="A hyperparameter to tune: lr, weight_decay, eps; may be repeated."),
    start: str = typer.Option("", help="Where to begin: lr=0.003."),
    hold: str = typer.Option("", "--set", help="What is held: weight_decay=0.1,beta2=0.95; momentum=0.9 for sgd."),
    steps: int = typer.Option(200, min=1, help="Training steps of a run."),
    batch_size: int = typer.Option(64, min=1, help="Examples a step."),
    schedule: str = typer.Option("cosine", help="The learning rate's schedule: constant, linear or cosine."),
    warmup: float = typer.Option(0.05, help="Fraction of the steps in which the learning rate rises."),
    metric: str = typer.Option("train_loss", help="The metric to be small: train_loss or test_loss."),
    second: str = typer.Option("", help="The size to verify at; default: twice the base's width and depth."),
    precision: float = typer.Option(0.25, help="Half width of the interval of the best value, in octaves."),
    tolerance: float = typer.Option(0.25, help="How far the best value may move, in octaves per doubling."),
    regret: float = typer.Option(0.02, help="Or what carrying it may cost: a fraction of the loss."),
    budget: float = typer.Option(200, help="Runs that one search may take."),
    store: Path = typer.Option(Path("tune.sqlite"), help="Keeps every run and decision; the same command goes on."),
    output: Path = typer.Option(Path("recipe.toml"), "--output", "-o", help="The recipe: .toml or .json."),
    workers: int = typer.Option(2, min=0, help="Processes on this machine; 0 trains in this one."),
    skip_check: bool = typer.Option(False, "--skip-check", help="Go on without the coordinate check."),
) -> None:
    """Tune your own model small, prove that it holds, write the recipe for the target.

    Exit code 0: the best values transfer; 1: they drift, or the coordinate check fails; 2: cannot tell.
    """
    from isoscale._tune import tune as run

    if output.suffix not in (".toml", ".json"):
        raise ValueError(f"--output {output}: a recipe is .toml or .json")
    if not output.absolute().parent.is_dir():
        raise ValueError(f"--output {output}: there is no folder {output.absolute().parent}; make it first")
    found = run(
        named(model),
        named(data) if ":" in data else data,
        base=size(base),
        target=size(target),
        loss=named(loss) if loss else None,
        rule=rule,
        optimizer=optimizer,
        hyperparameters=tuple(hp),
        start=size(start) if start else None,
        settings=size(hold) if hold else None,
        steps=steps,
        batch_size=batch_size,
        schedule=schedule,
        warmup=warmup,
        metric=metric,
        second=size(second) if second else None,
        precision=precision,
        tolerance=tolerance,
        regret=regret,
        budget=budget,
        store=store,
        workers=workers,
        skip_check=skip_check,
        tell=lambda line: typer.echo(line, err=True),
    )
    typer.echo(str(found))
    if found.recipe is not None:
        typer.echo(f"\nwrote {found.recipe.save(output)}: isoscale.Recipe.load({str(output)!r})")
    raise typer.Exit(found.exit_code)
