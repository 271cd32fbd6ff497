"""coord_check(): train a few sizes for a few steps, and say which quantities move with the size, and why."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from isoscale._check.axis import Progress, Runner
from isoscale._check.batch import loss_on
from isoscale._check.causes import find_causes
from isoscale._check.check import Check
from isoscale._check.demands import AXES, Axis, Demands
from isoscale._check.errors import CheckError
from isoscale._check.lines import RESOLVED, Line, worst
from isoscale._check.measure import Setup, Task
from isoscale._check.sizes import grid
from isoscale._plan import Plan, Planner
from isoscale._rules import get_optimizer, get_rule
from isoscale._train.loop import one_thread

TOLERANCE = 0.15


def coord_check(
    build: Callable[..., nn.Module],
    base: Mapping[str, Any] | Plan,
    *,
    widths: Sequence[int] | Mapping[str, Sequence[Any]] = (),
    depths: Sequence[int] | Mapping[str, Sequence[Any]] = (),
    inputs: Any = None,
    targets: Tensor | None = None,
    loss: Callable[..., Tensor] | None = None,
    rule: str = "depth_mup",
    optimizer: str = "adamw",
    lr: float | None = None,
    steps: int = 8,
    seeds: int = 5,
    most_seeds: int = 15,
    mode: Literal["fold", "explicit"] = "fold",
    roles: Mapping[str, str] | None = None,
    postnorm: Literal["refuse", "allow"] = "refuse",
    setup: Setup | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
    **settings: Any,
) -> Check:
    """Check on real networks that nothing grows or vanishes with width or depth which the rule says should not.

    For every size and seed: build, initialise, train `steps` steps on one fixed batch; the size of a quantity at
    initialisation, and of its change, is rms = sqrt(mean over coordinates, examples and layers of one kind). Its
    exponent p in rms ~ size^p is fitted with a 95 % interval and compared with the rule's: the stream, every branch,
    pre-activations, attention logits, the output, and for every parameter the change that its update makes at its op.

    build, base, inputs, rule, optimizer, mode, roles, postnorm: as for `isoscale.plan`; instead of a base size, a plan
    may be given, whose base, rule, optimizer and mode are taken. widths: sizes at the base's depth, a list for the key
    "width" or a dict of lists for other keys, dict(d_model=[64, 128], heads=[4, 8]); depths: the same at the base's
    width. loss(output, targets), or loss(output) where targets are not given; None: cross entropy for classes, squared
    error for real targets, the model's own loss if it returns one, random classes if there are no targets either.
    Where the intervals of `seeds` initialisations are too wide to tell, as many are added, up to `most_seeds`.
    setup(plan, model): how your code puts a plan to use, returning an optimizer or (optimizer, scheduler); None:
    `plan.init_(model); return plan.optimizer(model, lr=lr, **settings)`. progress(done, all, what) is called.

    Returns a `Check`: `print(check)`, `check.outcome`, `check.causes`. Raises CheckError or the plan's error, all
    ValueError. Needs three sizes an axis. Source: arXiv 2203.03466, appendix D.1 (coordinate check); in depth:
    arXiv 2309.16620.
    """
    started = time.perf_counter()
    if isinstance(base, Plan):
        rule, optimizer, mode = base.rule, base.optimizer_name, base.mode
    start = dict(base.base if isinstance(base, Plan) else base)
    grids: dict[Axis, list[dict[str, Any]]] = {
        "width": grid("widths", widths, start),
        "depth": grid("depths", depths, start),
    }
    if not any(grids.values()):
        raise CheckError("neither widths nor depths are given: a slope needs sizes, widths=[64, 128, 256]")
    if steps < 1 or seeds < 2:
        raise CheckError(f"steps={steps}, seeds={seeds}: updates need a step, intervals the scatter of two seeds")
    rate = (1e-3 if get_optimizer(optimizer).gradient_degree == 0 else 1e-2) if lr is None else lr
    batch, objective = loss_on(build, start, inputs, targets, loss)
    task = Task(build, batch, objective, setup or plainly(rate, settings), steps)
    planner = Planner(build, start, inputs, rule, optimizer, mode, roles, postnorm)
    names = tuple(range(seeds))
    runner = Runner(task, planner.plan, start, grids, names, progress)
    demands = Demands(get_rule(rule), optimizer)
    lines: list[Line] = []
    causes = []
    with one_thread():
        for axis in AXES:
            if grids[axis]:
                result = runner.along(axis)
                own = result.lines(demands, tolerance)
                while undecided(own) and len(result.measured[0]) + len(names) <= most_seeds:
                    result = runner.more(result)
                    own = result.lines(demands, tolerance)
                lines += own
                causes += find_causes(own, result, demands)
    return Check(
        rule=rule,
        optimizer=optimizer,
        lr=rate if setup is None or lr is not None else None,
        steps=steps,
        seeds=seeds,
        base=start,
        lines=tuple(lines),
        causes=tuple(causes),
        outcome=worst(line.outcome for line in lines) or "CANNOT TELL",
        seconds=time.perf_counter() - started,
    )


def undecided(lines: Sequence[Line]) -> bool:
    """Whether more seeds could change the outcome: some exponent is not resolved, and none is wrong."""
    open_lines = [line.slope for line in lines if line.outcome == "CANNOT TELL" and line.slope is not None]
    wide = any(fit.high - fit.low > 2 * RESOLVED for fit in open_lines)
    return wide and all(line.outcome != "FAIL" for line in lines)


def plainly(lr: float, settings: Mapping[str, Any]) -> Setup:
    """The documented way to use a plan."""

    def setup(plan: Plan, model: nn.Module) -> Any:
        return plan.optimizer(plan.init_(model), lr=lr, **settings)

    return setup
