"""CPU time of each step of the host's work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

EVAL = "eval"  # the step of scoring, parts of which are in several rooms


@dataclass
class Timings:
    """CPU seconds by step, over `images` images. Waiting, for a disk or for a core, does not count.

    `overfull_images` are those in which more anchors pass the threshold than the graph on the device keeps.
    """

    images: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    overfull_images: int = 0

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count this thread's CPU time inside the block as `step`; the libraries below must not use other threads."""
        start = time.thread_time()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.thread_time() - start

    def laps(self) -> Callable[[str], None]:
        """Return a function that counts the time since its last call (at first, since now) as the step that it gets.

        For steps that alternate many times per image: it costs a fraction of `timed`.
        """
        last = time.thread_time()

        def lap(step: str) -> None:
            nonlocal last
            now = time.thread_time()
            self.seconds[step] = self.seconds.get(step, 0.0) + now - last
            last = now

        return lap

    def add(self, other: Timings) -> None:
        """Add another's images and seconds."""
        self.images += other.images
        self.overfull_images += other.overfull_images
        for step, seconds in other.seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    def describe_overfull(self) -> str:
        """Return what the graph left out in some images; "" where it left out nothing."""
        if not self.overfull_images:
            return ""
        return (
            f"{self.overfull_images} of {self.images} images had more anchors above the score threshold "
            "than the model keeps. The weakest of them were left out, so detections may differ from those of cut=heads."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the value as stages write it to their files."""
        overfull = {"overfull_images": self.overfull_images} if self.overfull_images else {}
        return {"images": self.images, "core_ms_per_image": self.ms_per_image(), **overfull}

    def ms_per_image(self) -> dict[str, float]:
        """Return the CPU milliseconds of each step per image."""
        return {step: 1000 * seconds / self.images for step, seconds in self.seconds.items()} if self.images else {}
