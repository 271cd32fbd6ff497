"""Charts with one row a rule: the answer of the first screen, the regret of carrying, the cost of tuning."""

import math

from isoscale._report.chart import (
    Axis,
    Band,
    Chart,
    Label,
    Mark,
    Series,
    Shape,
    Table,
    decade_ticks,
    even_ticks,
    number,
    signed,
)
from isoscale._report.facts import AxisFacts, Estimate, ReportFacts, RuleFacts, Spent
from isoscale._report.theme import outcome_tone

_ROW = 38
_SHAPES: dict[str, Shape] = {"transfers": "circle", "drifts": "diamond", "cannot tell": "square"}


def _rows_axis(count: int) -> Axis:
    return Axis("", (-0.45, count - 0.15), ())


def _span(estimates: list[Estimate], floor: tuple[float, float]) -> tuple[float, float]:
    """A domain with every estimate in it, and the intervals as far as they do not dwarf the estimates."""
    values = [estimate.value for estimate in estimates]
    reach = 1.5 * max([abs(v) for v in (*values, *floor)])
    lows = [max(e.interval[0], min(values) - reach) for e in estimates if e.interval]
    highs = [min(e.interval[1], max(values) + reach) for e in estimates if e.interval]
    low, high = min([*values, *lows, floor[0]]), max([*values, *highs, floor[1]])
    pad = 0.06 * (high - low)
    return low - pad, high + pad


def answer_chart(facts: ReportFacts) -> Chart | None:
    """How far the best hyperparameter moves per doubling of the size, against the tolerated band: one row a rule and axis."""
    rows = [(rule, axis) for rule in facts.rules for axis in rule.axes]
    found = [axis.drift for _, axis in rows if axis.drift is not None]
    if not found:
        return None
    tolerance = facts.tolerance or 0.0
    domain = _span(found, (-1.3 * tolerance - 0.05, 1.3 * tolerance + 0.05))
    many = len(facts.optimizers) > 1
    names = [" · ".join(([rule.optimizer] if many else []) + [rule.rule, axis.axis]) for rule, axis in rows]
    series = tuple(
        Series(name, outcome_tone(axis.outcome), marks, shape=_SHAPES.get(axis.outcome, "square"), size="large",
               hollow=axis.outcome == "cannot tell")
        for index, (name, (_, axis)) in enumerate(zip(names, rows))
        if (marks := _estimate_mark(axis.drift, len(rows) - 1 - index, axis.outcome))
    )  # fmt: skip
    labels = tuple(
        Label(len(rows) - 1 - index + 0.24, f"{name}   {signed(axis.drift.value) if axis.drift else 'no slope'}")
        for index, (name, (_, axis)) in enumerate(zip(names, rows))
    )
    said = "; ".join(f"{name}: {_slope(axis)}, {axis.outcome}" for name, (_, axis) in zip(names, rows))
    return Chart(
        name="answer",
        alt=f"Octaves by which the best {facts.hyperparameter} moves per doubling of the size. {said}.",
        x=Axis("octaves per doubling of the size", domain, even_ticks(*domain)),
        y=_rows_axis(len(rows)),
        series=series,
        table=Table(
            f"Drift of the best {facts.hyperparameter}, octaves per doubling of the size",
            ("rule", "slope [95% interval]", "verdict"),
            tuple((name, _slope(axis), axis.outcome) for name, (_, axis) in zip(names, rows)),
        ),
        series_label="rule",
        bands=(Band("tolerated", x=(-tolerance, tolerance)),) if tolerance else (),
        guides=(0.0,),
        labels=labels,
        show_y=False,
        height=_ROW * len(rows),
        width=420,
    )


def _estimate_mark(estimate: Estimate | None, row: float, note: str) -> tuple[Mark, ...]:
    return (Mark(estimate.value, row, x_range=estimate.interval, note=note),) if estimate else ()


def _slope(axis: AxisFacts) -> str:
    return interval_text(axis.drift)


def interval_text(estimate: Estimate | None, decimals: int = 2, unit: str = "") -> str:
    """ "−0.52 [−0.61, −0.43]"; a dash where there is nothing."""
    if estimate is None:
        return "–"
    ends = estimate.interval
    interval = f" [{signed(ends[0], decimals)}, {signed(ends[1], decimals)}]{unit}" if ends else ""
    return f"{signed(estimate.value, decimals)}{'' if ends else unit}{interval}"


def percent(estimate: Estimate | None) -> Estimate | None:
    """A share as percent."""
    if estimate is None:
        return None
    ends = (None if end is None else 100 * end for end in (estimate.low, estimate.high))
    return Estimate(100 * estimate.value, *ends)


