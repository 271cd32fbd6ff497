"""Data: what is built in, and one contract for every reader of users' files: right data or one clear error."""

import contextlib
import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from isoscale._train.data import BUILTIN, READERS, DataError, load
from isoscale._train.data.builtin import teacher, text
from isoscale._train.data.dataset import from_arrays
from isoscale._train.data.files import idx_array
from isoscale._train.data.imagenet import small

CONTEXT = 4
CLASSES = {"cifar10": 10, "cifar100": 100, "mnist": 10, "tokens": 50, "image_folder": 2, "npz": 3,
           "tiny_imagenet": 2, "imagenet": 2}  # fmt: skip


def write_cifar(folder: Path, names: list[str], key: str) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in names:
        labels = rng.integers(0, 10, 4).tolist()
        batch = {
            b"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8),
            key.encode(): labels,
            b"filenames": [b"a"] * 4,
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def write_cifar10(folder: Path) -> Path:
    write_cifar(folder, [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], "labels")
    return folder


def write_cifar100(folder: Path) -> Path:
    write_cifar(folder, ["train", "test"], "fine_labels")
    return folder


def write_mnist(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("t10k", 5)):
        images, labels = rng.integers(0, 256, count * 28 * 28, dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10
        content = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + images.tobytes()
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    return folder


def write_tokens(folder: Path) -> Path:
    folder.mkdir()
    tokens = (np.arange(200) * 7 % 50).astype("<u2")
    tokens[:150].tofile(folder / "train.bin")
    tokens[150:].tofile(folder / "val.bin")
    return folder


def write_image_folder(folder: Path) -> Path:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: the reader of images cannot run")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, suffix in (("cat", "png"), ("dog", "jpg")):
            (folder / split / name).mkdir(parents=True)
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            image.fromarray(pixels).save(folder / split / name / f"one.{suffix}")
    return folder


def write_tiny_imagenet(folder: Path) -> Path:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: the reader of images cannot run")
    rng = np.random.default_rng(0)
    (folder / "val" / "images").mkdir(parents=True)
    lines = []
    for at, synset in enumerate(("n01443537", "n01629819")):
        (folder / "train" / synset / "images").mkdir(parents=True)
        for place in (f"train/{synset}/images/{synset}_0.JPEG", f"val/images/val_{at}.JPEG"):
            image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / place)
        lines.append(f"val_{at}.JPEG\t{synset}\t0\t32\t44\t62")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_imagenet(folder: Path) -> Path:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: the reader of images cannot run")
    rng = np.random.default_rng(0)
    for split, sides in (("train", (50, 40)), ("val", (33, 70))):
        for synset, name in (("n01440764", "n01440764_10026"), ("n01443537", "n01443537_2")):
            (folder / split / synset).mkdir(parents=True)
            pixels = rng.integers(0, 256, (*sides, 3), dtype=np.uint8)
            grey = split == "val" and synset == "n01443537"
            image.fromarray(pixels[..., 0] if grey else pixels).save(folder / split / synset / f"{name}.JPEG")
    return folder


def write_npz(path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.normal(size=(9, 5)), "y_train": np.arange(9) % 3, "x_test": rng.normal(size=(3, 5))}
    np.savez_compressed(path.with_suffix(".npz"), **arrays, y_test=np.arange(3))
    return path.with_suffix(".npz")


WRITERS = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "mnist": write_mnist,
    "tokens": write_tokens,
    "image_folder": write_image_folder,
    "npz": write_npz,
    "tiny_imagenet": write_tiny_imagenet,
    "imagenet": write_imagenet,
}


def fresh(path):
    """Load with nothing remembered."""
    load.cache_clear()
    return load(str(path), context=CONTEXT)


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def test_every_reader_is_under_contract() -> None:
    assert {reader.name for reader in READERS} == set(WRITERS) == set(CLASSES)


