"""`isoscale theory predict`: the limit's training laid over the user's runs, and how far those are from their limit."""

import json
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import typer

from isoscale._records.records import Records
from isoscale._report import (
    Course,
    Curve,
    Estimate,
    LimitAt,
    Point,
    RuleOverlay,
    SizeDistance,
    facts,
    points,
    write_report,
)  # fmt: skip
from isoscale._rules import get_rule
from isoscale._transfer import Verdict, judge
from isoscale.cli.bar import bar
from isoscale.cli.runs import METRIC, OPTIMIZER, RULE, checked_spec, chosen, read, rule_tables

Told = Callable[[int, int], None]


def predict(
    spec: Path = typer.Argument(help="The spec whose runs are there: isoscale sweep makes them."),
    output: Path = typer.Option(Path("predict.html"), "--output", "-o", help="The page to write."),
    rule: list[str] = RULE,
    optimizer: list[str] = OPTIMIZER,
    metric: str = METRIC,
    width: int = typer.Option(256, min=16, help="Largest width sampled; the limit is extrapolated from three."),
    device: str = typer.Option("cpu", help="Where the limit is computed: cpu, cuda."),
    as_json: bool = typer.Option(False, "--json", help="Print the overlay's facts as JSON."),
) -> None:
    """Lay the limit of infinite width over the runs of a spec, and say how far they are from it.

    For the theory's own architecture (residual_mlp under sgd and a rule that is muP over width) the limit's loss curves
    and its best learning rate are computed; the distance of the runs to their limit is fitted for any model.
    """
    checked_spec(spec)
    records = chosen(read(spec), rule, optimizer)
    if not len(records):
        raise ValueError(f"{spec} has no runs yet, and a limit is laid over runs: isoscale sweep {spec} makes them")
    verdicts = judge(records, metric=metric)
    with bar("limit", lines=False) as progress:
        overlay = tuple(_overlay(records, verdict, metric, width, device, progress) for verdict in verdicts)
    page = facts(
        records,
        verdicts,
        reproduce=[
            shlex.join(["isoscale", "sweep", str(spec)]),
            shlex.join(["isoscale", "theory", "predict", str(spec)]),
        ],
        tables=rule_tables(verdicts),
        overlay=overlay,
    )
    write_report(page, output)
    if as_json:
        typer.echo(json.dumps(_finite([asdict(one) for one in overlay]), indent=1, allow_nan=False))
        return
    for one in overlay:
        typer.echo(f"{one.rule} with {one.optimizer}: {one.sentence}")
        for limit in one.limits:
            typer.echo(f"  depth {limit.depth}: {limit.sentence}")
        typer.echo(f"  {one.away}")
    typer.echo(f"wrote {output}")


def _overlay(records: Records, verdict: Verdict, metric: str, width: int, device: str, told: Told) -> RuleOverlay:
    mine = records.select(rule=verdict.rule, optimizer=verdict.optimizer)
    away, distances = _away(mine, metric)
    bare = RuleOverlay(verdict.rule, verdict.optimizer, "", away=away, distances=distances)
    reason = _why_not(mine, metric)
    if reason is not None:
        return replace(bare, sentence=f"no limit is drawn: {reason}")
    depths = mine.values("depth")

    def part(i: int) -> Told:
        return lambda done, of: told(i * of + done, len(depths) * of)

    limits = tuple(
        _limit(
            mine.select(depth=depth),
            verdict,
            metric,
            width,
            device,
            part(i),
        )
        for i, depth in enumerate(depths)
    )
    best, sentence = _deep_best(verdict.rule, limits)
    return replace(bare, sentence=sentence, limits=limits, best=best)


def _why_not(mine: Records, metric: str) -> str | None:
    from isoscale._train.settings import parse
    from isoscale.theory.dmft.translate import why_not

    for run in mine:
        reason = why_not(parse(run.config).model_dump())
        if reason is not None:
            return reason
    varied = [
        name for name in mine.names if name not in ("width", "depth", "seed", "lr") and len(mine.values(name)) > 1
    ]
    if varied:
        return (
            f"the runs differ in {', '.join(varied)} beside size, seed and lr, and a limit belongs to one configuration"
        )
    if metric != "train_loss":
        return f"the limit is computed for train_loss, not for {metric}"
    return None


def _limit(mine: Records, verdict: Verdict, metric: str, width: int, device: str, told: Told) -> LimitAt:
    """The limit at the depth of `mine`, beside those runs."""
    from isoscale.theory.dmft.course import best_of

    rates = mine.values("lr")
    solution, scale = _course(mine, rates, width, device, told)
    course, depth = solution.value, mine.values("depth")[0]
    if course is None:
        raise ValueError(f"no limit at depth {depth}: {solution.status.sentence}")
    own = tuple(
        _point(rate, float(scale * course.loss[i, -1]), float(scale * course.error[i, -1]))
        for i, rate in enumerate(rates)
    )
    optima = {optimum.size: optimum for optimum in verdict.optima}
    curves = []
    for size in mine.values("width"):
        runs, optimum = mine.select(width=size), optimum_of(optima.get((size, depth)))
        curves.append(Curve(size, depth, points(runs, "lr", metric), optimum=optimum))
    found = best_of(course)
    best = None
    sentence = f"in the limit the least loss is at an end of the learning rates, {solution.status.sentence}"
    if found is not None:
        log2, error = found
        factor = rates[0] / course.rates[0]
        best = Estimate(*(2.0**x * factor for x in (log2, log2 - 1.96 * error, log2 + 1.96 * error)))
        sentence = (
            f"best lr {best.value:.3g} [{best.low:.3g}, {best.high:.3g}] in the limit; {solution.status.sentence}"
        )
    elif solution.status.kind == "diverged":
        sentence = f"no limit here: {solution.status.sentence}"
    at = int(course.loss[:, -1].argmin())
    courses = [Course(None, course.steps, tuple(float(scale * x) for x in course.loss[at]))]
    courses = [*_courses(mine.select(lr=rates[at])), *courses]
    return LimitAt(depth, own, best, tuple(curves), rates[at], tuple(courses), sentence)


