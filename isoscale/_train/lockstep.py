"""The lockstep engine: configurations of one shape train together, as one batched program.

On small networks a step of one network costs its operations' overhead, not their arithmetic. Stacked, M networks
share the overhead. A run's numbers do not depend on who shares the stack, so it may be split and compacted freely.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from isoscale._records.run import Config, Run, digest
from isoscale._train.data import Dataset
from isoscale._train.evaluation import CHUNK, spread
from isoscale._train.loop import finished, one_thread, train_prepared
from isoscale._train.noise import StackedMasks, drawn
from isoscale._train.progress import CHECK_EVERY, CURVE_EXAMPLES, Progress
from isoscale._train.schedule import batches, schedule
from isoscale._train.setup import Setup, flops_per_step, prepare
from isoscale._train.stack import Stack, settings_of, stacked

ENGINE = "lockstep 3"
"""The engine of stacked runs: a new number where their numbers change."""
PAYS_BELOW = 1.5e7  # operations a parameter tensor a step, above which one network alone fills the machine
MEMORY = 2**30  # bytes that one stack may take
OWN = frozenset({"rule", "seed", "lr", "weight_decay", "momentum", "beta1", "beta2", "eps", "schedule", "warmup"})
"""Settings that members of one stack may differ in."""


def train_batch(configs: Sequence[Config], *, device: str = "cpu") -> list[Run]:
    """The runs of several configurations, in their order, on a device of torch.

    Those of one shape train in lockstep where that pays, the others one after another. Which way a configuration is
    trained depends on it alone, and in lockstep its numbers do not depend on the others, so the same configuration
    gives the same run, bit for bit, in every batch. `train` is the same computation in the plain way: equal up to the
    rounding of batched kernels. Configurations that mean the same training (two rules at the base size) train once.
    A run's `versions` say which engine trained it.
    """
    return trained(lambda config: placed(prepare(config), device), configs)


def trained(ready: Callable[[Config], Setup], configs: Sequence[Config]) -> list[Run]:
    """The runs of configurations that `ready` makes set-ups of; see `train_batch`."""
    runs: dict[int, Run] = {}
    groups: dict[str, list[int]] = {}
    for at, config in enumerate(configs):
        groups.setdefault(digest({name: value for name, value in config.items() if name not in OWN}), []).append(at)
    for members in groups.values():
        runs |= zip(members, _trained_group(ready, [configs[at] for at in members]), strict=True)
    return [runs[at] for at in range(len(configs))]


def _trained_group(ready: Callable[[Config], Setup], configs: Sequence[Config]) -> list[Run]:
    """The runs of configurations of one shape."""
    first = ready(configs[0])
    together = pays(first)
    most = room(first) if together else 1
    done: dict[str, Run] = {}
    waiting: dict[str, Setup] = {}
    keys = []
    for config in configs:
        setup = ready(config)
        keys.append(fingerprint(setup))
        if keys[-1] not in done:
            waiting[keys[-1]] = setup
        if len(waiting) == most:
            done |= _trained_parts(waiting, together)
            waiting = {}
    done |= _trained_parts(waiting, together)
    return [replace(done[key], config=dict(config)) for key, config in zip(keys, configs, strict=True)]


def _trained_parts(waiting: dict[str, Setup], together: bool) -> dict[str, Run]:
    setups = list(waiting.values())
    runs = train_lockstep(setups) if together and setups else [train_prepared(setup) for setup in setups]
    return dict(zip(waiting, runs, strict=True))


def placed(setup: Setup, device: str) -> Setup:
    """The set-up with its network and data on `device`."""
    if device == "cpu":
        return setup
    setup.model.to(device)  # the parameters stay the objects that the optimizer knows
    return replace(setup, data=_data_on(setup.data, device))


@lru_cache(maxsize=8)
def _data_on(data: Dataset, device: str) -> Dataset:
    return replace(data, **{n: getattr(data, n).to(device) for n in ("x_train", "y_train", "x_test", "y_test")})


def fingerprint(setup: Setup) -> str:
    """What fixes a training beyond its shape: initial values, the optimizer's settings, data order and schedule."""
    hashed = hashlib.sha256()
    for name, tensor in setup.model.state_dict().items():
        hashed.update(name.encode())
        hashed.update(tensor.cpu().numpy().tobytes())
    own = {name: value for name, value in setup.settings.model_dump().items() if name in OWN - {"rule"}}
    hashed.update(json.dumps([settings_of(setup), own], sort_keys=True).encode())
    return hashed.hexdigest()


def pays(setup: Setup) -> bool:
    """Whether lockstep is faster than one network at a time, from the shape alone (bench/lockstep.py measures it).

    It is where a step has little arithmetic for each tensor of parameters; on a GPU it always is. A network that draws
    random numbers other than dropout's trains alone.
    """
    tensors = sum(parameter.dim() > 1 for parameter in setup.model.parameters())
    small = setup.data.x_train.is_cuda or flops_per_step(setup) / max(1, tensors) < PAYS_BELOW
    return small and not drawn(setup, 2).others


