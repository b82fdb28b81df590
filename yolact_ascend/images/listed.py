"""The images that an annotation file lists, in some 30 bytes each beside their names."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from yolact_ascend.images.faults import Entry
from yolact_ascend.images.fields import MOST_SIDE_PX
from yolact_ascend.models.labels import LEAST_ID, MOST_ID

UNLISTED = -1  # the row of an image that is not listed


class Twice(NamedTuple):
    """The first image whose id was there before, that one, and how often that is so."""

    before: int  # its row
    row: int
    times: int


class ListedImages:
    """Ids, sizes and names, a row for each image in the order of the file."""

    def __init__(self) -> None:
        self._ids, self._heights, self._widths = array("q"), array("i"), array("i")
        self.names: list[Any] = []

    def __len__(self) -> int:
        return len(self.names)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries whose fields were read; of those with a fault, what messages need. None after the first look."""
        for entry in entries:
            image_id = entry.get("id")
            if type(image_id) is int and LEAST_ID <= image_id <= MOST_ID:
                self._ids.append(image_id)
                self._heights.append(_side(entry.get("height")))
                self._widths.append(_side(entry.get("width")))
                self.names.append(entry.get("file_name"))

    @property
    def ids(self) -> np.ndarray:
        """The ids [N]."""
        return np.frombuffer(self._ids, np.int64)

    def sizes_of(self, rows: np.ndarray) -> list[tuple[int, int]]:
        """Return height and width of these rows, in pixels."""
        sides = [np.frombuffer(each, np.int32)[rows].tolist() for each in (self._heights, self._widths)]
        return list(zip(*sides))

    def rows_of(self, image_ids: Sequence[int]) -> np.ndarray:
        """Return the row of each of these ids, `UNLISTED` where there is none."""
        order, ordered = self._ordered
        wanted = np.array(image_ids, np.int64)
        if not len(order):
            return np.full(len(wanted), UNLISTED)
        places = np.minimum(np.searchsorted(ordered, wanted), len(order) - 1)
        return np.where(ordered[places] == wanted, order[places], UNLISTED)

    def name_of(self, image_id: int) -> Any:
        """Return the name of the first image with an id; None where there is none."""
        return self.names[self._ids.index(image_id)] if image_id in self._ids else None

    def find_twice(self) -> Twice | None:
        """Return which id stands for two images, if one does."""
        order, ordered = self._ordered
        again = order[1:][ordered[1:] == ordered[:-1]]
        if not len(again):
            return None
        row = int(again.min())
        return Twice(int(self.rows_of([self._ids[row]])[0]), row, len(again))

    @functools.cached_property
    def _ordered(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows by their ids, and then as the file has them; and the ids."""
        order = np.argsort(self.ids, kind="stable")
        return order, self.ids[order]


def _side(value: Any) -> int:
    return value if type(value) is int and 0 < value <= MOST_SIDE_PX else 0
