"""COCO annotation files: read in one pass, checked, and brought into one form for every verb.

Lenient where pycocotools and upstream are: fields that nobody needs may be missing, and what follows from other fields
is derived. What pycocotools would crash on, or score in another way than it looks, is counted and named.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.errors import ArtifactError, DatasetError, show_name
from yolact_ascend.files import read_json
from yolact_ascend.images.faults import Entry, Faults, show
from yolact_ascend.images.fields import read_fields
from yolact_ascend.images.segmentations import Segmentations

FIX = "Fix or remove these entries."


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
    with _without_collector():
        return _read(path, with_masks)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
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
        data = read_json(path, "COCO annotations")
    except ArtifactError as error:
        raise DatasetError(str(error)) from error
    is_scored = not isinstance(data, dict) or "annotations" in data
    sections = ["images", "categories", *(["annotations"] if is_scored else [])]
    content = {"annotations": [], **_read_sections(path, data, sections)}
    images, categories, annotations = content["images"], content["categories"], content["annotations"]
    if not images:
        raise DatasetError(f'{path} lists no images: "images" is empty.')
    _require_unique(path, images, categories)
    _require_listed(path, images, categories, annotations)
    if not with_masks:
        return Annotations(content, is_scored)
    masks = Segmentations({image["id"]: image for image in images}, annotations)
    masks.clean()
    masks.require_boxes(path)
    return Annotations(content, is_scored, tuple(masks.warnings(path)), masks.fault(path))


def _read_sections(path: Path, data: Any, sections: Sequence[str]) -> dict[str, list[Entry]]:
    """Return the entries of these sections with their fields read; others stay as they are."""
    found: dict[str, list[Entry]] = {}
    described = []
    for section in sections:
        faults = Faults(section)
        found[section] = read_fields(_entries(path, data, section), section, faults)
        described.append(faults.describe(found[section], found["images"]))
    if any(described):
        raise DatasetError(f"{path}: {' '.join(filter(None, described))} {FIX}")
    return found


def _entries(path: Path, data: Any, section: str) -> list[Entry]:
    entries = data.get(section) if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise DatasetError(
            f'{path} is not a COCO annotation file: it has no list "{section}". '
            "Expected a file like instances_val2017.json."
        )
    others = [number for number, entry in enumerate(entries) if not isinstance(entry, dict)]
    if others:
        raise DatasetError(
            f'{path} is not a COCO annotation file: entry {others[0]} of "{section}" is {show(entries[others[0]])} '
            f"({len(others)} such). Expected a file like instances_val2017.json."
        )
    return entries


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
                f"{path} lists {what} {show_name(one[key])} twice, as {show_name(one[other])} and as "
                f"{show_name(two[other])} ({len(twice)} such). Were files merged without new ids? "
                f"Give each {what.split()[0]} its own."
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
