"""What a terminal shows of a run on a cluster: all images with the time that is left, and a line for each card."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable
from types import TracebackType
from typing import Any

from yolact_ascend.progress import bar
from yolact_ascend.scale.actor import Opened
from yolact_ascend.scale.work import Done

OF_A_CARD = "{desc}: {n_fmt} images, {rate_fmt}"  # tqdm's words; there is no end that is a card's own


class Course:
    """Counts images by card and host, from its start on; a context manager that clears its lines."""

    def __init__(self, total: int) -> None:
        self._total, self._start = total, time.monotonic()
        self._hosts: Counter[str] = Counter()
        self._cards: dict[Hashable, Any] = {}

    def __enter__(self) -> Course:
        self._all = bar(desc="scale", unit="image", total=self._total)
        return self

    def add(self, place: Opened, done: Done) -> None:
        """Count a shard that was done at a place."""
        if place not in self._cards:
            # Of more cards than the terminal has lines, tqdm hides the rest.
            line: dict[str, Any] = {
                "position": len(self._cards) + 1,
                "leave": False,
                "mininterval": 0,
                "bar_format": OF_A_CARD,
            }
            self._cards[place] = bar(desc=place.describe(), unit="image", **line)
        self._cards[place].update(done.images)
        self._hosts[place.host] += done.images
        self._all.set_postfix_str(self.speeds(), refresh=False)
        self._all.update(done.images)

    def speeds(self) -> str:
        """Return the images/s of each host."""
        seconds = time.monotonic() - self._start
        return ", ".join(f"{host} {images / seconds:.1f}/s" for host, images in self._hosts.items())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (*self._cards.values(), self._all):
            each.close()
