"""The held-out part of a data set: images that ranges were not measured on, and the mAP of a model on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from yolact_ascend.compression.trials import Score
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import DatasetError
from yolact_ascend.host.score import score_engine
from yolact_ascend.images.coco import CocoDataset, CocoImage, match_classes
from yolact_ascend.targets.described import open_detector, read_description
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine


def held_out_images(dataset: CocoDataset, used: Sequence[Path], count: int, seed: int) -> tuple[CocoImage, ...]:
    """Draw up to `count` annotated images that are not among the used ones; raises DatasetError when none is left."""
    taken = set(used)
    left = sorted(
        (image for image in dataset.select(annotated_only=True) if image.path not in taken),
        key=lambda image: image.image_id,
    )
    if not left:
        raise DatasetError(
            f"{dataset.annotation_file} has no annotated image beside the {len(taken)} that are calibrated on, to "
            "score the model on. Pass a larger data set, or calibrate on fewer (--images=N)."
        )
    return tuple(left if len(left) <= count else random.Random(seed).sample(left, count))


def make_score(model: Path, dataset: CocoDataset, images: Sequence[CocoImage], threads: int | None = None) -> Score:
    """Return what computes the mAP, in percent, of a form of an exported ONNX: of masks, of boxes where it has none.

    Raises DatasetError when the data set has other classes than the model, or nothing to score against.
    """
    description = read_description(model)
    config = match_classes(dataset, description.config)
    task = MASK if MASK in config.tasks else BOX
    detector = open_detector(model, description)

    def score(path: Path) -> float:
        with OnnxEngine(path, threads) as engine:
            found = score_engine(engine, detector, config.category_ids, dataset, images).scores.get(task)
        if found is None or found.table["all"] is None:
            raise DatasetError(f"{dataset.annotation_file} has nothing to score the {len(images)} images against.")
        return found.table["all"]

    return score
