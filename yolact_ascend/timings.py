"""How much of a core each step of the host's work takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Timings:
    """Seconds of a core by step, over `images` images. Waiting, for a disk or for a core, does not count."""

    images: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count what this thread computes inside as time of `step`; the libraries below must not use others."""
        start = time.thread_time()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.thread_time() - start

    def laps(self) -> Callable[[str], None]:
        """Return what counts the time since its last call, or since now, as time of the step that it is told.

        For steps that take turns, many times an image: it costs a fraction of `timed`.
        """
        last = time.thread_time()

        def lap(step: str) -> None:
            nonlocal last
            now = time.thread_time()
            self.seconds[step] = self.seconds.get(step, 0.0) + now - last
            last = now

        return lap

    def add(self, other: Timings) -> None:
        """Count another's images and seconds, too."""
        self.images += other.images
        for step, seconds in other.seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    def to_json(self) -> dict[str, Any]:
        """Return the value as the files of the stages hold it."""
        return {"images": self.images, "core_ms_per_image": self.ms_per_image()}

    def ms_per_image(self) -> dict[str, float]:
        """Return the milliseconds of a core that each step takes for one image."""
        return {step: 1000 * seconds / self.images for step, seconds in self.seconds.items()} if self.images else {}