@pytest.mark.parametrize("name", WRITERS)
def test_a_whole_file_is_read_standardised_and_hashed(name, tmp_path) -> None:
    data = fresh(WRITERS[name](tmp_path / "data"))
    assert data.outputs == CLASSES[name]
    assert len(data.sha256) == 64
    assert data.record == {"name": data.name, "sha256": data.sha256}
    assert data.y_train.dtype == torch.int64
    if data.kind != "tokens":
        assert data.x_train.dtype == torch.float32
        assert abs(data.x_train.mean().item()) < 1e-5
        assert data.x_train.std(correction=0).item() == pytest.approx(1, abs=1e-3)
    again = fresh(WRITERS[name](tmp_path / "again"))
    assert torch.equal(again.x_train, data.x_train)


@pytest.mark.parametrize("name", WRITERS)
def test_a_changed_byte_of_content_changes_the_hash_or_is_refused(name, tmp_path) -> None:
    path = WRITERS[name](tmp_path / "data")
    whole = fresh(path).sha256
    for file in files_of(path):
        content = file.read_bytes()
        file.write_bytes(content[:-30] + bytes([content[-30] ^ 1]) + content[-29:] if len(content) > 30 else b"\0" * 4)
        with contextlib.suppress(DataError):
            assert fresh(path).sha256 != whole
        file.write_bytes(content)


@pytest.mark.parametrize("name", WRITERS)
def test_a_torn_file_is_refused_or_what_is_read_is_right(name, tmp_path) -> None:
    path = WRITERS[name](tmp_path / "data")
    whole, rng, refused = fresh(path), np.random.default_rng(1), 0
    for file in files_of(path):
        content = file.read_bytes()
        offsets = {0, 1, 2, len(content) - 1, *rng.integers(0, len(content), 12).tolist()}
        for offset in sorted(offsets):
            file.write_bytes(content[:offset])
            try:
                torn = fresh(path)
            except DataError as error:
                refused += path.name in str(error)
                continue
            for split in ("x_train", "y_train", "x_test", "y_test"):
                some, every = getattr(torn, split), getattr(whole, split)
                assert torch.equal(some, every[: len(some)]), f"{file.name} cut at {offset}"
        file.write_bytes(content)
    assert refused > 0
    assert fresh(path).sha256 == whole.sha256


@pytest.mark.parametrize("name", WRITERS)
def test_noise_in_place_of_a_file_is_an_error_of_ours(name, tmp_path) -> None:
    path = WRITERS[name](tmp_path / "data")
    rng = np.random.default_rng(2)
    for file in files_of(path):
        content = bytearray(file.read_bytes())
        for _ in range(15):
            noisy = bytearray(content)
            for place in rng.integers(0, len(content), 8):
                noisy[place] = rng.integers(0, 256)
            file.write_bytes(noisy)
            with contextlib.suppress(DataError):
                fresh(path)
        file.write_bytes(b"no such layout")
        if name != "tokens":  # any even number of bytes is tokens
            with pytest.raises(DataError):
                fresh(path)
        file.write_bytes(content)


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"npz", "image_folder", "imagenet", "tiny_imagenet"}))
def test_a_missing_file_is_named(name, tmp_path) -> None:
    path = WRITERS[name](tmp_path / "data")
    for file in files_of(path):
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(DataError, match=rf"{file.name.removesuffix('.gz')}.* is missing"):
            fresh(path)
        file.write_bytes(content)


def test_a_split_without_images_is_named(tmp_path) -> None:
    path = write_image_folder(tmp_path / "data")
    for file in (path / "test").rglob("*.*"):
        file.unlink()
    with pytest.raises(DataError, match=r"test: no .png, .jpg or .jpeg file"):
        fresh(path)


def test_a_name_that_is_nothing_gets_the_close_match_and_the_layouts(tmp_path) -> None:
    with pytest.raises(DataError, match="did you mean 'digits'") as caught:
        load("digit")
    assert all(reader.layout in str(caught.value) for reader in READERS)
    with pytest.raises(DataError, match="in no layout that is known"):
        load(str(tmp_path))


