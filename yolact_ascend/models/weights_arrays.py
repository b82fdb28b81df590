"""Pickles of NumPy arrays: the `.pkl` files of Detectron2's and Detectron1's model zoos, read without `pickle`.

A pickle is a program. This runs none of it: it knows the names that arrays need, as NumPy 1 and 2 and Python 2 and 3
write them in the protocols 2 to 5, and refuses each other name before anything is made of it.
Sources: numpy 1.26 and 2.4, numpy/_core/src/multiarray/methods.c (array_reduce) and descriptor.c (arraydescr_reduce),
numpy/_core/numeric.py (_frombuffer); facebookresearch/detectron2 @ 02b5c4e2, detectron2/checkpoint/
detection_checkpoint.py; facebookresearch/Detectron, detectron/utils/io.py.
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Union

from yolact_ascend.models.weights_pickle import CONSTANTS, EMPTY, LITERALS, TUPLES, Machine, make_dict

if TYPE_CHECKING:  # what names the classes of weights is imported without NumPy, too
    import numpy as np

PROTO = b"\x80"
PROTOCOLS = (2, 3, 4, 5)
OLD_TORCH = b"\x80\x02\x8a\x0a"  # how PyTorch's format before 1.6 begins: a pickle of its magic number
LONG_BYTES = 4096  # a text or bytes of more are values, of which only the length is kept where shapes are asked for
DTYPE = re.compile(r"[?bBhHiIlLqQefdFD]|[fiubc][0-9]{1,2}")
BUILTINS = ("__builtin__", "builtins")  # of Python 2 and 3
LATIN = ("latin1", "latin-1")


@dataclass(frozen=True)
class Length:
    """Stands for values that are not kept: how many bytes they have."""

    size_bytes: int


Data = Union[bytes, bytearray, Length]


class DType:
    """A dtype, of numbers only."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not DTYPE.fullmatch(code):
            raise ValueError(f"It has an array of {code if isinstance(code, str) else 'objects'}, expected of numbers")
        import numpy as np

        self._numpy: np.dtype[Any] = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Take the byte order; raises ValueError for fields and sub-arrays."""
        order, *fields = state[1:5]
        if order not in ("<", ">", "=", "|") or any(field is not None for field in fields):
            raise ValueError("It has an array of records, expected of numbers")
        self._numpy = self._numpy.newbyteorder(order)

    def to_numpy(self) -> np.dtype[Any]:
        """Return NumPy's own."""
        return self._numpy


class Array:
    """An array: its shape, and its values, or their length alone."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self._dtype: Any = None
        self._is_fortran = False
        self._data: Any = Length(0)

    def set_state(self, state: Any) -> None:
        """Take shape, dtype, order and values; raises ValueError when they do not fit each other."""
        shape, dtype, is_fortran, data = state[-4:]
        if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError("The shape of an array is not of whole numbers")
        data = data.encode("latin-1") if isinstance(data, str) else data  # Python 2
        if not isinstance(dtype, DType) or not isinstance(data, (bytes, bytearray, Length)):
            raise ValueError("It has an array of objects, expected of numbers")
        self.shape, self._dtype = tuple(shape), dtype.to_numpy()
        self._is_fortran, self._data = bool(is_fortran), data
        found = data.size_bytes if isinstance(data, Length) else len(data)
        expected = math.prod(shape) * self._dtype.itemsize
        if found != expected:
            raise ValueError(f"An array of shape {[*shape]} has {found} bytes, expected {expected}")

    def to_numpy(self) -> np.ndarray:
        """Return a writable copy in this machine's byte order."""
        import numpy as np

        values = np.frombuffer(self._data, self._dtype).reshape(self.shape, order="F" if self._is_fortran else "C")
        return np.array(values, dtype=self._dtype.newbyteorder("="), order="C")


class _Ndarray:
    """Stands for the class `numpy.ndarray`."""


def _reconstruct(kind: Any, *_: Any) -> Array:
    if kind is not _Ndarray:
        raise ValueError("It has an array of another class than numpy.ndarray")
    return Array()


def _from_buffer(data: Data, dtype: DType, shape: Any, order: str) -> Array:
    array = Array()
    array.set_state((shape, dtype, order == "F", data))
    return array


