"""Readers of images and arrays in the layouts their publishers use: CIFAR, MNIST idx, folders of images, npz."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from isoscale._train.data.dataset import Array, DataError, Dataset, Kind, from_arrays, hash_files
from isoscale._train.data.pickles import read_pickle

CIFAR10 = ([f"data_batch_{i}" for i in range(1, 6)], ["test_batch"], "labels", 10)
CIFAR100 = (["train"], ["test"], "fine_labels", 100)
IDX = {"x_train": ("train", 3), "y_train": ("train", 1), "x_test": ("t10k", 3), "y_test": ("t10k", 1)}
NPZ = ("x_train", "y_train", "x_test", "y_test")
PICTURES = {".png", ".jpg", ".jpeg"}
MOST_CLASSES = 1 << 16
MOST_PIXELS = 1 << 26


def require(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path.parent}: {path.name} is missing")
    return path


def is_cifar10(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in (*CIFAR10[0], *CIFAR10[1]))


def is_cifar100(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in (*CIFAR100[0], *CIFAR100[1]))


def read_cifar10(path: Path, context: int) -> Dataset:
    """CIFAR-10's "python version": data_batch_1 to 5 and test_batch, pickles of uint8 (examples, 3072) and labels."""
    return read_cifar("cifar10", path, *CIFAR10)


def read_cifar100(path: Path, context: int) -> Dataset:
    """CIFAR-100's "python version": train and test, with the hundred fine labels."""
    return read_cifar("cifar100", path, *CIFAR100)


def read_cifar(name: str, path: Path, train: list[str], test: list[str], key: str, classes: int) -> Dataset:
    files = [require(path / file) for file in (*train, *test)]
    pairs = [cifar_batch(file, key) for file in files]
    (x_train, y_train), (x_test, y_test) = joined(pairs[: len(train)]), joined(pairs[len(train) :])
    return from_arrays(name, hash_files(path, files), "image", x_train, y_train, x_test, y_test, outputs=classes)


def joined(pairs: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def cifar_batch(path: Path, key: str) -> tuple[Array, Array]:
    batch = read_pickle(path.read_bytes(), str(path))
    if not isinstance(batch, dict) or not {"data", key} <= batch.keys():
        found = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
        raise DataError(f"{path}: a CIFAR batch has 'data' and {key!r}, this holds {found}")
    data, labels = batch["data"], batch[key]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,) or not len(data):
        shape = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{path}: 'data' is {shape}, not uint8 (examples, 3072)")
    if not isinstance(labels, list) or len(labels) != len(data) or {type(label) for label in labels} != {int}:
        raise DataError(f"{path}: {key!r} is not a list of {len(data)} whole numbers, one for each image")
    if not 0 <= min(labels) <= max(labels) < MOST_CLASSES:
        raise DataError(f"{path}: {key!r} runs from {min(labels)} to {max(labels)}")
    return data.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


def idx_candidates(path: Path, split: str, dims: int) -> list[Path]:
    what = "images" if dims == 3 else "labels"
    names = [f"{split}-{what}{dot}idx{dims}-ubyte{gz}" for dot in "-." for gz in ("", ".gz")]
    return [path / name for name in names if (path / name).is_file()]


def is_idx(path: Path) -> bool:
    return path.is_dir() and any(idx_candidates(path, *which) for which in IDX.values())


def read_idx(path: Path, context: int) -> Dataset:
    """MNIST's four idx files (also gzipped): train-images-idx3-ubyte, train-labels-idx1-ubyte and both of t10k."""
    files, arrays = [], []
    for split, dims in IDX.values():
        found = idx_candidates(path, split, dims)
        if not found:
            raise DataError(f"{path}: {split}-{'images' if dims == 3 else 'labels'}-idx{dims}-ubyte(.gz) is missing")
        files.append(found[0])
        arrays.append(idx_array(found[0], dims))
    x_train, y_train, x_test, y_test = arrays
    return from_arrays("mnist", hash_files(path, files), "image", x_train[:, None], y_train, x_test[:, None], y_test)


