"""One batch in one file: of what, how much, and readable for ais_bench."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from factories import SMALL_CONFIG

from yolact_ascend.images.coco import load_dataset
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import normalise_image, resize_image
from yolact_ascend.models.inputs import FLOAT32, UINT8, input_tensor
from yolact_ascend.pipeline.batch_file import image_samples, random_samples, write_batch
from yolact_ascend.tensors import TensorSpec


def test_a_batch_is_whole_and_closed_to_others(tmp_path):
    spec = TensorSpec("image", (2, 3))
    path = tmp_path / "input" / "batch.bin"
    path.parent.mkdir(mode=0o755)
    write_batch([path], random_samples([spec]), 5)
    assert path.stat().st_size == 5 * spec.size_bytes
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("spec", [TensorSpec("image", (100, 100)), TensorSpec("image", (100, 100), "uint8")])
def test_random_samples_are_what_an_image_can_be(spec):
    """ais_bench's own random bytes are, read as float32, NaN and 1e38 as well."""
    (first,), (second,) = itertools.islice(random_samples([spec]), 2)
    assert first.dtype == spec.dtype and first.shape == spec.shape
    mean, deviation = (0, 1) if spec.dtype == "float32" else (127.5, 73.9)
    assert abs(first.mean() - mean) < 0.05 * deviation and abs(first.std() / deviation - 1) < 0.05
    assert not np.array_equal(first, second)
    assert np.array_equal(first, next(random_samples([spec]))[0])


@pytest.mark.parametrize(("dtype", "transform"), [(FLOAT32, normalise_image), (UINT8, resize_image)])
def test_images_are_as_preprocess_makes_them_and_begin_again(small_coco, annotation_file, dtype, transform):
    """By the preprocessing that is passed, which here is not the default."""
    preprocessing = replace(SMALL_CONFIG.preprocessing, height_px=30, width_px=40, mean_rgb=(1.0, 2.0, 3.0))
    config = replace(SMALL_CONFIG, preprocessing=preprocessing)
    spec = input_tensor(config, dtype)
    images = load_dataset(annotation_file, small_coco / "val2017").images[:2]
    samples = list(itertools.islice(image_samples(images, config, dtype), 5))
    assert len(samples) == 5
    expected = [transform(decode_image(image.path), preprocessing) for image in images]
    for (sample,), image in zip(samples, [0, 1, 0, 1, 0]):
        assert sample.dtype == spec.dtype and sample.shape == spec.shape and np.array_equal(sample, expected[image])
