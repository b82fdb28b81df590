"""Annotation files and folders of COCO."""

import json
import shutil

import pytest
from factories import SMALL_CONFIG

from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import check_categories, find_split, load_dataset


@pytest.fixture
def load(small_coco, annotation_file):
    """Load the small data set after a change to its annotations."""

    def load(change=lambda data: None):
        data = json.loads(annotation_file.read_text())
        data = change(data) or data
        annotation_file.write_text(json.dumps(data))
        return load_dataset(annotation_file, small_coco / "val2017")

    return load


def test_images_come_as_the_guide_orders_them_then_the_unannotated(load):
    dataset = load()
    assert [image.image_id for image in dataset.images] == [3, 1, 2, 4]
    assert dataset.annotated_count == 3
    assert (dataset.images[1].width, dataset.images[1].height) == (640, 480)


@pytest.mark.parametrize(
    ("annotated_only", "limit", "ids"),
    [
        (False, None, [3, 1, 2, 4]),
        (True, None, [3, 1, 2]),
        (False, 2, [3, 1]),
        (True, 9, [3, 1, 2]),
        (False, 9, [3, 1, 2, 4]),
    ],
)
def test_select(load, annotated_only, limit, ids):
    assert [image.image_id for image in load().select(annotated_only, limit)] == ids


def test_no_annotations_at_all_is_fine(load):
    dataset = load(lambda data: data.update(annotations=[]))
    assert dataset.annotated_count == 0
    assert [image.image_id for image in dataset.images] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: [1], 'it has no list "images"'),
        (lambda data: {"info": {}}, 'it has no list "images"'),
        (lambda data: data.update(annotations={}), 'it has no list "annotations"'),
        (lambda data: data.pop("categories") and None, 'it has no list "categories"'),
        (lambda data: data["images"][0].pop("file_name") and None, 'entry 0 of "images" has no "file_name"'),
        (lambda data: data["annotations"][1].pop("bbox") and None, 'entry 1 of "annotations" has no "bbox"'),
        (lambda data: data.update(images=[7]), 'entry 0 of "images" has no "id"'),
        (lambda data: data.update(images=[], annotations=[]), "lists no images"),
        (lambda data: data["annotations"][0].update(image_id=77), "annotates image 77, which its"),
    ],
)
def test_what_is_not_coco_is_refused(load, change, message):
    with pytest.raises(DatasetError, match=message):
        load(change)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("images", "id", "7", "'7', expected a whole number"),
        ("images", "id", [7], "expected a whole number"),
        ("images", "width", None, "'None', expected a number of pixels"),
        ("images", "height", "abc", "'abc', expected a number of pixels"),
        ("images", "height", 0, "'0', expected a number of pixels"),
        ("images", "file_name", 7, "'7', expected a name"),
        ("annotations", "category_id", "18", "expected a whole number"),
        ("annotations", "category_id", [18], "expected a whole number"),
        ("annotations", "bbox", [1, 2], r"'\[1, 2\]', expected \[x, y, width, height\]"),
        ("annotations", "bbox", None, "expected"),
        ("annotations", "bbox", [1, 2, 3, float("nan")], "expected"),
        ("annotations", "area", None, "'None', expected a number"),
        ("annotations", "iscrowd", "no", "expected 0 or 1"),
        ("annotations", "segmentation", [], r"'\[\]', expected polygons"),
        ("annotations", "segmentation", None, "expected polygons"),
        ("annotations", "segmentation", "foo", "expected polygons"),
        ("annotations", "segmentation", [[1, 2]], "expected polygons"),
        ("annotations", "segmentation", [[1, 2, 3, 4, 5]], "expected polygons"),
        ("annotations", "segmentation", {"counts": [1]}, "expected polygons"),
        ("annotations", "segmentation", {"size": [4, 4], "counts": ["x"]}, "expected polygons"),
        ("annotations", "segmentation", {"size": [4, 4], "counts": None}, "expected polygons"),
        ("categories", "id", "1", "expected a whole number"),
    ],
)
def test_values_that_are_not_cocos_are_named(load, section, key, value, message):
    with pytest.raises(DatasetError, match=f'"{key}" of entry 0 of "{section}" is {message}|{message}'):
        load(lambda data: data[section][0].update({key: value}))


@pytest.mark.parametrize("segmentation", [[[1, 2, 5, 2, 3, 9]], {"size": [4, 4], "counts": [3, 13]}])
def test_a_triangle_and_run_lengths_are_fine(load, segmentation):
    load(lambda data: data["annotations"][0].update(segmentation=segmentation))


def test_categories_that_the_file_does_not_list_are_named(load):
    with pytest.raises(DatasetError, match='uses category_id 1, which its "categories" do not list'):
        load(lambda data: data.update(categories=[{"id": 18}, {"id": 90}]))


def test_unknown_categories_are_named(load):
    def use(category_id):
        return lambda data: (
            data["categories"].append({"id": category_id}),
            data["annotations"][0].update(category_id=category_id),
        )[2:]

    dataset = load(use(91))
    with pytest.raises(DatasetError, match="category_id 91, which yolact_edge_mobilenetv2_config does not know"):
        check_categories(dataset, SMALL_CONFIG)
    dataset = load(use(12))
    with pytest.raises(DatasetError, match="category_id 12"):  # one of the gaps in COCO's ids
        check_categories(dataset, SMALL_CONFIG)


def test_known_categories_pass(load):
    check_categories(load(), SMALL_CONFIG)


@pytest.mark.parametrize("content", ["", "{", "no json"])
def test_a_file_that_is_not_json_is_refused(small_coco, annotation_file, content):
    annotation_file.write_text(content)
    with pytest.raises(DatasetError, match="is not JSON"):
        load_dataset(annotation_file, small_coco / "val2017")


def test_missing_file_and_folder_are_named(small_coco, annotation_file):
    with pytest.raises(DatasetError, match="There is no image folder .*nowhere"):
        load_dataset(annotation_file, small_coco / "nowhere")
    with pytest.raises(DatasetError, match=r"There is no .*none\.json"):
        load_dataset(small_coco / "none.json", small_coco / "val2017")


def test_coco_2014_names_are_found_with_and_without_their_prefix(load, small_coco):
    def rename(data):
        for image in data["images"]:
            image["file_name"] = f"COCO_val2014_{image['file_name']}"

    folder = small_coco / "val2017"
    shutil.copy(folder / "000000000001.jpg", folder / "COCO_val2014_000000000001.jpg")
    names = {image.image_id: image.path.name for image in load(rename).images}
    assert names[1] == "COCO_val2014_000000000001.jpg"
    assert names[2] == "000000000002.jpg"


def test_both_usual_layouts_are_found(small_coco):
    assert find_split(small_coco)[0] == small_coco / "val2017"
    (small_coco / "images").mkdir()
    shutil.move(small_coco / "val2017", small_coco / "images" / "val2017")
    image_folder, annotation_file = find_split(small_coco)
    assert image_folder == small_coco / "images" / "val2017"
    assert annotation_file == small_coco / "annotations" / "instances_val2017.json"


def test_an_incomplete_folder_is_named(small_coco):
    with pytest.raises(DatasetError, match="There is no COCO folder"):
        find_split(small_coco / "none")
    (small_coco / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(DatasetError, match="There is no annotation file"):
        find_split(small_coco)
    shutil.rmtree(small_coco / "val2017")
    with pytest.raises(DatasetError, match="neither .*val2017 nor .*images/val2017"):
        find_split(small_coco)
