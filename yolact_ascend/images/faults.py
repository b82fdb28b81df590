"""What is wrong with the entries of an annotation file: counted by kind, a sentence each, with the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yolact_ascend.errors import show_name, show_value

Entry = dict[str, Any]

SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}
NAME = {"images": "file_name", "categories": "name"}


@dataclass
class _Fault:
    count: int
    number: int  # of the first entry
    expected: str
    found: str


class Faults:
    """The faults of a section's entries, by kind."""

    def __init__(self, section: str) -> None:
        self._section = section
        self._kinds: dict[str, _Fault] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def note(self, number: int, kind: str, expected: str, found: str) -> None:
        """Count a fault of entry `number`; `kind` is what follows "3 of 8 annotations"."""
        self._kinds.setdefault(kind, _Fault(0, number, expected, found)).count += 1

    def describe(self, entries: Sequence[Entry], images: Sequence[Entry]) -> str:
        """Return a sentence for each kind, "" when there is none."""
        return " ".join(
            f"{fault.count} of {len(entries)} {self._section} {kind}; the first is "
            f"{self._label(entries[fault.number], fault.number, images)}: expected {fault.expected}, "
            f"found {fault.found}."
            for kind, fault in self._kinds.items()
        )

    def _label(self, entry: Entry, number: int, images: Sequence[Entry]) -> str:
        """Return which entry that is: "annotation 7 of image 139 (000000000139.jpg)"."""
        label = f'entry {number} of "{self._section}"'
        if type(entry.get("id")) in (int, str):
            label = f"{SINGULAR[self._section]} {show_name(entry['id'])}"
        name, image_id = entry.get(NAME.get(self._section, "")), entry.get("image_id")
        if isinstance(image_id, int):
            name = next((image.get("file_name") for image in images if image.get("id") == image_id), None)
            label = f"{label} of image {show_value(image_id)}"
        return f"{label} ({show_name(name)})" if name and isinstance(name, str) else label


def show(value: Any) -> str:
    """Return a value as an annotation file has it, cut where it is long."""
    return "null" if value is None else show_value(value)