def room(setup: Setup) -> int:
    """How many members fit into MEMORY: parameters, gradient, moments, settings, and what the backward pass keeps."""
    return max(2, int(MEMORY // bytes_each(setup)))


def bytes_each(setup: Setup) -> int:
    """Bytes that a member takes in a stack, with twice what the backward pass keeps."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    examples = setup.data.x_train[: setup.settings.batch_size]
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        setup.model.eval()(examples)
    size = sum(parameter.numel() * parameter.element_size() for parameter in setup.model.parameters())
    return 9 * size + 2 * kept


def train_lockstep(setups: Sequence[Setup]) -> list[Run]:
    """Train set-ups of one shape together: they may differ in what OWN names, and in the plan's settings.

    Where memory runs out, the stack is halved and trained again. A member that diverges leaves its stack at the next
    look; it is a result, as in `train`. `seconds` of a run is its share of the stack's wall time.
    """
    try:
        return _train_stack(setups)
    except (MemoryError, RuntimeError) as error:
        if len(setups) == 1 or not _out_of_memory(error):
            raise
    half = len(setups) // 2
    return train_lockstep(setups[:half]) + train_lockstep(setups[half:])


def _out_of_memory(error: Exception) -> bool:
    """Torch says it by a type on a GPU, by words on a CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _train_stack(setups: Sequence[Setup]) -> list[Run]:
    progress = [Progress(setup) for setup in setups]
    started = time.perf_counter()
    with one_thread():
        # A stack of one would go through other kernels than one of many: alone, a member keeps itself company.
        living = list(range(len(setups))) if len(setups) > 1 else [0, 0]
        stack = stacked([setups[at] for at in living])
        living = _trained(stack, setups, progress, living)
        final = _scores(stack, progress, living, setups[0].settings.final_examples)
        metrics = [each.metrics(final.get(at)) for at, each in enumerate(progress)]
    seconds = (time.perf_counter() - started) / len(setups)
    return [finished(*each, seconds, ENGINE) for each in zip(setups, progress, metrics, strict=True)]


def _trained(stack: Stack, setups: Sequence[Setup], progress: Sequence[Progress], living: list[int]) -> list[int]:
    """Take every step; the members (as indices into `setups`) that are alive at the end."""
    first = setups[0]
    steps, data = first.settings.steps, first.data
    milestones = progress[0].milestones
    factors = [schedule(s.settings.schedule, steps, s.settings.warmup) for s in setups]
    orders = {s.settings.seed: batches(len(data.x_train), s.settings.batch_size, s.settings.seed) for s in setups}
    masks = StackedMasks(first, {at: setups[at].settings.seed for at in living})
    _evaluate(stack, progress, living, 0)
    pending: list[Tensor] = []
    for step in range(1, steps + 1):
        drawn = {seed: next(order) for seed, order in orders.items()}
        x, y = _examples(first, [drawn[setups[at].settings.seed] for at in living])
        pending.append(stack.step(x, y, [factors[at][step - 1] for at in living], masks(living)))
        if step in milestones or step % CHECK_EVERY == 0:
            for at, losses in dict(zip(living, torch.stack(pending, 1).tolist(), strict=True)).items():
                progress[at].take(losses)
            pending.clear()
            living = _without_diverged(stack, progress, living)
            if not living:
                return []
        if step in milestones:
            _evaluate(stack, progress, living, step)
    return living


def _examples(setup: Setup, indices: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    """Every member's batch, (M, batch, ...)."""
    x, y = setup.data.x_train, setup.data.y_train
    if indices[0] is None:
        return x.expand(len(indices), *x.shape), y.expand(len(indices), *y.shape)
    # Members of one seed share their batch, but sharing it in the computation too would go through other kernels.
    chosen = torch.stack([each for each in indices if each is not None]).to(x.device)
    return x[chosen], y[chosen]


def _without_diverged(stack: Stack, progress: Sequence[Progress], living: list[int]) -> list[int]:
    kept = [row for row, at in enumerate(living) if progress[at].diverged_at is None]
    if len(kept) == len(living):
        return living
    if not kept:
        return []
    rows = kept if len(kept) > 1 else kept * 2
    stack.keep(rows)
    return [living[row] for row in rows]


def _evaluate(stack: Stack, progress: Sequence[Progress], living: Sequence[int], step: int) -> None:
    for at, figures in _scores(stack, progress, living, CURVE_EXAMPLES).items():
        progress[at].points[step] = figures


def _scores(
    stack: Stack, progress: Sequence[Progress], living: Sequence[int], most: int
) -> dict[int, dict[str, float]]:
    """Loss and accuracy on both splits of every member, in evaluation mode.

    Members that are still equal (one seed, before any step) are scored once.
    """
    if not living:
        return {}
    data = progress[0].setup.data
    twins: list[int] = []  # for every row, the first one equal to it
    first_of: dict[int, int] = {}
    for row, at in enumerate(living):
        twin = first_of.setdefault(progress[at].setup.settings.seed, row)
        twins.append(twin if torch.equal(stack.values[twin], stack.values[row]) else row)
    rows = sorted(set(twins))
    rows = rows if len(rows) > 1 else rows * 2  # never a stack of one: see _train_stack
    figures: dict[int, dict[str, float]] = {row: {} for row in rows}
    chunk = min(CHUNK, 2 * (progress[0].setup.settings.batch_size or CHUNK))  # about what a step keeps, of every member
    stack.skeleton.eval()
    for split, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
        x, y = spread(x, most), spread(y, most)
        total = torch.zeros(2, len(rows), dtype=torch.float64, device=x.device)
        for some_x, some_y in zip(x.split(chunk), y.split(chunk), strict=True):
            total += torch.stack([each.double() for each in stack.scores(some_x, some_y, rows)]) * len(some_x)
        for row, loss, right in zip(rows, *(total / len(x)).tolist(), strict=True):
            figures[row][f"{split}_loss"] = loss
            if not y.is_floating_point():
                figures[row][f"{split}_accuracy"] = right
    stack.skeleton.train()
    return {at: figures[twin] for at, twin in zip(living, twins, strict=True)}
