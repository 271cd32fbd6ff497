"""`isoscale init`, `sweep`, `show`, `verify`, `report`: from a spec to runs, a verdict and a page."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import typer

from isoscale._records.records import Records
from isoscale._records.store import Store
from isoscale._report import CheckFacts, ReportFacts, Table, facts, read_check, summary, write_report
from isoscale._rules import RULES, UnknownName, get_rule, table
from isoscale._sweep.display import display, duration
from isoscale._sweep.executor import Executor
from isoscale._sweep.mistakes import SpecError
from isoscale._sweep.ray_executor import RayExecutor
from isoscale._sweep.spec import Spec, load_spec
from isoscale._sweep.sweep import sweep
from isoscale._sweep.template import TEMPLATE
from isoscale._transfer import Verdict, judge
from isoscale.cli.live import serve as serve_live
from isoscale.cli.words import literal

EXIT = {"transfers": 0, "drifts": 1, "cannot tell": 2}

SOURCE = typer.Argument(help="A spec (.toml), a store of runs (.sqlite) or a table of runs (.csv).")
RULE = typer.Option(None, "--rule", help="Judge this rule only; may be given more than once.")
OPTIMIZER = typer.Option(None, "--optimizer", help="Judge this optimizer only; may be given more than once.")
HYPERPARAMETER = typer.Option("lr", help="The hyperparameter that was tuned.")
METRIC = typer.Option("train_loss", help="The metric to be small.")
COLUMN = typer.Option(None, "--column", help="Of a table: d_model=width reads its d_model as width; repeatable.")
CONSTANT = typer.Option(None, "--constant", help="Of a table: what it lacks, rule=depth_mup; repeatable.")


def register(app: typer.Typer) -> None:
    for command in (init, run_sweep, show, verify, report):
        app.command("sweep" if command is run_sweep else None)(command)


def init(path: Path = typer.Argument(Path("spec.toml"), help="Where to write the spec.")) -> None:
    """Write a commented spec to start from."""
    if path.exists():
        raise ValueError(f"{path} exists and is kept: choose another name, or remove it first")
    path.write_text(TEMPLATE)
    typer.echo(f"wrote {path}; next: isoscale sweep {path}")


def run_sweep(
    spec: Path = typer.Argument(help="The spec; `isoscale init` writes one."),
    workers: int = typer.Option(2, min=0, help="Processes on this machine; 0 runs in this one."),
    batch: int = typer.Option(64, min=1, help="Most runs trained together."),
    retry: bool = typer.Option(False, help="Try again what failed too often."),
    executor: Literal["processes", "ray"] = typer.Option("processes", help="Where units run; see docs/clusters.md."),
    address: str = typer.Option(None, help="ray: the cluster, as auto or host:port; without it one is started here."),
    cpus: float = typer.Option(1, min=0, help="ray: cores of a unit, a fraction shares one."),
    gpus: float = typer.Option(0, min=0, help="ray: GPUs of a unit, a fraction shares one."),
    pin: bool = typer.Option(False, help="ray: keep each unit on cores of its own (Linux)."),
    in_flight: int = typer.Option(None, min=1, help="ray: most units handed out at once."),
    working_dir: Path = typer.Option(None, help="ray: a folder that is uploaded to the workers, such as your data."),
) -> None:
    """Train what the spec asks for and the store does not hold; the same command again goes on."""
    loaded = checked_spec(spec)
    where: RayExecutor | None = None
    if executor == "ray":
        from isoscale._train import train_batch

        where = RayExecutor(
            train_batch,
            address=address,
            cpus=cpus,
            gpus=gpus,
            pin=pin,
            in_flight=in_flight,
            working_dir=working_dir,
        )
    with where or nullcontext():
        records = train_all(loaded, workers=workers, batch=batch, retry=retry, executor=where)
    typer.echo(f"{len(records)} runs in {loaded.store.path}; next: isoscale verify {spec}")


def checked_spec(path: Path) -> Spec:
    """The spec, with every word checked against what this installation knows, and its first run against the data."""
    from isoscale._train import prepare, vocabulary
    from isoscale._train.data import BUILTIN

    known = {**vocabulary(), "rule": [*RULES, "depth_alpha(3/4)"], "data": list(BUILTIN)}
    spec = load_spec(path, known)
    mistakes = []
    for at, rule in enumerate(spec.rules):
        try:
            get_rule(rule)
        except (UnknownName, ValueError) as error:
            mistakes.append(f"rules[{at}]: {error}")
    if mistakes:
        raise SpecError(str(path), mistakes)
    for optimizer in spec.optimizers:
        prepare(next(config for config in spec.configs() if config["optimizer"] == optimizer))
    return spec


def train_all(
    spec: Spec, *, workers: int, batch: int, retry: bool = False, executor: Executor | None = None
) -> Records:
    """Every run of the spec, trained where the store does not hold it, with progress on stderr."""
    from isoscale._train import train_batch

    with display(sys.stderr) as progress:
        return sweep(
            train_batch,
            spec.configs(),
            store=spec.store.path,
            workers=workers,
            batch=batch,
            progress=progress,
            retry=retry,
            executor=executor,
        )


def read(source: Path, columns: Sequence[str] | None = None, constants: Sequence[str] | None = None) -> Records:
    """The runs behind a spec, in a store or in a CSV file, whose columns may be renamed and completed."""
    renamed, added = pairs("--column", columns), pairs("--constant", constants)
    if source.suffix == ".csv":
        return Records.from_csv(source, columns=renamed, constants={key: literal(each) for key, each in added.items()})
    if renamed or added:
        raise ValueError(f"--column and --constant are for a table of runs (.csv), and {source} is none")
    if source.suffix != ".toml":
        return Store(source, create=False).records()
    spec = load_spec(source)
    records = Store(spec.store.path, create=False).records()
    wanted = {(config["rule"], config["optimizer"]) for config in spec.configs()}
    return Records(tuple(run for run in records if (run["rule"], run["optimizer"]) in wanted))


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """["d_model=width"] as {"d_model": "width"}."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise ValueError(f"{option} {text!r}: write name=value, {option} {_EXAMPLE[option]}")
        found[name.strip()] = value.strip()
    return found


