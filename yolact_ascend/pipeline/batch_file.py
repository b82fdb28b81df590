"""One batch of network inputs in files, one for each input: what `mode=perf` runs when its program fills none."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from yolact_ascend.files import FOLDER_MODE, atomic_path, make_folder
from yolact_ascend.images.coco import CocoImage
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import prepare_inputs
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.inputs import takes_pixels, zero_sample
from yolact_ascend.tensors import TensorSpec

SEED = 0


Sample = Sequence[np.ndarray]  # one image: what each input of the model takes of it


def write_batch(paths: Sequence[Path], samples: Iterator[Sample], batch_size: int) -> None:
    """Write the first `batch_size` samples one after the other, each as soon as it is made; a path for each input."""
    make_folder(paths[0].parent)
    paths[0].parent.chmod(FOLDER_MODE)  # an older one may be open to more, which ais_bench refuses
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(stack.enter_context(atomic_path(path)).open("wb")) for path in paths]
        for sample in itertools.islice(samples, batch_size):
            for file, tensor in zip(files, sample):
                file.write(tensor.data)


def zero_samples(specs: Sequence[TensorSpec]) -> Iterator[Sample]:
    """Give images of zeros, which fill the canvas, without end."""
    return itertools.repeat(zero_sample(specs))


def random_samples(specs: Sequence[TensorSpec]) -> Iterator[Sample]:
    """Give random samples of what an image can be, the same each time, without end.

    Normalised images have values around 0 with deviation 1; pixels are any of 0..255. They fill the canvas.
    """
    generator = np.random.default_rng(SEED)
    picture, *others = specs
    while True:
        pixels: np.ndarray = (
            generator.integers(0, 256, picture.shape, dtype=np.uint8)
            if takes_pixels(picture)
            else generator.standard_normal(picture.shape, dtype=np.float32)
        )
        yield (pixels, *zero_sample(specs)[1:]) if others else (pixels,)


def image_samples(images: Sequence[CocoImage], config: ModelConfig, dtype: str) -> Iterator[Sample]:
    """Give the images as preprocess makes them, and begin again after the last."""
    for image in itertools.cycle(images):
        yield prepare_inputs(decode_image(image.path, image.is_turned), config, dtype)
