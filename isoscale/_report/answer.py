"""The verdict in words: the sentence of the first screen, and the plain-text lines of a terminal."""

from isoscale._report.facts import ReportFacts, RuleFacts
from isoscale._report.figures import slope

_ORDER = ("transfers", "drifts", "cannot tell")


def question(facts: ReportFacts) -> str:
    """What the report answers."""
    return f"May I use the small model's {facts.hyperparameter} on the large one?"


def answers(facts: ReportFacts) -> tuple[str, ...]:
    """Yes under which rule, and under which not: one sentence where all optimizers agree, else one for each."""
    said: dict[str, list[str]] = {}
    for optimizer in facts.optimizers:
        said.setdefault(_answer(facts, facts.under(optimizer)), []).append(optimizer)
    if len(facts.optimizers) < 2:
        return tuple(text[0].upper() + text[1:] for text in said)
    return tuple(f"With {' and '.join(optimizers)}: {text}" for text, optimizers in said.items())


def _answer(facts: ReportFacts, rules: tuple[RuleFacts, ...]) -> str:
    by = {outcome: [rule for rule in rules if rule.outcome == outcome] for outcome in _ORDER}
    yes, no, open_ = (by[outcome] for outcome in _ORDER)
    if yes:
        target = f" up to {yes[0].target}" if yes[0].target else ""
        text = f"yes, under {_names(yes)}: the best {facts.hyperparameter} stays put{target}."
        text += f" Not under {_names(no)}, where it drifts." if no else ""
    elif no:
        text = f"no: the best {facts.hyperparameter} drifts under {_names(no, 'and')}."
    else:
        text = f"these runs cannot tell{' under ' + _names(open_) if open_ else ''}."
    if open_ and (yes or no):
        text += f" These runs cannot tell for {_names(open_)}."
    return text


def _names(rules: list[RuleFacts], word: str = "or") -> str:
    names = [rule.rule for rule in rules]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def summary(facts: ReportFacts) -> str:
    """The verdicts as plain text: one aligned line for each rule and axis, then each rule's sentence."""
    rows = [
        (rule.optimizer, rule.rule, axis.axis, axis.outcome, slope(axis)) for rule in facts.rules for axis in rule.axes
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = ["  ".join((*(cell.ljust(w) for cell, w in zip(row, widths)), row[4])) for row in rows]
    sentences = [f"{rule.rule} ({rule.optimizer}): {rule.outcome}. {rule.sentence}" for rule in facts.rules]
    return "\n".join(_plain(line) for line in [*lines, "", *sentences, "", *answers(facts)]) + "\n"


def _plain(line: str) -> str:
    """One line without control characters: a name must not move the terminal's cursor."""
    return "".join(character if character.isprintable() else "�" for character in line).rstrip()