_EXAMPLE = {"--column": "d_model=width", "--constant": "rule=depth_mup"}


def chosen(records: Records, rules: list[str] | None, optimizers: list[str] | None) -> Records:
    """The runs of the named rules and optimizers."""
    for name, asked in (("rule", rules), ("optimizer", optimizers)):
        absent = sorted(set(asked or ()) - set(records.values(name)))
        if absent:
            there = ", ".join(map(str, records.values(name))) or "no runs yet: isoscale sweep makes them"
            raise ValueError(f"--{name} {', '.join(absent)}: not among the runs; there are {there}")
    return Records(
        tuple(
            run
            for run in records
            if (not rules or run["rule"] in rules) and (not optimizers or run["optimizer"] in optimizers)
        )
    )


def show(
    source: Path = SOURCE,
    column: list[str] = COLUMN,
    constant: list[str] = CONSTANT,
    live: bool = typer.Option(False, "--serve", help="Show the report in a browser while the sweep runs."),
    port: int = typer.Option(8765, min=0, max=65535, help="With --serve: where, on this machine only; 0 is any."),
) -> None:
    """What a store holds: how far a sweep is, and the best run of each rule and size."""
    if live:
        serve(source, port)
        return
    if source.suffix == ".csv":
        records = read(source, column, constant)
        typer.echo(f"{source}: {len(records)} runs")
        typer.echo("\n".join(best_lines(records)))
        return
    path = Path(load_spec(source).store.path) if source.suffix == ".toml" else source
    with Store(path, create=False) as store:
        progress, states, records = store.progress(), store.states(), store.records()
    left = "" if progress.remaining is None or progress.complete else f", about {duration(progress.remaining)} left"
    typer.echo(f"{path}: {progress.runs_done} of {progress.runs} runs done, {progress.leased} units in work{left}")
    for state in states:
        if state.status == "poisoned":
            typer.echo(f"  set aside after {state.errors + state.deaths} attempts: {state.shape}: {state.error}")
    for line in best_lines(records):
        typer.echo(line)


def serve(source: Path, port: int) -> None:
    """The report of a running sweep on 127.0.0.1, until interrupted."""
    if source.suffix == ".csv":
        raise ValueError(f"{source} is a table that does not grow: isoscale report {source} writes its page")
    store = Path(load_spec(source).store.path) if source.suffix == ".toml" else source

    def now() -> ReportFacts:
        records = read(source)
        return page_facts(records, judge(records), commands=again(source))

    serve_live(store, now, port=port)


def best_lines(records: Records) -> list[str]:
    """The best learning rate of each size, a line each."""
    return [
        f"  {optimizer} {rule} width {width} depth {depth}: best lr {lr:.4g}, train_loss {loss:.4g}"
        for optimizer, rule, width, depth, lr, loss in best_runs(records, "train_loss")
    ]