def test_idx_that_promises_more_or_less_than_it_holds_is_refused(tmp_path) -> None:
    path = write_mnist(tmp_path / "data")
    file = path / "train-labels-idx1-ubyte"
    content = file.read_bytes()
    for changed, told in ((content + b"\0", "holds more"), (content[:4] + b"\xff" * 4 + content[8:], "4294967295")):
        file.write_bytes(changed)
        with pytest.raises(DataError, match=told):
            fresh(path)


def test_idx_images_and_labels_that_do_not_match_are_refused(tmp_path) -> None:
    path = write_mnist(tmp_path / "data")
    (path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 3) + b"\1\2\3")
    with pytest.raises(DataError, match="x_train has 12 examples, y_train has 3"):
        fresh(path)


GOOD = {"x_train": np.eye(4), "y_train": np.arange(4), "x_test": np.eye(4), "y_test": np.arange(4)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"x_train": np.array([[1.0, np.nan]] * 4)}, "not finite"),
        ({"x_test": np.ones((4, 3))}, "both splits go through one network"),
        ({"y_train": np.arange(3)}, "x_train has 4 examples, y_train has 3"),
        ({"y_train": np.array([0, 1, -1, 2])}, "classes are whole numbers from 0"),
        ({"y_train": np.ones((4, 2), dtype=int)}, "classes are whole numbers from 0"),
        ({"y_train": np.ones(4)}, "both whole or both real"),
        ({"x_train": np.ones((0, 4))}, "empty"),
        ({"x_train": np.ones((4, 2, 2, 2))}, "neither"),
        ({"x_train": np.array(["a", "b", "c", "d"])}, "neither|not numbers"),
        ({"x_train": np.array([{"a": 1}] * 4, dtype=object)}, "npz file of plain arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, told, tmp_path) -> None:
    np.savez(tmp_path / "data.npz", **(GOOD | change))
    with pytest.raises(DataError, match=told):
        fresh(tmp_path / "data.npz")


def test_an_npz_that_lacks_an_array_says_which(tmp_path) -> None:
    np.savez(tmp_path / "data.npz", x_train=np.eye(2), labels=np.arange(2))
    with pytest.raises(DataError, match=r"lacks x_test, y_test, y_train; it has x_train, labels"):
        fresh(tmp_path / "data.npz")


@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 1, 8, 8), (6, 8, 8, 3)])
def test_images_in_an_npz_end_with_channels_first(shape, tmp_path) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=np.arange(6), x_test=x, y_test=np.arange(6))
    data = fresh(tmp_path / "data.npz")
    assert data.inputs == ((3, 8, 8) if shape[-1] == 3 else (1, 8, 8))
    last = x[..., -1] if shape[-1] == 3 else x.reshape(6, 8, 8)
    assert np.corrcoef(data.x_train[:, -1].numpy().ravel(), last.ravel())[0, 1] == pytest.approx(1)


def test_images_of_two_sizes_are_refused_by_name(tmp_path) -> None:
    path = write_image_folder(tmp_path / "data")
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.zeros((9, 8, 3), dtype=np.uint8)).save(path / "train" / "dog" / "two.png")
    with pytest.raises(DataError, match=r"two.png: is \(9, 8, 3\)"):
        fresh(path)


def test_images_without_pillow_say_what_to_install(tmp_path, monkeypatch) -> None:
    path = write_image_folder(tmp_path / "data")
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(DataError, match="pip install pillow"):
        fresh(path)


def test_tokens_of_odd_bytes_or_fewer_than_a_window_are_refused(tmp_path) -> None:
    path = write_tokens(tmp_path / "data")
    with (path / "val.bin").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match="not a whole number of 16-bit tokens"):
        fresh(path)
    (path / "val.bin").write_bytes(b"\0\0" * 4)
    with pytest.raises(DataError, match="fewer than one window"):
        fresh(path)


