"""ImageNet and Tiny ImageNet, in the folders they are published in."""

import re
from pathlib import Path

import numpy as np

from isoscale._train.data.dataset import Array, DataError, Dataset, from_arrays, hash_files
from isoscale._train.data.files import labelled, picture, pictures_in, require

SYNSET = re.compile(r"n\d{8}")
SIDE = 32  # pixels: ImageNet's pictures differ in size, and a million of them have to fit into memory


def is_tiny_imagenet(path: Path) -> bool:
    return (path / "val" / "val_annotations.txt").is_file()


def read_tiny_imagenet(path: Path, context: int) -> Dataset:
    """train/<synset>/images/*.JPEG, and val/images/*.JPEG with their synsets in val/val_annotations.txt; 64x64."""
    folders = sorted(folder for folder in (path / "train").glob("n*") if folder.is_dir())
    classes = [folder.name for folder in folders]
    seen = [(file, at) for at, folder in enumerate(folders) for file in pictures_in(folder / "images")]
    notes = require(path / "val" / "val_annotations.txt")
    held = [(path / "val" / "images" / name, at) for name, at in annotated(notes, classes)]
    if not seen or not held:
        raise DataError(f"{path}: no picture in train/<synset>/images, or none in {notes.name}")
    (x_train, y_train), (x_test, y_test) = (
        (np.stack([picture(require(file)) for file, _ in split]), np.array([at for _, at in split]))
        for split in (seen, held)
    )
    sha256 = hash_files(path, [*(file for file, _ in [*seen, *held]), notes])
    train, test = (x.transpose(0, 3, 1, 2) for x in (x_train, x_test))
    return from_arrays("tiny_imagenet", sha256, "image", train, y_train, test, y_test, outputs=len(classes))


def annotated(notes: Path, classes: list[str]) -> list[tuple[str, int]]:
    """(file name, class) of every line: the file, its synset, and a box that is not read."""
    found = []
    for number, line in enumerate(notes.read_text(errors="replace").splitlines(), start=1):
        name, synset, *_ = [*line.split("\t"), "", ""]
        if synset not in classes:
            raise DataError(f"{notes}, line {number}: {synset!r} is no synset of train/, {line!r}")
        found.append((name, classes.index(synset)))
    return found


def is_imagenet(path: Path) -> bool:
    train = path / "train"
    return train.is_dir() and any(SYNSET.fullmatch(folder.name) for folder in train.iterdir())


def read_imagenet(path: Path, context: int) -> Dataset:
    """train/<synset>/*.JPEG and val/<synset>/*.JPEG of any size: the middle square of each, made 32x32, in colour."""
    classes = sorted(folder.name for folder in (path / "train").iterdir() if SYNSET.fullmatch(folder.name))
    if not (path / "val").is_dir():
        raise DataError(f"{path}: has train/ but no val/ - the held-out loss needs it")
    strangers = sorted({folder.name for folder in (path / "val").iterdir() if folder.is_dir()} - set(classes))
    if strangers:
        raise DataError(f"{path}: val/ has {strangers}, which train/ has not")
    splits = (labelled(path / name, classes, read=small) for name in ("train", "val"))
    (x_train, y_train, seen), (x_test, y_test, held) = splits
    sha256 = hash_files(path, [*seen, *held])
    return from_arrays("imagenet", sha256, "image", x_train, y_train, x_test, y_test, outputs=len(classes))


def small(path: Path) -> Array:
    """The middle square of a picture as uint8 (SIDE, SIDE, 3): means over boxes of pixels."""
    from PIL import Image

    pixels = picture(path)
    height, width, channels = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    if channels == 1:
        square = np.repeat(square, 3, axis=2)
    return np.asarray(Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8)
