"""Batches in shared memory, so that the model's inputs and outputs are not copied between processes."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from yolact_ascend.errors import ArtifactError
from yolact_ascend.tensors import TensorSpec

SHARED_MEMORY = Path("/dev/shm")  # a file there never reaches a disk
ALIGNMENT = 64  # bytes; of each array


@dataclass(frozen=True)
class Slots:
    """`count` slots for one batch each, its inputs and outputs, in one file that processes map. Pickles as its layout.

    `inputs` are the tensors of one image as the model takes it, `outputs` what it gives for one.
    """

    path: Path
    count: int
    batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def offsets(self) -> list[int]:
        """Where each tensor begins, inputs first, counted from the slot's own beginning; last, where the slot ends."""
        ends = [0]
        for spec in (*self.inputs, *self.outputs):
            ends.append(ends[-1] + -(-self.batch_size * spec.size_bytes // ALIGNMENT) * ALIGNMENT)
        return ends

    @property
    def slot_bytes(self) -> int:
        """Bytes from one slot to the next."""
        return self.offsets[-1]

    def start(self, slot: int) -> int:
        """Where a slot begins in the file."""
        return slot * self.slot_bytes

    def images(self, slot: int) -> list[np.ndarray]:
        """Return a slot's inputs, each [B,...], to be written to."""
        return self._tensors(slot, self.inputs, self.offsets)

    def results(self, slot: int) -> list[np.ndarray]:
        """Return a slot's outputs, each [B,...], to be read or written to."""
        return self._tensors(slot, self.outputs, self.offsets[len(self.inputs) :])

    def places(self, slot: int) -> tuple[list[list[int]], list[list[int]]]:
        """Return where the inputs and the outputs lie in the file, each as first byte and size in bytes."""
        offsets = iter(self.offsets)
        inputs, outputs = (
            [[self.start(slot) + next(offsets), self.batch_size * spec.size_bytes] for spec in specs]
            for specs in (self.inputs, self.outputs)
        )
        return inputs, outputs

    def _tensors(self, slot: int, specs: Sequence[TensorSpec], offsets: Sequence[int]) -> list[np.ndarray]:
        start = self.start(slot)
        return [
            self._array(start + offset, (self.batch_size, *spec.shape), spec.dtype)
            for offset, spec in zip(offsets, specs)
        ]

    def _array(self, start: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.frombuffer(self._memory, dtype, math.prod(shape), start).reshape(shape)

    @cached_property
    def _memory(self) -> mmap.mmap:
        with self.path.open("r+b") as file:
            return mmap.mmap(file.fileno(), 0)

    def __reduce__(self) -> tuple:
        return Slots, (self.path, self.count, self.batch_size, self.inputs, self.outputs)


@contextlib.contextmanager
def open_slots(
    count: int, batch_size: int, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Iterator[Slots]:
    """Create a file for `count` slots in memory, or, with a warning, on disk when memory is full.

    The file has no name in a folder, so that nothing is left of it, whatever ends this process.
    Raises ArtifactError when the disk is full, too.
    """
    layout = Slots(Path(), count, batch_size, tuple(inputs), tuple(outputs))
    with _make_file(count * layout.slot_bytes) as file:
        yield replace(layout, path=Path(f"/proc/{os.getpid()}/fd/{file.fileno()}"))


def _make_file(size: int) -> IO[bytes]:
    for folder in (SHARED_MEMORY, Path(tempfile.gettempdir())):
        try:
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
                os.posix_fallocate(file.fileno(), 0, size)  # writing to memory that is full would kill the process
                stack.pop_all()  # the caller closes it
                return file
        except OSError as error:
            refused = f"{folder} cannot hold batches of {size / 1e6:.0f} MB in all: {error.strerror}."
            print(f"warning: {refused}", file=sys.stderr)
    raise ArtifactError(f"{refused} Use a smaller batch size, fewer workers, or another temporary folder (TMPDIR).")
