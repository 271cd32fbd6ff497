"""Data: what needs no file, and the layouts of users' files. To add a layout is to write a reader and one row."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from isoscale._train.data.builtin import digits, teacher, text
from isoscale._train.data.dataset import DataError, Dataset
from isoscale._train.data.files import (
    is_cifar10,
    is_cifar100,
    is_idx,
    is_image_folder,
    is_npz,
    read_cifar10,
    read_cifar100,
    read_idx,
    read_image_folder,
    read_npz,
)
from isoscale._train.data.imagenet import is_imagenet, is_tiny_imagenet, read_imagenet, read_tiny_imagenet
from isoscale._train.data.tokens import is_tokens, read_tokens

__all__ = ["BUILTIN", "READERS", "DataError", "Dataset", "Reader", "load"]

BUILTIN: MappingProxyType[str, Callable[[int], Dataset]] = MappingProxyType(
    {
        "digits": lambda context: digits(),
        "teacher": lambda context: teacher(),
        "text": lambda context: text(context=context),
    }
)
"""Data that needs no file, by name; each takes the context length, which only text uses."""


@dataclass(frozen=True)
class Reader:
    """One layout of files: how to know it, how to read it, and what it looks like in words."""

    name: str
    layout: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, int], Dataset]


READERS = (
    Reader("npz", "a file .npz with x_train, y_train, x_test, y_test", is_npz, read_npz),
    Reader("cifar10", "a folder with data_batch_1 to data_batch_5 and test_batch", is_cifar10, read_cifar10),
    Reader("mnist", "a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...", is_idx, read_idx),
    Reader("tokens", "a folder with train.bin and val.bin of uint16 tokens", is_tokens, read_tokens),
    Reader(
        "tiny_imagenet",
        "a folder with train/<synset>/images and val/val_annotations.txt",
        is_tiny_imagenet,
        read_tiny_imagenet,
    ),
    Reader("imagenet", "a folder with train/<synset>/*.JPEG and val/<synset>/*.JPEG", is_imagenet, read_imagenet),
    Reader("image_folder", "a folder with train/<class>/*.png and test/...", is_image_folder, read_image_folder),
    Reader("cifar100", "a folder with the files train and test", is_cifar100, read_cifar100),
)
"""Every layout, in the order in which they are tried."""


@lru_cache(maxsize=8)
def load(name: str, *, context: int = 32) -> Dataset:
    """The data set called `name` ("digits", "teacher", "text") or found at the path `name` in a known layout.

    `context` is the length of a window of text or tokens. Read once a process. Raises `DataError`, before anything is
    trained, with the file and what is wrong with it.
    """
    if name in BUILTIN:
        return BUILTIN[name](context)
    path = Path(name).expanduser()
    layouts = "".join(f"\n  {reader.name}: {reader.layout}" for reader in READERS)
    if not path.exists():
        near = get_close_matches(name, BUILTIN, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(f"no data set or path {name!r}: {hint}There are {', '.join(BUILTIN)}, and paths to{layouts}")
    for reader in READERS:
        if reader.recognises(path):
            try:
                return reader.read(path, context)
            except OSError as error:
                raise DataError(f"{path}: {error}") from error
    raise DataError(f"{path}: in no layout that is known. Known are{layouts}")
