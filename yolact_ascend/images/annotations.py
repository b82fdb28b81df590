"""COCO annotation files: read in one pass, checked, and brought into one form for every verb.

Lenient where pycocotools and upstream are: fields that nobody needs may be missing, and what follows from other fields
is derived. What is not understood is counted and named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from yolact_ascend.detection.segmentation import encode_annotation
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.files import read_json

LEAST_COORDINATES = 6  # of a polygon: three points
RELATIVE_MOST = 1.5  # polygons that stay below it are in shares of the picture, not in pixels
PERCENT_MOST, PERCENT_LEAST_SIDE_PX, PERCENT_LEAST_COUNT = 100.5, 200, 10  # likewise in percent
WHAT_STILL_WORKS = "Inputs and outputs can be made without masks (to=infer)."

Entry = dict[str, Any]


@dataclass(frozen=True)
class Annotations:
    """What an annotation file says.

    `data` has "images", "annotations" and "categories" with whole numbers, names as text, and a box, an area and
    `iscrowd` for every annotation. `mask_fault` is a sentence when masks are missing or wrong.
    """

    data: dict[str, list[Entry]]
    is_scored: bool  # False: the file has no "annotations", as COCO's test-dev lists
    warnings: tuple[str, ...] = ()
    mask_fault: str | None = None


def read_annotations(path: Path) -> Annotations:
    """Read a COCO "instances" file; raises DatasetError that names the first fault of a kind, and counts them."""
    try:
        data = read_json(path, "COCO annotations")
    except ArtifactError as error:
        raise DatasetError(str(error)) from error
    images = _read_section(path, data, "images")
    categories = _read_section(path, data, "categories")
    is_scored = not isinstance(data, dict) or "annotations" in data
    annotations = _read_section(path, data, "annotations") if is_scored else []
    if not images:
        raise DatasetError(f'{path} lists no images: "images" is empty.')
    _require_unique(path, images, categories)
    _require_listed(path, images, categories, annotations)
    masks = _Masks({image["id"]: image for image in images})
    annotations = [masks.take(number, annotation) for number, annotation in enumerate(annotations)]
    masks.require_boxes(path)
    content = {"images": images, "annotations": annotations, "categories": categories}
    return Annotations(content, is_scored, tuple(masks.warnings(path)), masks.fault(path))


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise ValueError
    return value


def _size(value: Any) -> int:
    size = _whole(value)
    if size <= 0:
        raise ValueError
    return size


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return value


def _box(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError
    return [_number(number) for number in value]


def _file_name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _class_name(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError
    return str(value)


def _flag(value: Any) -> int:
    if value not in (0, 1):
        raise ValueError
    return int(value)


@dataclass(frozen=True)
class _Field:
    """How a field is read. `default` stands for one that is missing, or null; without it that is an error."""

    read: Callable[[Any], Any]
    expected: str
    is_optional: bool = False
    default: Any = None


_FIELDS: dict[str, dict[str, _Field]] = {
    "images": {
        "id": _Field(_whole, "a whole number"),
        "file_name": _Field(_file_name, "a name"),
        "width": _Field(_size, "a number of pixels"),
        "height": _Field(_size, "a number of pixels"),
    },
    "annotations": {
        "image_id": _Field(_whole, "a whole number"),
        "category_id": _Field(_whole, "a whole number"),
        "bbox": _Field(_box, "[x, y, width, height]", is_optional=True),
        "area": _Field(_number, "a number", is_optional=True),
        "iscrowd": _Field(_flag, "0 or 1", is_optional=True, default=0),
    },
    "categories": {
        "id": _Field(_whole, "a whole number"),
        "name": _Field(_class_name, "a name", is_optional=True),
    },
}


def _read_section(path: Path, data: Any, section: str) -> list[Entry]:
    """Return the entries of a section with their fields read; others stay as they are."""
    entries = data.get(section) if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise DatasetError(
            f'{path} is not a COCO annotation file: it has no list "{section}". '
            "Expected a file like instances_val2017.json."
        )
    faults: dict[str, list[tuple[int, Any]]] = {}
    found = [_read_entry(number, entry, section, faults) for number, entry in enumerate(entries)]
    for key, places in faults.items():
        (number, value), count = places[0], len(places)
        more = f" ({count} such entries)" if count > 1 else ""
        if value is _MISSING:
            raise DatasetError(
                f'{path} is not a COCO annotation file: entry {number} of "{section}" has no "{key}"{more}.'
            )
        raise DatasetError(
            f'{path}: "{key}" of entry {number} of "{section}" is {str(value)[:60]!r}, '
            f"expected {_FIELDS[section][key].expected}{more}. Fix or remove "
            f"{'that entry' if count == 1 else 'those entries'}."
        )
    return found


_MISSING = object()


def _read_entry(number: int, entry: Any, section: str, faults: dict[str, list[tuple[int, Any]]]) -> Entry:
    if not isinstance(entry, dict):
        entry = {}
    found = dict(entry)
    for key, reads in _FIELDS[section].items():
        value = entry.get(key, _MISSING)
        if reads.is_optional and (value is _MISSING or value is None):
            found[key] = reads.default
            continue
        try:
            found[key] = reads.read(value)
        except ValueError:
            faults.setdefault(key, []).append((number, value))
    return found


def _require_unique(path: Path, images: Sequence[Entry], categories: Sequence[Entry]) -> None:
    """Refuse an id that stands for two images or classes, and a name that stands for two classes; both are named."""
    named = [category for category in categories if category["name"] is not None]
    for entries, key, what, other in (
        (images, "id", "image", "file_name"),
        (categories, "id", "category", "name"),
        (named, "name", "category name", "id"),
    ):
        first: dict[Any, Entry] = {}
        twice = [(first[entry[key]], entry) for entry in entries if first.setdefault(entry[key], entry) is not entry]
        if twice:
            one, two = twice[0]
            raise DatasetError(
                f"{path} lists {what} {one[key]} twice, as {one[other]} and as {two[other]} ({len(twice)} such). "
                f"Were files merged without new ids? Give each {what.split()[0]} its own."
            )


def _require_listed(
    path: Path, images: Sequence[Entry], categories: Sequence[Entry], annotations: Sequence[Entry]
) -> None:
    """Refuse annotations of images and classes that the file does not list."""
    for key, entries, said in (
        ("image_id", images, 'annotates image {}, which its "images" do not list ({} such).'),
        ("category_id", categories, 'uses category_id {}, which its "categories" do not list ({} such).'),
    ):
        listed = {entry["id"] for entry in entries}
        unlisted = sorted({annotation[key] for annotation in annotations} - listed)
        if unlisted:
            raise DatasetError(f"{path} " + said.format(unlisted[0], len(unlisted)))


@dataclass
class _Masks:
    """Takes the annotations one by one: cleans their masks, derives box and area, and counts what is wrong."""

    images: dict[int, Entry]
    count: int = 0
    slivers: int = 0  # pieces of polygons that were dropped
    faults: dict[str, list[int]] = field(default_factory=dict)  # kind -> numbers of the annotations
    boxless: list[int] = field(default_factory=list)
    polygons: int = 0
    furthest: float = 0.0  # largest coordinate of all polygons
    least_side_px: float = math.inf  # of the pictures with polygons

    def take(self, number: int, annotation: Entry) -> Entry:
        """Return the annotation with a clean mask (None: it has none that is right), a box and an area."""
        self.count += 1
        image = self.images[annotation["image_id"]]
        height, width = image["height"], image["width"]
        mask, fault = self._clean(annotation.get("segmentation"), height, width)
        if fault:
            self.faults.setdefault(fault, []).append(number)
        box, area = annotation["bbox"], annotation["area"]
        if mask is not None and (box is None or area is None):
            rle = encode_annotation({**annotation, "segmentation": mask}, height, width)
            box = box or [float(value) for value in coco_mask.toBbox(rle)]
            area = float(coco_mask.area(rle)) if area is None else area
        if box is None:
            self.boxless.append(number)
        elif area is None:
            area = box[2] * box[3]
        return {**annotation, "segmentation": mask, "bbox": box, "area": area}

    def _clean(self, mask: Any, height: int, width: int) -> tuple[Any, str | None]:
        """Return the mask without slivers, or None and what is wrong with it."""
        if mask is None:
            return None, "have none"
        if isinstance(mask, dict):
            fault = _fault_of_rle(mask, height, width)
            return (None, fault) if fault else (mask, None)
        if not isinstance(mask, list):
            return None, "are neither polygons nor a run-length encoding"
        if mask and not any(isinstance(piece, list) for piece in mask):
            return None, "are flat lists"
        if not all(isinstance(piece, list) and all(map(_is_number, piece)) for piece in mask):
            return None, "hold something else than numbers"
        pieces = [piece for piece in mask if len(piece) >= LEAST_COORDINATES]
        if not pieces:
            return None, "are empty, or have fewer than three points"
        if any(len(piece) % 2 for piece in pieces):
            return None, "have an odd number of coordinates"
        self.slivers += len(mask) - len(pieces)
        return self._within(pieces, height, width)

    def _within(self, pieces: list[list[float]], height: int, width: int) -> tuple[Any, str | None]:
        xs = [x for piece in pieces for x in piece[::2]]
        ys = [y for piece in pieces for y in piece[1::2]]
        self.polygons += 1
        self.furthest = max(self.furthest, max(xs), max(ys))
        self.least_side_px = min(self.least_side_px, height, width)
        if max(xs) <= 0 or max(ys) <= 0 or min(xs) >= width or min(ys) >= height:
            return None, "lie outside of the picture"
        return pieces, None

    def require_boxes(self, path: Path) -> None:
        """Raise DatasetError when there are annotations with neither a box nor a mask."""
        if self.boxless:
            raise DatasetError(
                f"{path}: {len(self.boxless)} of {self.count} annotations have neither a box nor a mask that is right; "
                f'the first is entry {self.boxless[0]} of "annotations". Fix or remove them.'
            )

    def warnings(self, path: Path) -> list[str]:
        """Return what was left out."""
        if not self.slivers:
            return []
        return [f"{path.name}: pieces of masks with fewer than three points are left out: {self.slivers}."]

    def fault(self, path: Path) -> str | None:
        """Return what is wrong with the masks, in one sentence and with its next step; None when nothing is."""
        if self.polygons and self.furthest <= RELATIVE_MOST < self.least_side_px:
            return (
                f"{path}: the coordinates of all {self.polygons} polygons are at most {self.furthest:.3g}. They look "
                "like shares of the picture (0..1), expected pixels. Multiply x by the width and y by the height."
            )
        is_large = self.least_side_px >= PERCENT_LEAST_SIDE_PX and self.polygons >= PERCENT_LEAST_COUNT
        if is_large and self.furthest <= PERCENT_MOST:
            return (
                f"{path}: the coordinates of all {self.polygons} polygons are at most {self.furthest:.4g}, in pictures "
                f"of at least {self.least_side_px:.0f} pixels. They look like percent, expected pixels. "
                "Multiply x by a hundredth of the width and y by a hundredth of the height."
            )
        if not self.faults:
            return None
        kinds = ", ".join(f"{len(numbers)} {kind}" for kind, numbers in self.faults.items())
        total = sum(map(len, self.faults.values()))
        first = min(numbers[0] for numbers in self.faults.values())
        return (
            f"{path}: the masks of {total} of {self.count} annotations are not usable: {kinds}; the first is entry "
            f'{first} of "annotations". Expected polygons of three points or more, in pixels, or a run-length encoding '
            f"of the picture's size. Fix or remove these annotations. {WHAT_STILL_WORKS}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _fault_of_rle(rle: dict[str, Any], height: int, width: int) -> str | None:
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, (str, list)):
        return "are neither polygons nor a run-length encoding"
    if size != [height, width]:
        return "are encoded for a picture of another size"
    if isinstance(counts, list):
        if not all(type(count) is int and count >= 0 for count in counts):
            return "have run lengths that are no whole numbers"
        if sum(counts) != height * width:
            return "have run lengths that do not add up to the picture"
    return None
