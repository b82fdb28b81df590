"""One network input of R-CNN with what it shows, and batches of them."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import torch

from yolact_ascend.images.transforms import normalise_pixels, resized_size
from yolact_ascend.models.config import ModelConfig, Preprocessing
from yolact_ascend.models.values import CANVAS_MULTIPLE
from yolact_ascend.training.augment import Augmentation, Window
from yolact_ascend.training.objects import Objects
from yolact_ascend.training.views import Sides, augment


class Sample(NamedTuple):
    """A network input [3,S,S] and what its upper left part of h×w pixels shows.

    boxes [N,4] xyxy_px, class_ids [N] 0..K-1, masks [N,h,w] of 0 and 1, and ignored regions [M,4] xyxy_px.
    """

    image: np.ndarray
    size: tuple[int, int]
    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    masks: np.ndarray
    ignored_xyxy_px: np.ndarray


class Truth(NamedTuple):
    """What one image of a batch shows, as tensors; see `Sample`."""

    size: tuple[int, int]
    boxes: torch.Tensor
    class_ids: torch.Tensor
    masks: torch.Tensor
    ignored: torch.Tensor


def make_sample(
    image: np.ndarray,
    objects: Objects,
    image_size: int,
    config: ModelConfig,
    augmentation: Augmentation,
    generator: np.random.Generator,
) -> Sample:
    """Augment an image (BGR uint8 [H,W,3]); return it on a canvas for inputs of `image_size`, with its objects."""
    preprocessing = at_size(config.preprocessing, image_size)
    share = image_size / config.preprocessing.width_px

    def sides_of(window: Window) -> Sides:
        size = resized_size(window.bottom - window.top, window.right - window.left, preprocessing)
        return Sides(size, size)

    pixels, view = augment(image, objects, share, sides_of, preprocessing, augmentation, generator)
    height, width = pixels.shape[:2]
    scale = np.array([width, height] * 2, dtype=np.float32)
    return Sample(
        normalise_pixels(pixels, preprocessing),
        (height, width),
        view.boxes_xyxy_rel * scale,
        view.class_ids,
        np.ascontiguousarray(view.masks),
        view.ignored_xyxy_rel * scale,
    )


def at_size(preprocessing: Preprocessing, image_size: int) -> Preprocessing:
    """Return the preprocessing with a canvas of `image_size`, rounded up for the levels, and edges in proportion."""
    canvas = -(-image_size // CANVAS_MULTIPLE) * CANVAS_MULTIPLE
    shortest, longest = (
        None if edge is None else max(1, edge * image_size // preprocessing.width_px)
        for edge in (preprocessing.shortest_edge_px, preprocessing.longest_edge_px)
    )
    return dataclasses.replace(
        preprocessing, height_px=canvas, width_px=canvas, shortest_edge_px=shortest, longest_edge_px=longest
    )


def stack_samples(samples: list[Sample], device: torch.device) -> tuple[torch.Tensor, list[Truth]]:
    """Return images [B,3,S,S] of samples on canvases of one size, and what each shows, on the device."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(device)
    return images, [
        Truth(sample.size, *(torch.from_numpy(array).to(device) for array in sample[2:])) for sample in samples
    ]
