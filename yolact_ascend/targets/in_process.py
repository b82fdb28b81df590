"""What engines have in common that compute in this Python, on one device: slots, and batches that are not full."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from yolact_ascend.slots import Slots
from yolact_ascend.targets.target import Timing
from yolact_ascend.tensors import TensorSpec


class InProcessEngine:
    """The rest of an `Engine` whose `infer` computes in this process, and which holds nothing that must be freed."""

    batch_size: int | None
    inputs: tuple[TensorSpec, ...]

    @property
    def is_single(self) -> bool:
        """Whether the model takes one image at a time by design, as those do that take its size, too (R-CNN).

        Then the cores compute several images side by side; where batches can be larger, they share each batch.
        """
        return self.batch_size == 1 and len(self.inputs) > 1

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Map inputs, each [B,...], to outputs, each [B,...]; see `Engine`."""
        raise NotImplementedError

    def infer_slot(self, slots: Slots, slot: int, count: int, images: Sequence[np.ndarray] | None = None) -> Timing:
        """Compute the first `count` images of a slot; see `Engine`."""
        images = [image[:count] for image in slots.images(slot)] if images is None else images
        start = time.perf_counter()
        outputs = self.infer(images)
        end = time.perf_counter()
        for place, output in zip(slots.results(slot), outputs):
            place[:count] = output
        return 1000 * start, 1000 * end

    def _filled(self, images: np.ndarray) -> np.ndarray:
        """Return the images [B,...], repeated in turn until the batch is full."""
        size = self.batch_size or len(images)
        return images if len(images) >= size else images[np.arange(size) % len(images)]

    def __exit__(self, *_: object) -> None:
        pass
