"""One batch of network inputs in one file: what `mode=perf` runs when it does not run zeros."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from yolact_ascend.files import FOLDER_MODE, atomic_path, make_folder
from yolact_ascend.images.coco import CocoImage
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import prepare_pixels
from yolact_ascend.models.config import Preprocessing
from yolact_ascend.models.inputs import takes_pixels
from yolact_ascend.tensors import TensorSpec

SEED = 0


def write_batch(path: Path, samples: Iterator[np.ndarray], batch_size: int) -> None:
    """Write the first `batch_size` samples one after the other, each as soon as it is made."""
    make_folder(path.parent)
    path.parent.chmod(FOLDER_MODE)  # an older one may be open to more, which ais_bench refuses
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for sample in itertools.islice(samples, batch_size):
            file.write(sample.data)


def random_samples(spec: TensorSpec) -> Iterator[np.ndarray]:
    """Give random samples of what an image can be, the same each time, without end.

    Normalised images have values around 0 with deviation 1; pixels are any of 0..255.
    """
    generator = np.random.default_rng(SEED)
    while True:
        if takes_pixels(spec):
            yield generator.integers(0, 256, spec.shape, dtype=np.uint8)
        else:
            yield generator.standard_normal(spec.shape, dtype=np.float32)


def image_samples(images: Sequence[CocoImage], spec: TensorSpec, preprocessing: Preprocessing) -> Iterator[np.ndarray]:
    """Give the images as preprocess makes them, and begin again after the last."""
    for image in itertools.cycle(images):
        yield prepare_pixels(decode_image(image.path, image.is_turned), preprocessing, spec.dtype)
