"""`isoscale plan`, `plan diff`, `check`: a user's own model, named as my.py:build, planned and checked."""

import importlib.util
import json
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from isoscale.cli.words import literal

MODEL = typer.Argument(
    help="my.py:build, a function of the size that returns the model; or a reference network's name."
)
BASE = typer.Option(help="The size that is tuned, key=value pairs: width=64,depth=4.")
INPUTS = typer.Option("", help="my.py:inputs, an example batch or a function that returns one.")
RULE = typer.Option("depth_mup", help="The scaling rule; `isoscale rules list` names them.")
OPTIMIZER = typer.Option("adamw", help="The optimizer.")
MODE = typer.Option("fold", help="fold: multipliers go into the weights; explicit: forward hooks apply them.")


ROLES = typer.Option(None, "--role", help="blocks.*.gate=scalar: the role of parameters by glob; repeatable.")
POSTNORM = typer.Option("refuse", help="allow: scale the branches of a stream that has norms on it all the same.")


class PlanGroup(TyperGroup):
    """`isoscale plan my.py:build ...` is `isoscale plan make my.py:build ...`: whatever is no command is its argument.

    The one method that is replaced here is the one with which click lets a group read its arguments in its own way.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["make", *args])


def register(app: typer.Typer) -> None:
    plans = typer.Typer(cls=PlanGroup, help="What every parameter of a model gets at another size.")
    plans.command("make")(plan)
    plans.command("diff")(plan_diff)
    app.add_typer(plans, name="plan")
    app.command("plan-diff")(plan_diff)
    app.command()(check)


def plan(
    model: str = MODEL,
    base: str = BASE,
    target: str = typer.Option(help="The size to train: width=1024,depth=48."),
    inputs: str = INPUTS,
    rule: str = RULE,
    optimizer: str = OPTIMIZER,
    mode: str = MODE,
    roles: list[str] = ROLES,
    postnorm: str = POSTNORM,
    explain: list[str] = typer.Option(None, help="Say in words what a parameter gets and why; may be repeated."),
    save: Path = typer.Option(None, help="Write the plan as JSON."),
) -> None:
    """What every parameter of a model gets at another size: role, initialisation, learning rate, eps, decay.

    `isoscale plan diff a.json b.json` compares two saved plans.
    """
    from isoscale._plan import plan as make_plan

    build, batch, _ = task(model, inputs)
    made = make_plan(
        build,
        size(base),
        size(target),
        inputs=batch,
        rule=rule,
        optimizer=optimizer,
        mode=mode,  # type: ignore[arg-type]
        roles=overrides(roles),
        postnorm=postnorm,  # type: ignore[arg-type]
    )
    typer.echo("\n\n".join(made.explain(name) for name in explain) if explain else str(made))
    if save is not None:
        made.save(save)
        typer.echo(f"wrote {save}", err=True)


def plan_diff(
    first: Path = typer.Argument(help="A saved plan."), second: Path = typer.Argument(help="Another saved plan.")
) -> None:
    """Every line in which two saved plans differ; exit code 0 if none does, else 1."""
    from isoscale._plan import Plan

    text = Plan.load(first).diff(Plan.load(second))
    typer.echo(text or "the plans are the same")
    raise typer.Exit(1 if text else 0)


def check(
    model: str = MODEL,
    base: str = BASE,
    widths: list[str] = typer.Option(
        None, help="64,128,256; d_model=64,128,256 for a key of another name; repeatable."
    ),
    depths: list[str] = typer.Option(None, help="4,8,16; as for widths."),
    inputs: str = INPUTS,
    targets: str = typer.Option("", help="my.py:targets; random classes if neither targets nor a loss are given."),
    loss: str = typer.Option("", help="my.py:loss, of (output, targets), or of the output where there are no targets."),
    setup: str = typer.Option("", help="my.py:setup(plan, model): your own way from a plan to an optimizer."),
    rule: str = RULE,
    optimizer: str = OPTIMIZER,
    mode: str = MODE,
    roles: list[str] = ROLES,
    postnorm: str = POSTNORM,
    lr: float = typer.Option(None, help="The base model's learning rate."),
    steps: int = typer.Option(8, min=1, help="Training steps on the one batch."),
    seeds: int = typer.Option(5, min=2, help="Initialisations per size; as many are added while it cannot be told."),
    most_seeds: int = typer.Option(15, min=2, help="Initialisations per size at most."),
    everything: bool = typer.Option(False, "--all", help="Print every line, also those that pass."),
    save: Path = typer.Option(None, help="Write the check as JSON."),
    picture: Path = typer.Option(None, help="Write its figures as Vega-Lite specifications (a JSON list)."),
) -> None:
    """Train small sizes for a few steps: what moves with width or depth? Exit code 0 PASS, 1 FAIL, 2 CANNOT TELL."""
    from isoscale._check import coord_check

    build, batch, goal = task(model, inputs)
    found = coord_check(
        build,
        size(base),
        widths=sizes("width", widths),
        depths=sizes("depth", depths),
        inputs=batch,
        targets=called(named(targets)) if targets else goal,
        loss=named(loss) if loss else None,
        setup=named(setup) if setup else None,
        rule=rule,
        optimizer=optimizer,
        mode=mode,  # type: ignore[arg-type]
        roles=overrides(roles),
        postnorm=postnorm,  # type: ignore[arg-type]
        lr=lr,
        steps=steps,
        seeds=seeds,
        most_seeds=most_seeds,
        progress=counted if sys.stderr.isatty() else None,
    )
    typer.echo(found.table() if everything else str(found))
    if save is not None:
        save.write_text(found.to_json(indent=1))
    if picture is not None:
        picture.write_text(json.dumps(found.figure_specs(), indent=1))
    raise typer.Exit(found.exit_code)


def counted(done: int, count: int, what: str) -> None:
    """Progress on one line of the terminal."""
    typer.echo(f"\r{done}/{count} {what}\x1b[K" + ("\r\x1b[K" if done == count else ""), nl=False, err=True)


def task(model: str, inputs: str) -> tuple[Callable[..., Any], Any, Any]:
    """Builder, batch and targets: of the user's file, or of a reference network by its name."""
    if ":" in model:
        return named(model), called(named(inputs)) if inputs else None, None
    from isoscale._check.reference import reference

    known = reference(model)
    return known.build, called(named(inputs)) if inputs else known.inputs, None if inputs else known.targets


