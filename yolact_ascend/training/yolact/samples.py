"""One network input of YOLACT with its targets, and batches of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from yolact_ascend.images.transforms import normalise_pixels
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.cuts import proto_size
from yolact_ascend.training.augment import Augmentation
from yolact_ascend.training.objects import Objects
from yolact_ascend.training.views import Sides, View, augment
from yolact_ascend.training.yolact.losses import Targets
from yolact_ascend.training.yolact.matching import Matches, match_anchors


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
    sides = Sides((image_size, image_size), (proto_size(image_size),) * 2)
    share = image_size / config.preprocessing.width_px
    pixels, view = augment(image, objects, share, lambda _: sides, config.preprocessing, augmentation, generator)
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


def stack_samples(samples: list[Sample], device: torch.device) -> tuple[torch.Tensor, Targets]:
    """Return images [B,3,S,S] and targets of samples of one size, on the device."""
    most = max(len(sample.anchor_ids) for sample in samples)

    def padded(arrays: list[np.ndarray]) -> np.ndarray:
        stacked = np.zeros((len(arrays), most, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
        for row, array in zip(stacked, arrays):
            row[: len(array)] = array
        return stacked

    weights = [np.full(len(sample.anchor_ids), sample.mask_weight, dtype=np.float32) for sample in samples]
    arrays = (
        np.stack([sample.classes for sample in samples]),
        np.stack([sample.loc for sample in samples]),
        np.stack([sample.class_map for sample in samples]),
        padded([sample.anchor_ids for sample in samples]),
        padded([sample.masks for sample in samples]),
        padded([sample.boxes_xyxy_rel for sample in samples]),
        padded(weights),
    )
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(device)
    return images, Targets(*(torch.from_numpy(array).to(device) for array in arrays))
