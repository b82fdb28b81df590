"""The annotations of very many images: checked as `stream` checks them, and kept in a temporary file."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import weakref
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.images.annotation_checks import ANNOTATIONS, WHAT, Checked, check
from yolact_ascend.images.annotations import without_collector
from yolact_ascend.images.coco import annotated_first
from yolact_ascend.long_json import Piece, read_pieces

BETWEEN = ", "  # two entries of a list, as json writes it


class Truths:
    """The annotations of each image as JSON, in a file without a name; a few bytes of each are in memory."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(tempfile.TemporaryFile())
            weakref.finalize(self, stack.pop_all().close)
        self.rows = array("i")  # [A] of each annotation's image
        self._ends = array("q", [0])  # [1+A] of each annotation in the file
        self._order = np.empty(0, np.int32)  # [A] of the annotations by their images
        self._bounds = np.zeros(1, np.int64)  # [1+N] of each image's annotations in that order

    def keep(self, piece: Piece, rows: np.ndarray | None) -> None:
        """Take checked annotations and the rows of their images, see `annotation_checks.Keep`."""
        if piece.key != ANNOTATIONS or rows is None:
            return
        if piece.first == 0:
            self._file.seek(0)
            self._file.truncate()
            self.rows, self._ends = array("i"), array("q", [0])
        texts = [json.dumps(entry) + BETWEEN for entry in piece.entries or ()]
        self._file.write("".join(texts).encode("ascii"))
        self.rows.frombytes(rows.astype(np.int32).tobytes())
        ends = self._ends[-1] + np.cumsum([len(text) for text in texts], dtype=np.int64)
        self._ends.frombytes(ends.tobytes())

    def finish(self, images: int) -> None:
        """Sort by image; nothing is kept after this."""
        self._file.flush()
        rows = np.frombuffer(self.rows, np.int32)
        self._order = np.argsort(rows, kind="stable").astype(np.int32)
        self._bounds = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=images))])

    def of(self, row: int) -> str:
        """Return the annotations of an image, a JSON list."""
        start, end = self._bounds[row : row + 2]
        numbers = self._order[start:end].tolist()
        if numbers and numbers[-1] - numbers[0] == len(numbers) - 1:  # one after the other in the file
            found = self._read(numbers[0], numbers[-1])
        else:
            found = b"".join(self._read(number, number) for number in numbers)
        return f"[{found[: -len(BETWEEN)].decode('ascii')}]"

    def _read(self, first: int, last: int) -> bytes:
        start, end = self._ends[first], self._ends[last + 1]
        return os.pread(self._file.fileno(), end - start, start)


@dataclass(frozen=True)
class ReadTruths:
    """An annotation file of any size, checked."""

    checked: Checked
    truths: Truths

    def rows_in_order(self) -> list[int]:
        """Return the rows of the images in `stream`'s order."""
        return annotated_first(self.truths.rows, range(len(self.checked.images)))


def read_truths(path: Path) -> ReadTruths:
    """Read a COCO "instances" file as `read_annotations` does, in bounded memory; what is raised is the same."""
    truths = Truths()
    try:
        with without_collector():
            checked = check(path, lambda: read_pieces(path, WHAT), truths.keep)
    except ArtifactError as error:
        raise DatasetError(str(error)) from error
    truths.finish(len(checked.images))
    return ReadTruths(checked, truths)
