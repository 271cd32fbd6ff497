"""Everything a user can get wrong, found before anything is computed: one forward and one backward pass at the base."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isoscale._records.run import digest
from isoscale._train.data import Dataset
from isoscale._tune.errors import TuneError
from isoscale._tune.job import Job, first_tensor, loaded, naming
from isoscale._tune.sizes import spelled

EXAMPLES = 8  # of the batch on which the first pass is made


@dataclass(frozen=True)
class Preflight:
    """What the first passes found: the axis of the classes, what tells this training from another, and warnings.

    `fingerprint` hashes the data and the loss and gradients at initialisation: a store never mixes two trainings, and a
    changed comment does not make a new one.
    """

    channel: int
    fingerprint: str
    warnings: tuple[str, ...]


def preflight(job: Job, batch_size: int) -> Preflight:
    """Check builder, data and loss on one batch at the base size. Raises TuneError with what mends it."""
    base, data = dict(job.base), loaded(job)
    x, y = data.x_train[:EXAMPLES], data.y_train[:EXAMPLES]
    if batch_size > len(data.x_train):
        raise TuneError(
            f"batch_size={batch_size}, and {data.name} has {len(data.x_train)} examples to train on: take fewer, or "
            "more data"
        )
    model = _built(job, base)
    output = _forward(model, x, base)
    channel = _channel(job, output, y, base)
    with torch.random.fork_rng(devices=[]):
        loss = _loss(job, channel, output, y, data, base)
    _backward(loss, model)
    norms = {name: _norm(parameter) for name, parameter in model.named_parameters()}
    warnings = _reproducible(job, base, model) + _unreached(norms)
    content = [data.sha256, f"{loss.item():.5e}", norms]
    return Preflight(channel, digest(content)[:16], warnings)


def _built(job: Job, size: Mapping[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = job.build(**size)
        except TypeError as error:
            raise TuneError(f"{naming(job.build)}({spelled(size)}) cannot be called: {error}") from error
    if not isinstance(model, nn.Module):
        raise TuneError(f"{naming(job.build)}({spelled(size)}) returns a {type(model).__name__}, not a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TuneError(f"{naming(job.build)}({spelled(size)}) has no parameter to train")
    return model.train()


def _forward(model: nn.Module, x: Tensor, size: Mapping[str, Any]) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            output = model(x)
        except Exception as error:
            kind = "token numbers" if not x.is_floating_point() else "numbers"
            raise TuneError(
                f"the model at {spelled(size)} does not take the data: its input is a batch of {kind}, {x.dtype} "
                f"{tuple(x.shape)}, and it raised {type(error).__name__}: {error}"
            ) from error
    try:
        output = first_tensor(output)
    except TypeError as error:
        raise TuneError(
            f"{error}, which the loss takes: let the builder return a module whose output is the tensor, the first of "
            "several, or a dict of one"
        ) from error
    if not bool(torch.isfinite(output).all()):
        raise TuneError(
            f"the output of the model at {spelled(size)} is not finite before the first step: mend its init"
        )
    return output


def _channel(job: Job, output: Tensor, y: Tensor, size: Mapping[str, Any]) -> int:
    """The axis of the classes: the last one, or 1, as torch's own losses have it."""
    if y.is_floating_point():
        if job.loss is None and output.shape != y.shape:
            raise TuneError(
                f"the output at {spelled(size)} is {tuple(output.shape)} and the real targets are {tuple(y.shape)}: "
                "a mean square error of them would broadcast without a word; make the shapes equal, or give a loss"
            )
        return -1
    if output.dim() == y.dim() + 1 and output.shape[:-1] == y.shape:
        return -1
    if output.dim() == y.dim() + 1 and (output.shape[0], *output.shape[2:]) == tuple(y.shape):
        return 1
    raise TuneError(
        f"the output at {spelled(size)} is {tuple(output.shape)} and the targets, whole numbers, are {tuple(y.shape)}: "
        f"classes are told by an output of {(*y.shape, 'classes')}; for a regression let the data return real targets"
    )


def _loss(job: Job, channel: int, output: Tensor, y: Tensor, data: Dataset, size: Mapping[str, Any]) -> Tensor:
    if job.loss is None and not y.is_floating_point():
        classes = output.shape[channel]
        low, high = (int(getattr(torch, end)(data.y_train)) for end in ("min", "max"))
        if high >= classes or (low < 0 and low != -100):
            raise TuneError(
                f"the targets run from {low} to {high}, and the output at {spelled(size)} has {classes} classes: the "
                f"cross entropy takes 0 to {classes - 1} (and -100, which it leaves out)"
                + ("; for one logit give real targets as (examples, 1), and the loss that reads them" * (classes == 1))
            )
    from_own = job.loss is not None
    try:
        torch.manual_seed(0)  # a loss that draws its own noise is told from another training all the same
        loss = job.loss(output, y) if job.loss is not None else job.objective(data)(output.movedim(channel, -1), y)
    except Exception as error:
        raise TuneError(
            f"the loss failed on an output {tuple(output.shape)} and targets {tuple(y.shape)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    name = naming(job.loss) if from_own else "the loss"
    if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.dim() != 0:
        what = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise TuneError(f"{name} returns {what}, not one number: take the mean over examples, loss.mean()")
    if not math.isfinite(loss.item()):
        raise TuneError(
            f"{name} is {loss.item()} before the first step, at {spelled(size)}: look at the targets and the init"
        )
    return loss


def _backward(loss: Tensor, model: nn.Module) -> None:
    if not loss.requires_grad:
        raise TuneError("the loss does not depend on the model's parameters: it was detached, or made of plain numbers")
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if not gradients or not any(bool(gradient.any()) for gradient in gradients):
        raise TuneError("no gradient reaches any parameter: nothing would be trained")
    if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
        raise TuneError("a gradient is not finite before the first step: no learning rate could mend that")


def _norm(parameter: nn.Parameter) -> str | None:
    return None if parameter.grad is None else f"{float(parameter.grad.double().norm()):.5e}"


def _reproducible(job: Job, size: Mapping[str, Any], model: nn.Module) -> tuple[str, ...]:
    """Two builds from one seed must be one network, else seeds mean nothing."""
    again = dict(_built(job, size).named_parameters())
    if all(torch.equal(parameter, again[name]) for name, parameter in model.named_parameters() if name in again):
        return ()
    return (
        "two models built after torch.manual_seed(0) differ: the builder draws from elsewhere, so runs cannot be "
        "repeated and seeds are not shared between learning rates",
    )


def _unreached(norms: Mapping[str, str | None]) -> tuple[str, ...]:
    names = [name for name, norm in norms.items() if norm is None]
    if not names:
        return ()
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (f"no gradient reaches {', '.join(names[:3])}{more}",)
