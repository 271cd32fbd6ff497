"""From records and verdicts to the facts of a report: what was judged, beside what was seen."""

import math
from collections.abc import Iterable, Sequence

from isoscale._records.run import Run
from isoscale._report.chart import Table
from isoscale._report.findings import (
    AxisFacts,
    Carried,
    CheckFacts,
    Curve,
    Estimate,
    ReportFacts,
    RuleFacts,
    RuleOverlay,
    Spent,
)
from isoscale._report.observe import account, points
from isoscale._report.typeset import shown
from isoscale._transfer.axis import Axis
from isoscale._transfer.edge import StabilityEdge
from isoscale._transfer.optimum import Optimum
from isoscale._transfer.regret import Cost, Regret
from isoscale._transfer.scale import Scale
from isoscale._transfer.verdict import Verdict

_SENTENCE = 2000

Key = tuple[str, str, int, int]
"""(rule, optimizer, width, depth)."""


def facts(
    records: Iterable[Run],
    verdicts: Sequence[Verdict],
    *,
    title: str = "",
    reproduce: Sequence[str] = (),
    tables: Sequence[Table] = (),
    warnings: Sequence[str] = (),
    overlay: Sequence[RuleOverlay] = (),
    checks: Sequence[CheckFacts] = (),
) -> ReportFacts:
    """The facts of a report on `records` and the `verdicts` that judged them (all of one hyperparameter and metric).

    `title` says what was tuned (by default the model and the data); `reproduce` are the commands that make these runs
    again; `tables` are shown below the account of what was run, `overlay` (the limits of rules) and `checks` (what
    `read_check` reads) beside the runs. Rules keep the order of `verdicts`. Raises ValueError where there is no
    verdict, or verdicts of different hyperparameters, metrics or scales.
    """
    judged = {(one.hyperparameter, one.metric, one.scale) for one in verdicts}
    if len(judged) != 1:
        listed = "; ".join(f"{name} on {metric} ({scale})" for name, metric, scale in sorted(judged)) or "none"
        raise ValueError(
            f"a report shows verdicts of one hyperparameter on one metric, here: {listed}. Curves of different things "
            "share no axis: call judge(records, hyperparameter=..., metric=...) once and write a report for each"
        )
    runs = tuple(records)
    scale = _scale(verdicts[0])
    ran = account(runs)
    known = dict(ran.shared)
    return ReportFacts(
        title=shown(title or " on ".join(known[name] for name in ("model", "data") if name in known) or "a sweep"),
        hyperparameter=shown(scale.hyperparameter),
        metric=shown(verdicts[0].metric),
        tolerance=verdicts[0].bounds.tolerance,
        rules=rules(verdicts, runs),
        ran=ran,
        log=scale.kind == "log2",
        reproduce=tuple(reproduce),
        tables=tuple(tables),
        warnings=tuple(shown(warning, _SENTENCE) for warning in warnings),
        overlay=tuple(overlay),
        checks=tuple(checks),
    )


def rules(verdicts: Iterable[Verdict], runs: Iterable[Run] = ()) -> tuple[RuleFacts, ...]:
    """The verdicts as facts, with the curves of those runs that are given."""
    grouped: dict[Key, list[Run]] = {}
    for run in runs:
        key = (
            str(run.config["rule"]),
            str(run.config["optimizer"]),
            int(run.config["width"]),
            int(run.config["depth"]),
        )
        grouped.setdefault(key, []).append(run)
    return tuple(_rule(verdict, grouped, _scale(verdict)) for verdict in verdicts)


def _scale(verdict: Verdict) -> Scale:
    return Scale(verdict.hyperparameter, "linear" if verdict.scale == "linear" else "log2")


def _rule(verdict: Verdict, grouped: dict[Key, list[Run]], scale: Scale) -> RuleFacts:
    proxy, direct = _spent(verdict.cost)
    return RuleFacts(
        rule=shown(verdict.rule),
        optimizer=shown(verdict.optimizer),
        outcome=verdict.outcome,
        sentence=shown(verdict.sentence, _SENTENCE),
        axes=tuple(_axis(verdict, axis, grouped, scale) for axis in verdict.axes),
        proxy=proxy,
        direct=direct,
    )


def _axis(verdict: Verdict, axis: Axis, grouped: dict[Key, list[Run]], scale: Scale) -> AxisFacts:
    curves = tuple(
        _curve(optimum, edge, grouped.get((verdict.rule, verdict.optimizer, *optimum.size), []), verdict, scale)
        for optimum, edge in zip(axis.optima, axis.edges)
    )
    fit, bounds = axis.drift.slope, axis.drift
    if fit is not None:
        moved = Estimate(fit.estimate, fit.low, fit.high)
    elif bounds.above is not None or bounds.below is not None:
        moved = Estimate(None, bounds.above, bounds.below)
    else:
        moved = None
    return AxisFacts(
        axis=axis.axis,
        held=f"{'depth' if axis.axis == 'width' else 'width'} {axis.held}",
        outcome=axis.outcome,
        sentence=shown(axis.sentence, _SENTENCE),
        curves=curves,
        drift=moved,
        line=()
        if fit is None
        else tuple(
            (float(n), scale.value(fit.intercept + fit.estimate * math.log2(n)))
            for n in (axis.sizes[0], axis.sizes[-1])
        ),
        unit=shown(scale.unit),
        carried=None if axis.regret is None else _carried(axis.regret),
    )


def _curve(optimum: Optimum, edge: StabilityEdge, runs: list[Run], verdict: Verdict, scale: Scale) -> Curve:
    ends = tuple(None if end is None else scale.value(end) for end in (optimum.low, optimum.high))
    known = optimum.value is not None or ends != (None, None)
    return Curve(
        width=optimum.width,
        depth=optimum.depth,
        points=points(runs, verdict.hyperparameter, verdict.metric),
        optimum=Estimate(optimum.value, *ends) if known else None,
        optimum_loss=optimum.loss,
        found=optimum.status == "found",
        sentence=shown(optimum.sentence, _SENTENCE),
        edge=None if edge.position is None else scale.value(edge.position),
        edge_sentence=shown(edge.sentence, _SENTENCE),
    )


def _carried(regret: Regret) -> Carried:
    loss = None if regret.difference is None else Estimate(regret.difference, regret.low, regret.high)
    share = None if regret.percent is None else Estimate(regret.percent, regret.percent_low, regret.percent_high)
    return Carried(_place(regret.target), regret.status, shown(regret.sentence, _SENTENCE), loss, share)


def _spent(cost: Cost) -> tuple[Spent, Spent]:
    return (
        Spent(_place(cost.proxy), cost.proxy_runs, cost.proxy_flops, cost.proxy_seconds),
        Spent(_place(cost.target), cost.target_runs, cost.target_flops, cost.target_seconds),
    )


def _place(size: tuple[int, int]) -> str:
    return f"width {size[0]}, depth {size[1]}"
