"""Average precision from matches, for any weights of the images: the other half of COCOeval.

An image of weight 3 counts as three copies of it, one of weight 0 not at all; so a bootstrap sample is a row of whole
numbers. Source: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (`accumulate`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yolact_ascend.detection.matches import Matches

RECALLS = np.linspace(0, 1, 101)  # as COCOeval's Params computes them


@dataclass(frozen=True)
class _Hits:
    """The detections [H] that are right at one overlap, in order: the curve of precision has its peaks there.

    S classes have any. Of the J detections in crowds, `ignored_*` tell the images and how many come before a place.
    """

    at: np.ndarray  # [H] places among all detections
    images: np.ndarray  # [H]
    present: np.ndarray  # [S] the classes
    starts: np.ndarray  # [S] where each begins among the hits
    lengths: np.ndarray  # [S]
    first: np.ndarray  # [S] where each begins among all detections
    ranges: tuple[tuple[int, int], ...]  # [S] from which of the hits to which
    ignored_images: np.ndarray  # [J]
    ignored_before: np.ndarray  # [H]
    ignored_first: np.ndarray  # [S]

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return the values of the classes [B,S] for each hit [B,H]."""
        return np.repeat(values, self.lengths, axis=1)


class AveragePrecision:
    """What computes AP for weights of the images; sorting and matching are done once, before."""

    def __init__(self, matches: Matches, recalls: np.ndarray = RECALLS) -> None:
        self.matches, self._recalls = matches, recalls
        rows = zip(matches.is_hit, matches.is_ignored)
        self._hits = [self._find_hits(is_hit, is_ignored) for is_hit, is_ignored in rows]

    def _find_hits(self, is_hit: np.ndarray, is_ignored: np.ndarray) -> _Hits:
        at, ignored = np.flatnonzero(is_hit), np.flatnonzero(is_ignored)
        present, starts, lengths = np.unique(self.matches.classes[at], return_index=True, return_counts=True)
        first = np.searchsorted(self.matches.classes, present)
        return _Hits(
            at,
            self.matches.images[at],
            present,
            starts,
            lengths,
            first,
            tuple(zip(starts.tolist(), (starts + lengths).tolist())),
            self.matches.images[ignored],
            np.searchsorted(ignored, at),
            np.searchsorted(ignored, first),
        )

    def of_classes(self, weights: np.ndarray) -> np.ndarray:
        """Return the AP [B,T,K] as a fraction for B rows of weights [B,I], whole numbers; NaN without objects."""
        objects = weights @ self.matches.objects  # [B,K]
        counted = _running(weights.take(self.matches.images, axis=1))  # [B,D+1]
        found = np.zeros((len(weights), len(self._hits), objects.shape[1]))
        for threshold, hits in enumerate(self._hits):
            if len(hits.at):
                found[:, threshold, hits.present] = self._of_hits(hits, weights, counted, objects)
        return np.where(objects[:, None] > 0, found, np.nan)

    def _of_hits(self, hits: _Hits, weights: np.ndarray, counted: np.ndarray, objects: np.ndarray) -> np.ndarray:
        """Return the AP [B,S] of the classes that have hits; `counted` [B,D+1] is the weight of the detections before
        each place."""
        right = _running(weights.take(hits.images, axis=1))  # [B,H+1]
        right = right[:, 1:] - hits.spread(right[:, hits.starts])
        total = counted.take(hits.at + 1, axis=1) - hits.spread(counted[:, hits.first])
        if len(hits.ignored_images):
            ignored = _running(weights.take(hits.ignored_images, axis=1))
            total -= ignored.take(hits.ignored_before, axis=1) - hits.spread(ignored[:, hits.ignored_first])
        precision = right / (total + np.spacing(1))
        for start, end in hits.ranges:  # to the best precision from here to the end of the class
            backwards = precision[:, start:end][:, ::-1]
            np.maximum.accumulate(backwards, axis=1, out=backwards)
        with np.errstate(divide="ignore", invalid="ignore"):  # a sample without the class
            recall = right / hits.spread(objects[:, hits.present])
        reached = np.searchsorted(self._recalls, recall.ravel(), side="right").reshape(recall.shape)
        gained = np.diff(reached, axis=1, prepend=0)
        gained[:, hits.starts] = reached[:, hits.starts]
        return np.add.reduceat(precision * gained, hits.starts, axis=1) / len(self._recalls)

    def of_images(self) -> np.ndarray:
        """Return the AP [T,I,K] of each image by itself, as a fraction; NaN without objects."""
        matches = self.matches
        alone = AveragePrecision(matches.of_single_images(), self._recalls)
        found = alone.of_classes(np.ones((1, 1), np.int64))
        return found.reshape(len(self._hits), len(matches.image_ids), len(matches.category_ids))


def mean_precision(precision: np.ndarray) -> np.ndarray:
    """Return the mean AP [...] over the classes of `precision` [...,K]; NaN where none has objects."""
    has_objects = ~np.isnan(precision)
    count = has_objects.sum(axis=-1)
    total = np.where(has_objects, precision, 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _running(values: np.ndarray) -> np.ndarray:
    """Return the sums [B,n+1] of the values [B,n] before each place."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1), np.int64)
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums
