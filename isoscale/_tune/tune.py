"""tune(): a user's own model, from a builder and data to a recipe for the target: plan, check, search, verify."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from isoscale._plan import Plan
from isoscale._records.store import Store
from isoscale._sweep.display import duration
from isoscale._sweep.executor import Executor, InProcess
from isoscale._sweep.local import Processes
from isoscale._train.loop import versions
from isoscale._transfer.shift import Shift
from isoscale._tune.checking import recorded_check
from isoscale._tune.data import dataset
from isoscale._tune.errors import TuneError
from isoscale._tune.job import Job, Loss, counted, loaded, naming, planned
from isoscale._tune.loop import Loop, Result, worst
from isoscale._tune.narrate import Narrator, Tell
from isoscale._tune.preflight import Preflight, preflight
from isoscale._tune.recipe import Recipe, Tuned
from isoscale._tune.settings import axes, held
from isoscale._tune.sizes import Keys, check_second, keys_of, second_size, spelled

UNIT = 16  # runs that are handed out together: a kill loses no more, and progress is seen between them
SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class Tuning:
    """How tuning ended: "transfers", "drifts", "cannot tell", or "check failed" (then there is no recipe).

    `print(tuning)` says it, `exit_code` is 0, 1, 2 and 1 again. `check` is the coordinate check's outcome and sentence.
    """

    outcome: str
    sentence: str
    recipe: Recipe | None
    check: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        return 1 if self.recipe is None else self.recipe.exit_code

    def __str__(self) -> str:
        return self.sentence if self.recipe is None else str(self.recipe)


def tune(
    build: Callable[..., nn.Module],
    data: Any,
    *,
    base: Mapping[str, Any],
    target: Mapping[str, Any],
    loss: Loss | None = None,
    rule: str = "depth_mup",
    optimizer: str = "adamw",
    hyperparameters: Sequence[str] = ("lr",),
    start: Mapping[str, float] | None = None,
    settings: Mapping[str, Any] | None = None,
    steps: int = 200,
    batch_size: int = 64,
    schedule: str = "cosine",
    warmup: float = 0.05,
    metric: str = "train_loss",
    second: Mapping[str, Any] | None = None,
    precision: float = 0.25,
    tolerance: float = 0.25,
    regret: float = 0.02,
    budget: float = 200,
    store: Store | str | Path = "tune.sqlite",
    workers: int = 2,
    skip_check: bool = False,
    tell: Tell | None = None,
) -> Tuning:
    """Tune `build(**base)` on `data` so that `build(**target)` is trained with what was found; prove that it holds.

    One loop: the plan from base to target with its numeric proof; a quick coordinate check in width and depth, which
    stops everything where it fails; a search of each hyperparameter on the base to +-`precision` octaves; the same at
    a `second`, wider and deeper size (default: twice both), and the verdict whether the optimum stayed within
    `tolerance` octaves a doubling or costs at most `regret` of the loss; then the recipe.

    build: callable(**size) -> nn.Module in plain PyTorch. data: a callable, or what it returns: (x, y) of train and
    test as tensors, Datasets or batches; or a path to an .npz. loss(output, y) -> one number; None: cross entropy for
    whole targets (also tokens, (batch, context)), mean square error for real ones. start: where to begin, by name.
    settings: what is held, weight_decay=0.1, beta2=0.95, momentum=0.9. budget: full runs a search may take. store:
    everything that was run and decided; the same call after any interruption goes on with the same decisions. workers:
    processes (the functions must be importable there), 0 for this one. tell: called with each line of progress.

    Returns a `Tuning`; mistakes raise TuneError (or the plan's or check's error), all ValueError, before anything is
    trained.
    """
    _check_numbers(steps, batch_size, schedule, warmup, precision, tolerance, regret, budget)
    narrator = Narrator(tell or (lambda line: None), stages=4)
    lines = axes(hyperparameters, optimizer, start or {})
    fixed = held(optimizer, settings or {}, hyperparameters)
    given = data if callable(data) or isinstance(data, str | Path) else dataset(data)
    job = Job(build, str(given) if isinstance(given, Path) else given, loss, _items(base), rule, optimizer)
    narrator.stage(f"plan {spelled(base)} -> {spelled(target)} with {rule}, {optimizer}; look at the data and the loss")
    whole, keys, found = _look(job, base, target, batch_size)
    job = replace(job, channel=found.channel)
    next_size = dict(second) if second is not None else second_size(base, target, keys)
    check_second(next_size, base, target, keys)
    training = {"steps": steps, "batch_size": batch_size, "schedule": schedule, "warmup": warmup, **fixed}
    for warning in (*whole.warnings, *found.warnings):
        narrator.note(f"warning: {warning}")
    _say_data(narrator, job, whole)
    config = {"model": naming(build), "task": found.fingerprint, "rule": rule, "optimizer": optimizer, **training}
    loop = Loop(job, config, keys, lines, metric, precision, tolerance, 100 * regret, budget, narrator, batch=UNIT)
    began = time.perf_counter()
    with Store(store) if not isinstance(store, Store) else store as opened:
        opened.retry()  # who runs the same command again has mended what failed
        executor = _executor(job, workers, opened)
        try:
            narrator.stage("coordinate check: does anything grow with width or depth that should not?")
            checked = recorded_check(job, keys, base, opened, config, narrator, skip=skip_check)
            if checked["outcome"] == "FAIL":
                return Tuning("check failed", checked["sentence"], None, checked)
            result = loop.run(base, next_size, target, opened, executor)
        finally:
            executor.close()
            with suppress(OSError):
                opened.path.absolute().with_suffix(".logs").rmdir()
    narrator.note(f"done in {duration(time.perf_counter() - began)}")
    recipe = _recipe(job, whole, result, training, next_size, checked, found, metric)
    return Tuning(recipe.outcome, recipe.sentence, recipe, checked)


def _look(
    job: Job, base: Mapping[str, Any], target: Mapping[str, Any], batch_size: int
) -> tuple[Plan, Keys, Preflight]:
    """Everything that can be wrong, before anything is trained."""
    found = preflight(job, batch_size)
    inputs = (loaded(job).x_train[:2],)
    whole = planned(job, _items(target))
    return whole, keys_of(job.build, base, target, inputs, whole), found


def _items(size: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    if not isinstance(size, Mapping) or not size:
        raise TuneError(f"size {size!r}: a size is a dict of the builder's arguments, dict(width=64, depth=4)")
    return tuple(size.items())


def _check_numbers(
    steps: int, batch_size: int, schedule: str, warmup: float, precision: float, tolerance: float, regret: float,
    budget: float,
) -> None:  # fmt: skip
    positive = {"steps": steps, "batch_size": batch_size, "precision": precision, "tolerance": tolerance}
    positive |= {"regret": regret, "budget": budget}
    wrong = [f"{name}={value!r}" for name, value in positive.items() if not value > 0]
    if wrong:
        raise TuneError(f"{', '.join(wrong)}: must be above 0")
    if schedule not in SCHEDULES or not 0 <= warmup < 1:
        raise TuneError(
            f"schedule={schedule!r}, warmup={warmup}: the schedule is {', '.join(SCHEDULES)}, the warmup a fraction "
            "of the steps below 1"
        )


def _say_data(narrator: Narrator, job: Job, whole: Plan) -> None:
    data = loaded(job)
    x, y = data.x_train, data.y_train
    loss = naming(job.loss) if job.loss is not None else ("MSE" if y.is_floating_point() else "cross entropy")
    depths = ", ".join(f"{name or 'stream'} {base} -> {now}" for name, (base, now) in whole.depths.items())
    narrator.note(
        f"data {data.name}: {len(x)} examples {tuple(x.shape[1:])}, targets {tuple(y.shape[1:])} {y.dtype}".replace(
            "torch.", ""
        )
        + f", {len(data.x_test)} held out; loss: {loss}"
    )
    narrator.note(f"{len(whole.settings)} parameters planned and proved; residual branches: {depths or 'none'}")


def _executor(job: Job, workers: int, store: Store) -> Executor:
    if workers < 0:
        raise TuneError(f"workers={workers}: 0 trains in this process, more in that many others")
    if workers == 0:
        return InProcess(job)
    logs = store.path.absolute().with_suffix(".logs")
    logs.mkdir(parents=True, exist_ok=True)
    return Processes(job, workers, logs)


def _recipe(
    job: Job,
    whole: Plan,
    result: Result,
    training: Mapping[str, Any],
    second: Mapping[str, Any],
    checked: Mapping[str, str],
    found: Preflight,
    metric: str,
) -> Recipe:
    outcome, sentence = worst(result.shifts)
    warnings = [*whole.warnings, *found.warnings, *result.warnings]
    if checked["outcome"] != "PASS":
        warnings.append(f"coordinate check: {checked['headline']}")
    warnings.append(
        f"found in {training['steps']} steps of batch {training['batch_size']} with a {training['schedule']} schedule: "
        "a longer training or another batch size may have another optimum, which no width rule carries"
    )
    return Recipe(
        plan=whole,
        outcome=outcome,
        sentence=sentence,
        hyperparameters={
            name: Tuned(value, low, high, said) for name, (value, low, high, said) in result.values.items()
        },
        settings={**training, "metric": metric},
        second=second,
        verification=tuple(_row(each) for each in result.shifts),
        check=checked,
        cost=result.cost(counted(job, _items(whole.target), int(training["batch_size"]))),
        data=loaded(job).record,
        versions=versions(),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _row(each: Shift) -> dict[str, Any]:
    """One hyperparameter's verification, flat."""
    row: dict[str, Any] = {"hyperparameter": each.hyperparameter, "outcome": each.outcome, "sentence": each.sentence}
    row |= {"shift_octaves": each.estimate, "shift_low": each.low, "shift_high": each.high}
    row |= {"regret_percent": each.regret.percent, "regret_low": each.regret.percent_low}
    row |= {"regret_high": each.regret.percent_high}
    if each.gap is not None:
        row |= {"expected_gap_percent": each.gap.percent, "expected_gap_high": each.gap.high, "gap": each.gap.sentence}
    return row
