"""What was found, on its way to disk and to the evaluation, however many images there are.

The files are written image by image; in memory an image takes about as much as its compressed masks.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from yolact_ascend.detection.detections import RESULTS_OF, Detections
from yolact_ascend.files import atomic_path


class ResultsFiles:
    """Files in COCO's results format, one for each task, that grow by an image at a time.

    They appear, whole, at the end of the block or at `finish`; when the block fails before that, none does.
    Raises ArtifactError when they cannot be written.
    """

    def __init__(self, files: Mapping[str, Path], category_ids: Sequence[int]) -> None:
        self.files = dict(files)  # task -> file
        self.category_ids = category_ids  # [K] of the classes

    def __enter__(self) -> ResultsFiles:
        with contextlib.ExitStack() as stack:
            self._files = [_open_list(stack, path) for path in self.files.values()]
            self._stack = stack.pop_all()
        self._is_finished = False
        self._ends = [0] * len(self._files)  # of the last whole image in each file
        return self

    def add(self, image_id: int, detections: Detections) -> None:
        """Write what was found in one image, after the images before."""
        if not len(detections):
            return
        for file, end, task in zip(self._files, self._ends, self.files):
            entries = json.dumps(RESULTS_OF[task](detections, image_id, self.category_ids))
            file.write((b", " if end else b"[") + entries[1:-1].encode())
        self._ends = [file.tell() for file in self._files]  # an interrupt before this leaves the image out of all

    def finish(self) -> None:
        """End the files and let them appear, with the images so far."""
        with self._stack:
            self._is_finished = True
            for file, end in zip(self._files, self._ends):
                file.seek(end)
                file.truncate()
                file.write(b"]\n" if end else b"[]\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_finished:
            return
        if kind is None:
            self.finish()
        else:
            self._stack.__exit__(kind, error, trace)


def _open_list(stack: contextlib.ExitStack, path: Path) -> BinaryIO:
    temporary = stack.enter_context(atomic_path(path))
    return stack.enter_context(temporary.open("wb"))


class _Found(NamedTuple):
    image_id: int
    class_ids: np.ndarray
    scores: np.ndarray
    boxes_xyxy_px: np.ndarray
    size: list[int] | None  # None: there are no masks
    counts: str  # of all masks, with blanks between them, which the encoding does not use


class Findings:
    """What was found in the images so far, in memory, for the evaluation."""

    def __init__(self, category_ids: Sequence[int]) -> None:
        self.category_ids = category_ids  # [K] of the classes
        self._images: list[_Found] = []

    def add(self, image_id: int, detections: Detections) -> None:
        """Take what was found in one image."""
        if not len(detections):
            return
        masks = detections.masks
        self._images.append(
            _Found(
                image_id,
                detections.class_ids.astype(np.int16),
                detections.scores,
                detections.boxes_xyxy_px,
                None if masks is None else masks[0]["size"],
                "" if masks is None else " ".join(mask["counts"] for mask in masks),
            )
        )

    def entries(self, task: str) -> Iterator[dict[str, Any]]:
        """Give the boxes or masks as entries of COCO's results format."""
        for found in self._images:
            yield from RESULTS_OF[task](_unpack(found), found.image_id, self.category_ids)


def _unpack(found: _Found) -> Detections:
    masks = None
    if found.size is not None:
        masks = tuple({"size": found.size, "counts": one} for one in found.counts.split(" "))
    return Detections(found.class_ids, found.scores, found.boxes_xyxy_px, masks)
