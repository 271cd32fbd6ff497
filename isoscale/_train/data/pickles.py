"""Arrays and plain values out of a pickle, without running anything the pickle names.

The CIFAR files are pickles, and a pickle is a program. This reader first lists the program's instructions without
running them and refuses any that could do more than build plain values; then it runs them with every global replaced
by a token that only records its arguments. No object of numpy, or of anything else, is made by the pickle.
"""

import io
import pickle
import pickletools
from typing import Any

import numpy as np

from isoscale._train.data.dataset import Array, DataError

INSTRUCTIONS = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT "
    "DICT SETITEM SETITEMS PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD"
)
HARMLESS = frozenset(INSTRUCTIONS.split())
STORES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
LARGEST_MEMO = 1 << 22  # a larger index makes the interpreter fill a table of that size
DTYPES = frozenset({"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "b1"})


class RawDType:
    """A dtype as the pickle describes it: its code, and the byte order of its state."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any) -> None:
        self.code, self.order = _text(code), "<"

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])


class RawArray:
    """An array as the pickle describes it: the state it would be given."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> Array:
        _, shape, dtype, fortran, content = self.state
        if dtype.code.lstrip("<>|=") not in DTYPES or not isinstance(content, bytes | bytearray):
            raise pickle.UnpicklingError(f"array of {dtype.code!r}")
        kind = np.dtype(dtype.code).newbyteorder(">" if dtype.order == ">" else "<")
        return np.frombuffer(content, dtype=kind).reshape(shape, order="F" if fortran else "C")


class Token:
    """Stands for a global the pickle names; calling it records, and keeps nothing else."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f"state given to {self.name}")

    def __call__(self, *arguments: Any) -> Any:
        if self.name == "_reconstruct":
            return RawArray()
        if self.name == "dtype":
            return RawDType(arguments[0])
        if self.name == "_frombuffer":
            content, dtype, shape, order = arguments
            raw = RawArray()
            raw.state = (1, shape, dtype, _text(order) == "F", content)
            return raw
        if self.name == "encode" and _text(arguments[1]) == "latin1":
            return arguments[0].encode("latin1")
        if self.name == "bytes" and not arguments:
            return b""
        raise pickle.UnpicklingError(f"call of {self.name}")


GLOBALS = {
    (f"numpy.{core}", name)
    for core in ("core.multiarray", "_core.multiarray", "core.numeric", "_core.numeric")
    for name in ("_reconstruct", "_frombuffer")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("__builtin__", "bytes")}


class TokenUnpickler(pickle.Unpickler):
    """Finds no global at all: only tokens for the few that arrays are made of."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in GLOBALS:
            raise pickle.UnpicklingError(f"global {module}.{name}")
        return Token(name)


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def read_pickle(content: bytes, name: str) -> Any:
    """The dicts, lists, numbers, strings and arrays of a pickle; `DataError` for anything else, run by nothing."""
    try:
        for opcode, argument, position in pickletools.genops(content):
            if opcode.name not in HARMLESS:
                raise pickle.UnpicklingError(f"instruction {opcode.name} at byte {position}")
            if opcode.name in STORES and not 0 <= int(argument or 0) < LARGEST_MEMO:
                raise pickle.UnpicklingError(f"memo {argument} at byte {position}")
        return _plain(TokenUnpickler(io.BytesIO(content), encoding="bytes").load(), depth=0)
    except Exception as error:  # a torn pickle fails in any of a dozen ways, all of which mean the same
        raise DataError(
            f"{name}: not a pickle of arrays and plain values ({type(error).__name__}: {error}) - a pickle can run any "
            f"program, so nothing else is read - fetch the file again from its publisher"
        ) from error


def _plain(value: Any, depth: int) -> Any:
    if depth > 4:
        raise pickle.UnpicklingError("nested too deeply")
    if isinstance(value, RawArray):
        return value.array()
    if isinstance(value, dict):
        return {_text(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, Token | RawDType):
        raise pickle.UnpicklingError("a bare global")
    return value