def optimum_of(optimum: Any) -> Estimate | None:
    """The runs' optimum as an estimate of the learning rate itself."""
    if optimum is None or optimum.value is None:
        return None
    return Estimate(optimum.value, *(None if end is None else 2.0**end for end in (optimum.low, optimum.high)))


def _point(at: float, loss: float, error: float) -> Point:
    if not math.isfinite(loss):
        return Point(at, None, None, None, 0, 0)
    return Point(at, loss, loss - error, loss + error, 0, 0)


def _course(mine: Records, rates: Sequence[float], width: int, device: str, told: Told) -> tuple[Any, float]:
    """The limit's training at every rate under the batch orders of the runs' own seeds, and its loss's scale."""
    from isoscale._train.data import load
    from isoscale._train.schedule import batches, schedule
    from isoscale._train.settings import parse
    from isoscale.theory.dmft.translate import Examples, course_of

    settings = parse(mine[0].config)
    data = load(settings.data, context=settings.context)
    examples = Examples(data.x_train, data.y_train, data.outputs, settings.loss)
    factors = schedule(settings.schedule, settings.steps, settings.warmup)
    seeds = mine.values("seed")
    orders = []
    for seed in seeds if len(seeds) > 1 else (*seeds, seeds[0] + 1):
        order = batches(len(data.x_train), settings.batch_size, seed)
        orders.append([next(order) for _ in factors])
    watch = sorted({0, *(round(settings.steps * i / settings.evaluations) for i in range(1, settings.evaluations + 1))})
    found = course_of(
        settings.model_dump(), examples.on(device), orders, factors, rates, watch=watch, width=width, progress=told
    )
    return found, examples.loss_factor


def _courses(mine: Records) -> Iterator[Course]:
    """The seed means of the runs' training losses, a course a width; one that diverged has none."""
    for width in mine.values("width"):
        curves = [run.curves.get("train_loss") for run in mine.select(width=width) if run.status == "finished"]
        seen = [curve for curve in curves if curve is not None]
        if seen and len({curve.step for curve in seen}) == 1:
            means = tuple(sum(each) / len(each) for each in zip(*(curve.value for curve in seen), strict=True))
            yield Course(width, seen[0].step, means)


def _deep_best(rule: str, limits: Sequence[LimitAt]) -> tuple[Estimate | None, str]:
    """The best rate at infinite depth by least squares in 1/L, where the rule has a limit in depth."""
    from isoscale.theory.dmft.course import at_infinite_depth

    known = [(limit.depth, limit.best) for limit in limits if limit.best is not None and limit.best.value]
    if float(get_rule(rule).alpha) < 0.5:
        return (
            None,
            "the limit of infinite width at each depth; this rule leaves depth alone, so there is none in depth",
        )
    fit = at_infinite_depth(
        [depth for depth, _ in known],
        [math.log2(best.value or 1.0) for _, best in known],
        [math.log2((best.high or 1.0) / (best.value or 1.0)) / 1.96 for _, best in known],
    )
    if fit is None:
        return (
            None,
            "the limit of infinite width; fewer than two depths enclose a best learning rate, so none is told in depth",
        )
    log2, error = fit
    best = Estimate(*(2.0**x for x in (log2, log2 - 1.96 * error, log2 + 1.96 * error)))
    return best, f"at infinite width and depth the best lr is {best.value:.3g} [{best.low:.3g}, {best.high:.3g}]"


def _away(mine: Records, metric: str) -> tuple[str, tuple[SizeDistance, ...]]:
    """How far the runs are from the limit that they themselves point to, for any model."""
    from isoscale.theory.dmft.distance import distance_to_limit

    try:
        solution = distance_to_limit(mine, metric=metric)
    except ValueError as error:
        return f"how far the runs are from their limit cannot be told: {error}", ()
    value = solution.require() if solution.status.ok else solution.value
    if value is None:
        return f"how far the runs are from their limit cannot be told: {solution.status.sentence}", ()
    rows = tuple(
        SizeDistance(
            one.width, one.depth, one.mean,
            Estimate(one.distance, max(0.0, one.distance - 1.96 * one.distance_se),
                     one.distance + 1.96 * one.distance_se),
        )
        for one in value.sizes
    )  # fmt: skip
    said = (
        f"fitted from the runs, {metric} tends to {value.limit:.4g} ± {value.limit_se:.2g} as "
        f"{value.width_term:+.3g}/sqrt(width) {value.depth_term:+.3g}/depth ({solution.status.sentence})"
    )
    if value.halved_by is not None:
        near = value.halved_by
        said += (
            f"; the cheapest proxy half as far as the largest run has width {near.width} and depth {near.depth}, "
            f"at {near.cost:.2g} times its cost"
        )
    return said, rows


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
