"""The pictures of a data set are looked at before any work."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from factories import SMALL_CONFIG
from PIL import Image

from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import CocoImage
from yolact_ascend.images.decode import decode_image, is_cut_short
from yolact_ascend.images.pictures import inspect, look_at, verify, verify_annotations, verify_pictures

LANDSCAPE = (40, 24)  # width, height
ORIENTATION = 0x0112


def save(path, size=LANDSCAPE, orientation=None, **options):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    picture = Image.fromarray(cv2.GaussianBlur(pixels, (0, 0), 2))
    if orientation:
        exif = picture.getexif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    picture.save(path, **options)
    return path


def listed(path, size=LANDSCAPE, image_id=1):
    return CocoImage(image_id, path, *size)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp", "a.tif", "a.gif"])
def test_a_header_gives_the_size_that_decoding_gives(tmp_path, name):
    path = save(tmp_path / name)
    assert look_at(path) == (LANDSCAPE, LANDSCAPE, False, False)
    assert decode_image(path).shape == (24, 40, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_the_shown_size_is_what_opencv_decodes(tmp_path, name, orientation):
    path = save(tmp_path / name, orientation=orientation)
    picture = look_at(path)
    if name != "a.tif" or orientation < 5:  # OpenCV turns TIFF whatever it is told
        assert picture.stored == LANDSCAPE
    assert decode_image(path).shape[1::-1] == picture.shown
    assert decode_image(path, is_turned=False).shape[1::-1] == picture.stored
    if name == "a.jpg":
        assert picture.shown == (LANDSCAPE if orientation < 5 else LANDSCAPE[::-1])
        assert picture.is_unclear == (orientation in (2, 3, 4))


def test_an_orientation_in_xmp_alone_is_not_applied_as_opencv_does_not(tmp_path):
    """Pillow's getexif falls back to XMP."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    path = save(tmp_path / "a.jpg", xmp=xmp)
    with Image.open(path) as picture:
        assert picture.getexif()[ORIENTATION] == 6
    assert look_at(path) == (LANDSCAPE, LANDSCAPE, False, False)
    assert decode_image(path).shape == (24, 40, 3)


@pytest.mark.parametrize("name", ["a.tif", "a.bmp", "a.gif", "a.png"])
def test_what_is_cut_short_and_no_jpeg_is_unreadable_or_decodes(tmp_path, name):
    """A training meets no picture that the check has passed and the decoder refuses."""
    whole = save(tmp_path / name, (400, 300)).read_bytes()
    for share in (0.2, 0.5, 0.95):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        found = inspect([listed(tmp_path / name, (400, 300))])
        try:
            decode_image(tmp_path / name)
        except DatasetError:
            assert found.unreadable == (tmp_path / name,)


def test_a_picture_that_was_annotated_as_stored_is_read_so(tmp_path):
    """label-studio#6608. Its listed size is exactly exchanged with the decoded one."""
    path = save(tmp_path / "a.jpg", orientation=6)
    as_stored, as_shown = inspect([listed(path)]), inspect([listed(path, LANDSCAPE[::-1])])
    assert [found.images[0].is_turned for found in (as_stored, as_shown)] == [False, True]
    assert as_stored.warnings == (
        "1 of 1 images were annotated without their EXIF orientation (a.jpg): they are read as they are stored.",
    )
    assert as_shown.warnings == ()
    pixels, turned = (decode_image(path, found.images[0].is_turned) for found in (as_stored, as_shown))
    np.testing.assert_array_equal(np.rot90(pixels, -1), turned)


@pytest.mark.parametrize(("size", "orientation"), [((30, 30), 6), (LANDSCAPE, 3)])
def test_sizes_that_do_not_tell_are_said(tmp_path, size, orientation):
    found = inspect([listed(save(tmp_path / "a.jpg", size, orientation), size)])
    assert found.images[0].is_turned
    assert found.warnings == (
        "1 of 1 images have an EXIF orientation, and their sizes do not tell whether they were annotated turned "
        "(a.jpg): they are turned.",
    )


def test_another_size_is_said(tmp_path):
    images = [listed(save(tmp_path / f"{n}.jpg"), (40, 24 + n), n) for n in range(8)]
    found = inspect(images)
    assert [image.image_id for image, _ in found.other_size] == list(range(1, 8))
    assert found.warnings == (
        "7 of 8 images do not have the size that the annotation file says (1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg and 2 "
        "more; the first has 40×24 pixels, not 40×25): their detections are scored in the annotation file's frame.",
    )


