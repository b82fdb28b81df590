"""Training images with their targets, as arrays. They depend on the seed and the position in the training alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from yolact_ascend.detection.segmentation import decode_annotation
from yolact_ascend.errors import DatasetError
from yolact_ascend.files import digest, sha256_file
from yolact_ascend.images.coco import CocoDataset, CocoImage, describe_images, require_images
from yolact_ascend.images.decode import decode_image
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.training.method import Method
from yolact_ascend.training.objects import Objects, crop_masks
from yolact_ascend.training.recipe import Phase, Recipe


class TrainingSet:
    """The images of a COCO data set and their annotations, by image."""

    def __init__(self, dataset: CocoDataset, category_ids: tuple[int, ...], limit: int | None = None) -> None:
        self.annotation_file = dataset.annotation_file
        self.images = dataset.select(limit=limit)
        self._class_of = {category_id: class_id for class_id, category_id in enumerate(category_ids)}
        self._annotations: dict[int, list[dict[str, Any]]] = {image.image_id: [] for image in self.images}
        for annotation in dataset.annotations["annotations"]:
            if annotation["image_id"] in self._annotations:
                self._annotations[annotation["image_id"]].append(annotation)

    def __len__(self) -> int:
        return len(self.images)

    def require_whole(self) -> None:
        """Raise DatasetError, before any work, when an image file is missing or there is no object to learn."""
        require_images(self.images)
        if all(annotation["iscrowd"] for found in self._annotations.values() for annotation in found):
            raise DatasetError(
                f"{self.annotation_file} has no object to learn in {len(self)} images; crowds are none. Is it the "
                "right file?"
            )

    def identify(self) -> dict[str, str | None]:
        """Return a hash of the annotation file, and one of the images' names and sizes in bytes."""
        names_and_sizes = [entry[:3] for entry in describe_images(self.images)]  # a copied file has another time
        return {"annotations": sha256_file(self.annotation_file), "images": digest(names_and_sizes)}

    def read(self, index: int) -> tuple[np.ndarray, Objects]:
        """Decode an image, BGR uint8 [H,W,3], and its objects.

        Raises DatasetError when it is not there, or it or a mask is not of the annotated size.
        """
        entry = self.images[index]
        image = decode_image(entry.path, entry.is_turned)
        if image.shape[:2] != (entry.height, entry.width):
            raise DatasetError(
                f"{entry.path} has {image.shape[1]}×{image.shape[0]} pixels, its annotations say "
                f"{entry.width}×{entry.height}. Replace the image or the annotation file."
            )
        return image, self._objects(entry)

    def _objects(self, entry: CocoImage) -> Objects:
        annotations = self._annotations[entry.image_id]
        single = [annotation for annotation in annotations if not annotation["iscrowd"]]
        crowds = [annotation["bbox"] for annotation in annotations if annotation["iscrowd"]]
        masks, boxes = crop_masks(decode_annotation(a, entry.height, entry.width) for a in single)
        class_ids = [self._class_of[annotation["category_id"]] for annotation in single]
        crowd_boxes = np.array(crowds, dtype=np.float32).reshape(-1, 4)
        crowd_boxes[:, 2:] += crowd_boxes[:, :2]
        return Objects(masks, boxes, np.array(class_ids, dtype=np.int64), crowd_boxes)


def load_batches(
    training_set: TrainingSet,
    config: ModelConfig,
    method: Method,
    recipe: Recipe,
    first_step: int = 0,
    workers: int = 1,
) -> Iterator[list[Any]]:
    """Give the batches of all phases from `first_step` on, lists of the method's samples, made by `workers` threads.

    The images of an epoch come in an order of its own; what each step gets depends on the recipe and the step alone.
    """
    cv2.setNumThreads(1)  # the threads are ours
    order = _ImageOrder(len(training_set), recipe.seed)

    def make(position: int, image_size: int) -> Any:
        generator = np.random.default_rng([recipe.seed, 1, position])
        image, objects = training_set.read(order[position])
        return method.make_sample(image, objects, image_size, config, recipe, generator)

    with ThreadPoolExecutor(workers) as pool:
        pending: list[list[Future[Any]]] = []
        try:
            for batch in _plan_batches(recipe.phases, first_step):
                pending.append([pool.submit(make, position, image_size) for position, image_size in batch])
                if len(pending) > 2:
                    yield [future.result() for future in pending.pop(0)]
            while pending:
                yield [future.result() for future in pending.pop(0)]
        finally:
            for future in (future for batch_futures in pending for future in batch_futures):
                future.cancel()


def _plan_batches(phases: tuple[Phase, ...], first_step: int) -> Iterator[list[tuple[int, int]]]:
    """Give each step's samples from `first_step` on: positions in the training, counted from 0, and image sizes."""
    step = position = 0
    for phase in phases:
        for _ in range(phase.steps):
            if step >= first_step:
                yield [(position + n, phase.image_size) for n in range(phase.batch_size)]
            step += 1
            position += phase.batch_size


class _ImageOrder:
    """Which image is at which position of the training: every epoch a permutation of its own."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._epochs: dict[int, np.ndarray] = {}

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self._count)
        if epoch not in self._epochs:
            self._epochs[epoch] = np.random.default_rng([self._seed, 0, epoch]).permutation(self._count)
        return int(self._epochs[epoch][place])
