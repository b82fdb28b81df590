"""The values of a Detectron2 config file, each checked where it is read; what is not known of a file ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolact_ascend.errors import UsageError, show_value
from yolact_ascend.models.rcnn.cuts import STRIDES
from yolact_ascend.models.rcnn.detectron2_keys import FIXED, IGNORED, MASK_PREFIX, READ, SECTIONS
from yolact_ascend.models.rcnn.yaml_file import Entry

MOST = 1 << 16  # of a size, in pixels or channels
HELP_PAGE = "docs/rcnn.md lists what can be built"


class Values:
    """The values of a file, each checked where it is read: raises UsageError that names file and key."""

    def __init__(self, path: Path, entries: Mapping[str, Entry]) -> None:
        self._path, self._entries = path, entries
        has_masks = self.one("MODEL.MASK_ON", lambda value: isinstance(value, bool), "true or false")
        for key, entry in entries.items():
            if key in READ or key in FIXED or _is_ignored(key) or (key in SECTIONS and not entry.value):
                continue
            raise UsageError(
                f"{entry.file}: {key} is no key of Detectron2 at 02b5c4e2, so what it changes is not known. Remove it, "
                "or use a file without it."
            )
        for key, (default, allowed) in FIXED.items():
            value = _frozen(entries[key].value if key in entries else default)
            if value not in allowed and (has_masks or not key.startswith(MASK_PREFIX)):
                self.refuse(key, " or ".join(map(show_value, map(_plain, allowed))))

    def refuse(self, key: str, expected: str) -> None:
        """Raise UsageError for a value that cannot be built."""
        entry = self._entries.get(key)
        value = READ[key] if key in READ else FIXED[key][0]
        found = f"is {show_value(_plain(value if entry is None else entry.value))}"
        where = f"{self._path}: {key}, which it does not set, {found} by default"
        if entry is not None:
            where = f"{entry.file}: {key} {found}"
        raise UsageError(f"{where}; expected {expected}. {HELP_PAGE}.")

    def one(self, key: str, is_right: Callable[[Any], bool], expected: str) -> Any:
        """Return a value, lists as tuples."""
        value = _frozen(self._entries[key].value if key in self._entries else READ[key])
        try:
            fits = is_right(value)
        except TypeError:  # a section in a list
            fits = False
        if not fits:
            self.refuse(key, expected)
        return value

    def flag(self, key: str) -> bool:
        """Return true or false."""
        return bool(self.one(key, lambda value: isinstance(value, bool), "true or false"))

    def whole(self, key: str, least: int = 1, most: int = MOST) -> int:
        """Return a whole number."""
        expected = f"a whole number from {least} to {most}"
        return int(self.one(key, lambda value: type(value) is int and least <= value <= most, expected))

    def share(self, key: str) -> float:
        """Return a number from 0 to 1."""
        return float(self.one(key, lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"))

    def numbers(self, key: str, count: int, are_positive: bool = False) -> tuple[float, ...]:
        """Return a list of so many numbers."""

        def is_right(value: Any) -> bool:
            return _is_numbers(value) and len(value) == count and (not are_positive or min(value) > 0)

        expected = f"a list of {count} numbers{' above 0' if are_positive else ''}"
        return tuple(float(each) for each in self.one(key, is_right, expected))

    def divisors(self, key: str) -> tuple[float, float, float, float]:
        """Return what the deltas dx, dy, dw, dh are divided by."""
        x, y, width, height = self.numbers(key, 4, are_positive=True)
        return x, y, width, height

    def per_level(self, key: str) -> tuple[tuple[float, ...], ...]:
        """Return a list of numbers for each level; a single list is that of all levels."""

        def is_right(value: Any) -> bool:
            lists = value if isinstance(value, tuple) else ()
            fits = len(lists) in (1, len(STRIDES)) and all(_is_numbers(each) and each for each in lists)
            return fits and len({len(each) for each in lists}) == 1 and all(min(each) > 0 for each in lists)

        expected = f"one list of numbers above 0, or {len(STRIDES)} of one length, for p2 to p6"
        found = self.one(key, is_right, expected)
        return tuple(found) if len(found) > 1 else tuple(found) * len(STRIDES)


def _is_ignored(key: str) -> bool:
    return any(key == other or (other.endswith(".") and key.startswith(other)) for other in IGNORED)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9  # neither NaN nor infinite


def _is_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_number, value))
