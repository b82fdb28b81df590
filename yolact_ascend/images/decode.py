"""Image files to pixels: which files are images, and how each is read and decoded."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from yolact_ascend.environment import MEGAPIXELS_VARIABLE, most_pixels
from yolact_ascend.errors import DatasetError

UNTURNED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"  # its first and last marker
FILL = 0xFF
WITHOUT_LENGTH = (0x00, 0x01, *range(0xD0, 0xD9))  # coded data and restart markers among them

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".jfif", ".jpe", ".gif", ".avif", ".mpo"),
)
NAMED = 5  # files that a message lists
_without_limit = threading.Lock()  # Pillow's limit is a global variable


class PixelsError(DatasetError):
    """A picture has more pixels than are decoded."""


class Header(NamedTuple):
    """What Pillow finds in a picture's header; `size` is None when it does not know the format."""

    size: tuple[int, int] | None = None  # width and height in pixels
    is_plain_jpeg: bool = False  # grey or in colours, and without EXIF, which may turn it


def decode_image(path: Path, is_turned: bool = True) -> np.ndarray:
    """Decode an image file to BGR uint8 [H,W,3]: grayscale and CMYK become colour.

    EXIF rotation is applied where `is_turned`. Raises DatasetError when the file is missing or cannot be decoded.
    """
    return decode_bytes(read_image(path), path, is_turned)


def find_images(folder: Path, limit: int | None = None) -> list[Path]:
    """Return the first `limit` image files of a folder by name (None: all); raises DatasetError when there is none."""
    return list_images(folder, limit)[0]


def list_images(folder: Path, limit: int | None = None, is_recursive: bool = False) -> tuple[list[Path], str | None]:
    """Return the first `limit` image files of a folder by name (None: all), and a sentence on what else is there.

    `is_recursive` takes sub-folders, too. Raises DatasetError when there is no image.
    """
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}. Pass a folder with images.")
    entries = sorted(folder.rglob("*") if is_recursive else folder.iterdir())
    images = [path for path in entries if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    known = set(images)
    others = [path.name for path in entries if path not in known and not path.is_dir()]
    folders = [] if is_recursive else [path.name for path in entries if path.is_dir()]
    found = [_count(others, "file"), _count(folders, "sub-folder")]
    note = " and ".join(words for words in found if words)
    if folders:
        note += "; --recursive takes sub-folders, too"
    if not images:
        more = f", but {note}" if note else ""
        raise DatasetError(f"There is no image in the folder {folder} ({', '.join(IMAGE_SUFFIXES)}){more}.")
    return images[:limit], f"Not used in {folder}: {note}." if note else None


def _count(names: list[str], what: str) -> str:
    if not names:
        return ""
    rest = len(names) - NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''} ({', '.join(names[:NAMED])}{more})"


def read_image(path: Path) -> bytes:
    """Return what an image file holds, not decoded; raises DatasetError when it cannot be read."""
    if not path.is_file():
        raise DatasetError(f"There is no image {path}. Was it moved or removed?")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}. Fix or replace the file.") from error


def decode_bytes(data: bytes, path: Path | str, is_turned: bool = True) -> np.ndarray:
    """Decode what `read_image` gave, as `decode_image` does; `path` is for the sentence of its DatasetError."""
    header = read_header(io.BytesIO(data))
    require_few_pixels(header.size, path)
    try:
        if header.is_plain_jpeg:  # what OpenCV decodes it by, with the same pixels, and in 0.9 of the time
            with contextlib.suppress(ValueError):  # it is cut short, damaged, or in colours that are not converted
                return simplejpeg.decode_jpeg(data, "BGR")
        return _decode(data, path, is_turned)
    except MemoryError:
        raise DatasetError(f"{path} needs more memory to decode than there is. Scale it down, or free some.") from None


def _decode(data: bytes, path: Path | str, is_turned: bool) -> np.ndarray:
    # A JPEG that is cut short: cv2.imread sees such an end, and keeps the rows before it; imdecode would not.
    whole = data + JPEG_END if is_jpeg(data) else data
    try:
        image = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR if is_turned else UNTURNED)
    except cv2.error as error:  # no bytes at all, or more pixels than OpenCV takes
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        image = None
    if image is None:
        image = _decode_by_pillow(data, is_turned)
    if image is None:
        raise DatasetError(f"{path} ({len(data)} bytes) cannot be decoded as an image. Replace or remove the file.")
    return image


def _decode_by_pillow(data: bytes, is_turned: bool) -> np.ndarray | None:
    """Decode what OpenCV does not know, such as some GIF and AVIF; the first picture of several. None: no image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_by_pillow(io.BytesIO(data)) as picture:
                whole = ImageOps.exif_transpose(picture) if is_turned else picture
                return np.ascontiguousarray(np.asarray(whole.convert("RGB"))[:, :, ::-1])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


@contextlib.contextmanager
def open_by_pillow(file: BinaryIO) -> Iterator[Image.Image]:
    """Read a picture's header by Pillow, whatever its size: the limit is `require_few_pixels`, not Pillow's."""
    with _without_limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    for key in ("xmp", "XML:com.adobe.xmp"):  # an orientation in there is not applied by OpenCV, as upstream reads
        picture.info.pop(key, None)
    with picture:
        yield picture


def read_header(file: BinaryIO) -> Header:
    """Return what a picture's header states."""
    with contextlib.suppress(OSError, ValueError, SyntaxError), open_by_pillow(file) as picture:
        is_plain = picture.format == "JPEG" and picture.mode in ("L", "RGB") and "exif" not in picture.info
        return Header(picture.size, is_plain)
    return Header()


def require_few_pixels(size: tuple[int, int] | None, path: Path | str) -> None:
    """Raise PixelsError for a picture of more pixels than `environment.most_pixels`, before it is decoded."""
    most = most_pixels()
    if size is not None and size[0] * size[1] > most:
        raise PixelsError(
            f"{path} has {size[0]}×{size[1]} pixels, {size[0] * size[1] / 1e6:.0f} million; the limit is "
            f"{most / 1e6:.0f} million. Scale it down, or raise the limit: {MEGAPIXELS_VARIABLE}=N (in millions)."
        )


def is_jpeg(data: bytes) -> bool:
    """Tell a JPEG by its first bytes, whatever the file is called."""
    return data.startswith(JPEG_START)


def is_cut_short(data: bytes) -> bool:
    """Tell a JPEG that ends before its end marker; what stands behind that, such as a motion photo's video, is fine.

    Source: ITU-T T.81, annex B: segments with their lengths, and coded data in which a marker's 0xFF is followed by
    neither 0 nor a restart marker.
    """
    place = len(JPEG_START)
    while True:
        place = data.find(b"\xff", place)
        if place < 0 or place + 1 >= len(data):
            return True
        marker = data[place + 1]
        if marker == JPEG_END[1]:
            return False
        if marker == FILL:
            place += 1
        elif marker in WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
