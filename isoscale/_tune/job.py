"""The training callable of a user's own model: what a sweep calls, here and in its worker processes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from isoscale._plan import Plan, Planner
from isoscale._records.run import Config, Run
from isoscale._train.data import Dataset
from isoscale._train.lockstep import trained
from isoscale._train.settings import Settings
from isoscale._train.setup import Setup, optimizer
from isoscale._tune.data import dataset

Loss = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Job:
    """Trains configurations of one user's model; importable wherever its functions are.

    A configuration's "size" lists the builder's arguments, [["width", 64], ["depth", 4]]; its other keys are those of
    `isoscale._train`. `loss` None takes cross entropy for whole targets, the mean square error for real ones.
    `channel`: the axis of the output that holds the classes, -1 or (torch's own convention) 1.
    """

    build: Callable[..., nn.Module]
    data: Any
    loss: Loss | None
    base: tuple[tuple[str, Any], ...]
    rule: str
    optimizer: str
    channel: int = -1

    def __call__(self, configs: Sequence[Config]) -> list[Run]:
        """The runs of the configurations, in their order: in lockstep where that pays, else one after another."""
        return trained(self.prepare, configs)

    def prepare(self, config: Config) -> Setup:
        """One configuration, ready to train: the model drawn from its seed and rescaled by the plan."""
        known = {field for field in Settings.model_fields if field not in ("model", "data", "loss")}
        settings = Settings(**{name: value for name, value in config.items() if name in known})
        size = tuple((str(key), value) for key, value in config["size"])
        data, recipe = loaded(self), planned(self, size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = recipe.init_(self.build(**dict(size)))
        model.register_forward_hook(_OneTensor(self.channel))
        stepper = optimizer(settings, recipe, model)
        flops = counted(self, size, settings.batch_size or len(data.x_train))
        return Setup(dict(config), settings, data, recipe, model, stepper, self.objective(data), flops)

    def objective(self, data: Dataset) -> Loss:
        """The loss of the model's output and the targets."""
        if self.loss is not None and self.channel != -1:
            return _ClassesBack(self.loss, self.channel)
        if self.loss is not None:
            return self.loss
        return F.mse_loss if data.y_train.is_floating_point() else cross_entropy


@dataclass(frozen=True)
class _OneTensor:
    """The loop takes one tensor, and counts right answers over its last axis: move the classes there."""

    channel: int

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Tensor:
        return first_tensor(output).movedim(self.channel, -1)


@dataclass(frozen=True)
class _ClassesBack:
    """The user's own loss sees the output as the model made it."""

    loss: Loss
    channel: int

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        return self.loss(output.movedim(-1, self.channel), y)


def cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """Mean over examples and positions of the cross entropy, classes along the last axis; -100 is left out."""
    return F.cross_entropy(output.flatten(0, -2), y.flatten())


@lru_cache(maxsize=4)
def loaded(job: Job) -> Dataset:
    """The job's data, read once a process."""
    return dataset(job.data, naming(job.data))


@lru_cache(maxsize=4)
def planner(job: Job) -> Planner:
    """Plans over the job's base."""
    return Planner(job.build, dict(job.base), (loaded(job).x_train[:2],), job.rule, job.optimizer)


@lru_cache(maxsize=64)
def planned(job: Job, size: tuple[tuple[str, Any], ...]) -> Plan:
    """The plan of one size; traced once a process. The base's initialisation is measured on one draw for every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return planner(job).plan(dict(size))


@lru_cache(maxsize=64)
def counted(job: Job, size: tuple[tuple[str, Any], ...], batch: int) -> int:
    """Operations of one step, forward and backward: on the meta device where the model runs there, which computes
    nothing; elsewhere those of two examples on the real model, in proportion."""
    x = loaded(job).x_train[:2]
    try:
        with torch.device("meta"):
            return operations(job.build, size, x.new_empty((batch, *x.shape[1:]), device="meta"))
    except Exception:
        return operations(job.build, size, x) * batch // len(x)


def operations(build: Callable[..., nn.Module], size: tuple[tuple[str, Any], ...], x: Tensor) -> int:
    """Floating-point operations of a forward and a backward pass, as torch counts them."""
    with torch.random.fork_rng(devices=[]), FlopCounterMode(display=False) as counter:
        first_tensor(build(**dict(size))(x)).sum().backward()
    return int(counter.get_total_flops())


def first_tensor(output: Any) -> Tensor:
    """The tensor a model returns: the first of several, "logits" of a dict that has them."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping) and output:
        return first_tensor(output["logits"] if "logits" in output else next(iter(output.values())))
    if isinstance(output, tuple | list) and output:
        return first_tensor(output[0])
    raise TypeError(f"the model returns a {type(output).__name__}, not a tensor")


def naming(given: Any) -> str:
    """What to call a thing in a record: a path, a function's name, or its type."""
    if isinstance(given, str):
        return given
    name = getattr(given, "__qualname__", None)
    return name if isinstance(name, str) else type(given).__name__
