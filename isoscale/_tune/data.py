"""A user's data, in any of the forms people have it in, as four tensors."""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isoscale._train.data import DataError, Dataset, load
from isoscale._train.data.dataset import hash_arrays
from isoscale._tune.errors import TuneError

MOST = 50_000  # examples of a split that are read; a tuning run sees steps x batch size of them
HELD_OUT = 10  # of data in one piece every tenth example is held out
NAMES = ("x_train", "y_train", "x_test", "y_test")
FORMS = (
    "give (x_train, y_train), (x_test, y_test) as tensors or arrays, a dict or .npz with those names, or a torch "
    "Dataset (or an iterable of batches) of (x, y) pairs for each split"
)


def dataset(given: Any, name: str = "data") -> Dataset:
    """The data that `given` is or returns: a callable is called, text is a built-in name or a path.

    Forms: ((x_train, y_train), (x_test, y_test)), the four in a row or by name, a torch Dataset or an iterable of
    (x, y) batches for each split; in one piece, every tenth example is held out. Real numbers become float32, whole
    ones int64; nothing else is done to them. Raises TuneError, or DataError for a file.
    """
    if isinstance(given, str | Path):
        return _file(given)
    if callable(given) and not isinstance(given, Mapping):
        try:
            given = given()
        except TypeError as error:
            if "argument" in str(error):
                raise TuneError(f"{name} cannot be called without arguments: {error}; {FORMS}") from error
            raise
    if isinstance(given, str | Path):
        return _file(given)
    if isinstance(given, Dataset):
        return given
    (x, y), (x_held, y_held) = _splits(given, name)
    _agree(name, x, y, x_held, y_held)
    outputs = 0 if y.is_floating_point() else int(max(y.max(), y_held.max())) + 1
    sha256 = hash_arrays(*(each.numpy() for each in (x, y, x_held, y_held)))
    return Dataset(name, sha256, "own", x, y, x_held, y_held, outputs or y[0].numel())


def _file(path: str | Path) -> Dataset:
    try:
        return load(str(path))
    except DataError as error:
        raise TuneError(
            f"{error}\nAny other file (a table, a text, a database) is read by a function of yours, my.py:data, that "
            "returns (x_train, y_train), (x_test, y_test)"
        ) from error


def _splits(given: Any, name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    if isinstance(given, Mapping):
        missing = [each for each in NAMES if each not in given]
        if missing:
            raise TuneError(
                f"{name} is a dict without {', '.join(missing)}; it has {', '.join(map(str, given))}; {FORMS}"
            )
        given = tuple(given[each] for each in NAMES)
    if isinstance(given, tuple | list) and len(given) == 4 and all(map(_is_array, given)):
        return _pair(given[:2], name), _pair(given[2:], name)
    if isinstance(given, tuple | list) and len(given) == 2 and not all(map(_is_array, given)):
        return _pair(given[0], f"{name} (train)"), _pair(given[1], f"{name} (test)")
    return _held_out(*_pair(given, name))


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _pair(given: Any, name: str) -> tuple[Tensor, Tensor]:
    """One split as (x, y)."""
    if isinstance(given, tuple | list) and len(given) == 2 and all(map(_is_array, given)):
        return _tensor(given[0], name), _tensor(given[1], name)
    if isinstance(given, torch.utils.data.Dataset) and not isinstance(given, torch.utils.data.IterableDataset):
        count = len(given)  # type: ignore[arg-type]
        if count == 0:
            raise TuneError(f"{name} is an empty Dataset")
        chosen = range(count) if count <= MOST else [at * count // MOST for at in range(MOST)]
        items = [_item(given[at], name) for at in chosen]
        return _stacked([x for x, _ in items], name), _stacked([y for _, y in items], name)
    if isinstance(given, Iterable) and not isinstance(given, Tensor | np.ndarray | str | bytes):
        return _batches(given, name)
    raise TuneError(f"{name} is a {type(given).__name__}, no pair of examples and targets; {FORMS}")


def _batches(given: Iterable[Any], name: str) -> tuple[Tensor, Tensor]:
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    for item in islice(given, MOST):
        x, y = _item(item, name)
        if x.dim() == 0 or y.dim() == 0 or len(x) != len(y):
            raise TuneError(f"{name} yields x {tuple(x.shape)} and y {tuple(y.shape)}: a batch has as many of both")
        xs.append(x)
        ys.append(y)
        if sum(map(len, xs)) >= MOST:
            break
    if not xs:
        raise TuneError(f"{name} yields nothing; {FORMS}")
    try:
        return torch.cat(xs), torch.cat(ys)
    except RuntimeError as error:
        raise TuneError(f"{name} yields batches of different shapes: {error}; cut or pad them to one") from error


def _item(item: Any, name: str) -> tuple[Tensor, Tensor]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        what = f"a dict of {', '.join(map(str, item))}" if isinstance(item, Mapping) else f"a {type(item).__name__}"
        raise TuneError(
            f"{name} yields {what}, not a pair (x, y): the loss is loss(model(x), y); make the pair in the data "
            "function, and a model of one input in the builder"
        )
    return _tensor(item[0], name), _tensor(item[1], name)


def _tensor(value: Any, name: str) -> Tensor:
    """Any numbers as float32 or int64 on the CPU."""
    try:
        tensor = torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TuneError(f"{name} holds a {type(value).__name__}, not numbers: {error}; {FORMS}") from error
    if tensor.is_complex():
        raise TuneError(f"{name} holds complex numbers: split them into two real channels")
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64).contiguous()


def _stacked(tensors: list[Tensor], name: str) -> Tensor:
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        shown = ", ".join(map(str, sorted(shapes)[:3]))
        raise TuneError(f"{name}: examples have different shapes, {shown}: cut or pad them to one in the data function")
    return torch.stack(tensors)


def _held_out(x: Tensor, y: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    held = torch.arange(len(x)) % HELD_OUT == HELD_OUT - 1
    if len(x) != len(y) or not held.any():
        raise TuneError(
            f"data in one piece: {len(x)} examples and {len(y)} targets; at least {HELD_OUT}, as many of both"
        )
    return (x[~held], y[~held]), (x[held], y[held])


def _agree(name: str, x: Tensor, y: Tensor, x_held: Tensor, y_held: Tensor) -> None:
    if y.is_floating_point() != y_held.is_floating_point() or y.shape[1:] != y_held.shape[1:]:
        raise TuneError(
            f"{name}: train targets are {y.dtype} {tuple(y.shape[1:])} an example, test targets {y_held.dtype} "
            f"{tuple(y_held.shape[1:])}: one loss reads both, so make them alike"
        )
