"""A pickle is a program: only those that build plain values and arrays are read, and none is ever run."""

import contextlib
import os
import pickle
import pickletools

import numpy as np
import pytest

from isoscale._train.data import DataError, load
from isoscale._train.data.pickles import read_pickle

ARRAYS = [
    np.arange(12, dtype=np.uint8).reshape(3, 4),
    np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    np.arange(3, dtype=">i4"),
    np.linspace(0, 1, 5),
    np.zeros((0, 3), dtype=np.float32),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
def test_arrays_lists_and_strings_come_out_as_they_went_in(protocol, array) -> None:
    found = read_pickle(pickle.dumps({"data": array, b"labels": [1, 2], "name": "x"}, protocol=protocol), "file")
    np.testing.assert_array_equal(found["data"], array)
    assert found["data"].dtype == array.dtype
    assert found["labels"] == [1, 2]


class Harmful:
    """A pickle that writes a file when loaded the ordinary way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def harmful_pickles(mark) -> list[bytes]:
    call = f"(S'mkdir {mark}'\n".encode()
    return [
        pickle.dumps(Harmful(mark)),
        pickle.dumps({"data": Harmful(mark), "labels": [1]}, protocol=2),
        b"cos\nsystem\n" + call + b"tR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n" + call + b"tR.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"(ios\nsystem\n" + call[1:] + b".",
        b"(cos\nsystem\n" + call[1:] + b"o.",
        b"cnumpy\ndtype\n)\x81.",
        b"\x82\x01.",
        b"Pnumpy\n.",
        b"c_codecs\nencode\n(S'a'\nS'zlib'\ntR.",
        b"cnumpy\nndarray\n(I1000000000\ntR.",
        b"cnumpy\ndtype\n}S'__call__'\nNsb.",
        b"cnumpy\ndtype\n.",
        b"r\xff\xff\xff\x7f.",
        b"Nr\xff\xff\xff\xff.",
        b"Np99999999999\n.",
        b"X\xff\xff\xff\x7f.",
        b"\x8e" + b"\xff" * 7 + b"\x7f.",
        b"(" * 100_000 + b"t" * 100_000 + b".",
        b"\x8f.",
        b"",
        b".",
    ]


@pytest.mark.parametrize("case", range(24))
def test_a_harmful_pickle_is_refused_and_nothing_happens(case, tmp_path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(DataError, match="not a pickle of arrays and plain values"):
        read_pickle(harmful_pickles(mark)[case], "file")
    assert not mark.exists()


def test_the_harm_is_real_for_an_ordinary_reader(tmp_path) -> None:
    mark = tmp_path / "mark"
    pickle.loads(harmful_pickles(mark)[0])
    assert mark.exists()
    assert len(harmful_pickles(mark)) == 24


def test_a_harmful_cifar_folder_is_refused_through_the_front_door(tmp_path) -> None:
    mark = tmp_path / "mark"
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(pickle.dumps({b"data": Harmful(mark), b"fine_labels": [1]}, protocol=2))
    with pytest.raises(DataError, match=r"train: not a pickle of arrays"):
        load(str(tmp_path))
    assert not mark.exists()


def test_shuffled_programs_end_in_plain_values_or_our_error() -> None:
    content = pickle.dumps({b"data": ARRAYS[0], b"labels": [1, 2, 3]}, protocol=2)
    rng, opcodes = np.random.default_rng(0), [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
    for _ in range(1500):
        program = bytearray(content)
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(0, len(program)))
            program[at : at + int(rng.integers(0, 3))] = opcodes[int(rng.integers(0, len(opcodes)))]
        with contextlib.suppress(DataError):
            read_pickle(bytes(program), "file")


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ([1, 2], "this holds list"),
        ({b"data": ARRAYS[0], b"labels": [1] * 3}, r"this holds \['data', 'labels'\]"),
        ({b"data": ARRAYS[0], b"fine_labels": [1] * 3}, r"uint8 \(3, 4\), not uint8 \(examples, 3072\)"),
        ({b"data": np.zeros((2, 3072), dtype=np.uint8), b"fine_labels": [1]}, "not a list of 2 whole numbers"),
        ({b"data": np.zeros((2, 3072), dtype=np.uint8), b"fine_labels": [1, "a"]}, "not a list of 2 whole numbers"),
        ({b"data": np.zeros((2, 3072), dtype=np.uint8), b"fine_labels": [1, -1]}, "runs from -1 to 1"),
        ({b"data": np.zeros((2, 3072), dtype=np.uint8), b"fine_labels": [1, 100]}, "classes are 0 to 99"),
    ],
)
def test_a_pickle_that_is_no_cifar_batch_says_what_it_is(batch, told, tmp_path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=2))
    load.cache_clear()
    with pytest.raises(DataError, match=told):
        load(str(tmp_path))


def test_a_name_of_numpys_from_elsewhere_is_refused() -> None:
    content = pickle.dumps(ARRAYS[0], protocol=2)
    assert b"cnumpy\ndtype\n" in content
    with pytest.raises(DataError, match=r"global elsewhere\.dtype"):
        read_pickle(content.replace(b"cnumpy\ndtype\n", b"celsewhere\ndtype\n"), "file")
