"""The masks of an annotation file: which can be used, and the boxes and areas that follow from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from yolact_ascend.detection.segmentation import LONGEST_RUN, encode_annotation, sum_run_lengths
from yolact_ascend.errors import DatasetError
from yolact_ascend.images.faults import Entry, Faults, show
from yolact_ascend.images.fields import MOST_SIDE_PX, NUMBERS

LEAST_COORDINATES = 6  # of a polygon: three points
RELATIVE_MOST = 1.5  # polygons that stay below it are in shares of the picture, not in pixels
PERCENT_MOST, PERCENT_LEAST_SIDE_PX, PERCENT_LEAST_COUNT = 100.5, 200, 10  # likewise in percent
TOGETHER = 1 << 17  # characters of compressed run lengths that are read in one go
WHAT_STILL_WORKS = "Inputs and outputs can be made without masks (to=infer)."
EITHER = "polygons or a run-length encoding"
NEITHER = "have a mask that is neither polygons nor a run-length encoding"
NOT_ALL = "have run lengths that do not add up to the picture"
DAMAGED = "have a damaged string of run lengths"


class _Unusable(Exception):
    """Why a mask cannot be used; its arguments are those of `Faults.note` after the number."""


class Segmentations:
    """The masks of a file's annotations, what is wrong with them, and the boxes and areas that follow from them."""

    def __init__(self) -> None:
        self._count = 0  # of annotations
        self._faults, self._boxless = Faults("annotations"), Faults("annotations")
        self._slivers = 0  # pieces of polygons that were dropped
        self._polygons = 0
        self._furthest = 0.0  # largest coordinate of all polygons
        self._least_side_px = math.inf  # of the pictures with polygons
        self._strings: list[tuple[int, Entry, str, int]] = []  # with number, run lengths, pixels of the picture
        self._waiting = 0  # characters in them

    def clean(self, annotations: Sequence[Entry], sizes: Sequence[tuple[int, int]]) -> None:
        """Clean the masks in place, None for those that cannot be used, and derive boxes and areas that are missing.

        `annotations` are the file's next ones; `sizes` are the height and width of each one's picture.
        """
        incomplete = []
        for number, annotation, (height, width) in zip(itertools.count(self._count), annotations, sizes):
            self._clean(number, annotation, height, width)
            if annotation["bbox"] is None or annotation["area"] is None:
                incomplete.append((number, annotation, height, width))
        self._check_strings()
        for each in incomplete:
            self._derive(*each)
        self._count += len(annotations)

    def _clean(self, number: int, annotation: Entry, height: int, width: int) -> None:
        mask = annotation.get("segmentation")
        try:
            if isinstance(mask, list):
                annotation["segmentation"] = self._clean_polygons(mask, height, width)
            elif isinstance(mask, dict):
                annotation["segmentation"] = self._clean_run_lengths(number, annotation, height, width)
            else:
                kind = "have no mask" if mask is None else NEITHER
                raise _Unusable(kind, EITHER, show(mask) if "segmentation" in annotation else "nothing")
        except _Unusable as fault:
            annotation["segmentation"] = None
            self._faults.note(number, annotation, *fault.args)

    def _clean_polygons(self, mask: list[Any], height: int, width: int) -> list[list[float]]:
        """Return the polygons without slivers."""
        pieces, furthest = [], []
        for piece in mask:
            if not isinstance(piece, list):
                raise _Unusable("have a mask that is no list of polygons", "[[x, y, x, y, ...], ...]", show(mask))
            if len(piece) % 2:
                kind = "have a polygon with an odd number of coordinates"
                raise _Unusable(kind, "x and y of each point", f"{len(piece)} numbers")
            if len(piece) >= LEAST_COORDINATES:
                pieces.append(piece)
                furthest.append(_extent(piece))
        if not pieces:
            kind = "have a mask that is empty, or has fewer than three points"
            raise _Unusable(kind, "[[x, y, x, y, x, y, ...], ...]", show(mask))
        self._slivers += len(mask) - len(pieces)
        left, top, right, bottom = map(max, zip(*furthest))
        self._polygons += 1
        self._furthest = max(self._furthest, right, bottom)
        self._least_side_px = min(self._least_side_px, height, width)
        if right <= 0 or bottom <= 0 or -left >= width or -top >= height:
            place = f"x from {-left:g} to {right:g}, y from {-top:g} to {bottom:g}"
            raise _Unusable("have a mask outside of the picture", f"polygons within {width}×{height} pixels", place)
        return pieces

    def _clean_run_lengths(self, number: int, annotation: Entry, height: int, width: int) -> dict[str, Any]:
        """Return the run lengths with whole numbers; compressed ones are checked later, many in one go."""
        mask = annotation["segmentation"]
        size, counts = mask.get("size"), mask.get("counts")
        if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, (str, list)):
            raise _Unusable(NEITHER, EITHER, show(mask))
        if size != [height, width]:
            raise _Unusable("have run lengths for a picture of another size", f"{[height, width]}", show(size))
        if isinstance(counts, str):
            if self._waiting > TOGETHER:
                self._check_strings()
            self._strings.append((number, annotation, counts, height * width))
            self._waiting += len(counts)
        else:
            counts = _whole_counts(counts)
            if sum(counts) != height * width:
                raise _Unusable(NOT_ALL, f"{height * width} pixels", show(sum(counts)))
        return {"size": [height, width], "counts": counts}

    def _check_strings(self) -> None:
        sums = sum_run_lengths([counts for _, _, counts, _ in self._strings])
        for (number, annotation, counts, pixels), found in zip(self._strings, sums):
            if found == pixels:
                continue
            annotation["segmentation"] = None
            if found is None:
                self._faults.note(number, annotation, DAMAGED, "COCO's compressed form", show(counts))
            else:
                self._faults.note(number, annotation, NOT_ALL, f"{pixels} pixels", show(found))
        self._strings.clear()
        self._waiting = 0

    def _derive(self, number: int, annotation: Entry, height: int, width: int) -> None:
        box, area = annotation["bbox"], annotation["area"]
        if annotation["segmentation"] is not None:
            rle = encode_annotation(annotation, height, width)
            pixels = float(coco_mask.area(rle))
            area = pixels if area is None else area
            # pycocotools' box of a mask without pixels is that of an overflow when its runs end with an empty one.
            box = box or ([float(value) for value in coco_mask.toBbox(rle)] if pixels else [0.0] * 4)
        elif box is None:
            self._boxless.note(
                number, annotation, "have neither a box nor a mask that can be used", "one of them", "none"
            )
        elif area is None:
            area = box[2] * box[3]
        annotation.update(bbox=box, area=area)

    def require_boxes(self, path: Path, name_of: Callable[[int], Any]) -> None:
        """Raise DatasetError when there are annotations with neither a box nor a mask; `name_of` is an image's."""
        if self._boxless:
            raise DatasetError(f"{path}: {self._boxless.describe(self._count, name_of)} Fix or remove them.")

    def warnings(self, path: Path) -> list[str]:
        """Return what was left out."""
        if not self._slivers:
            return []
        return [f"{path.name}: pieces of masks with fewer than three points are left out: {self._slivers}."]

    def fault(self, path: Path, name_of: Callable[[int], Any]) -> str | None:
        """Return what is wrong with the masks, a sentence for each kind and a next step; None when nothing is."""
        if self._polygons and self._furthest <= RELATIVE_MOST < self._least_side_px:
            return (
                f"{path}: the coordinates of all {self._polygons} polygons are at most {self._furthest:.3g}. They look "
                "like shares of the picture (0..1), expected pixels. Multiply x by the width and y by the height."
            )
        is_large = self._least_side_px >= PERCENT_LEAST_SIDE_PX and self._polygons >= PERCENT_LEAST_COUNT
        if is_large and self._furthest <= PERCENT_MOST:
            return (
                f"{path}: the coordinates of all {self._polygons} polygons are at most {self._furthest:.4g}, in "
                f"pictures of at least {self._least_side_px:.0f} pixels. They look like percent, expected pixels. "
                "Multiply x by a hundredth of the width and y by a hundredth of the height."
            )
        if not self._faults:
            return None
        described = self._faults.describe(self._count, name_of)
        return f"{path}: {described} Fix or remove these annotations. {WHAT_STILL_WORKS}"


