"""The verdict in words: the sentences of the first screen."""

from collections.abc import Sequence

from isoscale._report.figures import slope_text
from isoscale._report.findings import Carried, ReportFacts, RuleFacts
from isoscale._report.typeset import sentence, signed

_BRIEF = 220
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
    elif no and open_:
        text = f"not under {_names(no)}, where the best {hyperparameter} drifts."
    elif no:
        text = f"no: the best {hyperparameter} drifts under {_names(no, 'and')}."
    else:
        text = f"these runs cannot tell{' under ' + _names(open_) if open_ else ''}."
    if open_ and (yes or no):
        text += f" For {_names(open_)}, these runs cannot tell."
    return text


def why(rule: RuleFacts) -> str:
    """The verdict on one rule in a sentence: the numbers where there are numbers, else what is missing."""
    decisive = [axis for axis in rule.axes if axis.outcome == rule.outcome]
    if rule.outcome == "cannot tell" or any(axis.drift is None or axis.drift.value is None for axis in decisive):
        return " ".join(f"{axis.axis.capitalize()}: {sentence(_brief(axis.sentence))}" for axis in decisive)
    moves = " and ".join(f"{slope_text(axis.drift)} per doubling of {axis.axis}" for axis in decisive)
    text = f"Best value moves by {moves} ({rule.axes[0].unit}, 95% intervals)."
    costs = [axis.carried for axis in decisive if axis.carried is not None and axis.carried.percent is not None]
    paid = " and ".join(f"{percent(one)} at {one.target}" for one in costs)
    return text + (f" Carrying it costs {paid}." if paid else "")


def _brief(text: str) -> str:
    """A long sentence's first clause; the whole of it stands beside the curves."""
    return text if len(text) <= _BRIEF else f"{text.split('; ')[0]} (more below)"


def percent(carried: Carried) -> str:
    """The regret in percent, "+15.5%", or its status where there is no number."""
    if carried.percent is None or carried.percent.value is None:
        return carried.status
    value = carried.percent.value
    return f"{signed(value, 1 if abs(value) >= 1 else 2)}%"


def _reach(rule: RuleFacts) -> str:
    """ "from width 32 to 256 and from depth 3 to 24"."""
    parts = [
        f"from {axis.axis} {min(sizes)} to {max(sizes)}"
        for axis in rule.axes
        if (sizes := [axis.size(curve) for curve in axis.curves])
    ]
    return " and ".join(parts)


def _name(rule: RuleFacts) -> str:
    """The rule, with the axis along which it fails where it does not fail along every one: "mup (depth)"."""
    fails = [axis.axis for axis in rule.axes if axis.outcome == "drifts"]
    return f"{rule.rule} ({', '.join(fails)})" if 0 < len(fails) < len(rule.axes) else rule.rule


def _names(rules: list[RuleFacts], word: str = "or") -> str:
    names = [_name(rule) for rule in rules]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
