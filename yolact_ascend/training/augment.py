"""Augmentation of training images: colours, a window (expand and crop), mirroring.

Source: Liu et al., "SSD" (2016), 2.2 and 3.6; haotian-liu/yolact_edge @ a9a0028, yolact_edge/utils/augmentations.py.
Each change is applied with probability 1/2, unless a constant states another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from yolact_ascend.models.config import Preprocessing

BRIGHTNESS = 32  # grey levels, up or down
CONTRAST = SATURATION = (0.5, 1.5)  # factors
HUE = 18  # degrees of 360, up or down
CROP_ASPECTS = (0.5, 2.0)  # height / width
CROP_TRIES = 50
CROP_CHANCE = 5 / 6


@dataclass(frozen=True)
class Augmentation:
    """How strong the augmentation is.

    The image is put on a canvas up to `expand_most` times as wide and high, then a window is cut out of that, at least
    `crop_least` of its width and height. `expand_most=1` and `crop_least=1` leave the whole image.
    """

    expand_most: float = 4.0
    crop_least: float = 0.3
    photometric: bool = True
    mirror: bool = True


class Window(NamedTuple):
    """The part of an image that becomes the network's input, in its pixels; it may reach beyond the image."""

    left: int
    top: int
    right: int
    bottom: int


def canvas_colour(preprocessing: Preprocessing) -> list[int]:
    """Return the BGR pixel that surrounds an image: the mean; ImageNet's where none is subtracted, as in upstream."""
    has_mean = any(preprocessing.mean_rgb)
    mean, scale = (preprocessing.mean_rgb, 255 / preprocessing.pixel_max) if has_mean else (Preprocessing().mean_rgb, 1)
    return [round(value * scale) for value in reversed(mean)]


def draw_window(
    height: int,
    width: int,
    centres_px: np.ndarray,
    view: float,
    augmentation: Augmentation,
    generator: np.random.Generator,
) -> Window:
    """Draw a window of an image; at least one of the objects' centres [N,2] lies in it where there is an object.

    `view` is the input's side as a share of that in inference: a smaller input shows a smaller piece, between that
    share and all of the window, so that objects keep about the size in pixels that they have in inference.
    """
    canvas = _draw_canvas(height, width, augmentation, generator)
    crops = augmentation.crop_least < 1 and generator.random() < CROP_CHANCE
    if not crops and view >= 1:
        return canvas
    for _ in range(CROP_TRIES):
        window = _draw_crop(canvas, augmentation.crop_least, 1, generator) if crops else canvas
        if view < 1:
            share = generator.uniform(view, 1)
            window = _draw_crop(window, share, share, generator)
        aspect = (window.bottom - window.top) / max(window.right - window.left, 1)
        inside = np.all((centres_px >= window[:2]) & (centres_px < window[2:]), axis=1)
        if CROP_ASPECTS[0] <= aspect <= CROP_ASPECTS[1] and (inside.any() or not len(inside)):
            return window
    return canvas


def _draw_canvas(height: int, width: int, augmentation: Augmentation, generator: np.random.Generator) -> Window:
    if augmentation.expand_most <= 1 or generator.random() < 0.5:
        return Window(0, 0, width, height)
    ratio = generator.uniform(1, augmentation.expand_most)
    left, top = -int(generator.uniform(0, width * (ratio - 1))), -int(generator.uniform(0, height * (ratio - 1)))
    return Window(left, top, left + round(width * ratio), top + round(height * ratio))


def _draw_crop(canvas: Window, least: float, most: float, generator: np.random.Generator) -> Window:
    width, height = canvas.right - canvas.left, canvas.bottom - canvas.top
    crop_width, crop_height = (max(1, round(n * generator.uniform(least, most))) for n in (width, height))
    left = canvas.left + int(generator.uniform(0, width - crop_width))
    top = canvas.top + int(generator.uniform(0, height - crop_height))
    return Window(left, top, left + crop_width, top + crop_height)


def cut_window(pixels: np.ndarray, window: Window, size: tuple[int, int], fill: Sequence[int] | int = 0) -> np.ndarray:
    """Return a window of an image [H,W,3] or mask [H,W] at `size` (h, w); beyond the edge lies `fill` (BGR)."""
    height, width = pixels.shape[:2]
    inside = Window(max(window.left, 0), max(window.top, 0), min(window.right, width), min(window.bottom, height))
    if inside.left >= inside.right or inside.top >= inside.bottom:  # nothing of the image
        return np.full((*size, *pixels.shape[2:]), fill, dtype=pixels.dtype)
    piece = pixels[inside.top : inside.bottom, inside.left : inside.right]
    if inside != window:
        piece = cv2.copyMakeBorder(
            piece,
            inside.top - window.top,
            window.bottom - inside.bottom,
            inside.left - window.left,
            window.right - inside.right,
            cv2.BORDER_CONSTANT,
            value=fill,
        )
    shrinks = piece.shape[0] > size[0] and piece.shape[1] > size[1]
    return cv2.resize(piece, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def distort_colours(image_bgr: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue of an image [H,W,3] (float32, 0..255)."""
    if generator.random() < 0.5:
        image_bgr = image_bgr + np.float32(generator.uniform(-BRIGHTNESS, BRIGHTNESS))
    contrast_first = generator.random() < 0.5
    contrast = np.float32(generator.uniform(*CONTRAST) if generator.random() < 0.5 else 1)
    if contrast_first:
        image_bgr = image_bgr * contrast
    if generator.random() < 0.5:
        hsv = cv2.cvtColor(np.clip(image_bgr, 0, 255).astype(np.float32), cv2.COLOR_BGR2HSV)  # hue in 0..360
        hsv[..., 0] = (hsv[..., 0] + np.float32(generator.uniform(-HUE, HUE))) % 360
        hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(generator.uniform(*SATURATION)), 0, 1)
        image_bgr = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if not contrast_first:
        image_bgr = image_bgr * contrast
    return np.clip(image_bgr, 0, 255).astype(np.float32)