def regret_chart(facts: ReportFacts, optimizer: str) -> Chart | None:
    """What carrying the proxy's hyperparameter costs at the largest size, in percent of the loss: one row a rule."""
    rows = [(rule, share) for rule in facts.under(optimizer) if (share := percent(rule.regret_share)) is not None]
    if not rows:
        return None
    domain = _span([share for _, share in rows], (-0.5, 1.0))
    count = len(rows)
    said = "; ".join(f"{rule.rule}: {interval_text(share, 1, '%')}" for rule, share in rows)
    return Chart(
        name=f"regret/{optimizer}",
        alt=f"Loss lost by carrying the proxy's {facts.hyperparameter} to the largest model, in percent. {said}.",
        x=Axis("extra loss, %", domain, even_ticks(*domain)),
        y=_rows_axis(count),
        series=tuple(
            Series(rule.rule, outcome_tone(rule.outcome), _estimate_mark(share, count - 1 - index, rule.outcome),
                   shape=_SHAPES.get(rule.outcome, "square"), size="large")
            for index, (rule, share) in enumerate(rows)
        ),
        table=Table(
            "Regret of carrying the proxy's optimum to the largest model",
            ("rule", "extra loss [95% interval]", "in percent", "in words"),
            tuple((rule.rule, _loss_text(rule.regret), interval_text(share, 1, "%"), rule.regret_sentence) for rule, share in rows),
        ),
        series_label="rule",
        guides=(0.0,),
        labels=tuple(Label(count - 1 - index + 0.24, rule.rule) for index, (rule, _) in enumerate(rows)),
        show_y=False,
        height=_ROW * count,
    )  # fmt: skip


def _loss_text(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    ends = estimate.interval
    return number(estimate.value) + (f" [{number(ends[0])}, {number(ends[1])}]" if ends else "")


def cost_chart(facts: ReportFacts, optimizer: str) -> Chart | None:
    """FLOPs of tuning the proxy (hollow) and of tuning the largest model directly (filled), one row a rule."""
    rows = [(rule, pair) for rule in facts.under(optimizer) if (pair := _flops(rule)) is not None]
    if not rows:
        return None
    every = [flops for _, pair in rows for flops in pair]
    domain = (min(every) / 1.6, max(every) * 1.6)
    count = len(rows)
    series: list[Series] = []
    for index, (rule, (proxy, direct)) in enumerate(rows):
        y = float(count - 1 - index)
        series.append(Series(rule.rule, "muted", (Mark(proxy, y), Mark(direct, y)), line=True, size="none"))
        series.append(Series(rule.rule, "ink", (Mark(direct, y, note=f"tuning {rule.target} directly"),), size="large"))
        series.append(
            Series(rule.rule, "ink", (Mark(proxy, y, note=f"tuning {rule.proxy}"),), size="large", hollow=True)
        )
    said = "; ".join(f"{rule.rule}: {number(pair[0])} against {number(pair[1])}" for rule, pair in rows)
    return Chart(
        name=f"cost/{optimizer}",
        alt=f"Floating-point operations of tuning the proxy against tuning the largest model directly. {said}.",
        x=Axis("training FLOPs spent on tuning", domain, _decades(*domain), log=True),
        y=_rows_axis(count),
        series=tuple(series),
        table=cost_table(facts, optimizer),
        series_label="rule",
        labels=tuple(
            Label(count - 1 - index + 0.24, f"{rule.rule}: {number(direct / proxy, 2)} times cheaper")
            for index, (rule, (proxy, direct)) in enumerate(rows)
        ),
        show_y=False,
        height=_ROW * count,
    )


def _flops(rule: RuleFacts) -> tuple[float, float] | None:
    proxy, direct = rule.proxy_cost, rule.direct_cost
    if proxy is None or direct is None or not proxy.flops or not direct.flops:
        return None
    return proxy.flops, direct.flops


def _decades(low: float, high: float) -> tuple[tuple[float, str], ...]:
    ticks = decade_ticks(low, high, 4)
    return ticks or decade_ticks(low / 10, high * 10, 4)


def cost_table(facts: ReportFacts, optimizer: str) -> Table:
    """Runs, FLOPs and seconds of either way to tune, for each rule."""
    rows = []
    for rule in facts.under(optimizer):
        for name, spent in ((f"proxy ({rule.proxy})", rule.proxy_cost), (f"direct ({rule.target})", rule.direct_cost)):
            if spent is not None:
                rows.append((rule.rule, name, *_spent(spent)))
    return Table("Cost of tuning", ("rule", "tuned on", "runs", "FLOPs", "seconds"), tuple(rows))


def _spent(spent: Spent) -> tuple[str, str, str]:
    seconds = "–" if spent.seconds is None or math.isnan(spent.seconds) else number(spent.seconds)
    return str(spent.runs), number(spent.flops), seconds
