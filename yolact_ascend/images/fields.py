"""The fields of an annotation file's entries: which values are taken, and what is expected in place of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from yolact_ascend.images.faults import Entry, Faults, show
from yolact_ascend.models.labels import LEAST_ID, MOST_ID

# OpenCV reads no picture of more: CV_IO_MAX_IMAGE_WIDTH, _HEIGHT and _PIXELS of modules/imgcodecs/src/loadsave.cpp.
# pycocotools computes with fifths of pixels in 32 bit, and crashes when a polygon's edges need too much memory.
MOST_SIDE_PX, MOST_PIXELS = 2**20, 2**30
MOST_AREA_PX = 1e5**2  # COCOeval leaves larger objects out of every score: Params.areaRng of pycocotools/cocoeval.py
MOST_NAME_BYTES = 255  # of each part of a path, on Linux
NUMBERS = {int, float}


@dataclass(frozen=True)
class Field:
    """How a field is read. `default` stands for one that is missing, or null; without it that is an error.

    `read` raises ValueError for a value that is not taken, infinities, NaN and numbers of any length among them.
    """

    read: Callable[[Any], Any]
    expected: str
    is_optional: bool = False
    default: Any = None


def _id(value: Any) -> int:
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if type(number) is not int or not LEAST_ID <= number <= MOST_ID:
        raise ValueError
    return number


def _side(value: Any) -> int:
    side = _id(value)
    if not 0 < side <= MOST_SIDE_PX:
        raise ValueError
    return side


def _area(value: Any) -> float:
    if type(value) not in NUMBERS or not 0 <= value <= MOST_AREA_PX:
        raise ValueError
    return value


def _box(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) != 4 or not NUMBERS.issuperset(map(type, value)):
        raise ValueError
    x, y, width, height = value
    is_near = -MOST_SIDE_PX <= x <= MOST_SIDE_PX and -MOST_SIDE_PX <= y <= MOST_SIDE_PX
    if not (is_near and 0 <= width <= MOST_SIDE_PX and 0 <= height <= MOST_SIDE_PX and width * height <= MOST_AREA_PX):
        raise ValueError
    return value


def _file_name(value: Any) -> str:
    name = _text(value)
    parts = name.encode().split(b"/")
    if parts[-1] in (b"", b".", b"..") or max(map(len, parts)) > MOST_NAME_BYTES or "\0" in name:
        raise ValueError
    return name


def _class_name(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError
    return _text(str(value))


def _text(value: Any) -> str:
    """Take what can be written as UTF-8: JSON can hold half of a surrogate pair, which cannot."""
    if not isinstance(value, str):
        raise ValueError
    value.encode()  # its UnicodeEncodeError is a ValueError
    return value


def _flag(value: Any) -> int:
    if value not in (0, 1):
        raise ValueError
    return int(value)


_A_NUMBER = "a whole number of at most 64 bits"
_A_SIDE = f"1 to {MOST_SIDE_PX} pixels"
FIELDS: dict[str, dict[str, Field]] = {
    "images": {
        "id": Field(_id, _A_NUMBER),
        "file_name": Field(_file_name, "the name of a file"),
        "width": Field(_side, _A_SIDE),
        "height": Field(_side, _A_SIDE),
    },
    "annotations": {
        "image_id": Field(_id, _A_NUMBER),
        "category_id": Field(_id, _A_NUMBER),
        "bbox": Field(
            _box,
            f"[x, y, width, height] in pixels, at most {MOST_SIDE_PX}, no negative size",
            is_optional=True,
        ),
        "area": Field(_area, f"0 to {MOST_AREA_PX:.0e} square pixels", is_optional=True),
        "iscrowd": Field(_flag, "0 or 1", is_optional=True, default=0),
    },
    "categories": {
        "id": Field(_id, _A_NUMBER),
        "name": Field(_class_name, "a name", is_optional=True),
    },
}


def read_fields(entries: Sequence[Entry], section: str, faults: Faults, first: int = 0) -> list[Entry]:
    """Return copies of a section's entries, from number `first` on, with their fields read; others stay as they are."""
    found = [dict(entry) for entry in entries]
    for key, field in FIELDS[section].items():
        read = field.read
        for number, entry in enumerate(found, first):
            value = entry.get(key)
            if value is None and field.is_optional:
                entry[key] = field.default
                continue
            try:
                entry[key] = read(value)
            except ValueError:
                place = show(value) if key in entry else "nothing"
                faults.note(number, entry, f'have no usable "{key}"', field.expected, place)
    if section == "images":
        _limit_pixels(found, faults, first)
    return found


def _limit_pixels(images: Sequence[Entry], faults: Faults, first: int) -> None:
    for number, image in enumerate(images, first):
        try:
            pixels = _side(image.get("width")) * _side(image.get("height"))
        except ValueError:  # which is noted
            continue
        if pixels > MOST_PIXELS:
            found = f"{image['width']}×{image['height']}"
            faults.note(number, image, "have too many pixels", f"{MOST_PIXELS} at most", found)
