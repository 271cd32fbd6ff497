"""The verdicts for a terminal: plain text, no colour, no control character."""

from collections.abc import Iterable

from isoscale._report.answer import answers
from isoscale._report.figures import slope
from isoscale._report.gather import rules
from isoscale._report.typeset import sentence, shown
from isoscale._transfer.verdict import Verdict


def summary(verdicts: Iterable[Verdict]) -> str:
    """The answer, a line for each rule and axis, the sentence behind each, regret at the largest size, and costs.

    Names come from the user's records: whatever could move a cursor or colour a terminal is replaced.
    """
    judged = tuple(verdicts)
    found = rules(judged)
    pairs = [(rule, axis) for rule in found for axis in rule.axes]
    rows = [(rule.optimizer, rule.rule, axis.axis, axis.outcome, slope(axis)) for rule, axis in pairs]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = ["  ".join((*(cell.ljust(width) for cell, width in zip(row, widths)), row[4])) for row in rows]
    said = [f"{rule.rule}, {rule.optimizer}, {axis.axis}: {sentence(axis.sentence)}" for rule, axis in pairs]
    names = [f"{rule.rule}, {rule.optimizer}" for rule in found]
    carried = [f"{name}: {sentence(one.regret.sentence)}" for name, one in zip(names, judged)]
    saved = [f"{name}: {sentence(one.cost.sentence)}" for name, one in zip(names, judged)]
    head = answers(found, judged[0].hyperparameter) if judged else ()
    parts = (*head, "", *lines, "", *said, "", *carried, "", *saved) if judged else ()
    return "\n".join(shown(line, 2000).rstrip() for line in parts) + "\n"
