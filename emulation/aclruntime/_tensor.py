"""Tensors of the emulated device: arrays that remember on which side they are."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from aclruntime._device import MemorySummary, timed_copy

dtype = IntEnum(
    "dtype",
    {
        "float32": 0,
        "float16": 1,
        "int8": 2,
        "int32": 3,
        "uint8": 4,
        "int16": 6,
        "uint16": 7,
        "uint32": 8,
        "int64": 9,
        "uint64": 10,
        "double": 11,
        "bool": 12,
    },
)
memory_type = IntEnum("memory_type", {"memory_host": 0, "memory_device": 1, "memory_dvpp": 2})

_NUMPY_NAMES = {"double": "float64"}
DTYPE_OF_NUMPY = {_NUMPY_NAMES.get(member.name, member.name): member for member in dtype}
FORMAT_NUMBERS = {"NCHW": 0, "NHWC": 1, "ND": 2, "NCDHW": 30}
DEVICE_ID_MAX = 255


@dataclass
class TensorDesc:
    """Name, type, shape and size in bytes of a model's input or output."""

    name: str = ""
    datatype: int = dtype["float32"]
    format: int = FORMAT_NUMBERS["ND"]
    shape: list[int] = field(default_factory=list)
    size: int = 0
    realsize: int = 0


class BaseTensor:
    """A borrowed piece of host memory: address and number of bytes."""

    def __init__(self, buf: int, size: int) -> None:
        self.buf = buf
        self.size = size

    def copy_bytes(self) -> bytes:
        """The memory's content at this moment."""
        return ctypes.string_at(self.buf, self.size)


class Tensor:
    """An array on the host or, by name only, on the device; np.array(tensor) works on the host."""

    def __init__(self, array: Any, device: int = -1) -> None:
        """`device`: where it goes at once; since 2026, earlier modules take the array alone."""
        self._array = np.array(array, order="C")
        self._device = -1
        if device >= 0:
            self.to_device(device)

    @classmethod
    def on_device(cls, array: np.ndarray, device: int) -> Tensor:
        """A tensor that lies on the device already; no copy is timed."""
        tensor = cls.__new__(cls)
        tensor._array, tensor._device = np.asarray(array, order="C"), device
        return tensor

    @property
    def shape(self) -> list[int]:
        """Dimensions."""
        return list(self._array.shape)

    @property
    def dtype(self) -> int:
        """One of aclruntime.dtype; uint8 for types that the device does not have."""
        return DTYPE_OF_NUMPY.get(self._array.dtype.name, dtype["uint8"])

    @property
    def device(self) -> int:
        """Number of the device, -1 on the host."""
        return self._device

    @property
    def type(self) -> int:
        """One of aclruntime.type."""
        return memory_type["memory_host"] if self._device < 0 else memory_type["memory_device"]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(self._array.nbytes)

    def copy_bytes(self) -> bytes:
        """The content, wherever it lies."""
        return self._array.tobytes()

    def to_device(self, device: int) -> None:
        """Move to the device; raises RuntimeError for a number that no device can have."""
        if not 0 <= device <= DEVICE_ID_MAX:
            raise RuntimeError("device id is out of range")
        if self._device < 0:
            self._array = timed_copy(MemorySummary.H2D_time_list, self._array.copy)
        self._device = device

    def to_host(self) -> None:
        """Move to the host; nothing happens where it is there already."""
        if self._device >= 0:
            self._array = timed_copy(MemorySummary.D2H_time_list, self._array.copy)
        self._device = -1

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self._device >= 0:
            raise RuntimeError("tensor is in npu. can't convert to numpy array")
        return np.array(self._array, dtype=dtype, copy=True if copy is None else copy)

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.shape))
        name = DTYPE_OF_NUMPY[self._array.dtype.name].name if self._array.dtype.name in DTYPE_OF_NUMPY else "uint8"
        return f"<Tensor>\nshape:\t({shape})\ndtype:\t{name}\ndevice:\t{self._device}"
