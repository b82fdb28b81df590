"""One picture, however it is given (a path, bytes, an array, a Pillow image), to BGR pixels.

Every way ends in the pixels of `images.decode`, as OpenCV reads files: turned by EXIF, 16 bits cut to 8, grey as
colour, without transparency.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import cv2
import numpy as np
from PIL import Image, ImageOps

from yolact_ascend.errors import DatasetError, show_name, show_value
from yolact_ascend.images.coco import CocoImage
from yolact_ascend.images.decode import decode_bytes, is_cut_short, is_jpeg, read_image, require_few_pixels

if TYPE_CHECKING:
    from yolact_ascend.detection.image_matches import Truth

# A file, an encoded file in memory, BGR uint8 [H,W,3] (or grey [H,W], or BGRA [H,W,4]), or a Pillow image.
Picture = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, np.ndarray, Image.Image]
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes
WITHOUT_RANGE = ("I", "F")  # Pillow's modes whose values have no largest one
ADDRESSES = ("http://", "https://", "file://", "rtsp://", "s3://", "data:")
TO_COLOUR = {1: cv2.COLOR_GRAY2BGR, 3: None, 4: cv2.COLOR_BGRA2BGR}  # by the number of channels


@dataclass(frozen=True)
class PictureSource:
    """A picture that can be read, now or in another process; `content` is a file, an encoded one, or BGR pixels.

    `size` is the height and width in pixels that boxes and masks are for; None: those of the pixels.
    """

    content: Path | bytes | np.ndarray
    name: str  # in sentences
    size: tuple[int, int] | None = None
    is_turned: bool = True  # by EXIF
    is_cut_taken: bool = False  # a JPEG that is cut short is read as far as it goes
    failure: str = ""  # why there is nothing to read
    truth: Truth | None = None  # what is found in it will be compared with

    def read(self) -> np.ndarray:
        """Return the pixels, BGR uint8 [H,W,3]; raises DatasetError when there are none."""
        if self.failure:
            raise DatasetError(self.failure)
        if isinstance(self.content, np.ndarray):
            return self.content
        data = read_image(self.content) if isinstance(self.content, Path) else self.content
        if not self.is_cut_taken and is_jpeg(data) and is_cut_short(data):
            raise DatasetError(f"{self.name} is cut short: the end of the JPEG is missing. Copy or download it again.")
        return decode_bytes(data, self.name, self.is_turned)

    @property
    def is_encoded(self) -> bool:
        """Whether reading it is work: pixels are there already."""
        return not isinstance(self.content, np.ndarray)


def source_of_image(image: CocoImage, truth: Truth | None = None) -> PictureSource:
    """Return an image of a data set, whose size is the annotated one."""
    size = (image.height, image.width)
    return PictureSource(image.path, str(image.path), size, image.is_turned, is_cut_taken=True, truth=truth)


def take_picture(picture: Picture, name: str = "the picture") -> PictureSource:
    """Return what a caller gives as a picture; arrays and Pillow images are copied, so that either side may go on.

    `name` is for pictures that have none themselves. Raises DatasetError for what is no picture: a float array, another
    shape, a missing file.
    """
    if isinstance(picture, (str, os.PathLike)):
        path = _find_file(picture)
        return PictureSource(path, str(path))
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return PictureSource(bytes(picture), name)
    if isinstance(picture, np.ndarray):
        return PictureSource(_copy_array(picture, name), name)
    if isinstance(picture, Image.Image):
        named = getattr(picture, "filename", "") or name
        return PictureSource(_copy_pillow(picture, str(named)), str(named))
    raise DatasetError(
        f"{name} is a {type(picture).__name__}, expected a path, bytes of an image file, a BGR array uint8 [H,W,3] or "
        "a Pillow image (several: a list of them)."
    )


def _find_file(picture: str | os.PathLike[str]) -> Path:
    """Return the path of a file that is there; raises DatasetError."""
    word = os.fsdecode(picture)
    if word.lower().startswith(ADDRESSES):
        raise DatasetError(f"{show_value(word)} is an address. Pictures are not fetched: pass the bytes of the file.")
    path = Path(word)
    try:
        if path.is_file():
            return path
    except OSError:  # it is longer than a path may be, or in a folder that may not be read
        word = show_name(word)
    raise DatasetError(f"There is no image {word}. Pass the path of an image file.")


def _copy_array(array: np.ndarray, name: str) -> np.ndarray:
    """Return a BGR copy [H,W,3] of an array as OpenCV has them; raises DatasetError for another one."""
    found = f"{name} is an array {array.dtype} {list(array.shape)}, expected uint8 [H,W,3] as BGR, 0..255"
    if array.dtype != np.uint8:
        raise DatasetError(f"{found}. {_how_to_convert(array)}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in TO_COLOUR or 0 in array.shape:
        raise DatasetError(f"{found}. {_how_to_reshape(array)}")
    require_few_pixels((array.shape[1], array.shape[0]), name)
    code = TO_COLOUR[channels]
    return np.array(array, order="C") if code is None else cv2.cvtColor(np.ascontiguousarray(array), code)


def _how_to_convert(array: np.ndarray) -> str:
    if array.dtype.kind == "f":
        largest = float(array.max()) if array.size else 0.0
        scale = "np.rint(255 * array)" if largest <= 1 else "np.rint(array)"
        return f"Its values are not converted silently: pass np.clip({scale}, 0, 255).astype(np.uint8)."
    if array.dtype == np.uint16:
        return "Pass (array >> 8).astype(np.uint8), as OpenCV reads files of 16 bits."
    return "Pass array.astype(np.uint8) if its values are 0..255."


def _how_to_reshape(array: np.ndarray) -> str:
    if array.ndim == 4:
        return "Several pictures are a list: pass list(array)."
    if array.ndim == 3 and array.shape[0] in TO_COLOUR:
        return "The channels come last: pass array.transpose(1, 2, 0), and BGR, not RGB."
    return "A grey picture is [H,W], one with transparency [H,W,4] (BGRA)."


def _copy_pillow(picture: Image.Image, name: str) -> np.ndarray:
    """Return a Pillow image as BGR pixels, turned by its EXIF orientation as a file is; raises DatasetError."""
    if 0 in picture.size:
        raise DatasetError(f"{name} is a Pillow image of {picture.width}×{picture.height} pixels: nothing is in it.")
    require_few_pixels(picture.size, name)
    if picture.mode in WITHOUT_RANGE:
        raise DatasetError(
            f'{name} is a Pillow image of mode "{picture.mode}", whose values have no fixed range. Scale them to '
            '0..255 and pass picture.convert("L").'
        )
    try:
        turned: Any = ImageOps.exif_transpose(picture)
        if turned.mode in SIXTEEN_BITS:
            grey = (np.asarray(turned).astype(np.uint16) >> 8).astype(np.uint8)  # as OpenCV reads them
            return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        return np.ascontiguousarray(np.asarray(turned.convert("RGB"))[:, :, ::-1])
    except (OSError, ValueError, SyntaxError) as error:  # of a file that is read only now
        raise DatasetError(f"{name} cannot be read by Pillow: {error}. Copy or download it again.") from error
