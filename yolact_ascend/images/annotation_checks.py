"""The rules of a COCO annotation file: the same for one that is in memory, and for one that comes in pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Optional

import numpy as np

from yolact_ascend.errors import DatasetError, show_name
from yolact_ascend.images.faults import Entry, Faults, show
from yolact_ascend.images.fields import read_fields
from yolact_ascend.images.listed import UNLISTED, ListedImages
from yolact_ascend.images.segmentations import Segmentations
from yolact_ascend.long_json import Piece

WHAT = "COCO annotations"
IMAGES, CATEGORIES, ANNOTATIONS = SECTIONS = ("images", "categories", "annotations")  # in the order of messages
FIX = "Fix or remove these entries."
# Takes each piece of a section with its fields read and masks cleaned; of annotations, also the rows of their images.
# A piece whose first entry has the number 0 replaces those before: of two lists with one key, JSON's last one counts.
Keep = Callable[[Piece, Optional[np.ndarray]], None]


@dataclass(frozen=True)
class Checked:
    """What an annotation file says beside its annotations."""

    images: ListedImages
    categories: list[Entry]
    used: frozenset[int]  # ids of the categories that annotations have
    is_scored: bool
    warnings: tuple[str, ...]
    mask_fault: str | None


def check(path: Path, pieces: Callable[[], Iterable[Piece]], keep: Keep, with_masks: bool = True) -> Checked:
    """Check the pieces of a file, which are gone through twice where annotations come before their images.

    Raises DatasetError with a sentence for each kind of fault.
    """
    lists = _Lists(path, keep)
    checks = _Checks(path, lists, keep, with_masks)
    is_checked = False
    for piece in pieces():
        lists.add(piece)
        if piece.first == 0 and piece.key in (IMAGES, ANNOTATIONS):
            is_checked = piece.key == ANNOTATIONS and IMAGES in lists.sections
        if is_checked and piece.key == ANNOTATIONS:
            checks.add(piece)
    lists.require()
    if lists.is_scored and not is_checked:
        for piece in pieces():
            if piece.key == ANNOTATIONS:
                checks.add(piece)
    return checks.finish()


class _Section:
    """One list of the file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults = Faults(name)
        self.is_list = True
        self._count = 0  # of entries
        self._others = 0  # of entries that are no objects
        self._first_other = ""

    def add(self, entries: Sequence[Any], first: int) -> list[Entry]:
        """Count the next entries, and return those that are objects."""
        self._count += len(entries)
        others = [number for number, entry in enumerate(entries) if not isinstance(entry, dict)]
        if not others:
            return list(entries)
        if not self._others:
            self._first_other = f'entry {first + others[0]} of "{self.name}" is {show(entries[others[0]])}'
        self._others += len(others)
        return [entry for entry in entries if isinstance(entry, dict)]

    @property
    def oddness(self) -> str:
        """Why this is no list of objects; "" when it is one."""
        if not self.is_list:
            return f'it has no list "{self.name}"'
        return f"{self._first_other} ({self._others} such)" if self._others else ""

    def describe(self, images: ListedImages) -> str:
        """Return a sentence for each kind of fault, "" when there is none."""
        return self.faults.describe(self._count, images.name_of)


class _Lists:
    """Images and categories, and whether all sections are lists of objects."""

    def __init__(self, path: Path, keep: Keep) -> None:
        self._path, self._keep = path, keep
        self.sections: dict[str, _Section] = {}
        self.images = ListedImages()
        self.categories: list[Entry] = []

    @property
    def is_scored(self) -> bool:
        """Whether there are annotations; there are none in COCO's test-dev lists."""
        return ANNOTATIONS in self.sections

    def add(self, piece: Piece) -> None:
        """Take the next piece."""
        if piece.key not in SECTIONS:
            return
        if piece.first == 0:
            self._begin(piece.key)
        section = self.sections[piece.key]
        if piece.entries is None:
            section.is_list = False
            return
        entries = section.add(piece.entries, piece.first)
        if piece.key == ANNOTATIONS:
            return
        found = read_fields(entries, piece.key, section.faults, piece.first)
        if piece.key == IMAGES:
            self.images.add(found)
        else:
            self.categories += found
        self._keep(piece._replace(entries=found), None)

    def _begin(self, name: str) -> None:
        self.sections[name] = _Section(name)
        if name == IMAGES:
            self.images = ListedImages()
        elif name == CATEGORIES:
            self.categories = []

    def require(self) -> None:
        """Raise DatasetError when these are not lists of objects."""
        for name in SECTIONS:
            section = self.sections.get(name)
            if section is None and name != ANNOTATIONS:
                said = f'it has no list "{name}"'
            else:
                said = section.oddness if section else ""
            if said:
                raise DatasetError(
                    f"{self._path} is not a COCO annotation file: {said}. Expected a file like instances_val2017.json."
                )


