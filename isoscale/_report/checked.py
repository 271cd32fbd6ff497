"""A coordinate check beside the runs: how far each quantity's power of the size is from what the rule declares."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from isoscale._report.chart import Axis, Band, Chart, Table
from isoscale._report.findings import GRAVITY, CheckedLine, CheckFacts, Estimate
from isoscale._report.forests import forest, labels, span
from isoscale._report.typeset import even_ticks, shown, signed

OUTCOMES = {"PASS": "transfers", "FAIL": "drifts", "CANNOT TELL": "cannot tell"}
"""The outcome of a check -> the verdict whose shape and tone it is drawn in."""

_MOST = 14


def read_check(text: str, where: str = "the check") -> CheckFacts:
    """The facts of a check that `isoscale check --save` wrote. Raises ValueError where it is not one."""
    try:
        content = json.loads(text)
        judged = [line for line in content["lines"] if line["declared"] is not None and line["outcome"] in GRAVITY]
        return CheckFacts(
            shown(str(content["rule"])),
            shown(str(content["optimizer"])),
            shown(", ".join(f"{name} {value}" for name, value in content["base"].items())),
            int(content["steps"]),
            int(content["seeds"]),
            {"PASS": "PASS", "FAIL": "FAIL"}.get(content["outcome"], "CANNOT TELL"),
            tuple(map(_line, judged)),
            tuple(shown(f"{each['name']}: {each['sentence']}", 600) for each in content["causes"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{where} is not a saved coordinate check ({type(error).__name__}): make one with isoscale check ... --save"
        ) from error


def _line(line: Mapping[str, Any]) -> CheckedLine:
    quantity, slope = line["quantity"], line["slope"] or {}
    moment = {"init": "at init"}.get(quantity["moment"], f"its {quantity['moment']}")
    low, high = map(float, line["declared"])
    return CheckedLine(
        {"width": "width", "depth": "depth"}[line["axis"]],
        shown(f"{quantity['kind']} {quantity['place']}, {moment}"),
        Estimate(*(None if slope.get(name) is None else float(slope[name]) for name in ("estimate", "low", "high"))),
        (low, high),
        float(line["tolerance"]),
        line["outcome"],
        shown(line["sentence"], 400),
    )


def check_chart(check: CheckFacts, axis: str) -> Chart | None:
    """The worst lines of an axis: their exponents from what the rule declares, with intervals."""
    lines = check.along(axis)
    drawn = [(line.quantity, OUTCOMES[line.outcome], line.off) for line in lines[:_MOST]]
    if not drawn:
        return None
    tolerance = max(line.tolerance for line in lines)
    domain = span(drawn, (-1.6 * tolerance, 1.6 * tolerance))
    series, rows = forest(drawn, domain)
    return Chart(
        name=f"check/{check.optimizer}/{check.rule}/{axis}",
        alt=f"Coordinate check over {axis} under {check.rule} with {check.optimizer}: {counted(lines)}. How far each "
        f"quantity's power of the {axis} is from the declared one: "
        + "; ".join(f"{line.quantity}: {_text(line.off)}, {line.outcome}" for line in lines[:_MOST])
        + ".",
        x=Axis(f"power of the {axis}, from the declared one", domain, even_ticks(*domain)),
        y=rows,
        series=series,
        table=check_table(check, axis),
        series_label="quantity",
        bands=(Band("tolerated", x=(-tolerance, tolerance)),),
        labels=labels((f"{name}\u2003{_text(off, short=True)}" for name, _, off in drawn), len(drawn)),
        show_y=False,
        height=30 * len(drawn),
    )


def check_table(check: CheckFacts, axis: str) -> Table:
    """Every judged line of an axis."""
    rows = tuple(
        (line.quantity, line.outcome, _text(line.exponent), _declared(line.declared), line.sentence)
        for line in check.along(axis)
    )
    columns = ("quantity", "outcome", "power [95% interval]", "declared", "what was seen")
    return Table(f"Powers of the {axis}", columns, rows)


def counted(lines: Sequence[CheckedLine]) -> str:
    """ "2 FAIL, 11 PASS" """
    counts = Counter(line.outcome for line in lines)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in GRAVITY if counts[outcome])


def _declared(ends: tuple[float, float]) -> str:
    return signed(ends[0]) if ends[0] == ends[1] else f"{signed(ends[0])} to {signed(ends[1])}"


def _text(estimate: Estimate, *, short: bool = False) -> str:
    if estimate.value is None:
        return "not known"
    interval = estimate.interval
    if short or interval is None:
        return signed(estimate.value)
    return f"{signed(estimate.value)} [{signed(interval[0])}, {signed(interval[1])}]"
