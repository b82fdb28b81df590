"""All parts of a plan, in the order of its images, to COCO's results files and mAP; a part at a time is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from yolact_ascend.detection.evaluate import Evaluation, open_scorer
from yolact_ascend.detection.results import ResultsFiles
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.images.coco import list_some
from yolact_ascend.progress import bar
from yolact_ascend.scale.manifest import read_ids
from yolact_ascend.scale.parts import REMOVE_PART, read_part, rows_of
from yolact_ascend.scale.places import RESUME
from yolact_ascend.scale.plan import MANIFEST, Planned
from yolact_ascend.tables import counted

MOST_FAILED_NAMED = 5


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
    scoring = planned.plan.scoring
    ids = read_ids(planned.out / MANIFEST)
    with open_scorer(scoring, ids.to_numpy()) as scorer, ResultsFiles(files, planned.plan.class_ids) as results:
        for part in bar(_parts(planned, ids), desc="merge", unit="shard", total=planned.plan.shards):
            for row in rows_of(part):
                if row.detections is None:
                    failed.append((row.image_id, row.error))
                else:
                    results.add(row.image_id, row.detections)
                    scorer.add(row.image_id, row.matched)
        if len(failed) == planned.plan.images:
            raise DatasetError(f"None of the {len(failed)} images could be read; the first: {failed[0][1]}")
        results.finish()
        return Merged(scorer.evaluation(), tuple(failed))


def _parts(planned: Planned, ids: pa.ChunkedArray) -> Iterator[pa.Table]:
    """Give the parts in order; raises ArtifactError for one that has other images than its shard."""
    size = planned.plan.shard_size
    for shard in range(planned.plan.shards):
        place = planned.part(shard)
        part = read_part(place)
        if part["image_id"].combine_chunks() != ids.slice(shard * size, size).combine_chunks():
            raise ArtifactError(f"{place.name} has other images than shard {shard} of this plan. {REMOVE_PART}")
        yield part
