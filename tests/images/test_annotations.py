"""Annotation files as tools write them: what is taken, derived, left out, refused. Each case names a public report."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from yolact_ascend.errors import DatasetError
from yolact_ascend.images.annotations import read_annotations

TRIANGLE = [1.0, 2.0, 9.0, 2.0, 5.0, 9.0]
WIDTH, HEIGHT = 20, 10


def annotation(**fields):
    """Return an annotation of a triangle; a field that is ... is left out."""
    whole = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 8, 7], "area": 28, "iscrowd": 0}
    found = {**whole, "segmentation": [TRIANGLE], **fields}
    return {key: value for key, value in found.items() if value is not ...}


@pytest.fixture
def read(tmp_path):
    def read(*annotations, images=None, categories=None, encoding="utf-8", **more):
        data = {
            "images": images or [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
            "annotations": list(annotations),
            "categories": categories or [{"id": 1, "name": "screw"}],
            **more,
        }
        data = {key: value for key, value in data.items() if value is not ...}
        path = tmp_path / "a.json"
        path.write_text(json.dumps(data), encoding=encoding)
        return read_annotations(path)

    return read


def only(found):
    (entry,) = found.data["annotations"]
    return entry


def rle_of(pixels):
    rle = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


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
    with pytest.raises(DatasetError, match=r"2 of 3 annotations have neither a box nor a mask.*first is entry 1"):
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


@pytest.mark.parametrize("value", [2**62, -1, 20230411120000120])
def test_ids_of_any_size_are_kept(read, value):
    images = [{"id": value, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}]
    assert only(read(annotation(image_id=value), images=images))["image_id"] == value


def two_images(first, second):
    return [{"id": n, "file_name": f"{name}.jpg", "width": 9, "height": 9} for n, name in ((first, "a"), (second, "b"))]


def test_what_stands_for_two_is_refused_and_both_are_named(read):
    """Merged exports: cvat#4185."""
    with pytest.raises(DatasetError, match=r"lists image 7 twice, as a\.jpg and as b\.jpg \(1 such\)"):
        read(images=two_images(7, 7))
    with pytest.raises(DatasetError, match="lists category 3 twice, as nut and as bolt"):
        read(categories=[{"id": 3, "name": "nut"}, {"id": 3, "name": "bolt"}])
    with pytest.raises(DatasetError, match="lists category name nut twice, as 3 and as 4"):
        read(categories=[{"id": 3, "name": "nut"}, {"id": 4, "name": "nut"}])
    assert read(images=two_images(7, 8), categories=[{"id": 3}, {"id": 4}])


def test_slivers_beside_good_pieces_are_left_out_and_counted(read):
    """coco-annotator#452, fiftyone#1523."""
    found = read(annotation(segmentation=[TRIANGLE, [1, 1, 2, 2], [], [3, 3]]), annotation())
    assert [entry["segmentation"] for entry in found.data["annotations"]] == [[TRIANGLE]] * 2
    assert found.warnings == ("a.json: pieces of masks with fewer than three points are left out: 3.",)
    assert found.mask_fault is None


FAULTS = {
    "null": (None, "have none"),
    "missing": (..., "have none"),
    "empty": ([], "are empty"),
    "only slivers": ([[1, 2]], "are empty"),
    "flat": (TRIANGLE, "are flat lists"),
    "text": ("foo", "are neither polygons"),
    "text within": ([TRIANGLE, ["a"] * 6], "hold something else"),
    "not finite": ([[1, 2, 3, 4, 5, float("nan")]], "hold something else"),
    "odd": ([[1, 2, 3, 4, 5, 6, 7]], "have an odd number of coordinates"),
    "outside": ([[20, 2, 29, 2, 25, 9]], "lie outside of the picture"),
    "above": ([[1, -9, 9, -9, 5, 0]], "lie outside of the picture"),
    "no size": ({"counts": [1]}, "are neither polygons"),
    "no counts": ({"size": [10, 20], "counts": None}, "are neither polygons"),
    "counts of text": ({"size": [10, 20], "counts": ["x"]}, "have run lengths that are no whole numbers"),
    "too few": ({"size": [10, 20], "counts": [3, 196]}, "have run lengths that do not add up"),
    "half size": (rle_of(np.ones((5, 10))), "are encoded for a picture of another size"),
    "sides exchanged": (rle_of(np.ones((20, 10))), "are encoded for a picture of another size"),
}


@pytest.mark.parametrize(("mask", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_masks_that_are_not_usable_are_one_sentence_with_a_count(read, mask, said):
    """cvat#1277, darwin-py#1178. Reading goes on: not every verb needs masks."""
    found = read(annotation(), annotation(segmentation=mask), annotation(segmentation=mask), annotation())
    assert [entry["segmentation"] is None for entry in found.data["annotations"]] == [False, True, True, False]
    assert f"the masks of 2 of 4 annotations are not usable: 2 {said}" in found.mask_fault
    assert 'the first is entry 1 of "annotations"' in found.mask_fault
    assert "to=infer" in found.mask_fault


def test_every_kind_of_fault_is_counted(read):
    fault = read(*(annotation(segmentation=mask) for mask in (None, [], [], TRIANGLE))).mask_fault
    assert "of 4 of 4" in fault.replace("the masks ", "")
    assert "1 have none, 2 are empty, or have fewer than three points, 1 are flat lists" in fault


@pytest.mark.parametrize(
    "mask",
    [[[1, 2, 5, 2, 3, 9]], [[-3, -3, 30, 2, 3, 40]], rle_of(np.eye(10, 20)), {"size": [10, 20], "counts": [3, 197]}],
    ids=["a triangle", "over the border", "compressed", "run lengths"],
)
def test_good_masks_are_kept(read, mask):
    found = read(annotation(segmentation=mask))
    assert (only(found)["segmentation"], found.mask_fault, found.warnings) == (mask, None, ())


def polygons_of(scale, side=400, count=12):
    images = [{"id": 1, "file_name": "a.jpg", "width": side, "height": side}]
    shape = [[x * scale for x in (0.1, 0.2, 0.9, 0.2, 0.5, 1.0)]]
    return [annotation(segmentation=shape) for _ in range(count)], images


@pytest.mark.parametrize(("scale", "said"), [(1, "shares of the picture"), (100, "look like percent")])
def test_relative_coordinates_are_recognised(read, scale, said):
    """yolact_edge#237."""
    annotations, images = polygons_of(scale)
    assert said in read(*annotations, images=images).mask_fault
    assert read(*annotations, annotation(segmentation=[[0, 0, 300, 0, 300, 300]]), images=images).mask_fault is None


def test_small_objects_are_not_taken_for_relative(read):
    assert read(*polygons_of(100, side=150)[0], images=polygons_of(100, side=150)[1]).mask_fault is None
    few, images = polygons_of(100, count=9)
    assert read(*few, images=images).mask_fault is None
