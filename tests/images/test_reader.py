"""One picture in every form that a caller may give it: the same pixels; or a sentence. Never a silent conversion."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import CocoImage
from yolact_ascend.images.reader import PictureSource, source_of_image, take_picture

ORIENTATION = 0x0112


def smooth(height=60, width=80, channels=3, seed=0):
    """BGR pixels as a photograph has them."""
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, channels), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def pillow_of(bgr):
    return Image.fromarray(np.ascontiguousarray(bgr[:, :, ::-1]))


def save(path, picture, orientation=None, **options):
    exif = Image.Exif()
    if orientation:
        exif[ORIENTATION] = orientation
    picture.save(path, exif=exif.tobytes() if orientation else b"", **options)


def grey_16_bits():
    return Image.fromarray((np.arange(60 * 80, dtype=np.uint16) * 13).reshape(60, 80))


# field_problems 17: EXIF (supervision#2577), WebP (opencv#17862), 16-bit grey (Pillow#3011).
FILES = {
    "plain.png": lambda path: pillow_of(smooth()).save(path),
    "turned.jpg": lambda path: save(path, pillow_of(smooth()), 6, quality=90),
    "mirrored.jpg": lambda path: save(path, pillow_of(smooth()), 2, quality=90),
    "turned.webp": lambda path: save(path, pillow_of(smooth()), 8, lossless=True),
    "sixteen.png": lambda path: grey_16_bits().save(path),
    "sixteen.tif": lambda path: grey_16_bits().save(path),
    "grey.jpg": lambda path: pillow_of(smooth()).convert("L").save(path),
    "transparent.png": lambda path: pillow_of(smooth()).convert("RGBA").save(path),
    "palette.png": lambda path: pillow_of(smooth()).convert("P").save(path),
}


@pytest.mark.parametrize("name", FILES)
def test_a_path_its_bytes_and_its_pillow_image_are_the_same_pixels(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    pixels = take_picture(path).read()
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and pixels.std() > 2
    assert pixels.shape[:2] == ((80, 60) if name.startswith("turned") else (60, 80))
    for other in (str(path), path.read_bytes(), bytearray(path.read_bytes()), memoryview(path.read_bytes())):
        assert np.array_equal(take_picture(other).read(), pixels)
    with Image.open(path) as picture:
        assert np.array_equal(take_picture(picture).read(), pixels)


def test_a_pillow_image_that_was_turned_is_not_turned_again(tmp_path):
    from PIL import ImageOps

    save(tmp_path / "a.png", pillow_of(smooth()), 6)
    with Image.open(tmp_path / "a.png") as picture:
        turned = ImageOps.exif_transpose(picture)
    assert np.array_equal(take_picture(turned).read(), take_picture(tmp_path / "a.png").read())


def test_an_array_is_bgr_grey_or_bgra_as_opencv_reads_them(tmp_path):
    bgr = smooth()
    cv2.imwrite(str(tmp_path / "a.png"), bgr)
    assert np.array_equal(take_picture(bgr).read(), take_picture(tmp_path / "a.png").read())
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    expected = take_picture(tmp_path / "grey.png").read()
    assert np.array_equal(take_picture(grey).read(), expected)
    assert np.array_equal(take_picture(grey[:, :, None]).read(), expected)
    bgra = np.dstack([bgr, np.zeros((60, 80), np.uint8)])
    assert np.array_equal(take_picture(bgra).read(), bgr)  # the transparency is left out, as by cv2.imread
    rgb = bgr[:, :, ::-1]
    assert np.array_equal(take_picture(rgb[:, :, ::-1]).read(), bgr)  # strides do not matter


def test_an_array_is_copied_so_that_its_owner_may_write_to_it():
    """field_problems 6: a camera reads the next frame into the same memory."""
    frame = smooth()
    taken, before = take_picture(frame), frame.copy()
    frame[:] = 0
    assert np.array_equal(taken.read(), before)


RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (RANDOM.random((6, 8, 3)).astype("f4"), r"float32 \[6, 8, 3\], expected uint8 .*np\.rint\(255 \* array\)"),
        (255 * RANDOM.random((6, 8, 3)), r"float64 \[6, 8, 3\], expected uint8 .*np\.clip\(np\.rint\(array\), 0, 255"),
        (np.zeros((6, 8, 3), np.uint16), r"uint16 .*Pass \(array >> 8\)\.astype\(np\.uint8\)"),
        (np.zeros((6, 8, 3), np.int64), r"int64 .*array\.astype\(np\.uint8\) if its values are 0\.\.255"),
        (np.zeros((6, 8, 3), bool), r"bool \[6, 8, 3\], expected uint8"),
        (np.zeros((3, 6, 8), np.uint8), r"uint8 \[3, 6, 8\], expected .*The channels come last: pass array\.transpose"),
        (np.zeros((2, 6, 8, 3), np.uint8), r".*Several pictures are a list: pass list\(array\)"),
        (np.zeros((6, 8, 2), np.uint8), r"uint8 \[6, 8, 2\], expected uint8 \[H,W,3\]"),
        (np.zeros((0, 8, 3), np.uint8), r"uint8 \[0, 8, 3\], expected uint8 \[H,W,3\]"),
        (np.zeros(8, np.uint8), r"uint8 \[8\], expected uint8 \[H,W,3\]"),
    ],
)
def test_another_array_is_refused_and_how_to_convert_it_is_said(array, said):
    """field_problems 16 (ultralytics#20658): engines cast 0.7 to 0 and 300 to 44."""
    with pytest.raises(DatasetError, match=rf"picture 2 is an array {said}"):
        take_picture(array, "picture 2")


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"There is no image .*none\.jpg\. Pass the path of an image file"):
        take_picture(tmp_path / "none.jpg")
    with pytest.raises(DatasetError, match=r"the picture is a int, expected a path, bytes .* or a Pillow image"):
        take_picture(7)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match='Pillow image of mode "F", whose values have no fixed range'):
        take_picture(Image.new("F", (8, 6)))
    with pytest.raises(DatasetError, match=r"the picture \(2 bytes\) cannot be decoded as an image"):
        take_picture(b"no").read()
    with pytest.raises(DatasetError, match="Pillow image of 0×6 pixels: nothing is in it"):
        take_picture(Image.new("RGB", (0, 6)))
    with pytest.raises(DatasetError, match="'https://example.com/a.jpg' is an address. Pictures are not fetched"):
        take_picture("https://example.com/a.jpg")
    with pytest.raises(DatasetError, match=r"There is no image x+\.\.\.x*\. Pass the path"):
        take_picture("x" * 5000)
    monster = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000, 20_000, 3))  # takes no memory
    with pytest.raises(DatasetError, match=r"the picture has 20000×20000 pixels, 400 million; the limit is 179"):
        take_picture(monster)


def test_a_file_that_is_cut_short_is_refused_in_every_form(tmp_path):
    """field_problems 17: half of it would be grey, without an error (ultralytics#25150)."""
    path = tmp_path / "a.jpg"
    pillow_of(smooth(480, 640)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for picture in (path, path.read_bytes()):
        with pytest.raises(DatasetError, match="is cut short: the end of the JPEG is missing"):
            take_picture(picture).read()
    with Image.open(io.BytesIO(path.read_bytes())) as picture, pytest.raises(DatasetError, match="cannot be read by P"):
        take_picture(picture)
    image = CocoImage(1, path, 640, 480)
    assert source_of_image(image).read().shape == (480, 640, 3)  # of a data set: its check has warned


def test_a_source_without_a_picture_says_why():
    with pytest.raises(DatasetError, match="^gone$"):
        PictureSource(np.empty((0, 0, 3), np.uint8), "picture 1", failure="gone").read()
