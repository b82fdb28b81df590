"""Batches in memory that several processes share, so that inputs and outputs of the model are not sent about."""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from yolact_ascend.artifacts import TensorSpec
from yolact_ascend.errors import ArtifactError

SHARED_MEMORY = Path("/dev/shm")  # a file there never reaches a disk
PREFIX = "yolact-ascend-slots-"
NEW_S = 60  # seconds in which a file may not be locked yet
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
    """Make the file for `count` slots; it goes with the block. It lies in memory, or on a disk when that is full: said.

    Raises ArtifactError when there is no room on the disk either.
    """
    layout = Slots(Path(), count, batch_size, image_bytes, tuple(outputs))
    with _make_file(count * layout.slot_bytes) as file:
        yield replace(layout, path=Path(file.name))


def _make_file(size: int) -> IO[bytes]:
    """Return a locked file of that many bytes; its lock ends with this process, so that others may sweep it then."""
    for folder in (SHARED_MEMORY, Path(tempfile.gettempdir())):
        if not os.access(folder, os.W_OK):
            continue
        _sweep(folder)
        file = tempfile.NamedTemporaryFile(dir=folder, prefix=PREFIX)  # noqa: SIM115  the caller closes it
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # writing to a full memory file would be the end of the process
            return file
        except OSError as error:
            file.close()
            refused = f"{folder} has no room for batches of {size / 1e6:.0f} MB in all: {error.strerror}."
            print(f"warning: {refused}", file=sys.stderr)
    raise ArtifactError(f"{refused} Take a smaller batch size or fewer workers, or another folder (TMPDIR).")


def _sweep(folder: Path) -> None:
    """Remove the files of processes that were killed: nobody holds their locks."""
    for path in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), path.open("rb") as file:  # gone meanwhile, another user's, or locked
            if time.time() - path.stat().st_mtime > NEW_S:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
