"""Decoding image files as upstream does."""

import contextlib
import errno
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.images.decode import PixelsError, decode_image, find_images
from yolact_ascend.images.pictures import look_at


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


FORMS = {  # of a JPEG, by what Pillow calls it
    **{f"subsampled {kind}": {"subsampling": kind} for kind in ("4:4:4", "4:2:2", "4:2:0")},
    "progressive": {"progressive": True},
    "tables of its own": {"optimize": True, "quality": 30},
    "restarts": {"restart_marker_blocks": 3},
    "red, green, blue": {"keep_rgb": True},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(1, 1), (33, 17), (160, 121)])
def test_simplejpeg_gives_opencvs_pixels(tmp_path, form, size, monkeypatch):
    """Both wrap libjpeg-turbo: by its README (Mathematical Compatibility), this DCT and upsampling are libjpeg 6b's."""
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", **FORMS[form])
    expected = cv2.imread(str(tmp_path / "a.jpg"))
    monkeypatch.setattr(cv2, "imdecode", None)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.jpg"), expected)


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


def claim_size(path, width, height):
    """Write a small picture whose header claims another size."""
    Image.new("L", (8, 8)).save(path, "PNG" if path.suffix == ".png" else "JPEG")
    data = bytearray(path.read_bytes())
    if path.suffix == ".png":
        data[16:24] = struct.pack(">II", width, height)  # IHDR
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    else:
        place = data.index(b"\xff\xc0") + 5  # SOF0: marker, length, precision, height, width
        data[place : place + 4] = struct.pack(">HH", height, width)
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    claim_size(path, 30000, 30000)
    monkeypatch.setattr(cv2, "imdecode", None)  # it would be called
    said = rf"a{suffix} has 30000×30000 pixels, 900 million; the limit is 179 million.*YOLACT_ASCEND_MAX_MEGAPIXELS=N"
    with pytest.raises(PixelsError, match=said):
        decode_image(path)
    with pytest.raises(PixelsError, match=said):
        look_at(path)


@pytest.mark.parametrize(
    ("word", "is_refused"), [("0.0008", False), ("0.00079", True), ("", False)], ids=["just", "above", "default"]
)
def test_the_limit_of_pixels_can_be_set(tmp_path, monkeypatch, word, is_refused):
    save_jpeg(tmp_path / "a.jpg")  # 800 pixels
    monkeypatch.setenv("YOLACT_ASCEND_MAX_MEGAPIXELS", word)
    with pytest.raises(PixelsError) if is_refused else contextlib.nullcontext():
        decode_image(tmp_path / "a.jpg")


def test_a_picture_beyond_pillows_own_limit_is_read_when_ours_is_higher(tmp_path, monkeypatch):
    save_jpeg(tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    assert decode_image(tmp_path / "a.jpg").shape == (20, 40, 3)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("word", ["0", "-1", "many", "nan"])
def test_a_limit_that_is_no_number_is_a_sentence(tmp_path, monkeypatch, word):
    save_jpeg(tmp_path / "a.jpg")
    monkeypatch.setenv("YOLACT_ASCEND_MAX_MEGAPIXELS", word)
    with pytest.raises(UsageError, match=f"YOLACT_ASCEND_MAX_MEGAPIXELS={word}: expected "):
        decode_image(tmp_path / "a.jpg")


def test_memory_that_runs_out_names_the_picture(tmp_path, monkeypatch):
    def run_out(*_):
        error = cv2.error("OpenCV(4.9.0) error: (-4:Insufficient memory) Failed to allocate 2700000000 bytes")
        error.code = cv2.Error.StsNoMem
        raise error

    save_jpeg(tmp_path / "a.jpg")
    monkeypatch.setattr(cv2, "imdecode", run_out)
    with pytest.raises(DatasetError, match="a.jpg needs more memory to decode than there is"):
        decode_image(tmp_path / "a.jpg")
