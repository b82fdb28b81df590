"""From decoded pixels to the network's input: upstream's way, and the variants of other families."""

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.images.decode import decode_bytes
from yolact_ascend.images.transforms import (
    normalise_image,
    normalise_pixels,
    prepare_pixels,
    resize_image,
    resized_size,
)
from yolact_ascend.models.config import Preprocessing

STRETCHED = Preprocessing()
# Detectron2's, for a canvas that any COCO image fits into.
PADDED = Preprocessing(
    height_px=1344,
    width_px=1344,
    mean_rgb=(123.675, 116.28, 103.53),
    std_rgb=(1.0, 1.0, 1.0),
    channel_order="BGR",
    interpolation="pillow",
    shortest_edge_px=800,
    longest_edge_px=1333,
)


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("RGB", (640, 480)),
        ("RGB", (333, 500)),
        ("L", (640, 427)),
        ("RGB", (550, 550)),
        ("RGB", (1200, 7)),
        ("RGB", (1, 1)),
    ],
)
def test_both_transforms_are_the_plain_formulas_to_the_bit(mode, size):
    """Upstream's order: resize, subtract the means, divide by the deviations, BGR to RGB, channels first."""
    file = io.BytesIO()
    Image.effect_noise(size, 100).convert(mode).save(file, "jpeg")
    image = decode_bytes(file.getvalue(), Path("noise.jpg"))
    resized = cv2.resize(image.astype(np.float32), (550, 550))
    mean, std = np.array([103.94, 116.78, 123.68], np.float32), np.array([57.38, 57.12, 58.40], np.float32)
    expected = ((resized - mean) / std)[:, :, ::-1].transpose(2, 0, 1)
    assert np.array_equal(normalise_image(image, STRETCHED), expected)
    assert np.array_equal(resize_image(image, STRETCHED), cv2.resize(image, (550, 550))[:, :, ::-1])


def test_a_large_image_takes_four_bytes_a_pixel_beside_its_own():
    """Not twelve: 180 million pixels in float32 are 2.1 GB."""
    image = np.zeros((2000, 2000, 3), np.uint8)
    tracemalloc.start()
    normalise_image(image, STRETCHED)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 2000 * 2000


def test_normalise_subtracts_means_and_swaps_to_rgb():
    image = np.zeros((7, 9, 3), np.uint8)
    image[:] = (10, 20, 30)  # blue, green, red
    tensor = normalise_image(image, STRETCHED)
    assert tensor.shape == (3, 550, 550) and tensor.dtype == np.float32 and tensor.flags.c_contiguous
    # upstream's config.py: MEANS (103.94, 116.78, 123.68), STD (57.38, 57.12, 58.40), both in BGR
    expected = [(30 - 123.68) / 58.40, (20 - 116.78) / 57.12, (10 - 103.94) / 57.38]
    assert np.abs(tensor - np.array(expected, np.float32)[:, None, None]).max() < 1e-6


def test_resize_interpolates_in_float():
    """Between two levels there are fractions; a resize of uint8 would give whole levels only."""
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 1
    levels = np.unique(normalise_image(image, STRETCHED)[0] * 58.40 + 123.68)
    assert len(levels) > 100


def test_an_image_for_aipp_is_rgb_and_not_normalised():
    image = np.zeros((7, 9, 3), np.uint8)
    image[:] = (10, 20, 30)  # blue, green, red
    pixels = resize_image(image, STRETCHED)
    assert pixels.shape == (550, 550, 3) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert (pixels == [30, 20, 10]).all()


