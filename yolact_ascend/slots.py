"""Batches in memory that several processes share, so that inputs and outputs of the model are not sent about."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from yolact_ascend.artifacts import TensorSpec
from yolact_ascend.errors import ArtifactError

SHARED_MEMORY = Path("/dev/shm")  # a file there never reaches a disk
ALIGNMENT = 64  # bytes; of each array


@dataclass(frozen=True)
class Slots:
    """`count` slots for one batch each, its inputs and outputs, in one file that processes map. Pickles as its layout.

    `image_bytes` are those of one image as the model takes it, `outputs` what it gives for one.
    """

    path: Path
    count: int
    batch_size: int
    image_bytes: int
    outputs: tuple[TensorSpec, ...]

    @property
    def output_offsets(self) -> list[int]:
        """Where each output begins, counted from the slot's own beginning; the inputs lie before them."""
        sizes = [self.batch_size * size for size in (self.image_bytes, *(spec.size_bytes for spec in self.outputs))]
        ends = [0]
        for size in sizes:
            ends.append(ends[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
        return ends[1:]

    @property
    def slot_bytes(self) -> int:
        """Bytes from one slot to the next."""
        return self.output_offsets[-1]

    def start(self, slot: int) -> int:
        """Where a slot begins in the file."""
        return slot * self.slot_bytes

    def images(self, slot: int) -> np.ndarray:
        """Return a slot's inputs as bytes [B,image_bytes], to be written to."""
        return self._array(self.start(slot), (self.batch_size, self.image_bytes), "uint8")

    def results(self, slot: int) -> list[np.ndarray]:
        """Return a slot's outputs, each [B,...], to be read or written to."""
        return [
            self._array(self.start(slot) + offset, (self.batch_size, *spec.shape), spec.dtype)
            for offset, spec in zip(self.output_offsets, self.outputs)
        ]

    def _array(self, start: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.frombuffer(self._memory, dtype, math.prod(shape), start).reshape(shape)

    @cached_property
    def _memory(self) -> mmap.mmap:
        with self.path.open("r+b") as file:
            return mmap.mmap(file.fileno(), 0)

    def __reduce__(self) -> tuple:
        return Slots, (self.path, self.count, self.batch_size, self.image_bytes, self.outputs)


@contextlib.contextmanager
def open_slots(count: int, batch_size: int, image_bytes: int, outputs: Sequence[TensorSpec]) -> Iterator[Slots]:
    """Make the file for `count` slots, in memory where the system has such a place; it goes with the block.

    Raises ArtifactError when there is no room for it.
    """
    folder = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with tempfile.NamedTemporaryFile(dir=folder, prefix="yolact-ascend-") as file:
        slots = Slots(Path(file.name), count, batch_size, image_bytes, tuple(outputs))
        size = count * slots.slot_bytes
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # writing to a full memory file would be the end of the process
        except OSError as error:
            raise ArtifactError(
                f"{Path(file.name).parent} has no room for {size / 1e6:.0f} MB, {count} batches of {batch_size}: "
                f"{error.strerror}. Take a smaller batch size or fewer workers, or make it larger."
            ) from error
        yield slots