def whole_jpeg(tmp_path, **options):
    return save(tmp_path / "whole.jpg", (400, 300), quality=95, **options).read_bytes()


MOVIE = b"\x00\x00\x00\x18ftypmp42" + bytes(5000)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"orientation": 6}])
def test_a_jpeg_is_whole_until_it_is_cut(tmp_path, options):
    data = whole_jpeg(tmp_path, **options)
    assert not is_cut_short(data)
    assert not is_cut_short(data + MOVIE)  # a motion photo
    for length in (len(data) - 1, len(data) - 2, len(data) // 2, 30, 3, 2):
        assert is_cut_short(data[:length])


def test_a_preview_inside_does_not_end_a_jpeg(tmp_path):
    """Its end marker stands in an early segment."""
    data = whole_jpeg(tmp_path)
    preview = save(tmp_path / "preview.jpg", (16, 16)).read_bytes()
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    assert not is_cut_short(data[:2] + segment + data[2:])
    assert is_cut_short(data[:2] + segment + data[2:-2])


def test_cut_pictures_are_said_and_motion_photos_are_not(tmp_path):
    data = whole_jpeg(tmp_path)
    for name, content in (("a", data), ("b", data[: len(data) // 2]), ("c", data + MOVIE), ("d", data[:-2] + bytes(9))):
        (tmp_path / f"{name}.jpg").write_bytes(content)
    found = inspect([listed(tmp_path / f"{name}.jpg", (400, 300)) for name in "abcd"])
    assert [path.name for path in found.cut] == ["b.jpg", "d.jpg"]
    assert found.warnings == ("2 of 4 images look cut short (b.jpg, d.jpg): their lower part is made up.",)


@pytest.mark.parametrize("content", [b"<html>404 Not Found</html>", b"", b"\xff\xd8\xff"])
def test_a_file_that_is_no_picture_is_named(tmp_path, content):
    """A broken download: yolact#587."""
    (tmp_path / "a.jpg").write_bytes(content)
    found = inspect([listed(tmp_path / "a.jpg"), listed(save(tmp_path / "b.jpg"))])
    with pytest.raises(DatasetError, match=r"1 of 2 images cannot be decoded: a\.jpg, in .*Replace these files"):
        found.require_readable()
    inspect([listed(tmp_path / "b.jpg")]).require_readable()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(
        DatasetError, match=r"2 of 3 images that the annotation file lists are not in .*first is x\.jpg"
    ):
        inspect([listed(tmp_path / "x.jpg"), listed(save(tmp_path / "b.jpg")), listed(tmp_path / "y.jpg")])


def test_a_data_set_is_verified_as_far_as_it_is_used(dataset):
    dataset = dataclasses.replace(dataset, warnings=("odd",))
    found, config = verify(dataset, SMALL_CONFIG, limit=2)
    assert [image.image_id for image in found.images] == [3, 1]
    assert (found.annotated_count, found.warnings, config) == (2, ("odd",), SMALL_CONFIG)
    (dataset.image_folder / "000000000002.jpg").unlink()
    assert verify_pictures(dataset, limit=2)
    with pytest.raises(DatasetError, match=r"1 of 4 images .*000000000002\.jpg"):
        verify_pictures(dataset)
    assert verify_annotations(dataset, SMALL_CONFIG)[0].pictures is None


def test_only_the_annotated_images_are_looked_at_when_only_they_are_used(dataset):
    (dataset.image_folder / "000000000004.jpg").unlink()
    assert len(verify_pictures(dataset, annotated_only=True).images) == 3


def test_masks_matter_where_they_are_scored(dataset):
    faulty = dataclasses.replace(dataset, mask_fault="half of the masks are gone")
    with pytest.raises(DatasetError, match="half of the masks are gone"):
        verify(faulty, SMALL_CONFIG)
    verify(faulty, dataclasses.replace(SMALL_CONFIG, tasks=("box",)))
    verify_pictures(faulty)
    unscored = dataclasses.replace(faulty, is_scored=False)
    assert verify(unscored, SMALL_CONFIG)[0].truth is None


def test_what_is_verified_is_what_a_file_says(small_coco, annotation_file, dataset):
    data = json.loads(annotation_file.read_text())
    assert dataset.truth == dataset.annotations
    assert dataset.annotations["images"] == data["images"]
    assert dataset.annotations["annotations"] == data["annotations"]