def best_runs(records: Records, metric: str) -> list[tuple[str, str, int, int, float, float]]:
    """(optimizer, rule, width, depth, lr, mean loss over seeds) of the best learning rate of each size."""
    losses: dict[tuple[str, str, int, int, float], list[float]] = {}
    for run in records:
        if metric in run.metrics and "lr" in run.config:
            at = (run["optimizer"], run["rule"], run["width"], run["depth"], run["lr"])
            losses.setdefault(at, []).append(run.loss(metric))
    found: dict[tuple[str, str, int, int], tuple[float, float]] = {}
    for (optimizer, rule, width, depth, lr), each in losses.items():
        size, mean = (optimizer, rule, width, depth), sum(each) / len(each)
        found[size] = min(found.get(size, (mean, lr)), (mean, lr))
    return [(*size, lr, mean) for size, (mean, lr) in sorted(found.items())]


def verify(
    source: Path = SOURCE,
    rule: list[str] = RULE,
    optimizer: list[str] = OPTIMIZER,
    hyperparameter: str = HYPERPARAMETER,
    metric: str = METRIC,
    column: list[str] = COLUMN,
    constant: list[str] = CONSTANT,
    tolerance: float = typer.Option(0.25, help="Octaves per doubling of size that still count as no drift."),
) -> None:
    """Say whether the optimum moves with size: exit code 0 transfers, 1 drifts, 2 cannot tell (the worst of them)."""
    records = chosen(read(source, column, constant), rule, optimizer)
    verdicts = judge(records, hyperparameter=hyperparameter, metric=metric, tolerance=tolerance)
    typer.echo(summary(verdicts), nl=False)
    raise typer.Exit(exit_code(verdicts))


def exit_code(verdicts: tuple[Verdict, ...]) -> int:
    """1 if anything drifts, else 2 if anything cannot be told, else 0."""
    codes = {EXIT[verdict.outcome] for verdict in verdicts}
    return 1 if 1 in codes else max(codes, default=2)


def report(
    source: Path = SOURCE,
    output: Path = typer.Option(Path("report.html"), "--output", "-o", help="The page to write."),
    rule: list[str] = RULE,
    optimizer: list[str] = OPTIMIZER,
    hyperparameter: str = HYPERPARAMETER,
    metric: str = METRIC,
    column: list[str] = COLUMN,
    constant: list[str] = CONSTANT,
    title: str = typer.Option("", help="What was tuned, for the page's head."),
    check: list[Path] = typer.Option(
        None, "--check", help="A coordinate check that isoscale check --save wrote; repeatable."
    ),
) -> None:
    """Write the report: one page that opens anywhere, offline."""
    checks = [read_check(path.read_text(encoding="utf-8", errors="replace"), str(path)) for path in check or ()]
    records = chosen(read(source, column, constant), rule, optimizer)
    verdicts = judge(records, hyperparameter=hyperparameter, metric=metric)
    shown = page_facts(records, verdicts, title=title, commands=again(source), checks=checks)
    typer.echo(f"wrote {write_report(shown, output)}")


def again(source: Path) -> list[str]:
    """The command that makes the runs of a spec."""
    return [shlex.join(["isoscale", "sweep", str(source)])] if source.suffix == ".toml" else []


def write_page(
    records: Records, verdicts: tuple[Verdict, ...], output: Path, *, title: str = "", commands: list[str]
) -> Path:
    """The report of `records`, written to `output`."""
    return write_report(page_facts(records, verdicts, title=title, commands=commands), output)


def page_facts(
    records: Records,
    verdicts: tuple[Verdict, ...],
    *,
    title: str = "",
    commands: list[str],
    checks: Sequence[CheckFacts] = (),
) -> ReportFacts:
    """The report's facts with the rules' tables beside them."""
    tables = rule_tables(verdicts)
    return facts(records, verdicts, title=title, reproduce=commands, tables=tables, checks=checks)


def rule_tables(verdicts: tuple[Verdict, ...]) -> list[Table]:
    """The scaling table of each judged rule that is one of ours, at the growth from proxy to target."""
    tables = []
    for verdict in verdicts:
        try:
            rule = get_rule(verdict.rule)
            width, depth = (target / base for base, target in zip(verdict.proxy, verdict.target, strict=True))
            rows = table(rule, verdict.optimizer, width=width, depth=depth)
        except UnknownName:
            continue
        tables.append(
            Table(
                f"{verdict.rule} under {verdict.optimizer}, from width {verdict.proxy[0]} and depth {verdict.proxy[1]} "
                f"to width {verdict.target[0]} and depth {verdict.target[1]}: what each parameter is multiplied by",
                ("parameter", "multiplier", "init std", "lr", "eps", "decay"),
                tuple(
                    (
                        row.kind.label,
                        *(f"{each:.4g}" for each in (row.multiplier, row.std, row.lr)),
                        "" if row.eps is None else f"{row.eps:.4g}",
                        f"{row.decay:.4g}",
                    )
                    for row in rows
                ),
            )
        )
    return tables
