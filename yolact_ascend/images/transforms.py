"""From decoded pixels to the network's input, as a config's preprocessing says.

float32 is byte for byte what upstream computes. uint8 is for models that have the rest of the preprocessing inside.
Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/utils/augmentations.py (BaseTransform); for pictures on a canvas
facebookresearch/detectron2 @ 02b5c4e, data/transforms/augmentation_impl.py (ResizeShortestEdge), and
openvinotoolkit/training_extensions @ 375d7fd, pytorch_toolkit/instance_segmentation/segmentoly/data/transforms.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np

from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import ModelConfig, Preprocessing
from yolact_ascend.models.inputs import OWN_SIZE, UINT8, input_tensors
from yolact_ascend.models.resized_size import resize_scale, resized_size


def prepare_inputs(image_bgr: np.ndarray, config: ModelConfig, dtype: str) -> tuple[np.ndarray, ...]:
    """Turn a BGR uint8 image [H,W,3] into what a model of `config` takes for it, in the order of `input_tensors`.

    The image is in a form of `prepare_pixels`; a second input is its height and width in px on the canvas, [2].
    Raises DatasetError when it does not fit onto the canvas.
    """
    pixels = prepare_pixels(image_bgr, config.preprocessing, dtype)
    _, *others = input_tensors(config, dtype)
    height, width = image_bgr.shape[:2]
    return pixels, *(np.array(resized_size(height, width, config.preprocessing), spec.dtype) for spec in others)


def prepare_pixels(image_bgr: np.ndarray, preprocessing: Preprocessing, dtype: str) -> np.ndarray:
    """Turn a BGR uint8 image [H,W,3] into the network's input, in a form of `models.inputs`.

    float32 [3,h,w]; for "uint8" [h,w,3]; for a model that also resizes [H,W,3].
    """
    if dtype == OWN_SIZE:
        return _in_order(image_bgr, preprocessing)
    if dtype == UINT8:
        return resize_image(image_bgr, preprocessing)
    return normalise_image(image_bgr, preprocessing)


def resize_image(image_bgr: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Resize a BGR uint8 image [H,W,3] to uint8 [h,w,3] in the network's order of channels.

    The resize is that of `normalise_image`, in whole levels: at most one away from it (docs/decisions.md). Raises
    UsageError for padded inputs: zero after normalisation is no whole level before it.
    """
    if not preprocessing.is_stretched:
        raise UsageError("This model pads its inputs, which needs float32 inputs: leave out embed=1 (--dtype uint8).")
    return _in_order(_resize(image_bgr, preprocessing), preprocessing)


def _in_order(image_bgr: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return BGR pixels in the network's order of channels."""
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB) if preprocessing.channel_order == "RGB" else image_bgr


def normalise_image(image_bgr: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Resize and normalise a BGR uint8 image [H,W,3] to the network's input, float32 [3,h,w].

    OpenCV's resize is in float32: resizing uint8 rounds to whole levels. Pillow's is in uint8, as its models expect.
    """
    if preprocessing.interpolation != "cv2":
        return normalise_pixels(_resize(image_bgr, preprocessing), preprocessing)
    # Channel by channel: the bits of all three at once, with a third of the memory, which is 12 bytes a pixel.
    resized = [_resize(image_bgr[:, :, channel].astype(np.float32), preprocessing) for channel in range(3)]
    return _normalise(resized, preprocessing)


def normalise_pixels(image_bgr: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Normalise BGR pixels [h,w,3] of 0..255 to float32 [3,H,W], padded with zeros to the size of the input."""
    return _normalise(np.moveaxis(image_bgr, 2, 0), preprocessing)


def _normalise(channels_bgr: Sequence[np.ndarray] | np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Normalise channels [h,w], blue first."""
    height, width = channels_bgr[0].shape
    is_padded = (height, width) != (preprocessing.height_px, preprocessing.width_px) and not preprocessing.is_stretched
    shape = (preprocessing.height_px, preprocessing.width_px) if is_padded else (height, width)
    normalised = np.zeros((3, *shape), np.float32) if is_padded else np.empty((3, *shape), np.float32)
    # Channel by channel into its place: the bits of `(image - mean) / std`, reversed and transposed, in a sixth of
    # the time.
    for channel, (mean, std) in enumerate(zip(*_bgr_statistics(preprocessing))):
        position = 2 - channel if preprocessing.channel_order == "RGB" else channel
        place = normalised[position, :height, :width]
        values = channels_bgr[channel]
        if preprocessing.pixel_max != 255:
            values = np.divide(values, np.float32(255 / preprocessing.pixel_max), dtype=np.float32)
        np.subtract(values, mean, out=place)
        np.divide(place, std, out=place)
    return normalised


def _resize(image_bgr: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    rows, columns = image_bgr.shape[:2]
    height, width = resized_size(rows, columns, preprocessing)
    if preprocessing.interpolation == "cv2":
        if preprocessing.is_stretched:
            return cv2.resize(image_bgr, (width, height))
        scale = resize_scale(rows, columns, preprocessing)  # given a size, OpenCV samples at other places
        return cv2.resize(image_bgr, None, fx=scale, fy=scale)
    from PIL import Image  # here: only configs that were trained with Pillow's resize need it

    return np.asarray(Image.fromarray(image_bgr).resize((width, height), Image.Resampling.BILINEAR))


@functools.cache
def _bgr_statistics(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation [3] as BGR."""
    return (
        np.array(preprocessing.mean_rgb[::-1], dtype=np.float32),
        np.array(preprocessing.std_rgb[::-1], dtype=np.float32),
    )
