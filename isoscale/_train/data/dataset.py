"""A data set as the loop sees it: four tensors, what they are, and a name and hash that travel with every run."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from isoscale._records.wording import printable

Array = np.ndarray[Any, Any]
Kind = Literal["image", "vector", "tokens", "own"]
AXES = {"image": ("channels", "height", "width"), "vector": ("features",), "tokens": ("context",)}


class DataError(ValueError):
    """A data set that cannot be read, or is not what its layout promises; says which file and what is wrong."""

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples and targets, split for training and testing; nobody writes into the tensors.

    Shapes by `kind`: "image" (examples, channels, height, width) and "vector" (examples, features), float32,
    standardised; "tokens" (examples, context), int64; "own": a user's, of any shape, as it came. Targets: int64
    classes (examples,), int64 next tokens (examples, context), or float32 regression targets (examples, outputs).
    `outputs` is the number of classes, tokens or targets. `sha256` is the hash of the raw content, before
    standardisation. Raises `DataError` when the pieces do not fit together.
    """

    name: str
    sha256: str
    kind: Kind
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    outputs: int

    def __post_init__(self) -> None:
        for split, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            self._check(split, x, y)
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise DataError(
                f"{self.name}: a train example is {tuple(self.x_train.shape[1:])}, a test example "
                f"{tuple(self.x_test.shape[1:])} - both splits go through one network - cut or pad one of them"
            )

    def _check(self, split: str, x: Tensor, y: Tensor) -> None:
        if self.kind in AXES and x.dim() != len(AXES[self.kind]) + 1:
            axes = ", ".join(("examples", *AXES[self.kind]))
            raise DataError(f"{self.name}: x_{split} is {tuple(x.shape)}, but {self.kind} data is ({axes})")
        if x.numel() == 0:
            raise DataError(f"{self.name}: x_{split} is empty, {tuple(x.shape)}")
        if len(x) != len(y):
            raise DataError(f"{self.name}: x_{split} has {len(x)} examples, y_{split} has {len(y)}")
        for what, values in ((f"x_{split}", x), (f"y_{split}", y)):
            if values.is_floating_point() and not bool(torch.isfinite(values).all()):
                raise DataError(f"{self.name}: {what} has values that are not finite - no loss could be - remove them")
        classes = self.kind != "own" and not y.is_floating_point()  # what others' numbers mean, only their loss knows
        if classes and (int(y.min()) < 0 or int(y.max()) >= self.outputs):
            raise DataError(
                f"{self.name}: y_{split} runs from {int(y.min())} to {int(y.max())}, but classes are 0 to "
                f"{self.outputs - 1}"
            )

    @property
    def inputs(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.x_train.shape[1:])

    @property
    def record(self) -> dict[str, str]:
        """What a run keeps of its data: name and sha256."""
        return {"name": self.name, "sha256": self.sha256}


def from_arrays(
    name: str, sha256: str, kind: Kind, x_train: Array, y_train: Array, x_test: Array, y_test: Array, outputs: int = 0
) -> Dataset:
    """A `Dataset` from numpy arrays: examples standardised by the train split, targets given their dtype.

    Images are standardised per channel, vectors over all entries, tokens not at all. `outputs` is counted from the
    targets when it is 0.
    """
    for what, array in (("x_train", x_train), ("y_train", y_train), ("x_test", x_test), ("y_test", y_test)):
        if array.dtype.kind not in "buif":
            raise DataError(f"{name}: {what} holds {array.dtype}, not numbers")
        if array.size == 0 or array.ndim == 0:
            raise DataError(f"{name}: {what} is empty, {array.shape}")
    real = y_train.dtype.kind == "f"
    if real != (y_test.dtype.kind == "f"):
        raise DataError(f"{name}: y_train is {y_train.dtype}, y_test is {y_test.dtype} - both whole or both real")
    if real:
        y_train, y_test = (y.astype(np.float32).reshape(len(y), -1) for y in (y_train, y_test))
        outputs = outputs or y_train.shape[1]
        if y_train.shape[1] != y_test.shape[1]:
            raise DataError(f"{name}: y_train has {y_train.shape[1]} targets an example, y_test {y_test.shape[1]}")
    else:
        y_train, y_test = y_train.astype(np.int64), y_test.astype(np.int64)
        outputs = outputs or int(max(y_train.max(), y_test.max())) + 1
    if kind == "tokens":
        x_train, x_test = x_train.astype(np.int64), x_test.astype(np.int64)
    else:
        x_train, x_test = standardised(kind, x_train, x_test)
    x, y, x_held, y_held = (torch.from_numpy(np.ascontiguousarray(a)) for a in (x_train, y_train, x_test, y_test))
    return Dataset(name, sha256, kind, x, y, x_held, y_held, outputs)


def standardised(kind: Kind, train: Array, test: Array) -> tuple[Array, Array]:
    """Both splits less the train split's mean, over its standard deviation, as float32."""
    axes = (0, 2, 3) if kind == "image" and train.ndim == 4 else None
    mean = train.mean(axis=axes, keepdims=True, dtype=np.float64)
    std = train.std(axis=axes, keepdims=True, dtype=np.float64)
    std = np.where(std > 0, std, 1.0)
    if train.ndim != test.ndim:
        return train.astype(np.float32), test.astype(np.float32)  # the record says what does not fit
    with np.errstate(invalid="ignore"):
        return ((train - mean) / std).astype(np.float32), ((test - mean) / std).astype(np.float32)


def hash_arrays(*arrays: Array) -> str:
    """Sha256 of the arrays' dtypes, shapes and little-endian bytes, in order."""
    sha = hashlib.sha256()
    for array in arrays:
        plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        sha.update(f"{plain.dtype.str}{plain.shape}".encode())
        sha.update(plain.tobytes())
    return sha.hexdigest()


def hash_files(root: Path, paths: Iterable[Path]) -> str:
    """Sha256 of the files' names (relative to `root`), sizes and bytes, in the order given."""
    sha = hashlib.sha256()
    for path in paths:
        sha.update(f"{path.relative_to(root).as_posix()} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                sha.update(chunk)
    return sha.hexdigest()
