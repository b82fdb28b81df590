"""From an image file to the network's input: float32 byte for byte as upstream does it, or uint8 for AIPP.

Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/utils/augmentations.py (BaseTransform).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from yolact_ascend.config import IMAGE_SIZE, MEAN_RGB, STD_RGB
from yolact_ascend.errors import DatasetError

_MEAN_BGR = np.array(MEAN_RGB[::-1], dtype=np.float32)
_STD_BGR = np.array(STD_RGB[::-1], dtype=np.float32)


def decode_image(path: Path) -> np.ndarray:
    """Decode an image file to BGR uint8 [H,W,3]: grayscale and CMYK become colour, EXIF rotation is applied.

    Raises DatasetError when the file is missing or cannot be decoded.
    """
    if not path.is_file():
        raise DatasetError(f"There is no image {path}, though the annotation file lists it.")
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than OpenCV takes
        image = None
    if image is None:
        raise DatasetError(
            f"{path} ({path.stat().st_size} bytes) cannot be decoded as an image. Replace the file, or take it out of "
            "the annotation file."
        )
    return image


def resize_image(image_bgr: np.ndarray) -> np.ndarray:
    """Resize a BGR uint8 image [H,W,3] to the input of a model with AIPP, RGB uint8 [550,550,3].

    The resize is that of `normalise_image`, in whole levels: at most one away from it (docs/decisions.md).
    """
    resized = cv2.resize(image_bgr, (IMAGE_SIZE, IMAGE_SIZE))
    return np.ascontiguousarray(resized[:, :, ::-1])


def normalise_image(image_bgr: np.ndarray) -> np.ndarray:
    """Resize and normalise a BGR uint8 image [H,W,3] to the network's input, RGB float32 [3,550,550].

    The resize is bilinear, without keeping the aspect ratio, and in float32: resizing uint8 rounds to whole levels.
    """
    resized = cv2.resize(image_bgr.astype(np.float32), (IMAGE_SIZE, IMAGE_SIZE))
    normalised = (resized - _MEAN_BGR) / _STD_BGR
    return np.ascontiguousarray(normalised[:, :, ::-1].transpose(2, 0, 1))  # [3,550,550]


# dtype of artifacts.INPUTS -> how a decoded image becomes it
TRANSFORMS = {"float32": normalise_image, "uint8": resize_image}
