"""What a terminal shows of a scaled run: all images with the time that is left, and a line for each card."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from yolact_ascend.progress import bar
from yolact_ascend.scale.work import Done, News, Opened

OF_A_CARD = "{desc}: {n_fmt} images, {rate_fmt}"  # tqdm's words; there is no end that is a card's own


class Course:
    """Counts images by card and host, from its start on; a context manager that clears its lines."""

    def __init__(self, total: int) -> None:
        self._total, self._start = total, time.monotonic()
        self._done: Counter[Opened] = Counter()  # images that have a part
        self._going: Counter[Opened] = Counter()  # images that were found beside these
        self._lines: dict[str, Any] = {}

    def __enter__(self) -> Course:
        self._all = bar(desc="scale", unit="image", total=self._total)
        return self

    def add(self, place: Opened, news: News, lines: Mapping[str, int] | None = None) -> None:
        """Count what is new at a place; its images are shown in one line, or those of its cards in several."""
        if isinstance(news, Done):
            self._done[place] += news.images
            self._going[place] = max(0, self._going[place] - news.images)
        else:
            self._going[place] = news.images
        self._show({place.describe(): self._count(place)} if lines is None else lines)

    def drop(self, place: Opened) -> None:
        """Forget the images of a place that is lost, but for those that have a part."""
        if self._going.pop(place, 0):
            self._show({place.describe(): self._count(place)})

    def speeds(self) -> str:
        """Return the images/s of each host."""
        seconds, hosts = time.monotonic() - self._start, Counter[str]()
        for place in self._done | self._going:
            hosts[place.host] += self._count(place)
        return ", ".join(f"{host} {images / seconds:.1f}/s" for host, images in hosts.items())

    def _count(self, place: Opened) -> int:
        return self._done[place] + self._going[place]

    def _show(self, lines: Mapping[str, int]) -> None:
        for name, images in lines.items():
            if name not in self._lines:
                # Of more cards than the terminal has lines, tqdm hides the rest.
                options: dict[str, Any] = {
                    "position": len(self._lines) + 1,
                    "leave": False,
                    "mininterval": 0,
                    "bar_format": OF_A_CARD,
                }
                self._lines[name] = bar(desc=name, unit="image", **options)
            self._lines[name].update(images - self._lines[name].n)
        self._all.set_postfix_str(self.speeds(), refresh=False)
        self._all.update(sum(self._done.values()) + sum(self._going.values()) - self._all.n)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (*self._lines.values(), self._all):
            each.close()
