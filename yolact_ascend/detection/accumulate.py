"""COCOeval's numbers from matches of any number of images, sorted on disk class by class, in bounded memory.

Source: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (`accumulate`, `summarize`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from yolact_ascend.detection.average_precision import RECALLS
from yolact_ascend.detection.image_matches import AREAS, BITS, ImageMatches, ImageObjects
from yolact_ascend.detection.matches import IOU_THRESHOLDS
from yolact_ascend.errors import ArtifactError

RECORD = np.dtype(
    [("score", "<f4"), ("image", "<i4"), ("hits", "<u2", (len(AREAS),)), ("ignored", "<u2", (len(AREAS),))]
)
MOST_SORTED = 1 << 20  # detections of a class that are in memory at once
MOST_HELD = 1 << 20  # detections that wait to be written; fewer stay in memory
MOST_GATHERED = 1 << 12  # detections that are divided by class at once
MOST_FOUND = (1, 10, 100)  # COCOeval's maxDets, of a class in an image


class Numbers(NamedTuple):
    """What COCOeval computes, as fractions; -1 where there is no object."""

    precision: np.ndarray  # [T,R,K] for all areas and 100 detections
    summary: list[float]  # its 12 numbers


class Accumulated:
    """What was found in images so far, a file for each class in a folder that exists, and how many objects there are.

    Its methods raise ArtifactError when there is no room for the files.
    """

    def __init__(self, folder: Path, classes: int) -> None:
        self._files = [folder / f"{number}.bin" for number in range(classes)]
        self._gathered: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._waiting: list[list[np.ndarray]] = [[] for _ in range(classes)]
        self._count, self._held = 0, 0  # gathered, and waiting
        self._is_on_disk = False
        self._objects = np.zeros((len(AREAS), classes), np.int64)
        self._recalled = np.zeros((len(MOST_FOUND), len(IOU_THRESHOLDS), classes), np.int64)  # hits of the best so many

    def add(self, image: int, objects: ImageObjects, matches: ImageMatches) -> None:
        """Take an image; `image` decides between equal scores, as the order of ids does in COCOeval."""
        for area in range(len(AREAS)):
            np.add.at(self._objects[area], objects.classes[objects.areas >> area & 1 == 1], 1)
        records = np.zeros(len(matches.classes), RECORD)
        records["score"], records["image"] = matches.scores, image
        for name in ("hits", "ignored"):
            records[name] = getattr(matches, name).reshape(len(AREAS), -1).T
        ranks = np.arange(len(records)) - np.searchsorted(matches.classes, matches.classes)  # they are in that order
        self._gathered.append((matches.classes, ranks, records))
        self._count += len(records)
        if self._count > MOST_GATHERED:
            self._divide()

    def _divide(self) -> None:
        """Count the gathered detections, and divide them by class."""
        if not self._count:
            return
        classes, ranks, records = (np.concatenate(each) for each in zip(*self._gathered))
        self._gathered.clear()
        self._count = 0
        order = np.argsort(classes, kind="stable")
        classes, ranks, records = classes[order], ranks[order], records[order]
        is_hit = (records["hits"][:, 0] & BITS[:, None]) > 0  # [T,N]
        for place, most in enumerate(MOST_FOUND):
            for threshold, hits in enumerate(is_hit & (ranks < most)):
                self._recalled[place, threshold] += np.bincount(classes[hits], minlength=len(self._files))
        present, starts = np.unique(classes, return_index=True)
        for number, each in zip(present.tolist(), np.split(records, starts[1:])):
            self._waiting[number].append(each)
        self._held += len(records)
        if self._held > MOST_HELD:
            self._write()

    def _write(self) -> None:
        """Append what waits to the files."""
        try:
            for file, waiting in zip(self._files, self._waiting):
                if waiting:
                    with file.open("ab") as opened:
                        opened.writelines(each.tobytes() for each in waiting)
                    waiting.clear()
        except OSError as error:
            raise ArtifactError(
                f"Cannot write what is scored to {self._files[0].parent}: {error.strerror}. Free some room there, or "
                "set TMPDIR to another folder."
            ) from error
        self._held, self._is_on_disk = 0, True

    def numbers(self) -> Numbers:
        """Return COCOeval's numbers."""
        self._divide()
        if self._is_on_disk:
            self._write()
        shape = (len(AREAS), len(IOU_THRESHOLDS))
        precision = np.zeros((*shape, len(RECALLS), len(self._files)))
        recall = np.zeros((*shape, len(self._files)))
        for number in range(len(self._files)):
            found = precision_of(self._sorted(number), self._objects[:, number])
            precision[..., number], recall[..., number] = found
        with np.errstate(divide="ignore", invalid="ignore"):
            best = np.where(self._objects[0] > 0, self._recalled / self._objects[0], -1)  # [M,T,K]
        at = {threshold: round((threshold - 0.5) / 0.05) for threshold in (0.5, 0.75)}
        summary = [
            *(_mean(each) for each in (precision[0], precision[0, at[0.5]], precision[0, at[0.75]], *precision[1:])),
            *(_mean(each) for each in (*best, *recall[1:])),
        ]
        return Numbers(precision[0], summary)

    def _sorted(self, number: int) -> Iterator[np.ndarray]:
        """Give the detections of a class, best first, some at a time; equal ones by image, then as they came."""
        if not self._is_on_disk:
            if self._waiting[number]:
                yield _in_order(np.concatenate(self._waiting[number]))
            return
        file = self._files[number]
        if not file.exists():
            return
        for low, high in _ranges(file):
            yield _in_order(
                np.concatenate([block[(block["score"] >= low) & (block["score"] < high)] for block in _blocks(file)])
            )