def idx_array(path: Path, dims: int) -> Array:
    """An idx file of bytes: 0, 0, 8, dims, then `dims` big-endian sizes, then exactly that many bytes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * dims)
            if len(header) < 4 + 4 * dims or header[:4] != bytes((0, 0, 8, dims)):
                raise DataError(f"{path}: starts with {header[:4]!r}, where idx of {dims}-d bytes has 0, 0, 8, {dims}")
            shape = struct.unpack(f">{dims}I", header[4:])
            size = int(np.prod([float(side) for side in shape]))
            if not size:
                raise DataError(f"{path}: has no examples, its shape is {shape}")
            content = read_exactly(file, size)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read to its end: {error}") from error
    if len(content) != size:
        held = "more" if len(content) > size else str(len(content))
        raise DataError(f"{path}: promises {shape}, {size} bytes, and holds {held}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def read_exactly(file: Any, size: int) -> bytes:
    """Up to one byte more than `size`, in pieces, so that a false promise in a header reserves no memory."""
    pieces, left = [], size + 1
    while left > 0 and (piece := file.read(min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def image_folders(path: Path) -> tuple[Path, Path] | None:
    for test in ("test", "val"):
        if (path / "train").is_dir() and (path / test).is_dir():
            return path / "train", path / test
    return None


def is_image_folder(path: Path) -> bool:
    return (path / "train").is_dir()


def read_image_folder(path: Path, context: int) -> Dataset:
    """train/<class>/*.png and test/<class>/*.png (or val/; JPEG too), all of one size. Needs Pillow."""
    folders = image_folders(path)
    if folders is None:
        raise DataError(f"{path}: has train/ but neither test/ nor val/ - the held-out loss needs one")
    classes = sorted(folder.name for folder in folders[0].iterdir() if folder.is_dir())
    strangers = sorted({folder.name for folder in folders[1].iterdir() if folder.is_dir()} - set(classes))
    if not classes or strangers:
        raise DataError(f"{path}: train/ has the classes {classes}; {folders[1].name}/ also has {strangers}")
    (x_train, y_train, seen), (x_test, y_test, held) = (labelled(folder, classes) for folder in folders)
    sha256 = hash_files(path, [*seen, *held])
    return from_arrays(path.name, sha256, "image", x_train, y_train, x_test, y_test, outputs=len(classes))


def labelled(
    folder: Path, classes: list[str], read: Callable[[Path], Array] | None = None
) -> tuple[Array, Array, list[Path]]:
    """The pictures of a split, channels first, their classes and their files."""
    listed = [(file, i) for i, name in enumerate(classes) for file in pictures_in(folder / name)]
    if not listed:
        raise DataError(f"{folder}: no .png, .jpg or .jpeg file in any class")
    files = [file for file, _ in listed]
    pictures = [(read or picture)(file) for file in files]
    for file, pixels in zip(files, pictures, strict=True):
        if pixels.shape != pictures[0].shape:
            raise DataError(
                f"{file}: is {pixels.shape}, but {files[0]} is {pictures[0].shape} (height, width, channels) - one "
                f"network reads them all - make them of one size first"
            )
    return np.stack(pictures).transpose(0, 3, 1, 2), np.array([i for _, i in listed], dtype=np.int64), files


def pictures_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.suffix.lower() in PICTURES)


def picture(path: Path) -> Array:
    """One image as uint8 (height, width, channels), with one channel for grey and three for everything else."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(f"{path}: images need Pillow, which is not installed - pip install pillow") from error
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"{path}: {image.width}x{image.height} pixels are more than {MOST_PIXELS}")
            grey = image.mode in ("1", "L")
            pixels = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
    except DataError:
        raise
    except Exception as error:  # a torn image fails in any of a dozen ways, all of which mean the same
        raise DataError(f"{path}: not a whole image ({type(error).__name__}: {error})") from error
    return pixels[..., None] if grey else pixels


def is_npz(path: Path) -> bool:
    return path.is_file() and path.suffix == ".npz"


def read_npz(path: Path, context: int) -> Dataset:
    """x_train, y_train, x_test, y_test: x (examples, features) or images, y whole numbers (classes) or reals.

    Images are (examples, height, width) or with 1 or 3 channels, first or last.
    """
    arrays = {}
    try:
        # Opened here: on a torn file numpy would leave its own handle open.
        with path.open("rb") as file, zip_of_arrays(path, file) as content:
            missing = sorted(set(NPZ) - set(content.files))
            if missing:
                raise DataError(f"{path}: lacks {', '.join(missing)}; it has {', '.join(content.files) or 'nothing'}")
            arrays = {name: content[name] for name in NPZ}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not an npz file of plain arrays ({type(error).__name__}: {error})") from error
    x_train, y_train, x_test, y_test = (arrays[name] for name in NPZ)
    for name in ("y_train", "y_test"):
        y = arrays[name]
        if y.dtype.kind in "bui" and (y.ndim != 1 or (y.size and not 0 <= int(y.min()) <= int(y.max()) < MOST_CLASSES)):
            raise DataError(f"{path}: {name} is {y.dtype} {y.shape}, classes are whole numbers from 0, one per example")
    kind: Kind = "vector" if x_train.ndim == 2 else "image"
    if kind == "image":
        x_train, x_test = channels_first(path, x_train), channels_first(path, x_test)
    return from_arrays(path.stem, hash_files(path.parent, [path]), kind, x_train, y_train, x_test, y_test)


def zip_of_arrays(path: Path, file: Any) -> Any:
    content = np.load(file, allow_pickle=False)
    if isinstance(content, np.ndarray):
        raise DataError(f"{path}: one array (npy), not four in an npz - np.savez writes them together")
    return content


def channels_first(path: Path, images: Array) -> Array:
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    raise DataError(f"{path}: {images.shape} is neither (examples, features) nor images with 1 or 3 channels")
