"""What is wrong with the entries of an annotation file: counted by kind, a sentence each, with the first of them."""

from __future__ import annotations

from collections.abc import Callable
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
    entry: Entry
    expected: str
    found: str


class Faults:
    """The faults of a section's entries, by kind."""

    def __init__(self, section: str) -> None:
        self._section = section
        self._kinds: dict[str, _Fault] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def note(self, number: int, entry: Entry, kind: str, expected: str, found: str) -> None:
        """Count a fault of the entry `number`; `kind` is what follows "3 of 8 annotations"."""
        fault = self._kinds.get(kind)
        if fault is None or number < fault.number:
            fault = _Fault(fault.count if fault else 0, number, entry, expected, found)
            self._kinds[kind] = fault
        fault.count += 1

    def describe(self, count: int, name_of: Callable[[int], Any]) -> str:
        """Return a sentence for each kind, in the order of their first entries, "" when there is none.

        `count` is that of all entries; `name_of` gives the name of the image that has an id, if any.
        """
        return " ".join(
            f"{fault.count} of {count} {self._section} {kind}; the first is {self._label(fault, name_of)}: expected "
            f"{fault.expected}, found {fault.found}."
            for kind, fault in sorted(self._kinds.items(), key=lambda each: each[1].number)
        )

    def _label(self, fault: _Fault, name_of: Callable[[int], Any]) -> str:
        """Return which entry that is: "annotation 7 of image 139 (000000000139.jpg)"."""
        entry = fault.entry
        label = f'entry {fault.number} of "{self._section}"'
        if type(entry.get("id")) in (int, str):
            label = f"{SINGULAR[self._section]} {show_name(entry['id'])}"
        name, image_id = entry.get(NAME.get(self._section, "")), entry.get("image_id")
        if isinstance(image_id, int):
            name = name_of(image_id)
            label = f"{label} of image {show_value(image_id)}"
        return f"{label} ({show_name(name)})" if name and isinstance(name, str) else label


def show(value: Any) -> str:
    """Return a value as an annotation file has it, cut where it is long."""
    return "null" if value is None else show_value(value)
