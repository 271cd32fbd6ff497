"""From a configuration to everything the loop needs: data, network, plan, optimizer. Plans and counts are cached."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from isoscale._plan import Plan, plan
from isoscale._records.run import Config
from isoscale._train.data import Dataset, load
from isoscale._train.models import MODELS
from isoscale._train.settings import ConfigError, Settings, parse

LossFunction = Callable[[Tensor, Tensor], Tensor]
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Network:
    """Everything that fixes a reference network but its width and depth; hashable, to cache by."""

    model: str
    inputs: tuple[int, ...]
    outputs: int
    options: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Setup:
    """One configuration, ready to train: the model is at its planned initialisation, the optimizer at step 0. `flops`
    is what a step of it costs where it is no reference network, whose operations are counted."""

    config: Config
    settings: Settings
    data: Dataset
    plan: Plan
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: LossFunction
    flops: int | None = None


def prepare(config: Config) -> Setup:
    """Check a configuration and build what it trains.

    The network is drawn from `torch.manual_seed(seed)` at its own size and then rescaled by the plan, so runs of equal
    size and seed share their noise whatever the rule, optimizer or learning rate. Raises `ConfigError`, `DataError` or
    the plan's error.
    """
    settings = parse(config)
    data = in_dtype(load(settings.data, context=settings.context), settings.dtype)
    check(settings, data)
    net = network(settings, data)
    base, target = (settings.base_width, settings.base_depth), (settings.width, settings.depth)
    recipe = planned(net, base, target, settings.rule, settings.optimizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = builder(net)(width=settings.width, depth=settings.depth)
    model = recipe.init_(model.to(DTYPES[settings.dtype]))
    stepper, loss = optimizer(settings, recipe, model), loss_function(settings, data)
    return Setup(dict(config), settings, data, recipe, model, stepper, loss)


def check(settings: Settings, data: Dataset) -> None:
    """Refuse what only shows once the data is read."""
    kinds = MODELS[settings.model].kinds
    real = data.y_train.is_floating_point()
    mistakes = []
    if data.kind not in kinds:
        fitting = ", ".join(name for name, row in MODELS.items() if data.kind in row.kinds)
        mistakes.append(
            f"model {settings.model!r} reads {' or '.join(kinds)} data, {data.name!r} is {data.kind}: take {fitting}"
        )
    if settings.batch_size is not None and settings.batch_size > len(data.x_train):
        mistakes.append(
            f"batch_size {settings.batch_size} is more than the {len(data.x_train)} examples of {data.name!r}: take "
            f"fewer, or batch_size = None for the whole train split"
        )
    if settings.loss == "cross_entropy" and real:
        mistakes.append(f"loss 'cross_entropy' needs classes, the targets of {data.name!r} are real: take 'mse'")
    if mistakes:
        raise ConfigError("the configuration and the data do not fit:\n" + "\n".join(f"  {m}" for m in mistakes))


def network(settings: Settings, data: Dataset) -> Network:
    """The network that the settings name, fitted to the data."""
    return Network(settings.model, data.inputs, data.outputs, tuple(settings.options.items()))


def builder(net: Network) -> Callable[..., nn.Module]:
    """The model's builder with everything fixed but width and depth."""
    return partial(MODELS[net.model].build, inputs=net.inputs, outputs=net.outputs, **dict(net.options))


@lru_cache(maxsize=256)
def planned(net: Network, base: tuple[int, int], target: tuple[int, int], rule: str, optimizer: str) -> Plan:
    """The plan of a network and pair of sizes, (width, depth) each; traced once a process."""
    sizes = (dict(zip(("width", "depth"), size, strict=True)) for size in (base, target))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the base model's initialisation is measured on one draw, the same for every run
        return plan(builder(net), *sizes, rule=rule, optimizer=optimizer)


def optimizer(settings: Settings, recipe: Plan, model: nn.Module) -> torch.optim.Optimizer:
    """The planned optimizer, at gamma0's learning rate, in torch's fused implementation."""
    descent = settings.optimizer == "sgd"
    lr = settings.lr * (settings.gamma0**2 if descent else settings.gamma0)
    if descent:
        own: dict[str, Any] = {"momentum": settings.momentum, "nesterov": settings.nesterov}
    else:
        own = {"betas": (settings.beta1, settings.beta2), "eps": settings.eps}
    return recipe.optimizer(model, lr=lr, weight_decay=settings.weight_decay, fused=True, **own)


@lru_cache(maxsize=8)
def in_dtype(data: Dataset, dtype: str) -> Dataset:
    """The data with its real tensors in `dtype`; the same object where they are already."""
    if dtype == "float32":
        return data
    tensors = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    real = {name: tensor.to(DTYPES[dtype]) for name, tensor in tensors.items() if tensor.is_floating_point()}
    return replace(data, **real)


def loss_function(settings: Settings, data: Dataset) -> LossFunction:
    """Mean over examples (and tokens) of the cross entropy, or of the square error to targets or one-hot classes."""
    if data.y_train.is_floating_point():
        return F.mse_loss
    if settings.loss == "mse":
        return lambda output, y: F.mse_loss(output, F.one_hot(y, data.outputs).to(output.dtype))
    return lambda output, y: F.cross_entropy(output.flatten(0, -2), y.flatten())


def flops_per_step(setup: Setup) -> int:
    """Floating-point operations of one step's forward and backward pass, as torch counts them."""
    if setup.flops is not None:
        return setup.flops
    settings, data = setup.settings, setup.data
    batch = settings.batch_size or len(data.x_train)
    return counted(network(settings, data), (settings.width, settings.depth), batch, data.x_train.dtype)


@lru_cache(maxsize=256)
def counted(net: Network, size: tuple[int, int], batch: int, dtype: torch.dtype) -> int:
    """The count for a batch, made on the meta device: nothing is computed."""
    with torch.device("meta"):
        model = builder(net)(width=size[0], depth=size[1])
        x = torch.empty(batch, *net.inputs, dtype=dtype)
    with FlopCounterMode(display=False) as counter:
        model.to(dtype if dtype.is_floating_point else None)(x).sum().backward()
    return int(counter.get_total_flops())
