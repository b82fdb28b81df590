"""COCO annotation files: which images there are, in which order, and which classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.files import read_json
from yolact_ascend.models.config import ModelConfig


@dataclass(frozen=True)
class CocoImage:
    """One entry of "images", with the path of its file. Sizes in pixels, as annotated."""

    image_id: int
    path: Path
    width: int
    height: int


@dataclass(frozen=True)
class CocoDataset:
    """An annotation file and its image folder.

    `images` come in the guide's order: first the annotated ones as the annotations name them (the order of
    `imgToAnns` in pycocotools), then those without annotations as the file lists them. So bins made for all images
    are also valid for the guide's scripts, which know the annotated ones only.
    """

    annotation_file: Path
    image_folder: Path
    annotations: dict[str, Any]
    images: tuple[CocoImage, ...]
    annotated_count: int

    def select(self, annotated_only: bool = False, limit: int | None = None) -> tuple[CocoImage, ...]:
        """Return the first `limit` images (None: all), without the unannotated ones if asked."""
        return self.images[: self.annotated_count if annotated_only else None][:limit]


def load_dataset(annotation_file: Path, image_folder: Path) -> CocoDataset:
    """Read and check a COCO "instances" file; image files are looked for when they are needed, not here.

    Raises DatasetError when the file or folder is missing or the file is not in COCO's format.
    """
    if not image_folder.is_dir():
        raise DatasetError(f"There is no image folder {image_folder}. Pass the folder that holds the .jpg files.")
    try:
        data = read_json(annotation_file, "COCO annotations")
    except ArtifactError as error:
        raise DatasetError(str(error)) from error
    _check_format(data, annotation_file)
    by_id = {entry["id"]: entry for entry in data["images"]}
    annotated = dict.fromkeys(annotation["image_id"] for annotation in data["annotations"])
    unknown = [image_id for image_id in annotated if image_id not in by_id]
    if unknown:
        raise DatasetError(
            f'{annotation_file} annotates image {unknown[0]}, which its "images" do not list ({len(unknown)} such).'
        )
    order = [*annotated, *(image_id for image_id in by_id if image_id not in annotated)]
    images = tuple(_coco_image(by_id[image_id], image_folder) for image_id in order)
    return CocoDataset(annotation_file, image_folder, data, images, len(annotated))


def check_categories(dataset: CocoDataset, config: ModelConfig) -> None:
    """Raise DatasetError when the annotations use a category_id that the config's classes do not have."""
    known = set(config.category_ids)
    unknown = sorted({a["category_id"] for a in dataset.annotations["annotations"]} - known)
    if unknown:
        raise DatasetError(
            f"{dataset.annotation_file} uses category_id {', '.join(map(str, unknown[:5]))}, which {config.name} does "
            f"not know (it has {config.num_classes} classes, ids {min(known)}..{max(known)}). "
            "Is this the annotation file that the weights were trained for?"
        )


def require_images(images: Sequence[CocoImage]) -> None:
    """Raise DatasetError, before any work, when an image file that the annotations list is not there."""
    missing = [image.path for image in images if not image.path.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(images)} images that the annotation file lists are not in "
            f"{missing[0].parent}, the first is {missing[0].name}. Complete the folder, or use another annotation file."
        )


def describe_images(images: Sequence[CocoImage]) -> list[list[Any]]:
    """Return each image's id, file name, size in bytes and time in ns: what changes when an image does."""
    stats = [(image, image.path.stat()) for image in images]
    return [[image.image_id, image.path.name, stat.st_size, stat.st_mtime_ns] for image, stat in stats]