def _extent(piece: list[Any]) -> tuple[float, float, float, float]:
    """Return how far a polygon reaches to the left, top (both negated), right and bottom."""
    if not NUMBERS.issuperset(map(type, piece)):
        other = next(value for value in piece if type(value) not in NUMBERS)
        raise _Unusable("have a polygon with something else than numbers", "coordinates in pixels", show(other))
    xs, ys = piece[::2], piece[1::2]
    extent = -min(xs), -min(ys), max(xs), max(ys)
    if not max(extent) <= MOST_SIDE_PX or _has_nan(piece):
        far = next(value for value in piece if not abs(value) <= MOST_SIDE_PX)
        kind = "have a polygon with coordinates that are too large or not finite"
        raise _Unusable(kind, f"at most {MOST_SIDE_PX} pixels", show(far))
    return extent


def _has_nan(numbers: list[float]) -> bool:
    """Find NaN, which `min` and `max` may overlook, together with whole numbers that are too large for a float."""
    try:
        return math.isnan(sum(numbers))
    except OverflowError:
        return True


def _whole_counts(counts: list[Any]) -> list[int]:
    """Return run lengths as pycocotools reads them, which takes 3.0, too."""
    if not {int}.issuperset(map(type, counts)):
        for count in counts:
            if type(count) not in NUMBERS or (type(count) is float and not count.is_integer()):
                raise _Unusable("have run lengths that are no whole numbers", "numbers of pixels", show(count))
        counts = [int(count) for count in counts]
    wrong = [count for count in (min(counts), max(counts)) if not 0 <= count <= LONGEST_RUN] if counts else []
    if wrong:
        raise _Unusable("have run lengths that are negative or too large", "numbers of pixels", show(wrong[0]))
    return counts