def _in_order(records: np.ndarray) -> np.ndarray:
    return records[np.lexsort((records["image"], -records["score"]))]


def _blocks(file: Path) -> Iterator[np.ndarray]:
    """Give the records of a file, some at a time; a mapped file would count as memory of this process."""
    with file.open("rb") as opened:
        while len(block := np.fromfile(opened, RECORD, MOST_SORTED)):
            yield block


def _ranges(file: Path) -> Iterator[tuple[float, float]]:
    """Give ranges of scores, the highest first, that have about `MOST_SORTED` each, if not more are nearly equal.

    The upper bits of floats above 0 are in their order.
    """
    if file.stat().st_size <= MOST_SORTED * RECORD.itemsize:
        yield -np.inf, np.inf
        return
    counts = np.zeros(1 << 16, np.int64)
    for block in _blocks(file):
        scores = np.ascontiguousarray(block["score"])
        counts += np.bincount(np.maximum(scores, 0).view(np.uint32) >> 16, minlength=len(counts))
    high, held = np.inf, 0
    for upper in np.flatnonzero(counts)[::-1].tolist():
        if held and held + counts[upper] > MOST_SORTED:
            low = float(np.array((upper + 1) << 16, np.uint32).view(np.float32))
            yield low, high
            high, held = low, 0
        held += counts[upper]
    yield -np.inf, high


def precision_of(detections: Iterator[np.ndarray], objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the precision [A,T,R] and the last recall [A,T] of a class, -1 in areas without objects.

    Takes its detections, best first, in arrays of `RECORD`, and the number of its objects [A]. Only right detections
    are peaks of the curve: of each recall the best precision from there on is kept.
    """
    shape = (len(AREAS), len(IOU_THRESHOLDS))
    right, wrong = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    best = np.zeros((*shape, len(RECALLS)))
    for block in detections:
        for area, threshold in np.ndindex(shape):
            is_hit = (block["hits"][:, area] & BITS[threshold]) > 0
            is_wrong = ~is_hit & ((block["ignored"][:, area] & BITS[threshold]) == 0)
            true = right[area, threshold] + np.cumsum(is_hit)
            false = wrong[area, threshold] + np.cumsum(is_wrong)
            right[area, threshold], wrong[area, threshold] = true[-1], false[-1]
            if objects[area]:
                true, false = true[is_hit], false[is_hit]
                reached = np.searchsorted(RECALLS, true / objects[area], side="right") - 1
                np.maximum.at(best[area, threshold], reached, true / (true + false))
    best = np.maximum.accumulate(best[..., ::-1], axis=-1)[..., ::-1]
    recall = right / np.maximum(objects, 1)[:, None]
    has_objects = objects > 0
    return np.where(has_objects[:, None, None], best, -1), np.where(has_objects[:, None], recall, -1)


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1
