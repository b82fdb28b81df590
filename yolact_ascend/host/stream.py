"""`stream`: a data set's images through a model in memory (`overlap`), to results files and mAP."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from yolact_ascend.detection.evaluate import Evaluation, open_scorer, scoring_of, truths_of
from yolact_ascend.detection.results import ResultsFiles
from yolact_ascend.errors import DatasetError
from yolact_ascend.host.overlap import Detected, Spent
from yolact_ascend.images.coco import CocoDataset, CocoImage
from yolact_ascend.images.reader import PictureSource, source_of_image
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.progress import bar, clock
from yolact_ascend.timings import EVAL

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


def scored_sources(dataset: CocoDataset, config: ModelConfig) -> Iterator[PictureSource]:
    """Give a data set's images with what they are scored against; `config` has the data set's ids for its classes."""
    scoring = scoring_of(dataset.truth, config.tasks, config.category_ids)
    truths = truths_of(scoring, dataset.truth, [image.image_id for image in dataset.images])
    return (source_of_image(image, truths.get(image.image_id)) for image in dataset.images)


def score_stream(
    found: Iterable[Detected],
    dataset: CocoDataset,
    config: ModelConfig,
    files: Mapping[str, Path],
    spent: Spent,
) -> Streamed:
    """Write what a stream of `scored_sources` finds as COCO results files, by task, and score it.

    An image that failed is named, and not scored. When the user interrupts, the files hold the images done until then.
    Raises DatasetError when every image failed.
    """
    done = 0
    failed: list[CocoImage] = []
    scoring = scoring_of(dataset.truth, config.tasks, config.category_ids)
    ids = [image.image_id for image in dataset.images]
    start = time.perf_counter()
    with open_scorer(scoring, ids) as scorer, ResultsFiles(files, config.category_ids) as results:
        try:
            shown = bar(found, desc="stream", unit="image", total=len(dataset.images))
            for found_in, image in zip(shown, dataset.images):
                if found_in.detections is None:
                    failed.append(image)
                    tqdm.write(f"failed: {found_in.failure}", file=sys.stderr)
                    continue
                results.add(image.image_id, found_in.detections)
                with spent.host.timed(EVAL):
                    scorer.add(image.image_id, found_in.matched)
                done += 1
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):  # the first was heard; now the files are finished
                signal.signal(number, signal.SIG_IGN)
            results.finish()
            raise KeyboardInterrupt(
                f"{' and '.join(map(str, files.values()))} hold the {done} images done so far; "
                "the same command begins with the first one again."
            ) from None
        seconds = time.perf_counter() - start
        if not done:
            raise DatasetError(f"None of the {len(failed)} images could be decoded; the first: {failed[0].path}.")
        results.finish()
        with spent.host.timed(EVAL), clock("COCOeval"):
            evaluation = scorer.evaluation()
    return Streamed(evaluation, tuple(failed), seconds, spent)
