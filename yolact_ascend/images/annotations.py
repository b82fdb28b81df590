"""COCO annotation files: read in one pass, checked, and brought into one form for every verb.

Lenient where pycocotools and upstream are: fields that nobody needs may be missing, and what follows from other fields
is derived. What pycocotools would crash on, or score in another way than it looks, is counted and named.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.files import read_json
from yolact_ascend.images.annotation_checks import SECTIONS, WHAT, check
from yolact_ascend.images.faults import Entry
from yolact_ascend.long_json import MOST_ENTRIES, Piece


@dataclass(frozen=True)
class Annotations:
    """What an annotation file says.

    `data` has "images", "annotations" and "categories" with whole numbers, names as text, and a box, an area and
    `iscrowd` for every annotation. `mask_fault` says which masks are missing or wrong.
    """

    data: dict[str, list[Entry]]
    is_scored: bool  # False: the file has no "annotations", as COCO's test-dev lists
    warnings: tuple[str, ...] = ()
    mask_fault: str | None = None


def read_annotations(path: Path, with_masks: bool = True) -> Annotations:
    """Read a COCO "instances" file; raises DatasetError with a sentence for each kind of fault.

    Without `with_masks`, masks stay as they are, and boxes and areas that would follow from them stay None.
    """
    with without_collector():
        return _read(path, with_masks)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Pause Python's search for circles, which a sixth of the time is spent on; what comes from JSON has none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(path: Path, with_masks: bool) -> Annotations:
    try:
        data = read_json(path, WHAT)
    except ArtifactError as error:
        raise DatasetError(str(error)) from error
    found: dict[str, list[Entry]] = {section: [] for section in SECTIONS}

    def keep(piece: Piece, *_: Any) -> None:
        found[piece.key] += piece.entries or ()

    checked = check(path, lambda: _pieces(data), keep, with_masks)
    return Annotations(found, checked.is_scored, checked.warnings, checked.mask_fault)


def _pieces(data: Any) -> Iterator[Piece]:
    """Give the lists of a file in pieces: all steps together, while the processor still has a piece at hand."""
    for key, value in data.items() if isinstance(data, dict) else ():
        if not isinstance(value, list):
            yield Piece(key, 0, None)
            continue
        for first in range(0, max(1, len(value)), MOST_ENTRIES):
            yield Piece(key, first, value[first : first + MOST_ENTRIES])
