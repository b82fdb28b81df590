"""COCOeval's numbers from matches of any number of images, sorted on disk class by class, in bounded memory.

Source: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (`accumulate`, `summarize`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from yolact_ascend.detection.average_precision import RECALLS
from yolact_ascend.detection.evaluate import Score, score_of
from yolact_ascend.detection.matches import IOU_THRESHOLDS
from yolact_ascend.scale.matching import AREAS, BITS

RECORD = np.dtype(
    [("score", "<f4"), ("image", "<i4"), ("hits", "<u2", (len(AREAS),)), ("ignored", "<u2", (len(AREAS),))]
)
MOST_SORTED = 1 << 20  # detections of a class that are in memory at once
MOST_HELD = 1 << 20  # detections that wait to be written
MOST_FOUND = (1, 10, 100)  # COCOeval's maxDets, of a class in an image


class DetectionsOnDisk:
    """Detections of images, a file for each class in a folder, and how many objects there are."""

    def __init__(self, folder: Path, classes: int) -> None:
        self._files = [folder / f"{number}.bin" for number in range(classes)]
        self._waiting: list[list[np.ndarray]] = [[] for _ in range(classes)]
        self._held = 0
        self.objects = np.zeros((len(AREAS), classes), np.int64)
        self.recalled = np.zeros((len(MOST_FOUND), len(IOU_THRESHOLDS), classes), np.int64)  # hits of the best so many

    def add_objects(self, classes: np.ndarray, areas: np.ndarray) -> None:
        """Count objects [G], by their class and the bits of the areas in which they count."""
        for area in range(len(AREAS)):
            self.objects[area] += np.bincount(classes[areas >> area & 1 == 1], minlength=self.objects.shape[1])

    def add(self, classes: np.ndarray, ranks: np.ndarray, records: np.ndarray) -> None:
        """Take detections [N] of images, and the rank of each among those of its class in its image."""
        order = np.argsort(classes, kind="stable")
        classes, ranks, records = classes[order], ranks[order], records[order]
        is_hit = (records["hits"][:, 0] & BITS[:, None]) > 0  # [T,N]
        for place, most in enumerate(MOST_FOUND):
            for threshold, hits in enumerate(is_hit & (ranks < most)):
                self.recalled[place, threshold] += np.bincount(classes[hits], minlength=len(self._files))
        present, starts = np.unique(classes, return_index=True)
        for number, each in zip(present.tolist(), np.split(records, starts[1:])):
            self._waiting[number].append(each)
        self._held += len(records)
        if self._held > MOST_HELD:
            self._write()

    def _write(self) -> None:
        for file, waiting in zip(self._files, self._waiting):
            if waiting:
                with file.open("ab") as opened:
                    opened.writelines(each.tobytes() for each in waiting)
                waiting.clear()
        self._held = 0

    def score(self, category_ids: Sequence[int]) -> Score:
        """Return COCOeval's numbers; `category_ids` [K] are those of the classes."""
        self._write()
        classes = range(len(self._files))
        found = [precision_of(self._sorted(number), self.objects[:, number]) for number in classes]
        precision = np.stack([each for each, _ in found], axis=-1)  # [A,T,R,K]
        recall = np.stack([each for _, each in found], axis=-1)  # [A,T,K]
        with np.errstate(divide="ignore", invalid="ignore"):
            best = np.where(self.objects[0] > 0, self.recalled / self.objects[0], -1)  # [M,T,K]
        at = {threshold: round((threshold - 0.5) / 0.05) for threshold in (0.5, 0.75)}
        summary = [
            *(_mean(each) for each in (precision[0], precision[0, at[0.5]], precision[0, at[0.75]], *precision[1:])),
            *(_mean(each) for each in (*best, *recall[1:])),
        ]
        return score_of(precision[0], summary, category_ids)

    def _sorted(self, number: int) -> Iterator[np.ndarray]:
        """Give the detections of a class, best first, some at a time; equal ones by image, then as they came."""
        file = self._files[number]
        if not file.exists():
            return
        for low, high in _ranges(file):
            chosen = np.concatenate(
                [block[(block["score"] >= low) & (block["score"] < high)] for block in _blocks(file)]
            )
            yield chosen[np.lexsort((chosen["image"], -chosen["score"]))]


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
                np.maximum.at(best[area, threshold], reached, true / (true + false + np.spacing(1)))
    best = np.maximum.accumulate(best[..., ::-1], axis=-1)[..., ::-1]
    recall = right / np.maximum(objects, 1)[:, None]
    has_objects = objects > 0
    return np.where(has_objects[:, None, None], best, -1), np.where(has_objects[:, None], recall, -1)


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1
