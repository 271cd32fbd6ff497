"""Charts with one row a rule: the answer of the first screen, the regret of carrying, the cost of tuning."""

from collections.abc import Iterable
from typing import Literal

from isoscale._report.chart import Axis, Band, Chart, Label, Mark, Series, Shape, Table
from isoscale._report.figures import slope_text
from isoscale._report.findings import AxisFacts, Carried, Estimate, ReportFacts, RuleFacts
from isoscale._report.theme import outcome_tone
from isoscale._report.typeset import decade_ticks, even_ticks, number, signed

_ROW = 38
_SHAPES: dict[str, Shape] = {"transfers": "circle", "drifts": "diamond", "cannot tell": "square"}
_Row = tuple[str, str, Estimate]
"""Name, outcome, estimate of one row."""


def forest(rows: list[_Row], domain: tuple[float, float]) -> tuple[tuple[Series, ...], Axis]:
    """A series for each row, first row on top: the estimate by the shape of its outcome, its interval as a whisker (all
    over the frame where nothing is known); behind them a tick at zero."""
    zero = tuple(Mark(0.0, float(row), y_range=(row - 0.24, row + 0.16)) for row in range(len(rows)))
    series = [Series("zero", "zero", zero, size="none")]
    for index, (name, outcome, estimate) in enumerate(rows):
        y = float(len(rows) - 1 - index)
        known = estimate.value is not None
        reach = estimate.within(domain) if known else estimate.within(domain) or domain
        at = estimate.value if estimate.value is not None else sum(reach or domain) / 2
        mark = Mark(at, y, x_range=reach, note=outcome)
        shape, hollow = _SHAPES.get(outcome, "square"), outcome not in ("transfers", "drifts")
        size: Literal["none", "large"] = "large" if known else "none"
        series.append(Series(name, outcome_tone(outcome), (mark,), shape=shape, size=size, hollow=hollow))
    return tuple(series), Axis("", (-0.45, len(rows) - 0.15), ())


def labels(texts: Iterable[str], count: int) -> tuple[Label, ...]:
    return tuple(Label(count - 1 - index + 0.24, text) for index, text in enumerate(texts))


def span(rows: list[_Row], floor: tuple[float, float]) -> tuple[float, float]:
    """A domain with every estimate in it, and the intervals as far as they do not dwarf the estimates."""
    known = [(e.low, e.value, e.high) for _, _, e in rows]
    values = [value for ends in known for value in ends[1:2] if value is not None] or [
        end for ends in known for end in ends if end is not None
    ]
    reach = 1.5 * max(abs(value) for value in (*values, *floor))
    lows = [max(low, min((*values, *floor)) - reach) for low, _, _ in known if low is not None]
    highs = [min(high, max((*values, *floor)) + reach) for _, _, high in known if high is not None]
    low, high = min([*values, *lows, floor[0]]), max([*values, *highs, floor[1]])
    pad = 0.06 * (high - low)
    return low - pad, high + pad


def answer_chart(facts: ReportFacts) -> Chart | None:
    """How far the best hyperparameter moves per doubling, against the tolerated band: one row a rule and axis."""
    pairs = [(rule, axis) for name in facts.optimizers for rule in facts.under(name) for axis in rule.axes]
    drawn = [(_title(facts, rule, axis), axis.outcome, axis.drift or Estimate(None)) for rule, axis in pairs]
    if not drawn:
        return None
    tolerance = facts.tolerance or 0.0
    domain = span(drawn, (-1.6 * (tolerance or 0.1), 1.6 * (tolerance or 0.1)))
    series, rows_axis = forest(drawn, domain)
    every = [(_title(facts, rule, axis), slope_text(axis.drift), axis.outcome) for rule, axis in pairs]
    unit = pairs[0][1].unit
    return Chart(
        name="answer",
        alt=f"How far the best {facts.hyperparameter} moves, in {unit} per doubling of the size, with 95% intervals. "
        + "; ".join(f"{name}: {text}, {outcome}" for name, text, outcome in every)
        + ".",
        x=Axis(f"{unit} per doubling of the size", domain, even_ticks(*domain)),
        y=rows_axis,
        series=series,
        table=Table(
            f"Drift of the best {facts.hyperparameter}, {unit} per doubling of the size",
            ("rule", "slope [95% interval]", "verdict"),
            tuple(every),
        ),
        series_label="rule",
        bands=(Band("tolerated", x=(-tolerance, tolerance)),) if tolerance else (),
        labels=labels((f"{name}\u2003{_short(drift)}" for name, _, drift in drawn), len(drawn)),
        show_y=False,
        height=_ROW * len(drawn),
        width=420,
    )


def _title(facts: ReportFacts, rule: RuleFacts, axis: AxisFacts) -> str:
    return " · ".join(([rule.optimizer] if len(facts.optimizers) > 1 else []) + [rule.rule, axis.axis])


def _short(drift: Estimate) -> str:
    if drift.value is not None:
        return signed(drift.value)
    return "not known" if drift.within((0.0, 0.0)) is None else slope_text(drift)


