"""How far a difference of mAP is chance: a paired bootstrap over the images that two runs share.

Each sample draws as many images as there are, with replacement, and scores both runs on them. Source: Efron and
Tibshirani, "An Introduction to the Bootstrap", chapters 10 (bias) and 14 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yolact_ascend.detection.average_precision import AveragePrecision, mean_precision
from yolact_ascend.detection.matches import IOU_THRESHOLDS
from yolact_ascend.progress import bar

SAMPLES = 1000
SEED = 0
LEVEL_PERCENT = 95
BLOCK = 2**19  # detections of all samples of a block: what stays in the cache
# Columns of a table of mAP, and which overlaps they are the mean of.
COLUMNS = {"all": slice(None), **{str(round(100 * value)): slice(n, n + 1) for n, value in enumerate(IOU_THRESHOLDS)}}


@dataclass(frozen=True)
class Difference:
    """second - first in points, with its interval; None where there is nothing to score."""

    first: float | None  # percent
    second: float | None
    low: float | None
    high: float | None

    @property
    def points(self) -> float | None:
        return None if self.first is None or self.second is None else self.second - self.first

    def to_json(self) -> dict[str, float | None]:
        return {"first": self.first, "second": self.second, "points": self.points, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class PairedScores:
    """Two runs' mAP on the same images: by column ("all", "50" .. "95"), and of each class."""

    columns: dict[str, Difference]
    classes: dict[int, Difference]  # by category id


def compare_precision(
    first: AveragePrecision, second: AveragePrecision, samples: int = SAMPLES, seed: int = SEED
) -> PairedScores:
    """Return the differences of two runs' mAP on the same images, with intervals from so many samples."""
    matches = first.matches
    ones = np.ones((1, len(matches.image_ids)), np.int64)
    values = [run.of_classes(ones) for run in (first, second)]  # [1,T,K] each
    drawn = []
    with bar(total=samples, desc="bootstrap", unit="sample") as shown:
        for weights in draw_weights(len(matches.image_ids), samples, _block(first, second), seed):
            drawn.append([run.of_classes(weights) for run in (first, second)])
            shown.update(len(weights))
    by_class = [np.concatenate([each[side].mean(axis=1) for each in drawn]) for side in (0, 1)]  # [samples,K]
    by_overlap = [np.concatenate([mean_precision(each[side]) for each in drawn]) for side in (0, 1)]  # [samples,T]
    measured = [mean_precision(value)[0] for value in values]  # [T]
    columns = {
        name: _difference(*(value[part].mean() for value in measured), *(each[:, part].mean(1) for each in by_overlap))
        for name, part in COLUMNS.items()
    }
    classes = {
        category_id: _difference(*(value[0, :, k].mean() for value in values), *(each[:, k] for each in by_class))
        for k, category_id in enumerate(matches.category_ids)
        if matches.objects[:, k].any()
    }
    return PairedScores(columns, classes)


def draw_weights(images: int, samples: int, block: int, seed: int) -> Iterator[np.ndarray]:
    """Give how often each image is in each sample, [block,images] at a time; the same for the same seed."""
    generator = np.random.default_rng(seed)
    for start in range(0, samples, block):
        count = min(block, samples - start)
        drawn = generator.integers(0, images, (count, images)) + images * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)


def _block(*runs: AveragePrecision) -> int:
    return max(1, BLOCK // max(1, *(len(run.matches.images) for run in runs)))


def _difference(first: float, second: float, sampled_first: np.ndarray, sampled_second: np.ndarray) -> Difference:
    if np.isnan(first) or np.isnan(second):
        return Difference(None, None, None, None)
    differences = sampled_second - sampled_first
    low, high = interval(differences[~np.isnan(differences)])
    return Difference(*(float(100 * value) for value in (first, second, low, high)))


def interval(sampled: np.ndarray) -> tuple[float, float]:
    """Return the interval that holds LEVEL_PERCENT of sampled values [n]."""
    tail = (100 - LEVEL_PERCENT) / 2
    # "weibull": a new sample falls outside with the stated probability, however few samples there are.
    low, high = np.percentile(sampled, [tail, 100 - tail], method="weibull")
    return float(low), float(high)
