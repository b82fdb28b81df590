"""Training images with their targets, as arrays. They depend on the seed and the position in the training alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from yolact_ascend.detection.segmentation import decode_annotation
from yolact_ascend.errors import DatasetError
from yolact_ascend.files import digest, sha256_file
from yolact_ascend.images.coco import CocoDataset, CocoImage, describe_images, require_images
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import normalise_pixels
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.cuts import proto_size
from yolact_ascend.training.augment import Augmentation, Window, canvas_colour, cut_window, distort_colours, draw_window
from yolact_ascend.training.matching import Matches, match_anchors

SMALLEST_BOX = 4 / 550  # of the input's side; smaller objects are ignored (upstream: discard_box_width)
LEAST_KEPT = 0.2  # of an object's pixels must be in the window; else it is ignored, neither object nor background


class Objects(NamedTuple):
    """What an image shows: N masks of 0 and 1, cut to their boxes [N,4], class_ids [N] 0..K-1, and crowds [M,4].

    Whole masks of many objects in a picture of many pixels would take gigabytes.
    """

    masks: Sequence[np.ndarray]
    boxes_xyxy_px: np.ndarray  # whole numbers; right and bottom are exclusive
    class_ids: np.ndarray
    crowds_xyxy_px: np.ndarray


class View(NamedTuple):
    """What a network input shows: boxes [N,4] and masks [N,p,p] of 0 and 1 with class_ids [N], and ignored [M,4]."""

    boxes_xyxy_rel: np.ndarray
    masks: np.ndarray
    class_ids: np.ndarray
    ignored_xyxy_rel: np.ndarray


class Sample(NamedTuple):
    """One network input with its targets; p is the prototypes' side, s = p/2 that of P3.

    image [3,S,S]; classes [A] and loc [A,4] as in `Matches`; class_map [K,s,s] of 0 and 1. Of the T anchors whose
    masks are scored: anchor_ids [T], their objects' masks [T,p,p] of 0 and 1, boxes [T,4] xyxy_rel, and `mask_weight`,
    how many positive anchors each stands for.
    """

    image: np.ndarray
    classes: np.ndarray
    loc: np.ndarray
    class_map: np.ndarray
    anchor_ids: np.ndarray
    masks: np.ndarray
    boxes_xyxy_rel: np.ndarray
    mask_weight: float


@dataclass(frozen=True)
class Phase:
    """A part of the training: `steps` batches of `batch_size` images at `image_size` pixels."""

    image_size: int
    batch_size: int
    steps: int


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


def crop_masks(masks: Iterable[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return masks [H,W] of 0 and 1, taken one at a time, cut to their boxes, and these [N,4] xyxy_px."""
    cropped, boxes = [], []
    for mask in masks:
        left, top, right, bottom = tight_box(mask)
        cropped.append(mask[top:bottom, left:right].copy())
        boxes.append((left, top, right, bottom))
    return cropped, np.array(boxes, dtype=np.int64).reshape(-1, 4)


def make_sample(
    image: np.ndarray,
    objects: Objects,
    image_size: int,
    config: ModelConfig,
    augmentation: Augmentation,
    most_masks: int,
    generator: np.random.Generator,
) -> Sample:
    """Augment an image (BGR uint8 [H,W,3]) and make the targets that belong to what is left of it.

    The masks of at most `most_masks` anchors are scored, drawn from the positive ones.
    """
    height, width = image.shape[:2]
    boxes_px = objects.boxes_xyxy_px.astype(np.float32)
    centres = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2
    window = draw_window(height, width, centres, image_size / config.preprocessing.width_px, augmentation, generator)
    mirror = augmentation.mirror and generator.random() < 0.5
    pixels = cut_window(image, window, image_size, canvas_colour(config.preprocessing)).astype(np.float32)
    if augmentation.photometric:
        pixels = distort_colours(pixels, generator)
    view = cut_objects(objects, window, proto_size(image_size), height, width)
    if mirror:
        pixels, view = pixels[:, ::-1], mirror_view(view)
    anchors = make_anchors(config.anchors, image_size)
    matches = match_anchors(view.boxes_xyxy_rel, view.class_ids, view.ignored_xyxy_rel, anchors)
    scored, weight = draw_scored(matches, view.masks, most_masks, generator)
    rows = matches.rows[scored]
    return Sample(
        normalise_pixels(pixels, config.preprocessing),
        matches.classes,
        matches.loc,
        map_classes(view, config.num_classes),
        scored,
        view.masks[rows],
        view.boxes_xyxy_rel[rows],
        weight,
    )


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom (exclusive) of a mask [H,W]; zeros when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return (0, 0, 0, 0)
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def mirror_view(view: View) -> View:
    """Return the objects as they are in the mirror image."""

    def mirror(boxes_xyxy_rel: np.ndarray) -> np.ndarray:
        left, top, right, bottom = boxes_xyxy_rel.T
        return np.stack([1 - right, top, 1 - left, bottom], axis=1)

    return View(mirror(view.boxes_xyxy_rel), view.masks[:, :, ::-1], view.class_ids, mirror(view.ignored_xyxy_rel))


