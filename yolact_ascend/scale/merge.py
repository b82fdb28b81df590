"""All parts of a plan, in the order of its images, to COCO's results files and mAP; a part at a time is in memory."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from yolact_ascend.detection.evaluate import Evaluation
from yolact_ascend.detection.results import ResultsFiles
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.images.coco import list_some
from yolact_ascend.progress import bar
from yolact_ascend.scale.manifest import read_ids
from yolact_ascend.scale.matching import AREAS
from yolact_ascend.scale.parts import read_part, rows_of
from yolact_ascend.scale.places import RESUME
from yolact_ascend.scale.plan import MANIFEST, Planned
from yolact_ascend.scale.precision import RECORD, DetectionsOnDisk
from yolact_ascend.tables import counted

MOST_FAILED_NAMED = 5
SCORING = "scoring"  # a temporary folder


@dataclass(frozen=True)
class Merged:
    """All images of a plan: their scores, and which of them failed."""

    evaluation: Evaluation
    failed: tuple[tuple[int, str], ...]  # image id, and why

    def to_json(self) -> dict[str, Any]:
        """Return the value as the scores file holds it."""
        return {**self.evaluation.to_json(), "failed": [image_id for image_id, _ in self.failed]}

    def describe(self) -> str:
        """Return what failed; "" where nothing did."""
        if not self.failed:
            return ""
        named = "\n".join(f"  image {image_id}: {why}" for image_id, why in self.failed[:MOST_FAILED_NAMED])
        rest = len(self.failed) - MOST_FAILED_NAMED
        more = f"\n  and {rest} more, in the column `error` of the parts" if rest > 0 else ""
        return f"{counted(len(self.failed), 'image')} failed and not scored:\n{named}{more}"


def merge(planned: Planned, files: Mapping[str, Path]) -> Merged:
    """Write the results files by task, byte for byte those of `stream`, and score them where there are annotations.

    Raises ArtifactError when a part is missing, or is not one of this plan; DatasetError when all images failed.
    """
    missing = planned.missing()
    if missing:
        raise ArtifactError(
            f"{len(missing)} of {planned.plan.shards} parts are not in {planned.out.name} yet: shard "
            f"{list_some(missing)}. Run them first. {RESUME}"
        )
    failed: list[tuple[int, str]] = []
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(ResultsFiles(files, planned.plan.class_ids))
        scorers = stack.enter_context(_open_scorers(planned))
        for part in bar(_parts(planned), desc="merge", unit="shard", total=planned.plan.shards):
            for row in rows_of(part):
                if row.detections is None:
                    failed.append((row.image_id, row.error))
                else:
                    results.add(row.image_id, row.detections)
            for task, scorer in scorers.items():
                scorer.add(part, task)
        count = planned.plan.images - len(failed)
        if not count:
            raise DatasetError(f"None of the {len(failed)} images could be read; the first: {failed[0][1]}")
        scores = {task: scorer.detections.score(planned.plan.category_ids) for task, scorer in scorers.items()}
    return Merged(Evaluation(scores, count), tuple(failed))


def _parts(planned: Planned) -> Iterator[pa.Table]:
    for shard in range(planned.plan.shards):
        place = planned.part(shard)
        part = read_part(place)
        if part.num_rows != planned.plan.count(shard):
            raise ArtifactError(
                f"{place.name} has {part.num_rows} rows, expected {planned.plan.count(shard)}: it is not of this plan. "
                "Remove it, and rerun the same command."
            )
        yield part


@contextlib.contextmanager
def _open_scorers(planned: Planned) -> Iterator[dict[str, _Scorer]]:
    plan = planned.plan
    if not plan.category_ids:
        yield {}
        return
    ids = np.sort(read_ids(planned.out / MANIFEST).to_numpy())
    with tempfile.TemporaryDirectory(prefix="yolact-ascend-") as folder:
        scorers = {}
        for task in plan.tasks:
            place = Path(folder) / task
            place.mkdir()
            scorers[task] = _Scorer(DetectionsOnDisk(place, len(plan.category_ids)), ids)
        yield scorers


@dataclass(frozen=True)
class _Scorer:
    """Takes the matches of parts; `image_ids` are all there are, in their order."""

    detections: DetectionsOnDisk
    image_ids: np.ndarray

    def add(self, part: pa.Table, task: str) -> None:
        """Take those of a task in a part."""
        columns = part.select(["image_id", "error", "object_classes", "object_areas", task]).to_pydict()
        found = []
        for image_id, error, classes, areas, matches in zip(*columns.values()):
            if error is None:
                self.detections.add_objects(np.array(classes, np.int64), np.array(areas, np.int64))
                found.append(records_of(matches, int(np.searchsorted(self.image_ids, image_id))))
        if found:
            self.detections.add(*(np.concatenate(each) for each in zip(*found)))


def records_of(matches: Mapping[str, Any], image: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes, the ranks in these, and the records of an image's detections [N], from a part's row."""
    classes = np.array(matches["classes"], np.int64)
    records = np.zeros(len(classes), RECORD)
    records["score"], records["image"] = matches["scores"], image
    for name in ("hits", "ignored"):
        records[name] = np.array(matches[name], np.uint16).reshape(len(AREAS), -1).T
    ranks = np.arange(len(classes)) - np.searchsorted(classes, classes)  # they are in the order of the classes
    return classes, ranks, records
