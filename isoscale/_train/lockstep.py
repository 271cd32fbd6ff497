"""The lockstep engine: configurations of one shape train together, as one batched program.

On small networks a step of one network costs its operations' overhead, not their arithmetic. Stacked, M networks
share the overhead. A run's numbers do not depend on who shares the stack, so it may be split and compacted freely.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from isoscale._records.run import Config, Run, digest
from isoscale._train.evaluation import CHUNK, spread
from isoscale._train.loop import finished, one_thread, train_prepared
from isoscale._train.progress import CHECK_EVERY, CURVE_EXAMPLES, FINAL_EXAMPLES, Progress
from isoscale._train.schedule import batches, schedule
from isoscale._train.setup import Setup, flops_per_step, prepare
from isoscale._train.stack import Stack, settings_of, stacked

PAYS_BELOW = 4e6  # operations a parameter tensor a step, above which one network alone fills the machine
MEMORY = 2**30  # bytes that one stack may take
OWN = frozenset({"rule", "seed", "lr", "weight_decay", "momentum", "beta1", "beta2", "eps", "schedule", "warmup"})
"""Settings that members of one stack may differ in."""


def train_batch(configs: Sequence[Config]) -> list[Run]:
    """The runs of several configurations, in their order.

    Those of one shape train in lockstep where that pays, the others one after another. Which way a configuration is
    trained depends on it alone, and in lockstep its numbers do not depend on the others, so the same configuration
    gives the same run, bit for bit, in every batch. `train` is the same computation in the plain way: equal up to the
    rounding of batched kernels. Configurations that mean the same training (two rules at the base size) train once.
    """
    runs: list[Run | None] = [None] * len(configs)
    groups: dict[str, list[int]] = {}
    for at, config in enumerate(configs):
        groups.setdefault(digest({name: value for name, value in config.items() if name not in OWN}), []).append(at)
    for members in groups.values():
        for at, run in zip(members, _trained_group([configs[at] for at in members]), strict=True):
            runs[at] = run
    return [run for run in runs if run is not None]


def _trained_group(configs: Sequence[Config]) -> list[Run]:
    """The runs of configurations of one shape."""
    first = prepare(configs[0])
    together = pays(first)
    most = room(first) if together else 1
    done: dict[str, Run] = {}
    waiting: dict[str, Setup] = {}
    keys = []
    for config in configs:
        setup = prepare(config)
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


def fingerprint(setup: Setup) -> str:
    """What fixes a training beyond its shape: initial values, the optimizer's settings, data order and schedule."""
    hashed = hashlib.sha256()
    for name, tensor in setup.model.state_dict().items():
        hashed.update(name.encode())
        hashed.update(tensor.numpy().tobytes())
    own = {name: value for name, value in setup.settings.model_dump().items() if name in OWN - {"rule"}}
    hashed.update(json.dumps([settings_of(setup), own], sort_keys=True).encode())
    return hashed.hexdigest()


def pays(setup: Setup) -> bool:
    """Whether lockstep is faster than one network at a time, from the shape alone (bench/lockstep.py measures it).

    It is where a step has little arithmetic for each tensor of parameters. Convolutions train alone: stacked they
    become grouped ones (at 8 channels that gained all the same, bench/facts/lockstep.json; wider was not measured). A
    network that draws random numbers in its forward pass trains alone, with its own.
    """
    modules = list(setup.model.modules())
    if any(isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and _spatial(module) for module in modules):
        return False
    tensors = sum(parameter.dim() > 1 for parameter in setup.model.parameters())
    return flops_per_step(setup) / max(1, tensors) < PAYS_BELOW and not _draws(setup)


def _spatial(module: nn.Module) -> bool:
    """A convolution that is more than a linear map of patches."""
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    return module.kernel_size != module.stride


