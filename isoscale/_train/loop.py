"""The training loop: one configuration in, one run out. The same configuration gives the same run, bit for bit."""

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version

import torch
from torch import Tensor

from isoscale._records.run import Config, Run
from isoscale._train.noise import Noise
from isoscale._train.progress import Progress
from isoscale._train.schedule import batches, schedule
from isoscale._train.setup import Setup, flops_per_step, prepare

PLAIN = "plain loop 1"
"""The engine of `train`: a new number where its numbers change."""


def train(config: Config) -> Run:
    """Train one configuration and say what came out.

    Metrics: train_loss and test_loss (the splits at the end, in evaluation mode), smoothed_train_loss (mean batch loss
    over the last tenth of training) and, for classes, train_accuracy and test_accuracy. Curves: the same at a few
    points on up to 512 fixed examples of each split, and batch_loss as means over windows. A run whose batch loss
    stops being a number, or passes 1000 times the first one, ends there with status "diverged", the step, and infinite
    losses. Dropout draws from a generator of the seed. Torch works with one thread meanwhile. Raises `ConfigError`,
    `DataError` or the plan's error at once.
    """
    return train_prepared(prepare(config))


def train_prepared(setup: Setup) -> Run:
    """Train a set-up that is at its initialisation; see `train`."""
    progress = Progress(setup)
    started = time.perf_counter()
    with one_thread():
        progress.evaluate(0)
        for step, loss in training(setup):
            if not progress.follow(step, loss):
                break
        metrics = progress.metrics()
    return finished(setup, progress, metrics, time.perf_counter() - started)


def finished(
    setup: Setup, progress: Progress, metrics: Mapping[str, float], seconds: float, engine: str = PLAIN
) -> Run:
    """The run that a configuration became; `engine` says what trained it, which its last bits depend on."""
    steps = len(progress.losses)
    return Run(
        config=setup.config,
        metrics=metrics,
        status="finished" if progress.diverged_at is None else "diverged",
        diverged_at=progress.diverged_at,
        steps=steps,
        flops=float(flops_per_step(setup) * steps),
        seconds=seconds,
        curves=progress.curves(),
        data=setup.data.record,
        versions=versions() | {"engine": engine},
    )


def training(setup: Setup) -> Iterator[tuple[int, Tensor]]:
    """Take every step of a set-up, giving (steps taken, batch loss before the step) after each."""
    settings, data, model, optimizer = setup.settings, setup.data, setup.model, setup.optimizer
    peaks = [(group, group["lr"]) for group in optimizer.param_groups]
    factors = schedule(settings.schedule, settings.steps, settings.warmup)
    order = batches(len(data.x_train), settings.batch_size, settings.seed)
    noise = Noise(setup)
    model.train()
    for step, (factor, indices) in enumerate(zip(factors, order), start=1):
        for group, peak in peaks:
            group["lr"] = peak * factor
        x, y = data.x_train, data.y_train
        if indices is not None:
            indices = indices.to(x.device)
            x, y = x.index_select(0, indices), y.index_select(0, indices)
        with noise.step():
            loss = setup.loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield step, loss.detach()


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch with one thread: more of them sum in another order, and are slower on small networks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def versions() -> dict[str, str]:
    """Versions of what a run's bits depend on."""
    packages = {name: version(name) for name in ("isoscale", "torch", "numpy")}
    return {"python": platform.python_version()} | packages
