"""Readers of token streams: train.bin and val.bin, 16 bits a token, little-endian, nothing else in the file."""

from pathlib import Path

import numpy as np

from isoscale._train.data.builtin import windows
from isoscale._train.data.dataset import Array, DataError, Dataset, from_arrays, hash_files

FILES = ("train.bin", "val.bin")


def is_tokens(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in FILES)


def read_tokens(path: Path, context: int) -> Dataset:
    """train.bin and val.bin as uint16, cut into windows; the vocabulary is the largest token plus one.

    The layout has no length of its own: a file cut short at a whole token reads as a shorter text (its sha256 tells).
    The whole of it is held in memory, at eight bytes a token.
    """
    files = [path / name for name in FILES]
    streams = [stream(file) for file in files]
    (x_train, y_train), (x_test, y_test) = (
        windows(str(file), tokens, context) for file, tokens in zip(files, streams, strict=True)
    )
    vocabulary = int(max(tokens.max() for tokens in streams)) + 1
    sha256 = hash_files(path, files)
    return from_arrays(path.name, sha256, "tokens", x_train, y_train, x_test, y_test, outputs=vocabulary)


def stream(path: Path) -> Array:
    if not path.is_file():
        raise DataError(f"{path.parent}: {path.name} is missing")
    size = path.stat().st_size
    if size == 0 or size % 2:
        raise DataError(f"{path}: {size} bytes are not a whole number of 16-bit tokens - write it again as uint16")
    return np.fromfile(path, dtype="<u2")
