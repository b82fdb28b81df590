"""Annotation files as tools write them: what is taken, derived, left out, refused. Each case names a public report."""

import gc

import pytest
from annotation_files import HEIGHT, TRIANGLE, WIDTH, annotation, image
from pycocotools import mask as coco_mask

from yolact_ascend.errors import DatasetError


def only(found):
    (entry,) = found.data["annotations"]
    return entry


@pytest.mark.parametrize("iscrowd", [..., None, False, 0.0])
def test_iscrowd_that_is_missing_is_0(read, iscrowd):
    """Detectron#890, mmdetection#804."""
    assert only(read(annotation(iscrowd=iscrowd)))["iscrowd"] == 0


@pytest.mark.parametrize("missing", [..., None])
@pytest.mark.parametrize("is_rle", [False, True])
def test_box_and_area_that_are_missing_are_the_masks(read, missing, is_rle):
    """What pycocotools makes of the mask."""
    encoded = coco_mask.merge(coco_mask.frPyObjects([TRIANGLE], HEIGHT, WIDTH))
    mask = {"size": encoded["size"], "counts": encoded["counts"].decode()} if is_rle else [TRIANGLE]
    entry = only(read(annotation(bbox=missing, area=missing, segmentation=mask)))
    assert entry["bbox"] == coco_mask.toBbox(encoded).tolist()
    assert entry["area"] == coco_mask.area(encoded)
    kept = only(read(annotation(area=missing, bbox=[0, 0, 3, 3])))
    assert (kept["bbox"], kept["area"]) == ([0, 0, 3, 3], coco_mask.area(encoded))


def test_run_lengths_that_are_not_compressed_give_box_and_area(read):
    mask = {"size": [HEIGHT, WIDTH], "counts": [12, 3, HEIGHT * WIDTH - 15]}
    entry = only(read(annotation(bbox=..., area=..., segmentation=mask)))
    assert (entry["bbox"], entry["area"]) == ([1, 2, 1, 3], 3)


def test_a_box_without_a_mask_has_its_own_area(read):
    assert only(read(annotation(area=..., segmentation=...)))["area"] == 56


def test_neither_box_nor_mask_is_refused_with_a_count(read):
    with pytest.raises(DatasetError, match=r"2 of 3 annotations have neither a box nor a mask.*first is annotation 1"):
        read(annotation(), annotation(bbox=..., segmentation=[]), annotation(bbox=None, segmentation=None))


def test_numbers_as_names_are_text(read):
    """BlenderProc#402."""
    found = read(annotation(), categories=[{"id": 1, "name": 0}, {"id": 2, "name": 2.5}, {"id": 3}])
    assert [category["name"] for category in found.data["categories"]] == ["0", "2.5", None]


def test_floats_that_are_whole_numbers_are_taken(read):
    images = [{"id": 1.0, "file_name": "a.jpg", "width": 20.0, "height": 10.0}]
    found = read(annotation(image_id=1.0, category_id=1.0), images=images, categories=[{"id": 1.0, "name": "a"}])
    (image,) = found.data["images"]
    values = [image["id"], image["width"], only(found)["image_id"], found.data["categories"][0]["id"]]
    assert values == [1, 20, 1, 1]
    assert {type(value) for value in values} == {int}


def test_a_byte_order_mark_is_taken(read):
    assert read(annotation(), encoding="utf-8-sig").data["images"]


def test_a_list_without_annotations_is_not_scored(read):
    """COCO's image_info_test-dev2017.json: yolact#375."""
    assert not read(annotations=...).is_scored
    assert read().is_scored


@pytest.mark.parametrize("value", [2**62, -1, 20230411120000120, 2**63 - 1, -(2**63)])
def test_ids_of_any_size_are_kept(read, value):
    images = [image(id=value)]
    assert only(read(annotation(image_id=value), images=images))["image_id"] == value


def two_images(first, second, name="a", other="b"):
    return [image(id=first, file_name=f"{name}.jpg"), image(id=second, file_name=f"{other}.jpg")]


def test_what_stands_for_two_is_refused_and_both_are_named(read):
    """Merged exports: cvat#4185."""
    with pytest.raises(DatasetError, match=r"lists image 7 twice, as a\.jpg and as b\.jpg \(1 such\)"):
        read(images=two_images(7, 7))
    with pytest.raises(DatasetError, match="lists category 3 twice, as nut and as bolt"):
        read(categories=[{"id": 3, "name": "nut"}, {"id": 3, "name": "bolt"}])
    with pytest.raises(DatasetError, match="lists category name nut twice, as 3 and as 4"):
        read(categories=[{"id": 3, "name": "nut"}, {"id": 4, "name": "nut"}])
    assert read(images=two_images(7, 8), categories=[{"id": 3}, {"id": 4}])


def test_what_stands_for_two_is_shown_without_line_breaks(read):
    with pytest.raises(DatasetError, match=r"image 7 twice, as a\\nb\.jpg and as c\.jpg"):
        read(images=two_images(7, 7, "a\nb", "c"))


@pytest.mark.parametrize("is_enabled", [True, False])
def test_pythons_collector_is_left_as_it_was(read, is_enabled):
    was_enabled = gc.isenabled()
    try:
        (gc.enable if is_enabled else gc.disable)()
        read(annotation())
        with pytest.raises(DatasetError):
            read(annotation(area=-1))
        assert gc.isenabled() == is_enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