def cut_objects(objects: Objects, window: Window, grid: int, height: int, width: int) -> View:
    """Return the objects of an image of height×width pixels as a window of it shows them on a grid of cells."""
    origin = np.array([window.left, window.top] * 2, dtype=np.float32)
    size = np.array([window.right - window.left, window.bottom - window.top] * 2, dtype=np.float32)
    boxes, shown, ignored = [], [], []
    for number, (mask, box_px) in enumerate(zip(objects.masks, objects.boxes_xyxy_px.tolist())):
        left, top = max(window.left, box_px[0]), max(window.top, box_px[1])
        right, bottom = min(window.right, box_px[2]), min(window.bottom, box_px[3])
        if left >= right or top >= bottom:
            continue
        piece = mask[top - box_px[1] : bottom - box_px[1], left - box_px[0] : right - box_px[0]]
        kept = cv2.countNonZero(piece)
        if not kept:
            continue
        box = (np.add(tight_box(piece), [left, top] * 2, dtype=np.float32) - origin) / size
        if kept < LEAST_KEPT * cv2.countNonZero(mask) or min(box[2] - box[0], box[3] - box[1]) < SMALLEST_BOX:
            ignored.append(box)
            continue
        boxes.append(box)
        shown.append(number)
    crowds = np.clip((objects.crowds_xyxy_px - origin) / size, 0, 1)
    crowds = crowds[np.all(crowds[:, :2] < crowds[:, 2:], axis=1)]
    return View(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        cut_masks(objects, shown, window, grid, height, width),
        objects.class_ids[shown],
        np.concatenate([np.array(ignored, dtype=np.float32).reshape(-1, 4), crowds]),
    )


def cut_masks(objects: Objects, shown: Sequence[int], window: Window, grid: int, height: int, width: int) -> np.ndarray:
    """Return the masks of some objects [N,grid,grid] of 0 and 1, as a window of the image shows them.

    Objects that share no cell are cut together: a large picture is resized once for dozens of them, not once for each.
    """
    cells = np.array([grid / (window.right - window.left), grid / (window.bottom - window.top)] * 2)  # a pixel
    margin = np.ceil(cells[:2]) + 1  # an enlarged pixel reaches into the cells of its neighbours
    places = (objects.boxes_xyxy_px[shown] - [window.left, window.top] * 2) * cells
    first = np.clip(np.floor(places[:, :2]) - margin, 0, grid).astype(int)
    end = np.clip(np.ceil(places[:, 2:]) + margin, 0, grid).astype(int)
    masks, canvas = np.zeros((len(shown), grid, grid), dtype=np.uint8), np.zeros((height, width), dtype=np.uint8)
    waiting = list(range(len(shown)))
    while waiting:
        taken, together, later = np.zeros((grid, grid), dtype=bool), [], []
        for row in waiting:
            footprint = (slice(first[row, 1], end[row, 1]), slice(first[row, 0], end[row, 0]))
            if taken[footprint].any():
                later.append(row)
            else:
                taken[footprint] = True
                together.append((row, footprint))
        for row, _ in together:
            left, top, right, bottom = objects.boxes_xyxy_px[shown[row]]
            canvas[top:bottom, left:right] |= objects.masks[shown[row]] * np.uint8(255)
        seen = cut_window(canvas, window, grid) > 127
        for row, footprint in together:
            masks[row][footprint] = seen[footprint]
        canvas[:] = 0
        waiting = later
    return masks


def draw_scored(
    matches: Matches, masks: np.ndarray, most: int, generator: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Return the anchors [T] whose masks are scored, and how many of the positive ones each stands for.

    An object that is lost on the prototypes' grid, its mask in masks [N,p,p] empty, has none to learn.
    """
    seen = np.array([mask.any() for mask in masks], dtype=bool)
    positive = np.flatnonzero(matches.classes > 0)
    positive = positive[seen[matches.rows[positive]]]
    if len(positive) <= most:
        return positive, 1.0
    return np.sort(generator.choice(positive, most, replace=False)), len(positive) / most


def map_classes(view: View, num_classes: int) -> np.ndarray:
    """Return where each class is on P3, [K,s,s] of 0 and 1: in cells that its masks [N,2s,2s] cover by half or more."""
    cells = view.masks.shape[1] // 2
    class_map = np.zeros((num_classes, cells, cells), dtype=np.uint8)
    for class_id, mask in zip(view.class_ids, view.masks):
        quarters = mask.reshape(cells, 2, cells, 2).sum(axis=(1, 3))
        class_map[class_id] |= (quarters >= 2).astype(np.uint8)
    return class_map


def load_batches(
    training_set: TrainingSet,
    config: ModelConfig,
    phases: tuple[Phase, ...],
    augmentation: Augmentation,
    most_masks: int,
    seed: int,
    first_step: int = 0,
    workers: int = 1,
) -> Iterator[list[Sample]]:
    """Give the batches of all phases from `first_step` on, made ahead by `workers` threads.

    The images of an epoch come in an order of its own; what each step gets depends on `seed` and the step alone.
    """
    cv2.setNumThreads(1)  # the threads are ours
    order = _ImageOrder(len(training_set), seed)

    def make(position: int, image_size: int) -> Sample:
        generator = np.random.default_rng([seed, 1, position])
        image, objects = training_set.read(order[position])
        return make_sample(image, objects, image_size, config, augmentation, most_masks, generator)

    with ThreadPoolExecutor(workers) as pool:
        pending: list[list[Future[Sample]]] = []
        try:
            for batch in _plan_batches(phases, first_step):
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
