"""The check of a data set before any work: classes, masks, and the pictures by their headers and last bytes."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from yolact_ascend.detection.tasks import MASK
from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import (
    CocoDataset,
    CocoImage,
    describe_renumbering,
    list_some,
    match_classes,
    require_images,
)
from yolact_ascend.images.decode import JPEG_END, decode_image, is_cut_short, is_jpeg
from yolact_ascend.models.config import ModelConfig

TAIL_BYTES = 1024  # a whole JPEG has its end marker in them, unless something was appended: then all of it is read
ORIENTATION = 0x0112  # EXIF's tag
SIDEWAYS = (5, 6, 7, 8)  # its values that exchange width and height
MIRRORED = (2, 3, 4)  # its values that keep them


class Picture(NamedTuple):
    """What the header and the last bytes of an image file say. Sizes in pixels."""

    stored: tuple[int, int]  # width and height as they are stored
    shown: tuple[int, int]  # after the EXIF orientation, which OpenCV applies
    is_cut: bool = False
    is_unclear: bool = False  # it has an EXIF orientation, and its size does not tell whether that is applied


@dataclass(frozen=True)
class Inspection:
    """What was found in the pictures of a data set."""

    images: tuple[CocoImage, ...]  # those that were annotated as stored are marked
    unreadable: tuple[Path, ...]
    unclear: tuple[Path, ...]
    cut: tuple[Path, ...]
    other_size: tuple[tuple[CocoImage, tuple[int, int]], ...]  # and the size that is shown

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each kind of oddness that is worked with."""
        of = f"of {len(self.images)} images"
        unturned = [image.path for image in self.images if not image.is_turned]
        found = []
        if unturned:
            found.append(
                f"{len(unturned)} {of} were annotated without their EXIF orientation ({list_names(unturned)}): "
                "they are read as they are stored."
            )
        if self.unclear:
            found.append(
                f"{len(self.unclear)} {of} have an EXIF orientation, and their sizes do not tell whether they were "
                f"annotated turned ({list_names(self.unclear)}): they are turned."
            )
        if self.cut:
            found.append(f"{len(self.cut)} {of} look cut short ({list_names(self.cut)}): their lower part is made up.")
        if self.other_size:
            (image, (width, height)), paths = self.other_size[0], [image.path for image, _ in self.other_size]
            found.append(
                f"{len(paths)} {of} do not have the size that the annotation file says ({list_names(paths)}; "
                f"the first has {width}×{height} pixels, not {image.width}×{image.height}): their detections are scored in the "
                "annotation file's frame."
            )
        return tuple(found)

    def require_readable(self) -> None:
        """Raise DatasetError that names the files that are no pictures."""
        if self.unreadable:
            raise DatasetError(
                f"{len(self.unreadable)} of {len(self.images)} images cannot be decoded: {list_names(self.unreadable)}, "
                f"in {self.unreadable[0].parent}. Replace these files, or remove them from the annotation file."
            )


def examine(
    dataset: CocoDataset, config: ModelConfig, annotated_only: bool = False, limit: int | None = None
) -> tuple[CocoDataset, ModelConfig]:
    """Check what a verb is about to score or learn; the same for all verbs.

    Returns the data set with the chosen images, looked at, and all warnings; and the config with the data set's ids for
    its classes. Raises DatasetError for classes, masks and missing files. What to do about other bad pictures is the
    verb's: see `Inspection`.
    """
    dataset, matched = examine_annotations(dataset, config)
    return examine_pictures(dataset, annotated_only, limit), matched


def examine_annotations(dataset: CocoDataset, config: ModelConfig) -> tuple[CocoDataset, ModelConfig]:
    """Do the part of `examine` that needs no pictures."""
    if not dataset.is_scored:
        return dataset, config
    matched = match_classes(dataset, config)
    if MASK in config.tasks:
        dataset.require_masks()
    warnings = (*dataset.warnings, *describe_renumbering(dataset, config, matched))
    return dataclasses.replace(dataset, warnings=warnings), matched


def examine_pictures(dataset: CocoDataset, annotated_only: bool = False, limit: int | None = None) -> CocoDataset:
    """Return the data set with the chosen images, looked at; raises DatasetError for missing files."""
    pictures = inspect(dataset.select(annotated_only, limit))
    count = min(dataset.annotated_count, len(pictures.images))
    warnings = (*dataset.warnings, *pictures.warnings)
    return dataclasses.replace(
        dataset, images=pictures.images, annotated_count=count, pictures=pictures, warnings=warnings
    )


def inspect(images: Sequence[CocoImage]) -> Inspection:
    """Look at the files of these images; raises DatasetError when some are missing."""
    require_images(images)
    found, unreadable, unclear, cut, other_size = [], [], [], [], []
    for image in images:
        try:
            picture = look_at(image.path)
        except DatasetError:
            unreadable.append(image.path)
            found.append(image)
            continue
        listed = (image.width, image.height)
        is_turned = picture.shown == listed or picture.stored != listed
        found.append(image if is_turned else dataclasses.replace(image, is_turned=False))
        if picture.is_unclear:
            unclear.append(image.path)
        if picture.is_cut:
            cut.append(image.path)
        if listed not in picture[:2]:
            other_size.append((image, picture.shown))
    return Inspection(tuple(found), tuple(unreadable), tuple(unclear), tuple(cut), tuple(other_size))


def look_at(path: Path) -> Picture:
    """Read an image file's header and last bytes; raises DatasetError when it is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pictures with very many pixels
            with Image.open(path) as picture:
                stored, orientation = picture.size, picture.getexif().get(ORIENTATION)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        shown = _decoded_size(path)  # OpenCV knows formats that Pillow does not
        return Picture(shown, shown)
    with path.open("rb") as file:
        is_a_jpeg = is_jpeg(file.read(4))
        is_cut = is_a_jpeg and _is_cut(file.seek(0, os.SEEK_END), path)
    shown = stored
    if orientation in SIDEWAYS:  # which formats beside JPEG OpenCV turns differs from release to release
        shown = stored[::-1] if is_a_jpeg else _decoded_size(path)
    is_unclear = orientation in MIRRORED or (orientation in SIDEWAYS and stored == shown)
    return Picture(stored, shown, is_cut, is_unclear)


def _decoded_size(path: Path) -> tuple[int, int]:
    height, width, _ = decode_image(path).shape
    return width, height


def _is_cut(size: int, path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL_BYTES))
        if size > TAIL_BYTES and JPEG_END in file.read():
            return False
    return is_cut_short(path.read_bytes())


def list_names(paths: Sequence[Path]) -> str:
    """Return the names of the first files in words."""
    return list_some([path.name for path in paths])
