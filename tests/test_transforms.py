"""Decoding and normalising as upstream does."""

import errno
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yolact_ascend.errors import DatasetError
from yolact_ascend.images.decode import decode_bytes, decode_image, find_images
from yolact_ascend.images.transforms import normalise_image, resize_image


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


def test_an_image_is_what_opencv_reads_from_the_file(tmp_path):
    """In whatever form, and cut short wherever: cv2.imread is what upstream uses."""
    for name, arguments in {
        "rgb": {},
        "grey": {"mode": "L"},
        "cmyk": {"mode": "CMYK"},
        "turned": {"orientation": 6},
    }.items():
        save_jpeg(tmp_path / f"{name}.jpg", size=(160, 120), **arguments)
    Image.effect_noise((160, 120), 90).save(tmp_path / "noise.jpg", quality=90)
    Image.effect_noise((160, 120), 90).save(tmp_path / "noise.png")
    whole = (tmp_path / "noise.jpg").read_bytes()
    for cut in (1, 2, 3, 500, len(whole) // 2):
        (tmp_path / f"cut{cut}.jpg").write_bytes(whole[:-cut])
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 11
    for path in paths:
        assert np.array_equal(decode_image(path), cv2.imread(str(path))), path.name


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "a.jpg").touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DatasetError, match=r"a\.jpg cannot be read: Permission denied\."):
        decode_image(tmp_path / "a.jpg")


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"There is no image .*a\.jpg"):
        decode_image(tmp_path / "a.jpg")


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
    assert np.array_equal(normalise_image(image), expected)
    assert np.array_equal(resize_image(image), cv2.resize(image, (550, 550))[:, :, ::-1])


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


def test_images_of_a_folder_come_by_name_up_to_the_limit(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.jpg").mkdir()
    assert [path.name for path in find_images(tmp_path)] == ["a.jpg", "b.PNG"]
    assert [path.name for path in find_images(tmp_path, 1)] == ["a.jpg"]


@pytest.mark.parametrize(("name", "said"), [("empty", "no image in the folder"), ("missing", "no folder")])
def test_a_folder_without_images_is_refused(tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=f"There is {said} .*{name}"):
        find_images(tmp_path / name, 1)
