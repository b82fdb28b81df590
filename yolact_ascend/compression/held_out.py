"""The held-out part of a data set: images that ranges were not measured on, and the mAP of a model on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import DatasetError
from yolact_ascend.files import digest, sha256_file
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
            "score the model on. Pass a larger data set, or calibrate on fewer (--images=N, or images: in the recipe)."
        )
    return tuple(left if len(left) <= count else random.Random(seed).sample(left, count))


class HeldOutScore:
    """Computes the mAP, in percent, of a form of an exported ONNX: of masks, of boxes where it has none; see `Score`.

    Raises DatasetError when the data set has other classes than the model, or nothing to score against.
    """

    def __init__(
        self, model: Path, dataset: CocoDataset, images: Sequence[CocoImage], threads: int | None = None
    ) -> None:
        description = read_description(model)
        self._config = match_classes(dataset, description.config)
        self._detector = open_detector(model, description)
        self._dataset, self._images, self._threads = dataset, images, threads
        self.key = digest([sha256_file(dataset.annotation_file), [image.image_id for image in images]])

    def __call__(self, path: Path) -> float:
        task = MASK if MASK in self._config.tasks else BOX
        with OnnxEngine(path, self._threads) as engine:
            scores = score_engine(engine, self._detector, self._config.category_ids, self._dataset, self._images).scores
        if task not in scores or (found := scores[task].table["all"]) is None:
            raise DatasetError(
                f"{self._dataset.annotation_file} has nothing to score the {len(self._images)} images against."
            )
        return found
