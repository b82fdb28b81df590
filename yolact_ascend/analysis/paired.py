"""The mAP of two runs on the images that both have: in total, by class and by image, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolact_ascend.analysis.bootstrap import SAMPLES, Difference, compare_precision
from yolact_ascend.analysis.finished_run import FinishedRun
from yolact_ascend.cores import count_cores
from yolact_ascend.detection.average_precision import AveragePrecision, mean_precision
from yolact_ascend.detection.matches import match_results


@dataclass(frozen=True)
class ImageDifference:
    """The mAP of one image by itself, in percent, in both runs; None where it has no objects."""

    image_id: int
    file_name: str
    first: float | None
    second: float | None

    @property
    def points(self) -> float | None:
        return None if self.first is None or self.second is None else self.second - self.first

    def to_json(self) -> dict[str, Any]:
        return {
            **{"image_id": self.image_id, "file_name": self.file_name},
            **{"first": self.first, "second": self.second, "points": self.points},
        }


@dataclass(frozen=True)
class PairedTask:
    """One task, boxes or masks: differences by column of the table, by class name, and by image."""

    columns: dict[str, Difference]
    classes: dict[str, Difference]
    images: tuple[ImageDifference, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": {name: difference.to_json() for name, difference in self.columns.items()},
            "classes": {name: difference.to_json() for name, difference in self.classes.items()},
            "images": [image.to_json() for image in self.images],
        }


def pair_scores(
    runs: tuple[FinishedRun, FinishedRun],
    annotations: Mapping[str, Any],
    image_ids: Sequence[int],
    samples: int = SAMPLES,
) -> dict[str, PairedTask]:
    """Score two runs on the same images, for each task that both have."""
    tasks = [task for task in runs[0].tasks if task in runs[1].tasks]
    with ThreadPoolExecutor(min(count_cores(), max(len(tasks), 1))) as pool:  # numpy lets both tasks compute at once
        found = pool.map(lambda task: _pair_task(runs, annotations, image_ids, task, samples), tasks)
        return dict(zip(tasks, found))


def _pair_task(
    runs: tuple[FinishedRun, FinishedRun],
    annotations: Mapping[str, Any],
    image_ids: Sequence[int],
    task: str,
    samples: int,
) -> PairedTask:
    first, second = (
        AveragePrecision(match_results(annotations, image_ids, run.read_results(task), task)) for run in runs
    )
    found = compare_precision(first, second, samples)
    names = {category["id"]: str(category.get("name", category["id"])) for category in annotations["categories"]}
    files = {image["id"]: image["file_name"] for image in annotations["images"]}
    alone = [mean_precision(run.of_images()).mean(axis=0) for run in (first, second)]  # [I] each
    images = [
        ImageDifference(image_id, files[image_id], *map(_percent, values))
        for image_id, *values in zip(first.matches.image_ids, *alone)
    ]
    classes = {names[category_id]: difference for category_id, difference in found.classes.items()}
    return PairedTask(found.columns, classes, tuple(images))


def _percent(fraction: np.floating) -> float | None:
    return None if np.isnan(fraction) else float(100 * fraction)