def _draws(setup: Setup) -> bool:
    """Whether a forward pass in training mode takes random numbers."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before = torch.get_rng_state()
        buffers = {name: buffer.clone() for name, buffer in setup.model.named_buffers()}
        setup.model.train()
        setup.model(setup.data.x_train[:2])
        for name, buffer in setup.model.named_buffers():
            buffer.copy_(buffers[name])
        return not torch.equal(before, torch.get_rng_state())


def room(setup: Setup) -> int:
    """How many members fit into MEMORY: parameters, gradient, moments, settings, and what the backward pass keeps."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    examples = setup.data.x_train[: setup.settings.batch_size]
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        setup.model.eval()(examples)
    size = sum(parameter.numel() * parameter.element_size() for parameter in setup.model.parameters())
    return max(2, int(MEMORY // (9 * size + 2 * kept)))


def train_lockstep(setups: Sequence[Setup]) -> list[Run]:
    """Train set-ups of one shape together: they may differ in what OWN names, and in the plan's settings.

    A member that diverges leaves the stack at the next look; it is a result, as in `train`. `seconds` of a run is its
    share of the stack's wall time.
    """
    progress = [Progress(setup) for setup in setups]
    started = time.perf_counter()
    with one_thread():
        # A stack of one would go through other kernels than one of many: alone, a member keeps itself company.
        living = list(range(len(setups))) if len(setups) > 1 else [0, 0]
        stack = stacked([setups[at] for at in living])
        living = _trained(stack, setups, progress, living)
        scores = _scores(stack, setups[0], FINAL_EXAMPLES) if living else []
        final = dict(zip(living, scores, strict=True))
        metrics = [each.metrics(final.get(at)) for at, each in enumerate(progress)]
    seconds = (time.perf_counter() - started) / len(setups)
    return [finished(*each, seconds) for each in zip(setups, progress, metrics, strict=True)]


def _trained(stack: Stack, setups: Sequence[Setup], progress: Sequence[Progress], living: list[int]) -> list[int]:
    """Take every step; the members (as indices into `setups`) that are alive at the end."""
    first = setups[0]
    steps, data = first.settings.steps, first.data
    milestones = progress[0].milestones
    factors = [schedule(s.settings.schedule, steps, s.settings.warmup) for s in setups]
    orders = {s.settings.seed: batches(len(data.x_train), s.settings.batch_size, s.settings.seed) for s in setups}
    _evaluate(stack, progress, living, 0)
    pending: list[Tensor] = []
    for step in range(1, steps + 1):
        drawn = {seed: next(order) for seed, order in orders.items()}
        x, y, shared = _examples(first, [drawn[setups[at].settings.seed] for at in living])
        pending.append(stack.step(first.loss, x, y, shared, [factors[at][step - 1] for at in living]))
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


def _examples(setup: Setup, indices: Sequence[Tensor | None]) -> tuple[Tensor, Tensor, bool]:
    """Every member's batch, (M, batch, ...), or the one that all share."""
    x, y = setup.data.x_train, setup.data.y_train
    if indices[0] is None:
        return x, y, True
    # Members of one seed share their batch, but sharing it in the computation too would go through other kernels.
    chosen = torch.stack([each for each in indices if each is not None])
    return x[chosen], y[chosen], False


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
    for at, figures in zip(living, _scores(stack, progress[0].setup, CURVE_EXAMPLES), strict=True):
        progress[at].points[step] = figures


def _scores(stack: Stack, setup: Setup, most: int) -> list[dict[str, float]]:
    """Loss and accuracy on both splits of every member, in evaluation mode."""
    data = setup.data
    figures: list[dict[str, float]] = [{} for _ in range(stack.members)]
    stack.skeleton.eval()
    with torch.no_grad():
        for split, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
            x, y = spread(x, most), spread(y, most)
            loss = torch.zeros(stack.members, dtype=torch.float64)
            right = torch.zeros(stack.members, dtype=torch.float64)
            for some_x, some_y in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
                some_loss, some_right = stack.scores(setup.loss, some_x, some_y)
                loss += some_loss.double() * len(some_x)
                right += some_right.double() * len(some_x)
            for each, its_loss, its_right in zip(figures, loss.tolist(), right.tolist(), strict=True):
                each[f"{split}_loss"] = its_loss / len(x)
                if not y.is_floating_point():
                    each[f"{split}_accuracy"] = its_right / len(x)
    stack.skeleton.train()
    return figures