def test_targets_of_tokens_are_the_next_tokens(tmp_path) -> None:
    data = fresh(write_tokens(tmp_path / "data"))
    assert torch.equal(data.x_train[:, 1:], data.y_train[:, :-1])
    assert torch.equal(data.x_train[1:, 0], data.y_train[:-1, -1])


@pytest.mark.parametrize("name", BUILTIN)
def test_built_in_data_is_the_same_every_time(name) -> None:
    first = fresh(name)
    second = fresh(name)
    assert first.sha256 == second.sha256
    assert torch.equal(first.x_train, second.x_train)
    assert torch.equal(first.y_test, second.y_test)


def test_digits_are_split_without_overlap() -> None:
    data = fresh("digits")
    assert data.inputs == (1, 8, 8)
    assert (len(data.x_train), len(data.x_test), data.outputs) == (1437, 360, 10)
    rows = {tuple(row) for row in data.x_train.flatten(1).tolist()}
    assert not any(tuple(row) in rows for row in data.x_test.flatten(1).tolist())
    assert len(data.y_test.unique()) == 10


def test_the_teachers_answer_is_known() -> None:
    clean, noisy, other = teacher(), teacher(noise=0.3), teacher(seed=1)
    assert (noisy.y_test - clean.y_test).square().mean().item() == pytest.approx(0.09, rel=0.2)
    assert other.sha256 != clean.sha256
    assert clean.y_train.std().item() == pytest.approx(1, rel=0.01)


def test_text_is_characters_and_its_windows_follow_the_context() -> None:
    short, long = text(context=8), text(context=64)
    assert short.sha256 == long.sha256
    assert (short.inputs, long.inputs) == ((8,), (64,))
    assert 50 < short.outputs < 300
    assert torch.equal(short.x_train.flatten()[:640], long.x_train.flatten()[:640])


def test_own_arrays_make_a_data_set() -> None:
    data = from_arrays("mine", "0" * 64, "vector", np.eye(3), np.ones((3, 2)), np.eye(3), np.ones((3, 2)))
    assert (data.outputs, data.y_train.dtype) == (2, torch.float32)


def test_tiny_imagenet_takes_the_held_out_classes_from_its_notes(tmp_path) -> None:
    path = write_tiny_imagenet(tmp_path / "data")
    assert fresh(path).y_test.tolist() == [0, 1]
    notes = path / "val" / "val_annotations.txt"
    whole = notes.read_text()
    notes.write_text(whole.replace("val_0.JPEG\tn01443537", "val_0.JPEG\tn01629819"))
    assert fresh(path).y_test.tolist() == [1, 1]
    notes.write_text(whole.replace("n01443537", "n00000000"))
    with pytest.raises(DataError, match="line 1: 'n00000000' is no synset of train/"):
        fresh(path)


def test_imagenet_pictures_of_any_size_become_squares_in_colour(tmp_path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = write_imagenet(tmp_path / "data")
    assert fresh(path).inputs == (3, 32, 32)
    wide = np.zeros((64, 128, 3), dtype=np.uint8)
    wide[:, 32:64, 0], wide[:, 64:96, 1] = 200, 100  # the middle square is red beside green, black lies outside
    image.fromarray(wide).save(path / "train" / "n01440764" / "wide.png")
    pixels = small(path / "train" / "n01440764" / "wide.png")
    assert pixels[:, :16].reshape(-1, 3).tolist() == [[200, 0, 0]] * 512
    assert pixels[:, 16:].reshape(-1, 3).tolist() == [[0, 100, 0]] * 512


def test_an_idx_file_without_examples_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(bytes((0, 0, 8, 3)) + (0).to_bytes(4, "big") + (8).to_bytes(4, "big") * 2)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: has no examples, its shape is \(0, 8, 8\)"):
        idx_array(path, 3)
