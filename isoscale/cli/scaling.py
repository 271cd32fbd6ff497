"""`isoscale rules`: the scaling tables, and where two rules truly differ."""

import typer
from rich.console import Console
from rich.table import Table

from isoscale._rules import OPTIMIZERS, RULES, compare, get_optimizer, get_rule, table

rules = typer.Typer(help="Scaling rules: show a table with its reasons, compare two rules.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(rules, name="rules")


@rules.command("list")
def list_rules() -> None:
    """Every named rule with the regime that its exponents give it."""
    rows = Table("rule", "in width", "in depth", "alpha", "source", box=None, pad_edge=False)
    for rule in RULES.values():
        rows.add_row(rule.name, rule.width, rule.depth, str(rule.alpha), rule.source)
    console = Console()
    console.print(rows)
    console.print("\nand depth_alpha(a) for any a in [1/2, 1]. Optimizers: " + ", ".join(OPTIMIZERS), highlight=False)


@rules.command()
def show(
    rule: str = typer.Argument(help="A rule, e.g. depth_mup or 'depth_alpha(3/4)'."),
    optimizer: str = typer.Option("adamw", help="An optimizer of the table."),
    width: float = typer.Option(1.0, help="n = target width / base width."),
    depth: float = typer.Option(1.0, help="l = target depth / base depth."),
    folded: bool = typer.Option(False, help="Multipliers moved into the weights, as in an unedited model."),
) -> None:
    """The table of a rule: what each kind of parameter is multiplied by, why, and where that is from."""
    found = get_rule(rule)
    rows = table(found, optimizer, width=width, depth=depth, folded=folded)
    regime = found.scaling(optimizer)
    console = Console()
    console.print(
        f"{found.name} under {optimizer} at n = {width:g}, l = {depth:g}; branches times l^-{found.alpha}; "
        f"{regime.width_regime} in width, {regime.depth_regime} in depth",
        highlight=False,
    )
    columns = ["parameter", "multiplier", "init std", "lr", "eps", "decay"]
    if not get_optimizer(optimizer).eps:
        columns.remove("eps")
    grid = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        powers = {"multiplier": row.entry.multiplier, "init std": row.entry.std, "lr": row.entry.lr}
        powers |= {"eps": row.entry.eps, "decay": row.entry.decay}
        values = {"multiplier": row.multiplier, "init std": row.std, "lr": row.lr, "eps": row.eps, "decay": row.decay}
        cells = [_cell(str(powers[name]), values[name]) for name in columns[1:]]
        grid.add_row(row.kind.label, *cells)
    console.print(grid)
    console.print("\nWhy", style="bold")
    for row in rows:
        console.print(f"  {row.kind.label}: {row.entry.reason}. [{row.entry.source}]", highlight=False, markup=False)


def _cell(power: str, value: float | None) -> str:
    if value is None:
        return ""
    return "1" if power == "1" else f"{power} = {value:.4g}"


@rules.command("compare")
def compare_rules(
    a: str = typer.Argument(help="A rule."),
    b: str = typer.Argument(help="Another rule."),
    optimizer: str = typer.Option("adamw", help="An optimizer of the table."),
) -> None:
    """Where two rules truly differ: only what no move of a multiplier into a weight can undo."""
    found = compare(get_rule(a), get_rule(b), optimizer)
    console = Console()
    if not found:
        console.print(f"{a} and {b} are the same rule under {optimizer}, in two gauges.", highlight=False)
        return
    grid = Table("parameter", "invariant", a, b, box=None, pad_edge=False)
    for difference in found:
        grid.add_row(difference.kind.label, difference.quantity, str(difference.a), str(difference.b))
    console.print(f"{a} and {b} differ under {optimizer} in {len(found)} invariants", highlight=False)
    console.print(grid)