def regret_chart(facts: ReportFacts, optimizer: str) -> Chart | None:
    """What carrying the proxy's hyperparameter costs at the largest sizes, in percent of the best loss."""
    pairs = [(f"{rule.rule} · {axis.axis}", axis) for rule in facts.under(optimizer) for axis in rule.axes]
    drawn = [(name, axis.outcome, share) for name, axis in pairs if (share := _share(axis.carried)) is not None]
    if not drawn:
        return None
    domain = span(drawn, (-0.3, 1.0))
    series, rows_axis = forest(drawn, domain)
    return Chart(
        name=f"regret/{optimizer}",
        alt=f"Loss lost by carrying the proxy's {facts.hyperparameter} to the largest size, in percent. "
        + "; ".join(f"{name}: {_percent(axis.carried)}" for name, axis in pairs)
        + ".",
        x=Axis("extra loss, %", domain, even_ticks(*domain)),
        y=rows_axis,
        series=series,
        table=regret_table(facts, optimizer),
        series_label="rule",
        labels=labels(
            (f"{name}\u2003{_percent(axis.carried, short=True)}" for name, axis in pairs if _share(axis.carried)),
            len(drawn),
        ),
        show_y=False,
        height=_ROW * len(drawn),
    )


def _share(carried: Carried | None) -> Estimate | None:
    """The regret in percent; one that diverges is only bounded from below."""
    if carried is not None and carried.status == "diverges":
        return Estimate(None, 0.0, None)
    return carried.percent if carried is not None else None


def regret_table(facts: ReportFacts, optimizer: str) -> Table:
    """Regret of each rule: loss, percent, words."""
    rows = [
        (
            f"{rule.rule} · {axis.axis}",
            axis.carried.target,
            _loss(axis.carried),
            _percent(axis.carried),
            axis.carried.sentence,
        )
        for rule in facts.under(optimizer)
        for axis in rule.axes
        if axis.carried is not None
    ]
    columns = ("rule", "carried to", "extra loss [95% interval]", "in percent", "in words")
    return Table(f"Regret of carrying the proxy's best {facts.hyperparameter}", columns, tuple(rows))


def _percent(carried: Carried | None, *, short: bool = False) -> str:
    if carried is None or carried.percent is None or carried.percent.value is None:
        return carried.status if carried is not None else "–"
    ends = carried.percent.interval
    decimals = 1 if abs(carried.percent.value) >= 1 else 2
    interval = f" [{signed(ends[0], decimals)}, {signed(ends[1], decimals)}]" if ends and not short else ""
    return f"{signed(carried.percent.value, decimals)}%{interval}"


def _loss(carried: Carried) -> str:
    if carried.loss is None:
        return "–"
    ends = carried.loss.interval
    return number(carried.loss.value) + (f" [{number(ends[0])}, {number(ends[1])}]" if ends else "")


def cost_chart(facts: ReportFacts, optimizer: str) -> Chart | None:
    """FLOPs of tuning the proxy (hollow) and of tuning the largest model directly (filled), one row a rule."""
    rows = [(rule, *pair) for rule in facts.under(optimizer) if (pair := _flops(rule)) is not None]
    if not rows:
        return None
    every = [flops for row in rows for flops in row[1:]]
    domain = (min(every) / 1.6, max(every) * 1.6)
    series: list[Series] = []
    for index, (rule, proxy, direct) in enumerate(rows):
        y = float(len(rows) - 1 - index)
        small, large = Mark(proxy, y, note="tuning the proxy"), Mark(direct, y, note="tuning the largest directly")
        series.append(Series(rule.rule, "muted", (small, large), line=True, size="none"))
        series.append(Series(rule.rule, "ink", (large,), size="large"))
        series.append(Series(rule.rule, "ink", (small,), size="large", hollow=True))
    said = "; ".join(f"{rule.rule}: {number(proxy)} against {number(direct)}" for rule, proxy, direct in rows)
    return Chart(
        name=f"cost/{optimizer}",
        alt=f"Floating-point operations of tuning the proxy against tuning the largest model directly. {said}.",
        x=Axis("training FLOPs spent on tuning", domain, decade_ticks(*domain, 4), log=True),
        y=Axis("", (-0.45, len(rows) - 0.15), ()),
        series=tuple(series),
        table=cost_table(facts, optimizer),
        series_label="rule",
        labels=labels(
            (f"{rule.rule}\u2003{number(large / small, 2)} times cheaper" for rule, small, large in rows), len(rows)
        ),
        show_y=False,
        height=_ROW * len(rows),
    )


def _flops(rule: RuleFacts) -> tuple[float, float] | None:
    if rule.proxy is None or rule.direct is None or not rule.proxy.flops or not rule.direct.flops:
        return None
    return rule.proxy.flops, rule.direct.flops


def cost_table(facts: ReportFacts, optimizer: str) -> Table:
    """Runs, FLOPs and seconds of either way to tune, for each rule."""
    rows = [
        (rule.rule, spent.where, str(spent.runs), number(spent.flops), number(spent.seconds))
        for rule in facts.under(optimizer)
        for spent in (rule.proxy, rule.direct)
        if spent is not None
    ]
    return Table("Cost of tuning", ("rule", "tuned at", "runs", "FLOPs", "seconds"), tuple(rows))
