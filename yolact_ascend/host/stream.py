"""`stream`: a data set's images through a model in memory (`overlap`), to results files and mAP."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from yolact_ascend.detection.results import Findings, ResultsFiles
from yolact_ascend.errors import DatasetError
from yolact_ascend.host.overlap import Detected, Spent
from yolact_ascend.images.coco import CocoDataset, CocoImage
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.progress import bar, clock

if TYPE_CHECKING:
    from yolact_ascend.detection.evaluate import Evaluation

NAMED = 5  # images that a message lists


@dataclass(frozen=True)
class Streamed:
    """A finished stream: its scores, and what it took."""

    evaluation: Evaluation
    failed: tuple[CocoImage, ...]
    seconds: float  # from the start of the workers to the last detection; the models were loaded
    spent: Spent

    def to_json(self) -> dict[str, Any]:
        """Return the value as the scores file holds it."""
        return {
            **self.evaluation.to_json(),
            "host": self.spent.host.to_json(),
            "failed": [image.image_id for image in self.failed],
            "stream_seconds": round(self.seconds, 3),
        }

    def describe(self) -> str:
        """Return the speed, and what failed."""
        count = self.evaluation.images
        lines = [f"{count} images, {count / self.seconds:.2f} images/s from the files to the detections"]
        if self.failed:
            names = ", ".join(image.path.name for image in self.failed[:NAMED])
            lines.append(f"{len(self.failed)} more could not be decoded and are not scored: {names}")
        return "\n".join(lines)


def score_stream(
    found: Iterable[Detected],
    dataset: CocoDataset,
    config: ModelConfig,
    files: Mapping[str, Path],
    spent: Spent,
) -> Streamed:
    """Write what a stream of the data set's images finds as COCO results files, by task, and score it.

    An image that failed is named, and not scored. When the user interrupts, the files hold the images done until then.
    Raises DatasetError when every image failed.
    """
    from yolact_ascend.detection.evaluate import evaluate  # here: the workers do without

    scored: list[int] = []
    failed: list[CocoImage] = []
    findings = Findings(config.category_ids)
    start = time.perf_counter()
    with ResultsFiles(files, config.category_ids) as results:
        try:
            shown = bar(found, desc="stream", unit="image", total=len(dataset.images))
            for (_, _, detections, failure), image in zip(shown, dataset.images):
                if detections is None:
                    failed.append(image)
                    tqdm.write(f"failed: {failure}", file=sys.stderr)
                    continue
                results.add(image.image_id, detections)
                findings.add(image.image_id, detections)
                scored.append(image.image_id)
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):  # the first was heard; now the files are finished
                signal.signal(number, signal.SIG_IGN)
            results.finish()
            raise KeyboardInterrupt(
                f"{' and '.join(map(str, files.values()))} hold the {len(scored)} images done so far; "
                "the same command begins with the first one again."
            ) from None
        seconds = time.perf_counter() - start
        if not scored:
            raise DatasetError(f"None of the {len(failed)} images could be decoded; the first: {failed[0].path}.")
    with spent.host.timed("eval"), clock("COCOeval"):
        evaluation = evaluate(dataset.truth, scored, {task: findings.entries(task) for task in files})
    return Streamed(evaluation, tuple(failed), seconds, spent)
