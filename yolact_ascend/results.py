"""What was found, on its way to disk and to the evaluation, however many images there are.

The files are written image by image; in memory an image takes about as much as its compressed masks.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from yolact_ascend.artifacts import atomic_path
from yolact_ascend.detections import Detections, bbox_results, mask_results


class ResultsFiles:
    """Two files in COCO's results format, of boxes and of masks, that grow by an image at a time.

    They appear, whole, at the end of the block or at `finish`; when the block fails before that, neither does.
    Raises ArtifactError when they cannot be written.
    """

    def __init__(self, bbox_file: Path, mask_file: Path, category_ids: Sequence[int]) -> None:
        self.paths = (bbox_file, mask_file)
        self.category_ids = category_ids  # [K] of the classes

    def __enter__(self) -> ResultsFiles:
        with contextlib.ExitStack() as stack:
            self._files = [_open_list(stack, path) for path in self.paths]
            self._stack = stack.pop_all()
        self._is_finished = False
        self._ends = [0] * len(self._files)  # of the last whole image in each file
        return self

    def add(self, image_id: int, detections: Detections) -> None:
        """Write what was found in one image, after the images before."""
        if not len(detections):
            return
        for file, end, results in zip(self._files, self._ends, (bbox_results, mask_results)):
            entries = json.dumps(results(detections, image_id, self.category_ids))
            file.write((b", " if end else b"[") + entries[1:-1].encode())
        self._ends = [file.tell() for file in self._files]  # an interrupt before this leaves the image out of both

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
    size: list[int]
    counts: str  # of all masks, with blanks between them, which the encoding does not use


class Findings:
    """What was found in the images so far, in memory, for the evaluation."""

    def __init__(self, category_ids: Sequence[int]) -> None:
        self.category_ids = category_ids  # [K] of the classes
        self._images: list[_Found] = []

    def add(self, image_id: int, detections: Detections) -> None:
        """Take what was found in one image."""
        if len(detections):
            class_ids, scores, boxes, masks = (
                detections.class_ids.astype(np.int16),
                detections.scores,
                detections.boxes_xyxy_px,
                detections.masks,
            )
            counts = " ".join(mask["counts"] for mask in masks)
            self._images.append(_Found(image_id, class_ids, scores, boxes, masks[0]["size"], counts))

    def boxes(self) -> Iterator[dict[str, Any]]:
        """Give the boxes as entries of COCO's results format."""
        for image_id, detections in self._detections():
            yield from bbox_results(detections, image_id, self.category_ids)

    def masks(self) -> Iterator[dict[str, Any]]:
        """Give the masks as entries of COCO's results format."""
        for image_id, detections in self._detections():
            yield from mask_results(detections, image_id, self.category_ids)

    def _detections(self) -> Iterator[tuple[int, Detections]]:
        for image_id, class_ids, scores, boxes, size, counts in self._images:
            masks = tuple({"size": size, "counts": one} for one in counts.split(" "))
            yield image_id, Detections(class_ids, scores, boxes, masks)
