"""The likely cause of failing lines, with the parameter or module to blame: evidence first, then the lines' pattern."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isoscale._check.axis import Along
from isoscale._check.demands import Axis, Demands
from isoscale._check.evidence import Evidence, Off, gather
from isoscale._check.lines import Line
from isoscale._transfer.fact import Fact


@dataclass(frozen=True)
class Cause(Fact):
    """The likely cause of failures along an axis: `name` is one of a fixed list, `blamed` a parameter or a module."""

    axis: Axis
    name: str
    blamed: str
    sentence: str


def find_causes(lines: Sequence[Line], result: Along, demands: Demands) -> list[Cause]:
    """Likely causes of the failures among the lines of one axis, the strongest first; empty where nothing fails."""
    failing = [line for line in lines if line.outcome == "FAIL"]
    if not failing:
        return []
    axis = result.axis
    if demands.reference(axis) is not demands.rule:
        return [of_the_rule(axis, failing, demands)]
    evidence = gather(result.measured[0], result.measured[-1], result.traced[-1].plan.settings)
    return from_evidence(axis, failing, evidence) or from_lines(axis, failing)


def of_the_rule(axis: Axis, failing: Sequence[Line], demands: Demands) -> Cause:
    """The rule itself leaves the axis alone: nobody forgot anything."""
    worst = largest([line for line in failing if line.quantity.kind in ("update", "branch")] or failing)
    scaled = (
        "branch and no rate with depth" if axis == "depth" else "rate or readout with width, or not enough to learn"
    )
    name = "branch not scaled" if axis == "depth" else "rates not scaled"
    return Cause(
        axis,
        name,
        blamed(worst),
        f"rule {demands.rule.name!r} scales no {scaled}: {worst.quantity.label} {worst.sentence}. "
        f"rule={demands.reference(axis).name!r} does",
    )


def from_evidence(axis: Axis, failing: Sequence[Line], seen: Evidence) -> list[Cause]:
    """Causes that can be seen directly: something at the largest size is not as planned."""
    found: list[Cause] = []
    if seen.init:
        found.append(wrong_init(axis, seen.init))
    if seen.scheduled:
        found.append(
            Cause(
                axis,
                "scheduler overwrote rates",
                seen.scheduled[0].name,
                f"after the steps the learning rates are no longer in the planned ratios, most of all "
                f"{listed(seen.scheduled)}: the scheduler gives all groups one absolute rate. "
                "plan.check_scheduler(scheduler) names the argument, plan.per_group(optimizer, rate) makes the list",
            )
        )
    if seen.rates and not any(cause.name in PLACES for cause in found):
        found.append(wrong_rates(axis, seen.rates))
    slow = {line.quantity.parameter for line in failing if line.quantity.kind == "update" and line.excess < 0}
    crowded = [off for off in seen.dominated if off.name in slow]
    if crowded:
        scaled = ", and it is not scaled as planned" if seen.eps else ""
        found.append(
            Cause(
                axis,
                "eps dominating",
                crowded[0].name,
                f"eps is {crowded[0].factor:.2g} times the gradient of {crowded[0].name} at the largest size{scaled}: "
                "Adam's step is then no longer normalised and fades as the gradient does. Give eps to "
                "plan.param_groups(model, lr=..., eps=...), which scales it, and take a smaller one",
            )
        )
    if seen.never and not found:
        found.append(
            Cause(axis, "not trained", seen.never[0], f"{', '.join(seen.never[:3])}: in no group of the optimizer")
        )
    return found


PLACES = ("readout without 1/width", "branch not scaled")


def wrong_init(axis: Axis, init: Sequence[Off]) -> Cause:
    """Which initialisation was not brought to the plan's."""
    place = place_of(init)
    if place is not None:
        return Cause(
            axis,
            place,
            init[0].name,
            f"{listed(init)} at initialisation: the multiplier of the {WHERE[place]} is missing. Use plan.init_(model) "
            "and plan.param_groups(model, lr=...) of the plan for this very size",
        )
    return Cause(
        axis,
        "own init kept",
        init[0].name,
        f"the root mean square at initialisation is not the planned one: {listed(init)}. Call plan.init_(model) after "
        "everything that initialises, and before anything is loaded or trained",
    )


def wrong_rates(axis: Axis, rates: Sequence[Off]) -> Cause:
    """Which learning rates are not the plan's from the first step."""
    place = place_of(rates)
    if place is not None:
        return Cause(
            axis,
            place,
            rates[0].name,
            f"the learning rate of {listed(rates)}: the multiplier of the {WHERE[place]} is missing in the groups. "
            "Build them with plan.param_groups(model, lr=...) of the plan for this very size",
        )
    return Cause(
        axis,
        "rates not planned",
        rates[0].name,
        f"learning rates are not in the planned ratios: {listed(rates)}. Build the optimizer's groups with "
        "plan.param_groups(model, lr=...)",
    )


WHERE = {"readout without 1/width": "readout", "branch not scaled": "residual branches"}


def place_of(offs: Sequence[Off]) -> str | None:
    """Whether all that is off is the readout, or all of it is the ends of branches."""
    if all(off.readout for off in offs):
        return "readout without 1/width"
    return "branch not scaled" if all(off.tail for off in offs) else None


def from_lines(axis: Axis, failing: Sequence[Line]) -> list[Cause]:
    """Everything is as planned, so the plan does not fit the model: the first pattern that matches."""
    for name, matches, sentence in PATTERNS[axis]:
        lines = [line for line in failing if matches(line)]
        if lines:
            worst = largest(lines)
            text = f"{worst.quantity.label} {worst.sentence}. {sentence}"
            return [Cause(axis, name, blamed(worst), text)]
    worst = largest(failing)
    text = f"{worst.quantity.label} {worst.sentence}; initialisation, rates and eps are as planned"
    return [Cause(axis, "unexplained", blamed(worst), text)]


Pattern = tuple[str, Callable[[Line], bool], str]


def tied(line: Line) -> bool:
    return line.quantity.kind == "update" and line.quantity.place.endswith(("as a table", "as a matrix"))


PATTERNS: dict[Axis, tuple[Pattern, ...]] = {
    "width": (
        (
            "missing 1/d",
            lambda line: line.quantity.kind == "logits" and line.quantity.growing and line.excess > 0,
            "The head size grows with width and the logits with it: scale them by 1/d, or keep the head size fixed",
        ),
        (
            "tied embedding growing",
            lambda line: tied(line) and line.excess > 0,
            "One weight is embedding and readout: the readout's 1/width must be in the norm before it, or untie them",
        ),
        (
            "readout without 1/width",
            lambda line: (line.quantity.readout or line.quantity.kind == "output") and line.excess > 0,
            "The output's multiplier shrinks too slowly with width: see plan.explain of the readout",
        ),
    ),
    "depth": (
        (
            "branch not scaled",
            lambda line: line.quantity.kind == "branch" and line.excess > 0,
            "The branch does not shrink with the number of branches: see plan.explain of its last weight",
        ),
        (
            "branch not scaled",
            lambda line: line.quantity.kind == "update" and line.quantity.tail and line.excess > 0,
            "The update at the branch's end is not its share of 1/depth",
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
