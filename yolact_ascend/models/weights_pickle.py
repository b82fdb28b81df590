"""What the pickle in a `.pth` says of its tensors, read without PyTorch and without making any object that it names.

Knows the opcodes that PyTorch's own reader of weights takes (torch/_weights_only_unpickler.py), and keeps tensors,
dicts and plain values; whatever else there is becomes one placeholder. Not by `pickle`, which takes the memory that a
file asks for, and lets it hash tuples so deep that the process dies.
"""

from __future__ import annotations

import collections
import pickletools
from collections.abc import Callable, Iterable
from typing import IO, Any, NamedTuple

Shape = tuple  # of ints


class Tensor(tuple):
    """The shape of a tensor, in place of the tensor."""


class _Other:
    """Stands for every object that is not kept."""


OTHER = _Other()
LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING")
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: OTHER,
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# Bytes of a value in each kind of storage; of an untyped one, a value is a byte.
ITEM_BYTES = {
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("CharStorage", "ByteStorage", "BoolStorage", "UntypedStorage"), 1),
    **dict.fromkeys(("QInt8Storage", "QUInt8Storage", "QUInt4x2Storage", "QUInt2x4Storage"), 1),
    "ComplexDoubleStorage": 16,
}


class ShapeReader:
    """Reads pickles one after another from an open file; raises ValueError and the like for what it does not know."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.storages: dict[str, int] = {}  # key -> bytes of its values

    def read(self) -> Any:
        """Return the next object, with shapes in place of tensors, and count its storages."""
        machine = Machine(self.storages)
        for opcode, argument, _ in pickletools.genops(self._file):
            machine.take(opcode.name, argument)
        return machine.stack.pop()  # genops ends after STOP


class Machine:
    """The stack machine that a pickle is a program of; knows what is in PyTorch's."""

    def __init__(self, storages: dict[str, int] | None = None) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._below: list[list[Any]] = []  # the stacks below the open marks
        self._storages = {} if storages is None else storages

    def take(self, name: str, argument: Any) -> None:
        """Do what one opcode asks for."""
        if name in LITERALS:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in TUPLES:
            items = self.stack[-TUPLES[name] :]
            self.stack[-TUPLES[name] :] = [tuple(items)]
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            self.stack.append(self.find(argument))
        elif name in _ACTIONS:
            getattr(self, _ACTIONS[name])()
        elif name not in ("PROTO", "STOP"):
            raise ValueError(f"It has the opcode {name}, which PyTorch does not take either")

    def find(self, name: str) -> Any:
        """Return what stands for a global, "module name"."""
        kind = name.rpartition(" ")[2]
        if name.startswith("torch") and kind in ITEM_BYTES:
            return _StorageType(kind)
        return _KNOWN.get(name, OTHER)

    def mark(self) -> None:
        self._below.append(self.stack)
        self.stack = []

    def _pop_to_mark(self) -> list[Any]:
        above, self.stack = self.stack, self._below.pop()
        return above

    def make_tuple(self) -> None:
        items = self._pop_to_mark()
        self.stack.append(tuple(items))

    def append(self) -> None:
        self._extend([self.stack.pop()])

    def appends(self) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _put(self.stack[-1], [(key, value)])

    def setitems(self) -> None:
        items = self._pop_to_mark()
        _put(self.stack[-1], zip(items[::2], items[1::2]))

    def build(self) -> None:
        """Set the state of an object."""
        self.stack.pop()  # attributes, such as the versions of a state dict's modules

    def newobj(self) -> None:
        del self.stack[-2:]
        self.stack.append(OTHER)

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(function(*arguments) if callable(function) else OTHER)

    def binpersid(self) -> None:
        storage = self.stack.pop()
        if isinstance(storage, tuple) and len(storage) > 4 and isinstance(storage[1], _StorageType):
            self._count(str(storage[2]), storage[1].item_bytes * storage[4])
            self.stack.append(_Storage(storage[4]))
        else:
            self.stack.append(OTHER)

    def _count(self, key: str, size_bytes: int) -> None:
        if size_bytes < 0 or self._storages.setdefault(key, size_bytes) != size_bytes:
            raise ValueError(f"The values {key} have two sizes, or a negative one")


_ACTIONS: dict[str, str] = {  # opcode -> method
    "MARK": "mark",
    "TUPLE": "make_tuple",
    "APPEND": "append",
    "APPENDS": "appends",
    "SETITEM": "setitem",
    "SETITEMS": "setitems",
    "BUILD": "build",
    "NEWOBJ": "newobj",
    "REDUCE": "reduce",
    "BINPERSID": "binpersid",
}


class _StorageType:
    """A class of storages, by its name."""

    def __init__(self, name: str) -> None:
        self.item_bytes = ITEM_BYTES[name]


class _Storage(NamedTuple):
    """The values that tensors are views of."""

    items: int


def _put(target: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
    if isinstance(target, dict):
        target.update((_flat(key), value) for key, value in pairs)


def _flat(key: Any) -> Any:
    """Return a dict's key; raises ValueError for a tuple in a tuple, since hashing goes down without end."""
    if isinstance(key, tuple) and any(isinstance(part, tuple) for part in key):
        raise ValueError("It has nested tuples as keys")
    return key


def make_dict(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    """Return the ordered dict of these pairs."""
    made: dict[Any, Any] = collections.OrderedDict()
    _put(made, ((key, value) for key, value in pairs))
    return made


def _rebuild_tensor(storage: Any, offset: int, size: Shape, strides: Shape, *_: Any) -> Tensor:
    tensor = _rebuild_untyped(storage, offset, size)
    last = offset + sum((length - 1) * stride for length, stride in zip(size, strides))
    if isinstance(storage, _Storage) and 0 not in size and not 0 <= last < storage.items:
        raise ValueError(f"A tensor of shape {[*size]} ends at value {last} of {storage.items}")
    return tensor


def _rebuild_untyped(storage: Any, offset: int, size: Shape, *_: Any) -> Tensor:
    if not all(type(length) is int and length >= 0 for length in size):
        raise ValueError("The shape of a tensor is not of whole numbers")
    return Tensor(size)


_KNOWN: dict[str, Any] = {
    "collections OrderedDict": make_dict,
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v3": _rebuild_untyped,  # its type is its own, and not its storage's
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils _rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch Size": tuple,
}
