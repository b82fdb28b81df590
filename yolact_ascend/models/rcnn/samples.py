"""Inputs on which an exported R-CNN is compared with PyTorch: drawn shapes, since noise alone holds no objects."""

from __future__ import annotations

import numpy as np

from yolact_ascend.models.values import Preprocessing

SHAPES = 24
NOISE = 8.0  # of 255 levels


def draw_inputs(preprocessing: Preprocessing, generator: np.random.Generator, batch: int) -> list[np.ndarray]:
    """Return pictures [B,3,H,W] on their canvas, normalised, and their heights and widths [B,2] in px."""
    drawn = [_draw(preprocessing, generator) for _ in range(batch)]
    return [np.stack(values) for values in zip(*drawn)]


def _draw(preprocessing: Preprocessing, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    canvas = np.array([preprocessing.height_px, preprocessing.width_px])
    height, width = size = (canvas * generator.uniform(0.7, 1, 2)).astype(int)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    pixels = generator.uniform(60, 200, 3)[:, None, None] + generator.normal(0, NOISE, (3, height, width))
    for _ in range(SHAPES):
        y, x, half_height, half_width = generator.uniform(0, 1, 4) * [*size, *size / 4] + [0, 0, 4, 4]
        down, across = np.abs(rows - y) / half_height, np.abs(columns - x) / half_width
        is_inside = down**2 + across**2 <= 1 if generator.random() < 0.5 else np.maximum(down, across) <= 1
        pixels[:, is_inside] = generator.uniform(0, 255, 3)[:, None]
    means = preprocessing.mean_rgb if preprocessing.channel_order == "RGB" else preprocessing.mean_rgb[::-1]
    deviations = preprocessing.std_rgb if preprocessing.channel_order == "RGB" else preprocessing.std_rgb[::-1]
    scaled = np.clip(pixels, 0, 255) * (preprocessing.pixel_max / 255)
    image = np.zeros((3, *canvas), np.float32)
    image[:, :height, :width] = (scaled - np.reshape(means, (3, 1, 1))) / np.reshape(deviations, (3, 1, 1))
    return image, size.astype(np.float32)
