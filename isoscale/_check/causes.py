"""The likely cause of failing lines, with the parameter or module to blame: evidence first, then the lines' pattern."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isoscale._check.axis import Along
from isoscale._check.demands import Axis, Demands
from isoscale._check.evidence import Evidence, Off, gather
from isoscale._check.lines import Line
from isoscale._plan import template
from isoscale._transfer.fact import Fact

READOUT, TIED, BRANCH, LOGITS = (
    "readout without 1/width",
    "tied embedding growing",
    "branch not scaled",
    "missing 1/d",
)
OWN_INIT, RATES, SCHEDULER, EPS, UNTRAINED, UNEXPLAINED = (
    "own init kept",
    "rates not planned",
    "scheduler overwrote rates",
    "eps dominating",
    "not trained",
    "unexplained",
)


@dataclass(frozen=True)
class Cause(Fact):
    """The likely cause of failures along an axis: `name` is one of a fixed list, `blamed` a parameter or a module."""

    axis: Axis
    name: str
    blamed: str
    sentence: str


def find_causes(lines: Sequence[Line], result: Along, demands: Demands) -> list[Cause]:
    """Likely causes of what fails along one axis, the strongest first; empty where every judged line passes.

    What is seen not to be as planned is told also where the lines cannot tell yet.
    """
    failing = [line for line in lines if line.outcome == "FAIL"]
    doubtful = [line for line in lines if line.outcome == "CANNOT TELL"]
    if demands.reference(result.axis) is not demands.rule:
        return [of_the_rule(result.axis, failing, demands)] if failing else []
    if not failing and not doubtful:
        return []
    evidence = gather(result.measured[0], result.measured[-1], result.traced[-1].plan.settings)
    found = from_evidence(result.axis, [*failing, *doubtful], evidence)
    return found or from_lines(result.axis, failing)


def of_the_rule(axis: Axis, failing: Sequence[Line], demands: Demands) -> Cause:
    """The rule itself leaves the axis alone: nobody forgot anything."""
    worst = largest([line for line in failing if line.quantity.kind in ("update", "branch")] or failing)
    lacks = (
        "no branch and no rate by the depth" if axis == "depth" else "rates and readout not, or not rightly, by width"
    )
    return Cause(
        axis,
        BRANCH if axis == "depth" else RATES,
        blamed(worst),
        f"rule {demands.rule.name!r} scales {lacks}: {worst.quantity.label} {worst.sentence}. "
        f"rule={demands.reference(axis).name!r} does",
    )


def from_evidence(axis: Axis, lines: Sequence[Line], seen: Evidence) -> list[Cause]:
    """Causes that can be seen directly: something at the largest size is not as planned."""
    found: list[Cause] = []
    rated = {off.name for off in seen.rates}
    missing = [off for off in seen.init if off.name in rated]
    place = place_of(missing, lines) if len(missing) == len(seen.init) else None
    if seen.scheduler or seen.scheduled:
        found.append(scheduler(axis, seen))
    elif place is not None:
        found.append(multiplier(axis, place, missing))
    elif seen.rates:
        found.append(wrong_rates(axis, seen.rates))
    if seen.init and place is None:
        found.insert(0, own_init(axis, seen.init))
    slow = {template(blamed(line)) for line in lines if line.quantity.kind == "update" and line.excess < 0}
    crowded = [off for off in seen.dominated if template(off.name) in slow]
    if crowded:
        found.append(eps(axis, crowded[0], bool(seen.eps)))
    if seen.never and not found:
        what = f"{', '.join(seen.never[:3])}: in no group of the optimizer, so no step changes it"
        found.append(Cause(axis, UNTRAINED, seen.never[0], what))
    return found


def place_of(offs: Sequence[Off], lines: Sequence[Line]) -> str | None:
    """The multiplier that is missing, if all that is off is one kind of thing: readout, ends of branches, queries."""
    if not offs:
        return None
    if all(off.readout for off in offs):
        return TIED if any(tied(line) for line in lines) else READOUT
    if all(off.tail for off in offs):
        return BRANCH
    return LOGITS if any(too_large_logits(line) for line in lines) else None


MULTIPLIERS = {
    READOUT: "the readout's 1/width",
    TIED: "the 1/width of a readout that is tied to the embedding (the norm before it carries it)",
    BRANCH: "the residual branches' multiplier",
    LOGITS: "the 1/d of attention logits (the queries' weight carries it)",
}


def multiplier(axis: Axis, place: str, missing: Sequence[Off]) -> Cause:
    return Cause(
        axis,
        place,
        missing[0].name,
        f"initialisation and learning rate of {listed(missing)}: {MULTIPLIERS[place]} is missing. Use "
        "plan.init_(model) and plan.param_groups(model, lr=...) of the plan for this very size",
    )


def own_init(axis: Axis, init: Sequence[Off]) -> Cause:
    return Cause(
        axis,
        OWN_INIT,
        init[0].name,
        f"the root mean square at initialisation is not the planned one: {listed(init)}. Call plan.init_(model) after "
        "everything that initialises, and before anything is loaded or trained",
    )


def wrong_rates(axis: Axis, rates: Sequence[Off]) -> Cause:
    return Cause(
        axis,
        RATES,
        rates[0].name,
        f"learning rates do not grow and shrink with the size as planned: {listed(rates)}. Build the optimizer's "
        "groups with plan.param_groups(model, lr=...)",
    )


def scheduler(axis: Axis, seen: Evidence) -> Cause:
    off = (*seen.scheduled, *seen.rates)
    mend = seen.scheduler or (
        f"after the steps the learning rates are no longer in the planned ratios: {listed(seen.scheduled)}. Call "
        "plan.check_scheduler(scheduler), which names the argument and what mends it"
    )
    return Cause(axis, SCHEDULER, off[0].name if off else "the scheduler", mend)


def eps(axis: Axis, worst: Off, unscaled: bool) -> Cause:
    scaled = ", and it does not shrink with the size as planned" if unscaled else ""
    return Cause(
        axis,
        EPS,
        worst.name,
        f"eps is {worst.factor:.2g} times the gradient of {worst.name} at the largest size{scaled}: the step is then "
        "no longer normalised and fades with the gradient. Give eps to plan.param_groups(model, lr=..., eps=...), "
        "which scales it, and take a smaller one",
    )


def from_lines(axis: Axis, failing: Sequence[Line]) -> list[Cause]:
    """Everything is as planned, so the plan does not fit the model: the first pattern that matches."""
    for name, matches, sentence in PATTERNS[axis]:
        lines = [line for line in failing if line.excess > 0 and matches(line)]
        if lines:
            worst = largest(lines)
            return [Cause(axis, name, blamed(worst), f"{worst.quantity.label} {worst.sentence}. {sentence}")]
    if not failing:
        return []
    worst = largest(failing)
    text = f"{worst.quantity.label} {worst.sentence}; initialisation, rates and eps are as planned"
    return [Cause(axis, UNEXPLAINED, blamed(worst), text)]


def tied(line: Line) -> bool:
    return line.quantity.kind == "update" and line.quantity.place.endswith(("as a table", "as a matrix"))


def too_large_logits(line: Line) -> bool:
    return line.quantity.kind == "logits" and line.quantity.growing and line.excess > 0


Pattern = tuple[str, Callable[[Line], bool], str]
PATTERNS: dict[Axis, tuple[Pattern, ...]] = {
    "width": (
        (
            LOGITS,
            too_large_logits,
            "The head size grows with width and the logits with it: scale them by 1/d, or keep the head size fixed",
        ),
        (
            TIED,
            tied,
            "One weight is embedding and readout: the readout's 1/width must be in the norm before it, or untie them",
        ),
        (
            READOUT,
            lambda line: line.quantity.readout or line.quantity.kind == "output",
            "The output's multiplier shrinks too slowly with width: see plan.explain of the readout",
        ),
    ),
    "depth": (
        (
            BRANCH,
            lambda line: line.quantity.kind == "branch",
            "The branch does not shrink with the number of branches: see plan.explain of its last weight, and whether "
            'the hooks of mode="explicit" are on the model',
        ),
        (
            BRANCH,
            lambda line: line.quantity.kind == "update" and line.quantity.tail,
            "The update at the branch's end is more than its share of 1/depth",
        ),
    ),
}


def blamed(line: Line) -> str:
    return line.quantity.parameter or line.quantity.place


def largest(lines: Sequence[Line]) -> Line:
    return max(lines, key=lambda line: abs(line.excess))


def listed(offs: Sequence[Off], most: int = 3) -> str:
    rest = f" and {len(offs) - most} more" if len(offs) > most else ""
    return ", ".join(map(str, offs[:most])) + rest
