"""Scores an engine on images of a data set, in this process: same preprocessing, detection and COCOeval as a run."""

from __future__ import annotations

from collections.abc import Sequence

from yolact_ascend.detection.evaluate import Evaluation, evaluate
from yolact_ascend.detection.results import Findings
from yolact_ascend.host.inference import detect_batch
from yolact_ascend.images.coco import CocoDataset, CocoImage
from yolact_ascend.images.decode import decode_image
from yolact_ascend.models.family import Detector
from yolact_ascend.targets.target import Engine
from yolact_ascend.timings import Timings


def score_engine(
    engine: Engine, detector: Detector, category_ids: Sequence[int], dataset: CocoDataset, images: Sequence[CocoImage]
) -> Evaluation:
    """Score an engine on images of a data set; `category_ids` [K] are the data set's ids of the network's classes."""
    findings = Findings(category_ids)
    for image in images:
        pixels = decode_image(image.path, image.is_turned)
        annotated_size = (image.height, image.width)
        (found,) = detect_batch([pixels], engine, detector, Timings().timed, [annotated_size])
        findings.add(image.image_id, found)
    found_by_task = {task: findings.entries(task) for task in detector.config.tasks}
    return evaluate(dataset.truth, [image.image_id for image in images], found_by_task)