def test_whole_levels_are_within_one_of_the_float_resize():
    """Noise, the worst case for a resize of whole levels. On COCO's photographs: 0.80 at most, 0.26 in the mean."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    levels = cv2.resize(image.astype(np.float32), (550, 550))[:, :, ::-1]
    difference = np.abs(resize_image(image, STRETCHED) - levels)
    assert difference.max() <= 1 and 0 < difference.mean() < 0.5


def test_resize_is_opencvs_bilinear(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    expected = cv2.resize(image.astype(np.float32), (550, 550), interpolation=cv2.INTER_LINEAR)[:, :, 2]
    assert np.abs(normalise_image(image, STRETCHED)[0] * np.float32(58.40) + np.float32(123.68) - expected).max() < 1e-3


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # By hand from Detectron2's ResizeShortestEdge.get_output_shape (data/transforms/augmentation_impl.py): the
        # shorter edge becomes 800; where the longer one then exceeds 1333, both shrink by 1333 over it; + 0.5, cut.
        ((480, 640), (800, 1067)),  # 1066.67
        ((640, 480), (1067, 800)),
        ((427, 640), (800, 1199)),  # 1199.06
        ((300, 500), (800, 1333)),  # 1333.33 is above 1333: 799.8, 1333
        ((240, 640), (500, 1333)),  # 2133.33: 499.875, 1333
        ((800, 800), (800, 800)),
        ((100, 100), (800, 800)),
        ((1600, 2000), (800, 1000)),
    ],
)
def test_the_shortest_edge_is_detectron2s(size, expected):
    assert resized_size(*size, PADDED) == expected


def test_an_image_that_does_not_fit_the_canvas_is_refused():
    """A stream goes on without it, as without one that cannot be read."""
    said = "An image of 640×480 pixels becomes 1067×800, .* input of 1056×1344.* a canvas of 1344x1088 .*fit=window"
    with pytest.raises(DatasetError, match=said):
        resized_size(480, 640, replace(PADDED, width_px=1056))


def test_a_padded_input_has_zeros_at_the_right_and_below():
    image = noise(48, 64)
    tensor = normalise_image(image, PADDED)
    resized = np.asarray(Image.fromarray(image).resize((1067, 800), Image.Resampling.BILINEAR))
    assert tensor.shape == (3, 1344, 1344) and tensor.dtype == np.float32
    mean = np.array([103.53, 116.28, 123.675], np.float32)
    assert np.array_equal(tensor[:, :800, :1067], (resized - mean).transpose(2, 0, 1))
    assert not tensor[:, 800:].any() and not tensor[:, :, 1067:].any()


def test_pixels_alone_cannot_be_padded():
    with pytest.raises(UsageError, match="pads its inputs, which needs float32"):
        resize_image(noise(4, 4), PADDED)


def test_pillows_resize_is_in_whole_levels():
    image = noise(48, 64)
    preprocessing = replace(STRETCHED, height_px=20, width_px=30, interpolation="pillow")
    expected = np.asarray(Image.fromarray(image).resize((30, 20), Image.Resampling.BILINEAR))
    assert np.array_equal(resize_image(image, preprocessing), expected[:, :, ::-1])
    assert np.array_equal(normalise_image(image, preprocessing), normalise_pixels(expected, preprocessing))


def test_pixels_of_0_to_1_are_divided_first():
    """Torchvision's order: pixel / 255, minus mean, over deviation."""
    unit = replace(STRETCHED, pixel_max=1.0, mean_rgb=(0.485, 0.456, 0.406), std_rgb=(0.229, 0.224, 0.225))
    image = noise(550, 550)
    scaled = image.astype(np.float32) / np.float32(255)
    mean, std = np.float32([0.406, 0.456, 0.485]), np.float32([0.225, 0.224, 0.229])
    assert np.array_equal(normalise_image(image, unit), ((scaled - mean) / std)[:, :, ::-1].transpose(2, 0, 1))


def test_bgr_inputs_keep_the_order_and_the_means_with_it():
    image = noise(550, 550)
    bgr = replace(STRETCHED, channel_order="BGR")
    assert np.array_equal(normalise_image(image, bgr), normalise_image(image, STRETCHED)[::-1])
    assert np.array_equal(resize_image(image, bgr), image)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_pixels_then_normalised_are_the_float_input_where_nothing_is_resized(order):
    """What a model with the preprocessing inside computes from uint8 is what float32 inputs hold."""
    image, preprocessing = noise(550, 550), replace(STRETCHED, channel_order=order)
    pixels = prepare_pixels(image, preprocessing, "uint8")
    statistics = [
        np.float32(values if order == "RGB" else values[::-1])
        for values in (preprocessing.mean_rgb, preprocessing.std_rgb)
    ]
    inside = ((pixels - statistics[0]) / statistics[1]).transpose(2, 0, 1)
    assert np.array_equal(inside, prepare_pixels(image, preprocessing, "float32"))
