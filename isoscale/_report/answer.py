"""The verdict in words: the sentences of the first screen."""

import re
from collections.abc import Sequence

from isoscale._report.findings import ReportFacts, RuleFacts

_ORDER = ("transfers", "drifts", "cannot tell")


def question(facts: ReportFacts) -> str:
    """What the report answers."""
    return f"May I use the small model's {facts.hyperparameter} on the large one?"


def answers(rules: Sequence[RuleFacts], hyperparameter: str) -> tuple[str, ...]:
    """Yes under which rule, and under which not: one sentence where all optimizers agree, else one for each."""
    said: dict[str, list[str]] = {}
    optimizers = dict.fromkeys(rule.optimizer for rule in rules)
    for optimizer in optimizers:
        text = _answer(hyperparameter, [rule for rule in rules if rule.optimizer == optimizer])
        said.setdefault(text, []).append(optimizer)
    if len(optimizers) < 2:
        return tuple(text[0].upper() + text[1:] for text in said)
    return tuple(f"With {' and '.join(names)}: {text}" for text, names in said.items())


def _answer(hyperparameter: str, rules: list[RuleFacts]) -> str:
    by = {outcome: [rule for rule in rules if rule.outcome == outcome] for outcome in _ORDER}
    yes, no, open_ = (by[outcome] for outcome in _ORDER)
    if yes:
        text = f"yes, under {_names(yes)}: the best {hyperparameter} stays put {_reach(yes[0])}."
        text += f" Not under {_names(no)}, where it drifts." if no else ""
    elif no:
        text = f"no: the best {hyperparameter} drifts under {_names(no, 'and')}."
    else:
        text = f"these runs cannot tell{' under ' + _names(open_) if open_ else ''}."
    if open_ and (yes or no):
        text += f" These runs cannot tell for {_names(open_)}."
    return text


def _reach(rule: RuleFacts) -> str:
    """ "from width 32 to 256 and from depth 3 to 24"."""
    parts = [
        f"from {axis.axis} {min(sizes)} to {max(sizes)}"
        for axis in rule.axes
        if (sizes := [axis.size(curve) for curve in axis.curves])
    ]
    return " and ".join(parts)


def _names(rules: list[RuleFacts], word: str = "or") -> str:
    names = [rule.rule for rule in rules]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def sentence(text: str) -> str:
    """The text with a capital and a full stop, and with true minus signs before digits."""
    typeset = re.sub(r"(?<!\w)-(?=[\d.])", "−", text.replace("+-", "±"))
    return typeset[:1].upper() + typeset[1:] + ("" if typeset.endswith((".", "!", "?")) or not typeset else ".")
