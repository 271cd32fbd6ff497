"""Why a row is as it is, in words: what width does to the role, what the optimizer's step feels, what depth does."""

from fractions import Fraction

from isoscale._rules.entry import Role
from isoscale._rules.optimizers import Optimizer

_WIDTH: dict[Role, str] = {
    "input": "fan-in is fixed, so a coordinate it feeds has the same size at every width, and a gradient that shrinks",
    "hidden": "a random sum over fan-in grows as its square root, the aligned sum of an update as fan-in itself",
    "output": "an aligned sum over fan-in grows as fan-in, while the number of outputs is fixed",
    "scalar": "neither fan grows, so width leaves it alone",
}


def reason_of(
    role: Role, optimizer: Optimizer, *, scaled_width: bool, alpha: Fraction | None = None, scaled_depth: bool = False
) -> str:
    """Why a role's row is as it is; `alpha` is the branch exponent, None outside branches."""
    if not scaled_width:
        step = "the learning rate is left alone all the same, which is what goes wrong"
    elif optimizer.gradient_degree == 1:
        step = "the step carries the gradient's size, so the rate undoes it"
    elif optimizer.scale == "orthogonal":
        step = "the step's singular values are 1, so it moves a coordinate by (n_in / n_out)^1/2 and the rate undoes it"
    elif optimizer.scale == "natural":
        step = "a natural gradient moves the layer's output alike at every width, and its damping follows the factors"
    else:
        step = "a normalised step does not feel the gradient's size" + (
            ", so eps shrinks with it" if optimizer.eps else ""
        )
    text = f"{_WIDTH[role]}; {step}"
    if alpha is None:
        return text
    if not scaled_depth:
        return f"{text}; nothing is scaled in depth"
    felt = "in the gradient and again in the forward pass" if optimizer.gradient_degree == 1 else "in the forward pass"
    if optimizer.scale == "natural":
        return (
            f"{text}; each of L branches may move the stream by 1/L, and the natural step has undone l^-{alpha} already"
        )
    return f"{text}; each of L branches may move the stream by 1/L, and l^-{alpha} of it is there already {felt}"