def find_split(coco_folder: Path, split: str = "val2017") -> tuple[Path, Path]:
    """Return (image folder, annotation file) of a COCO folder in either usual layout.

    Takes `DIR/val2017` and `DIR/images/val2017`, with `DIR/annotations/instances_val2017.json`.
    Raises DatasetError that names the places that were tried.
    """
    if not coco_folder.is_dir():
        raise DatasetError(
            f"There is no COCO folder {coco_folder}. Pass `coco=DIR` with DIR/{split} and annotations. Without coco=, "
            "weights= and config=, run_all.sh runs a demo on scenes that it draws."
        )
    candidates = (coco_folder / split, coco_folder / "images" / split)
    image_folder = next((path for path in candidates if path.is_dir()), None)
    if image_folder is None:
        raise DatasetError(
            f"{coco_folder} holds no images: neither {candidates[0]} nor {candidates[1]} is a folder. "
            "Move them there, or pass another folder: coco=DIR."
        )
    annotation_file = coco_folder / "annotations" / f"instances_{split}.json"
    if not annotation_file.is_file():
        raise DatasetError(f"There is no annotation file {annotation_file}. It comes in COCO's annotations archive.")
    return image_folder, annotation_file


def _is_id(value: Any) -> bool:
    return type(value) is int


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_segmentation(value: Any) -> bool:
    """Tell polygons of three points or more, or a run-length encoding."""
    if isinstance(value, dict):
        size, counts = value.get("size"), value.get("counts")
        is_sized = isinstance(size, list) and len(size) == 2 and all(map(_is_size, size))
        return is_sized and (isinstance(counts, str) or (isinstance(counts, list) and all(map(_is_id, counts))))
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(polygon, list) and len(polygon) >= 6 and all(map(_is_number, polygon)) for polygon in value)
    )


# What each entry of a section must have: key -> (test, what was expected).
_FORMAT: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "images": {
        "id": (_is_id, "a whole number"),
        "file_name": (lambda value: isinstance(value, str), "a name"),
        "width": (_is_size, "a number of pixels"),
        "height": (_is_size, "a number of pixels"),
    },
    "annotations": {
        "id": (_is_id, "a whole number"),
        "image_id": (_is_id, "a whole number"),
        "category_id": (_is_id, "a whole number"),
        "bbox": (_is_box, "[x, y, width, height]"),
        "area": (_is_number, "a number"),
        "iscrowd": (lambda value: value in (0, 1), "0 or 1"),
        "segmentation": (_is_segmentation, "polygons of three points or more, or a run-length encoding"),
    },
    "categories": {"id": (_is_id, "a whole number")},
}


def _check_format(data: Any, path: Path) -> None:
    for section, keys in _FORMAT.items():
        entries = data.get(section) if isinstance(data, dict) else None
        if not isinstance(entries, list):
            raise DatasetError(
                f'{path} is not a COCO annotation file: it has no list "{section}". '
                "Expected a file like instances_val2017.json."
            )
        for position, entry in enumerate(entries):
            for key, (is_right, expected) in keys.items():
                if not isinstance(entry, dict) or key not in entry:
                    raise DatasetError(
                        f'{path} is not a COCO annotation file: entry {position} of "{section}" has no "{key}".'
                    )
                if not is_right(entry[key]):
                    raise DatasetError(
                        f'{path}: "{key}" of entry {position} of "{section}" is {str(entry[key])[:60]!r}, '
                        f"expected {expected}. Fix or remove that entry."
                    )
    if not data["images"]:
        raise DatasetError(f'{path} lists no images: "images" is empty.')
    listed = {category["id"] for category in data["categories"]}
    unlisted = sorted({annotation["category_id"] for annotation in data["annotations"]} - listed)
    if unlisted:
        raise DatasetError(f'{path} uses category_id {unlisted[0]}, which its "categories" do not list.')


def _coco_image(entry: dict[str, Any], folder: Path) -> CocoImage:
    name = entry["file_name"]
    path = folder / name
    if name.startswith("COCO_") and not path.exists():
        # COCO 2014 writes COCO_val2014_000000000042.jpg for what 2017 calls 000000000042.jpg.
        path = folder / name.rsplit("_", 1)[-1]
    return CocoImage(entry["id"], path, entry["width"], entry["height"])
