"""Decoding and normalising as upstream does."""

import cv2
import numpy as np
import pytest
from PIL import Image

from yolact_ascend.errors import DatasetError
from yolact_ascend.transforms import decode_image, normalise_image, resize_image


def save_jpeg(path, mode="RGB", orientation=None, size=(40, 20)):
    """Write a JPEG whose left half is dark and right half bright."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 200
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).convert(mode).save(path, quality=95, exif=exif)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_kind_of_jpeg_becomes_three_channels(tmp_path, mode):
    save_jpeg(tmp_path / "a.jpg", mode)
    image = decode_image(tmp_path / "a.jpg")
    assert image.shape == (20, 40, 3) and image.dtype == np.uint8
    assert image[:, :15].mean() < 15 and abs(image[:, 25:].mean() - 200) < 15


@pytest.mark.parametrize(("orientation", "shape"), [(1, (20, 40, 3)), (6, (40, 20, 3)), (3, (20, 40, 3))])
def test_exif_rotation_is_applied(tmp_path, orientation, shape):
    save_jpeg(tmp_path / "a.jpg", orientation=orientation)
    image = decode_image(tmp_path / "a.jpg")
    assert image.shape == shape
    # 6: rotate a quarter clockwise, so that left is up; 3: upside down.
    dark = {1: image[:, :15], 6: image[:15], 3: image[:, 25:]}[orientation]
    assert dark.mean() < 15


@pytest.mark.parametrize("content", [b"", b"no image"], ids=["empty", "text"])
def test_an_image_that_cannot_be_decoded_is_named(tmp_path, content, capfd):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"a.jpg \({len(content)} bytes\) cannot be decoded"):
        decode_image(tmp_path / "a.jpg")


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"There is no image .*a\.jpg"):
        decode_image(tmp_path / "a.jpg")


def test_normalise_subtracts_means_and_swaps_to_rgb():
    image = np.zeros((7, 9, 3), np.uint8)
    image[:] = (10, 20, 30)  # blue, green, red
    tensor = normalise_image(image)
    assert tensor.shape == (3, 550, 550) and tensor.dtype == np.float32 and tensor.flags.c_contiguous
    # upstream's config.py: MEANS (103.94, 116.78, 123.68), STD (57.38, 57.12, 58.40), both in BGR
    expected = [(30 - 123.68) / 58.40, (20 - 116.78) / 57.12, (10 - 103.94) / 57.38]
    assert np.abs(tensor - np.array(expected, np.float32)[:, None, None]).max() < 1e-6


def test_resize_interpolates_in_float():
    """Between two levels there are fractions; a resize of uint8 would give whole levels only."""
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 1
    levels = np.unique(normalise_image(image)[0] * 58.40 + 123.68)
    assert len(levels) > 100


def test_an_image_for_aipp_is_rgb_and_not_normalised():
    image = np.zeros((7, 9, 3), np.uint8)
    image[:] = (10, 20, 30)  # blue, green, red
    pixels = resize_image(image)
    assert pixels.shape == (550, 550, 3) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert np.unique(pixels.reshape(-1, 3), axis=0).tolist() == [[30, 20, 10]]


def test_whole_levels_are_within_one_of_the_float_resize():
    """Noise, the worst case for a resize of whole levels. On COCO's photographs: 0.80 at most, 0.26 in the mean."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    levels = cv2.resize(image.astype(np.float32), (550, 550))[:, :, ::-1]
    difference = np.abs(resize_image(image) - levels)
    assert difference.max() <= 1 and 0 < difference.mean() < 0.5


def test_resize_is_opencvs_bilinear(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    expected = cv2.resize(image.astype(np.float32), (550, 550), interpolation=cv2.INTER_LINEAR)[:, :, 2]
    assert np.abs(normalise_image(image)[0] * np.float32(58.40) + np.float32(123.68) - expected).max() < 1e-3