def _scalar(dtype: DType, data: Any) -> Array:
    array = Array()
    array.set_state(((), dtype, False, data))
    return array


def _encode(text: Any, encoding: Any) -> Data:
    """Python 3 writes bytes in protocol 2 as a text, each byte a letter."""
    if encoding not in LATIN:
        raise ValueError(f"It has bytes written as {encoding}, expected latin1")
    return text if isinstance(text, Length) else text.encode("latin-1")


def _no_bytes() -> bytes:
    return b""


_MULTIARRAY = {"_reconstruct": _reconstruct, "scalar": _scalar}
_KNOWN: dict[str, Any] = {
    "numpy dtype": DType,
    "numpy ndarray": _Ndarray,
    **{f"numpy.{core}.multiarray {name}": made for core in ("core", "_core") for name, made in _MULTIARRAY.items()},
    **{f"numpy.{core}.numeric _frombuffer": _from_buffer for core in ("core", "_core")},
    "_codecs encode": _encode,
    "__builtin__ bytes": _no_bytes,  # how protocol 2 writes empty ones
    "collections OrderedDict": make_dict,
}
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_TEXTS = (*LITERALS, "BINSTRING", "SHORT_BINUNICODE", "BINUNICODE8", "LONG4")


class _ArrayMachine(Machine):
    """The stack machine of a pickle of arrays: each name that it does not know ends it."""

    def __init__(self, with_values: bool) -> None:
        super().__init__()
        self._with_values = with_values

    def take(self, name: str, argument: Any) -> None:
        if name in _BYTES or name in _TEXTS:
            is_dropped = not self._with_values and isinstance(argument, (str, bytes, bytearray))
            self.stack.append(Length(len(argument)) if is_dropped and len(argument) > LONG_BYTES else argument)
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name == "STACK_GLOBAL":
            attribute, module = self.stack.pop(), self.stack.pop()
            self.stack.append(self.find(f"{module} {attribute}"))
        elif name == "FRAME":
            pass
        elif name in _TAKEN:
            super().take(name, argument)
        else:
            raise ValueError(f"It has the opcode {name}, which no pickle of arrays has")

    def find(self, name: str) -> Any:
        if name not in _KNOWN:
            module, _, attribute = name.partition(" ")
            shown = attribute if module in BUILTINS else f"{module}.{attribute}"
            raise ValueError(f"unsupported GLOBAL {shown}")  # as PyTorch says it
        return _KNOWN[name]

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, (Array, DType)) or not isinstance(state, tuple):
            raise ValueError("It sets the state of an object that is no array")
        target.set_state(state)

    def reduce(self) -> None:
        if self.stack[-2] not in _KNOWN.values() or self.stack[-2] is _Ndarray:
            raise ValueError("It calls an object that makes no array")
        super().reduce()


# BINPERSID, NEWOBJ and EXT stay out: no array needs them.
_TAKEN = {*CONSTANTS, *EMPTY, *TUPLES, "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "PROTO", "STOP"}
_TAKEN |= {"MARK", "TUPLE", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD", "REDUCE"}


class _Bounded:
    """A file that refuses to read more than it has, where a damaged length would ask for any memory."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self._size - self._file.tell():
            raise ValueError(f"It ends at byte {self._size}, {count} more are expected from {self._file.tell()} on")
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline(LONG_BYTES)

    def tell(self) -> int:
        return self._file.tell()


def is_array_pickle(path: Path) -> bool:
    """Tell whether a file is a pickle, and not one of PyTorch's."""
    with path.open("rb") as file:
        beginning = file.read(len(OLD_TORCH))
    return len(beginning) > 1 and beginning[:1] == PROTO and beginning[1] in PROTOCOLS and beginning != OLD_TORCH


def read_arrays(path: Path, with_values: bool = True) -> Any:
    """Return what a pickle of arrays holds, with an `Array` in place of each; without values, with their shapes only.

    Raises ValueError and the like for a damaged file, and for one that asks for anything but arrays.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        bounded: Any = _Bounded(file, size)
        machine = _ArrayMachine(with_values)
        for opcode, argument, _ in pickletools.genops(bounded):
            machine.take(opcode.name, argument)
        if file.tell() != size:
            raise ValueError(f"{size - file.tell()} bytes follow its end, expected none")
    return machine.stack.pop()