def named(place: str) -> Any:
    """The object at path/to/file.py:name."""
    path, _, name = place.rpartition(":")
    file = Path(path)
    if not path or not name or not file.is_file():
        raise ValueError(f"{place!r}: name a file of Python and what is in it, my.py:build")
    if str(file.parent.resolve()) not in sys.path:
        sys.path.insert(0, str(file.parent.resolve()))
    known = sys.modules.get(file.stem)
    if known is None or Path(str(known.__file__)).resolve() != file.resolve():
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise ValueError(f"{file} can not be imported: is it Python?")
        known = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = known
        spec.loader.exec_module(known)
    if name not in vars(known):
        own = [key for key, value in vars(known).items() if getattr(value, "__module__", file.stem) == file.stem]
        there = [key for key in own if not key.startswith("_") and not isinstance(vars(known)[key], ModuleType)]
        near = get_close_matches(name, there, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{file} has no {name!r}{hint}; it has {', '.join(there) or 'nothing of its own'}")
    return vars(known)[name]


def called(value: Any) -> Any:
    """What a function without arguments returns; any other object as it is."""
    return value() if callable(value) else value


def size(text: str) -> dict[str, Any]:
    """width=64,depth=4 as a dict."""
    found = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip().isidentifier():
            raise ValueError(f"{text!r} is not a size: write key=value pairs, width=64,depth=4")
        found[key.strip()] = literal(value)
    return found


def sizes(key: str, texts: list[str] | None) -> dict[str, list[Any]]:
    """["64,128"] as {"width": [64, 128]}, ["d_model=64,128", "heads=4,8"] as both lists."""
    found: dict[str, list[Any]] = {}
    for text in texts or ():
        name, equals, values = text.rpartition("=")
        found[name.strip() if equals else key] = [literal(value) for value in values.split(",")]
    return found


def overrides(texts: list[str] | None) -> dict[str, str]:
    """["blocks.*.gate=scalar"] as {"blocks.*.gate": "scalar"}."""
    found = {}
    for text in texts or ():
        glob, equals, role = text.rpartition("=")
        if not equals or not glob.strip():
            raise ValueError(f"{text!r} is no role: write glob=role, --role 'blocks.*.gate=scalar'")
        found[glob.strip()] = role.strip()
    return found
