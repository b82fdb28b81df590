"""From an image file to the network's input: float32 byte for byte as upstream does it, or uint8 for AIPP.

Source: haotian-liu/yolact_edge @ a9a0028, yolact_edge/utils/augmentations.py (BaseTransform).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from yolact_ascend.config import IMAGE_SIZE, MEAN_RGB, STD_RGB
from yolact_ascend.errors import DatasetError

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"  # its first and last marker
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_MEAN_BGR = np.array(MEAN_RGB[::-1], dtype=np.float32)
_STD_BGR = np.array(STD_RGB[::-1], dtype=np.float32)


def decode_image(path: Path) -> np.ndarray:
    """Decode an image file to BGR uint8 [H,W,3]: grayscale and CMYK become colour, EXIF rotation is applied.

    Raises DatasetError when the file is missing or cannot be decoded.
    """
    return decode_bytes(read_image(path), path)


def find_images(folder: Path, limit: int | None = None) -> list[Path]:
    """Return the first `limit` image files of a folder by name (None: all); raises DatasetError when there is none."""
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}. Name one with images.")
    images = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not images:
        raise DatasetError(f"There is no image in the folder {folder} ({', '.join(IMAGE_SUFFIXES)}).")
    return images[:limit]


def read_image(path: Path) -> bytes:
    """Return what an image file holds, not decoded; raises DatasetError when it cannot be read."""
    if not path.is_file():
        raise DatasetError(f"There is no image {path}, though the annotation file lists it.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}. Mend that, or replace the file.") from error


def decode_bytes(data: bytes, path: Path) -> np.ndarray:
    """Decode what `read_image` gave, as `decode_image` does; `path` is for the sentence of its DatasetError."""
    # A JPEG that is cut short: cv2.imread sees such an end, and keeps the rows before it; imdecode would not.
    whole = data + JPEG_END if is_jpeg(data) else data
    try:
        image = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes at all, or more pixels than OpenCV takes
        image = None
    if image is None:
        raise DatasetError(
            f"{path} ({len(data)} bytes) cannot be decoded as an image. Replace the file, or take it out of the "
            "annotation file."
        )
    return image


def is_jpeg(data: bytes) -> bool:
    """Tell a JPEG by its first bytes, whatever the file is called."""
    return data.startswith(JPEG_START)


def resize_image(image_bgr: np.ndarray) -> np.ndarray:
    """Resize a BGR uint8 image [H,W,3] to the input of a model with AIPP, RGB uint8 [550,550,3].

    The resize is that of `normalise_image`, in whole levels: at most one away from it (docs/decisions.md).
    """
    return cv2.cvtColor(cv2.resize(image_bgr, (IMAGE_SIZE, IMAGE_SIZE)), cv2.COLOR_BGR2RGB)


def normalise_image(image_bgr: np.ndarray) -> np.ndarray:
    """Resize and normalise a BGR uint8 image [H,W,3] to the network's input, RGB float32 [3,550,550].

    The resize is bilinear, without keeping the aspect ratio, and in float32: resizing uint8 rounds to whole levels.
    """
    resized = cv2.resize(image_bgr.astype(np.float32), (IMAGE_SIZE, IMAGE_SIZE))
    # Channel by channel into its place: the bits of `(resized - mean) / std`, reversed and transposed, in a sixth of
    # the time.
    normalised = np.empty((3, IMAGE_SIZE, IMAGE_SIZE), np.float32)
    for channel, (mean, std) in enumerate(zip(_MEAN_BGR, _STD_BGR)):
        place = normalised[2 - channel]  # BGR -> RGB
        np.subtract(resized[:, :, channel], mean, out=place)
        np.divide(place, std, out=place)
    return normalised


# dtype of artifacts.INPUTS -> how a decoded image becomes it
TRANSFORMS = {"float32": normalise_image, "uint8": resize_image}
