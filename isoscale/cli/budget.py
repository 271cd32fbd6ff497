"""`isoscale budget`: what a sweep will cost, and the cheapest proxy that is good enough, before anything is run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from isoscale._records.records import Records
from isoscale._records.store import Store
from isoscale._rules import ONE, get_rule
from isoscale._sweep.budget import Price, Proposal, price, propose, scaled
from isoscale._sweep.display import duration
from isoscale._sweep.spec import Spec
from isoscale._transfer.errors import RunsError
from isoscale._transfer.law import PRIOR, Law, fit_law, predict
from isoscale.cli.runs import checked_spec

SHOWN = 5
Size = tuple[int, int]


def register(app: typer.Typer) -> None:
    app.command()(budget)


def budget(
    spec: Path = typer.Argument(help="The spec of a sweep; `isoscale init` writes one."),
    regret: float = typer.Option(0.02, min=1e-6, help="Loss that the proxy's optimum may cost the target, a fraction."),
    runs: Path = typer.Option(
        None, help="Runs to fit the law of the optimum to (.sqlite, .csv); default: the store's."
    ),
    rule: str = typer.Option("", help="The rule whose law is fitted; default: the spec's last."),
    metric: str = typer.Option("train_loss", help="The metric to be small."),
    workers: int = typer.Option(2, min=1, help="Processes that will share the sweep."),
) -> None:
    """Price a sweep by a few steps of each size; propose the cheapest proxy whose predicted regret is small."""
    from isoscale._train import train_batch

    loaded = checked_spec(spec)
    if runs is not None and not runs.exists():
        raise ValueError(f"--runs {runs}: there is no such file")
    say_prices(price(train_batch, loaded.configs()), workers)
    rule = rule or loaded.rules[-1]
    for optimizer in loaded.optimizers:
        law = law_of(loaded, runs, rule, optimizer, metric)
        target = loaded.all_sizes()[-1] if loaded.sizes.target is None else None
        end = target or (loaded.sizes.target.width, loaded.sizes.target.depth)  # type: ignore[union-attr]
        end = max((*loaded.all_sizes(), end), key=lambda size: size[0] ** 2 * size[1])
        values = loaded.count() // (len(set(loaded.rules)) * len(loaded.all_sizes()) * len(set(loaded.seeds)))
        values = max(1, values // len(loaded.optimizers))

        def regret_of(
            size: tuple[int, int], seeds: int, law: Law = law, end: tuple[int, int] = end
        ) -> tuple[float, float]:
            found = predict(law, size, end, seeds)
            return found.regret, found.high

        base = (loaded.base.width, loaded.base.depth)
        found = propose(base, end, values, flops_of(loaded, optimizer), regret_of, regret)
        say_proposals(found, law, rule, optimizer, end, regret, values, loaded.train.steps)


def law_of(spec: Spec, runs: Path | None, rule: str, optimizer: str, metric: str) -> Law:
    """The law fitted to runs of this rule and optimizer, else what is known without any."""
    place = runs or Path(spec.store.path)
    if not place.exists():
        return PRIOR
    if place.suffix == ".csv":
        records = Records.from_csv(place)
    else:
        with Store(place, create=False) as store:
            records = store.records()
    chosen = [run for run in records if run["rule"] == rule and run["optimizer"] == optimizer]
    try:
        return fit_law(chosen, metric=metric)
    except RunsError as error:
        typer.echo(f"no law from {place}: {error}", err=True)
        return PRIOR


def flops_of(spec: Spec, optimizer: str) -> Callable[[tuple[int, int]], float]:
    """FLOPs of one run at a size, counted on the meta device."""
    from isoscale._train.data import load
    from isoscale._train.settings import parse
    from isoscale._train.setup import counted, network

    config: dict[str, Any] = next(each for each in spec.configs() if each["optimizer"] == optimizer)
    settings = parse(config)
    data = load(settings.data, context=settings.context)
    batch = settings.batch_size or len(data.x_train)

    def flops(size: tuple[int, int]) -> float:
        return float(counted(network(settings, data), size, batch, data.x_train.dtype) * settings.steps)

    return flops


def say_prices(prices: tuple[Price, ...], workers: int) -> None:
    """The table of sizes, and the whole."""
    typer.echo("size       runs   a run      all         FLOPs     memory")
    for each in prices:
        typer.echo(
            f"{each.size[0]}x{each.size[1]:<6} {each.runs:>6}   {duration(each.seconds_a_run):<8}   "
            f"{duration(each.seconds):<9}   {each.flops:<8.3g}  {each.bytes / 2**20:.0f} MiB"
        )
    flops, seconds = scaled(prices, workers)
    count = sum(each.runs for each in prices)
    typer.echo(f"together {count} runs, {flops:.3g} FLOPs, {duration(seconds)} on {workers} workers")


def say_proposals(
    found: tuple[Proposal, ...], law: Law, rule: str, optimizer: str, target: tuple[int, int], bound: float,
    values: int, steps: int,
) -> None:  # fmt: skip
    """The cheapest proxies, and how their regret is predicted."""
    typer.echo(f"\n{rule}, {optimizer}: proxies for {target[0]}x{target[1]} with {values} values and {steps} steps")
    if not found:
        typer.echo(f"  none has a predicted regret of {100 * bound:g}% or less: allow more, or more seeds than 30")
    for each in found[:SHOWN]:
        typer.echo(
            f"  {each.size[0]}x{each.size[1]}, {each.seeds} seed{'s' * (each.seeds > 1)}: {each.flops:.3g} FLOPs, "
            f"{each.saving:.3g} times fewer than at the target; regret {100 * each.regret:.2g}% "
            f"(below {100 * each.high:.2g}% at 95%)"
        )
    typer.echo(
        f"  predicted from x = x_inf + a / width + b / depth with a = {law.width_term:.2g} +- "
        f"{law.covariance[0][0] ** 0.5:.2g}, b = {law.depth_term:.2g} +- {law.covariance[1][1] ** 0.5:.2g} octaves, "
        f"log loss rising by {law.curvature:.2g} (octaves)^2, an optimum of one seed known to {law.seed_spread:.2g} "
        f"octaves.\n  From {law.source}"
    )
    if get_rule(rule).branch_multiplier == ONE:
        typer.echo(
            f"  do not trust it: {rule} has no limit in depth, so its optimum keeps moving, and the law, which levels "
            "off, falls short of the regret (docs/choosing-a-proxy.md)"
        )
    typer.echo("  steps are kept: a shorter training has another optimum, which this law does not know")
