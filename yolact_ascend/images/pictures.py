"""The check of a data set before any work: classes, masks, and the pictures by their headers and last bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from yolact_ascend.detection.tasks import MASK
from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import (
    CocoDataset,
    CocoImage,
    Inspection,
    describe_renumbering,
    list_names,
    match_classes,
    require_images,
)
from yolact_ascend.images.decode import (
    JPEG_END,
    PixelsError,
    decode_bytes,
    is_cut_short,
    is_jpeg,
    open_by_pillow,
    read_image,
    require_few_pixels,
)
from yolact_ascend.models.config import ModelConfig, Preprocessing
from yolact_ascend.models.resized_size import resized_size

TAIL_BYTES = 1024  # a whole JPEG has its end marker in them, unless something was appended: then all of it is read
WITHOUT_CHECKSUMS = ("TIFF", "BMP", "GIF")  # Pillow's names: to see that one is cut short, it must be decoded
ORIENTATION = 0x0112  # EXIF's tag
SIDEWAYS = (5, 6, 7, 8)  # its values that exchange width and height
MIRRORED = (2, 3, 4)  # its values that keep them
ROUNDED_PX = 1  # sizes of the same proportions may differ by this when they are resized


class Picture(NamedTuple):
    """What the header and the last bytes of an image file say. Sizes in pixels."""

    stored: tuple[int, int]  # width and height as they are stored
    shown: tuple[int, int]  # after the EXIF orientation, which OpenCV applies
    is_cut: bool = False
    is_unclear: bool = False  # it has an EXIF orientation, and its size does not tell whether that is applied


def verify(
    dataset: CocoDataset, config: ModelConfig, annotated_only: bool = False, limit: int | None = None
) -> tuple[CocoDataset, ModelConfig]:
    """Check what a verb is about to score or learn; the same for all verbs.

    Returns the data set with the chosen images, looked at, and all warnings; and the config with the data set's ids for
    its classes. Raises DatasetError for classes, masks and missing files. What to do about other bad pictures is the
    verb's: see `Inspection`.
    """
    dataset, matched = verify_annotations(dataset, config)
    return verify_pictures(dataset, annotated_only, limit), matched


def verify_annotations(dataset: CocoDataset, config: ModelConfig) -> tuple[CocoDataset, ModelConfig]:
    """Do the part of `verify` that needs no pictures."""
    if not dataset.is_scored:
        return dataset, config
    matched = match_classes(dataset, config)
    if MASK in config.tasks:
        dataset.require_masks()
    warnings = (*dataset.warnings, *describe_renumbering(dataset, config, matched))
    return dataclasses.replace(dataset, warnings=warnings), matched


def verify_pictures(dataset: CocoDataset, annotated_only: bool = False, limit: int | None = None) -> CocoDataset:
    """Return the data set with the chosen images, looked at; raises DatasetError for missing files."""
    pictures = inspect(dataset.select(annotated_only, limit))
    count = min(dataset.annotated_count, len(pictures.images))
    warnings = (*dataset.warnings, *pictures.warnings)
    return dataclasses.replace(
        dataset, images=pictures.images, annotated_count=count, pictures=pictures, warnings=warnings
    )


def require_fitting(images: Sequence[CocoImage], preprocessing: Preprocessing) -> None:
    """Raise DatasetError, before any work, when some images do not fit onto the canvas of a model, by listed sizes."""
    refused = []
    for image in images:
        try:
            resized_size(image.height, image.width, preprocessing)
        except DatasetError as error:
            refused.append(f"{image.path.name}: {error}")
    if refused:
        others = f" So it is with {len(refused)} of the {len(images)} images." if len(refused) > 1 else ""
        raise DatasetError(f"{refused[0]}{others}")


def require_proportions(pictures: Inspection, preprocessing: Preprocessing) -> None:
    """Raise DatasetError when boxes could not be scaled back to the sizes that the annotation file says.

    Boxes are those of a picture resized by its own proportions; stretched pictures have those of the canvas.
    """
    wrong = []
    for image, (width, height) in pictures.other_size:
        with contextlib.suppress(DatasetError):  # it does not fit onto the canvas, which is said elsewhere
            own = resized_size(height, width, preprocessing)
            listed = resized_size(image.height, image.width, preprocessing)
            if max(abs(side - other) for side, other in zip(own, listed)) > ROUNDED_PX:
                wrong.append((image, f"{width}×{height} pixels, not {image.width}×{image.height}"))
    if wrong:
        names = list_names([image.path for image, _ in wrong])
        raise DatasetError(
            f"{len(wrong)} of {len(pictures.images)} images have other proportions than the annotation file says "
            f"({names}; the first has {wrong[0][1]}): boxes of this model could not be scaled to its frame. Correct "
            "the sizes in the annotation file, or remove these images from it."
        )


def inspect(images: Sequence[CocoImage]) -> Inspection:
    """Look at the files of these images; raises DatasetError when some are missing."""
    require_images(images)
    found, unclear, cut, other_size = [], [], [], []
    unreadable: list[Path] = []
    too_large: list[Path] = []
    for image in images:
        try:
            picture = look_at(image.path)
        except DatasetError as error:
            (too_large if isinstance(error, PixelsError) else unreadable).append(image.path)
            found.append(image)
            continue
        listed = (image.width, image.height)
        found.append(image if is_turned_as_listed(picture, listed) else dataclasses.replace(image, is_turned=False))
        if picture.is_unclear:
            unclear.append(image.path)
        if picture.is_cut:
            cut.append(image.path)
        if listed not in picture[:2]:
            other_size.append((image, picture.shown))
    return Inspection(tuple(found), tuple(unreadable), tuple(unclear), tuple(cut), tuple(other_size), tuple(too_large))


def look_at(content: Path | bytes, called: str = "") -> Picture:
    """Read the header and last bytes of an image file, by its path or its bytes; raises DatasetError when it is none.

    `called` is its name in that sentence (default: its path).
    """
    name = called or (content if isinstance(content, Path) else "the picture")
    try:
        with warnings.catch_warnings(), _open(content) as file:
            warnings.simplefilter("ignore")  # of pictures with very many pixels
            with open_by_pillow(file) as picture:
                stored, orientation, kind = picture.size, picture.getexif().get(ORIENTATION), picture.format
            file.seek(0)
            is_a_jpeg = is_jpeg(file.read(4))
            is_cut = is_a_jpeg and _is_cut(file)
    except (OSError, ValueError, SyntaxError):
        shown = _decoded_size(content, name)  # OpenCV knows formats that Pillow does not
        return Picture(shown, shown)
    require_few_pixels(stored, name)
    if kind in WITHOUT_CHECKSUMS:
        _decoded_size(content, name)
    shown = stored
    if orientation in SIDEWAYS:
        # Pillow turns TIFF itself, and which formats beside JPEG OpenCV turns differs from release to release.
        stored, shown = (
            (stored, stored[::-1]) if is_a_jpeg else (_decoded_size(content, name, False), _decoded_size(content, name))
        )
    is_unclear = orientation in MIRRORED or (orientation in SIDEWAYS and stored == shown)
    return Picture(stored, shown, is_cut, is_unclear)


def is_turned_as_listed(picture: Picture, listed: tuple[int, int]) -> bool:
    """Whether a picture was annotated as its EXIF orientation shows it, by the annotated width and height."""
    return picture.shown == listed or picture.stored != listed


def _open(content: Path | bytes) -> BinaryIO:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def _decoded_size(content: Path | bytes, name: Path | str, is_turned: bool = True) -> tuple[int, int]:
    data = read_image(content) if isinstance(content, Path) else content
    height, width, _ = decode_bytes(data, name, is_turned).shape
    return width, height


def _is_cut(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL_BYTES))
    if size > TAIL_BYTES and JPEG_END in file.read():
        return False
    file.seek(0)
    return is_cut_short(file.read())