class _Checks:
    """The annotations, by the images that are listed before."""

    def __init__(self, path: Path, lists: _Lists, keep: Keep, with_masks: bool) -> None:
        self._path, self._lists, self._keep, self._with_masks = path, lists, keep, with_masks
        self._begin()

    def _begin(self) -> None:
        self._used: set[int] = set()  # categories
        self._unlisted: set[int] = set()  # images
        self._masks = Segmentations()

    def add(self, piece: Piece) -> None:
        """Take the next piece of the annotations."""
        section = self._lists.sections[ANNOTATIONS]
        if section.oddness:
            return
        if piece.first == 0:
            self._begin()
            section.faults = Faults(ANNOTATIONS)
        found = read_fields(piece.entries or [], ANNOTATIONS, section.faults, piece.first)
        if section.faults or self._lists.sections[IMAGES].faults:
            return
        image_ids = [entry["image_id"] for entry in found]
        rows = self._lists.images.rows_of(image_ids)
        self._unlisted.update(itertools.compress(image_ids, rows == UNLISTED))
        self._used.update(entry["category_id"] for entry in found)
        if self._unlisted:
            return
        if self._with_masks:
            self._masks.clean(found, self._lists.images.sizes_of(rows))
        self._keep(piece._replace(entries=found), rows)

    def finish(self) -> Checked:
        """Return what was found; raises DatasetError when something is wrong."""
        images, categories, sections = self._lists.images, self._lists.categories, self._lists.sections
        described = [sections[name].describe(images) for name in SECTIONS if name in sections]
        if any(described):
            raise DatasetError(f"{self._path}: {' '.join(filter(None, described))} {FIX}")
        if not len(images):
            raise DatasetError(f'{self._path} lists no images: "images" is empty.')
        self._require_unique()
        self._require_listed()
        warnings, mask_fault = [], None
        if self._with_masks:
            self._masks.require_boxes(self._path, images.name_of)
            warnings, mask_fault = self._masks.warnings(self._path), self._masks.fault(self._path, images.name_of)
        used = frozenset(self._used)
        return Checked(images, categories, used, self._lists.is_scored, tuple(warnings), mask_fault)

    def _require_unique(self) -> None:
        """Refuse an id that stands for two images or classes, and a name that stands for two classes."""
        images, categories = self._lists.images, self._lists.categories
        twice = images.find_twice()
        if twice:
            names = images.names[twice.before], images.names[twice.row]
            self._refuse_twice("image", int(images.ids[twice.row]), names, twice.times)
        named = [category for category in categories if category["name"] is not None]
        for entries, key, what, other in (
            (categories, "id", "category", "name"),
            (named, "name", "category name", "id"),
        ):
            first: dict[Any, Entry] = {}
            again = [(first[e[key]], e) for e in entries if first.setdefault(e[key], e) is not e]
            if again:
                one, two = again[0]
                self._refuse_twice(what, one[key], (one[other], two[other]), len(again))

    def _refuse_twice(self, what: str, value: Any, others: tuple[Any, Any], count: int) -> NoReturn:
        one, two = map(show_name, others)
        raise DatasetError(
            f"{self._path} lists {what} {show_name(value)} twice, as {one} and as {two} ({count} such). "
            f"Were files merged without new ids? Give each {what.split()[0]} its own."
        )

    def _require_listed(self) -> None:
        """Refuse annotations of images and classes that the file does not list."""
        categories = {category["id"] for category in self._lists.categories}
        for unlisted, said in (
            (self._unlisted, 'annotates image {}, which its "images" do not list ({} such).'),
            (self._used - categories, 'uses category_id {}, which its "categories" do not list ({} such).'),
        ):
            if unlisted:
                raise DatasetError(f"{self._path} " + said.format(min(unlisted), len(unlisted)))
