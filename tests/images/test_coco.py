"""Annotation files and folders of COCO."""

import json
import shutil
from pathlib import Path

import pytest
from factories import SMALL_CONFIG, write_coco

from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import describe_renumbering, load_dataset, match_classes, require_images
from yolact_ascend.images.layout import find_split


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
        (
            lambda data: data["images"][2].pop("width") and data["images"][3].pop("width") and None,
            '2 of 4 images have no usable "width"; the first is image 3 .*found nothing',
        ),
        (lambda data: data.pop("categories") and None, 'it has no list "categories"'),
        (
            lambda data: data["images"][0].pop("file_name") and None,
            '1 of 4 images have no usable "file_name"; the first is image 1: .*found nothing',
        ),
        (lambda data: data.update(images=[7]), r'is not a COCO annotation file: entry 0 of "images" is 7 \(1 such\)'),
        (lambda data: data.update(images=[], annotations=[]), "lists no images"),
        (lambda data: data["annotations"][0].update(image_id=77), "annotates image 77, which its"),
    ],
)
def test_what_is_not_coco_is_refused(load, change, message):
    with pytest.raises(DatasetError, match=message):
        load(change)


def test_categories_that_the_file_does_not_list_are_named(load):
    with pytest.raises(DatasetError, match='uses category_id 1, which its "categories" do not list'):
        load(lambda data: data.update(categories=[{"id": 18}, {"id": 90}]))


def rename(change):
    """Change the names of the categories, by their ids."""

    def change_data(data):
        for category in data["categories"]:
            category["name"] = change.get(category["id"], category["name"])

    return change_data


def test_the_classes_of_the_config_stay_as_they_are(load):
    assert match_classes(load(), SMALL_CONFIG) is SMALL_CONFIG


def test_classes_under_other_ids_are_matched_by_name(load):
    """As tools number them that export the same classes anew: maskrcnn-benchmark#970, label-studio#9366."""

    def renumber(data):
        for entry, key in [(entry, "id") for entry in data["categories"]] + [
            (entry, "category_id") for entry in data["annotations"]
        ]:
            entry[key] = 1000 - entry[key]

    dataset = load(renumber)
    matched = match_classes(dataset, SMALL_CONFIG)
    assert matched.class_names == SMALL_CONFIG.class_names
    assert matched.category_ids == tuple(1000 - number for number in SMALL_CONFIG.category_ids)
    assert describe_renumbering(dataset, SMALL_CONFIG, SMALL_CONFIG) == ()
    (said,) = describe_renumbering(dataset, SMALL_CONFIG, matched)
    assert said == (
        "instances_val2017.json numbers 80 classes in another way than the weights (person is 999, not 1): "
        "the classes are matched by name."
    )


def test_a_class_that_the_weights_do_not_know_is_named(load):
    with pytest.raises(DatasetError, match=r"only in the file: 'rocket'; missing there: 'person'\)"):
        match_classes(load(rename({1: "rocket"})), SMALL_CONFIG)


def test_a_listed_class_that_nothing_has_does_not_matter(load):
    """Roboflow's exports list their project as category 0."""
    dataset = load(lambda data: data["categories"].insert(0, {"id": 0, "name": "project"}))
    assert match_classes(dataset, SMALL_CONFIG) is SMALL_CONFIG


def test_some_of_the_classes_under_their_own_ids_are_fine(load):
    def keep_used(data):
        data["categories"] = [category for category in data["categories"] if category["id"] in (1, 18, 90)]

    assert match_classes(load(keep_used), SMALL_CONFIG) is SMALL_CONFIG


def test_some_of_the_classes_under_other_ids_are_refused(load):
    def keep_used(data):
        names = {1: "person", 18: "dog", 90: "toothbrush"}
        data["categories"] = [{"id": number + 1, "name": name} for number, name in names.items()]
        for annotation in data["annotations"]:
            annotation["category_id"] += 1

    with pytest.raises(
        DatasetError, match=r"missing there: 'bicycle', 'car', 'motorcycle', 'airplane', 'bus' and 72 more"
    ):
        match_classes(load(keep_used), SMALL_CONFIG)


def test_classes_without_names_are_compared_by_id(load):
    def use(category_id):
        def change(data):
            data["categories"] = [{"id": number} for number in (1, 18, 90, category_id)]
            data["annotations"][0]["category_id"] = category_id

        return change

    assert match_classes(load(use(2)), SMALL_CONFIG) is SMALL_CONFIG
    with pytest.raises(DatasetError, match="category_id 91, which yolact_edge_mobilenetv2_config does not know"):
        match_classes(load(use(91)), SMALL_CONFIG)
    with pytest.raises(DatasetError, match="category_id 12"):  # one of the gaps in COCO's ids
        match_classes(load(use(12)), SMALL_CONFIG)


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("person", 18, "'person' has id 18 there, where the weights have id 1"),
        ("rocket", 18, "'rocket' has id 18 there, where the weights have no such class"),
    ],
)
def test_a_name_that_contradicts_the_ids_is_refused_where_others_have_no_name(load, name, number, said):
    def change(data):
        data["categories"] = [{"id": 1}, {"id": number, "name": name}]
        data["annotations"] = [{**entry, "category_id": number} for entry in data["annotations"]]

    with pytest.raises(DatasetError, match=f"does not name all of its categories.*{said}"):
        match_classes(load(change), SMALL_CONFIG)


def test_classes_that_are_compared_by_id_are_said(load):
    def change(data):
        data["categories"] = [{"id": 1}, {"id": 18, "name": "dog"}]
        data["annotations"] = [{**entry, "category_id": 18} for entry in data["annotations"]]

    dataset = load(change)
    (said,) = describe_renumbering(dataset, SMALL_CONFIG, match_classes(dataset, SMALL_CONFIG))
    assert said == "instances_val2017.json does not name 1 of 2 categories: the classes are compared by id."


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


LAYOUTS = {
    "as COCO's archives unpack": "val2017",
    "as YOLO tools have it": "images/val2017",
    "flat, as upstream's COCO.sh unzips": "images",
    "beside the annotations": ".",
}


@pytest.mark.parametrize("place", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_coco_as_it_lies_on_disks_is_found(tmp_path, place):
    """COCO.sh: haotian-liu/yolact_edge @ a9a0028, data/scripts/COCO.sh."""
    folder = write_coco(tmp_path / "coco")
    images = folder / "moved"
    (folder / "val2017").rename(images)
    target = folder / place
    target.mkdir(parents=True, exist_ok=True)
    for path in images.iterdir():
        path.rename(target / path.name)
    images.rmdir()
    image_folder, annotation_file = find_split(folder)
    assert image_folder.resolve() == target.resolve()
    assert annotation_file == folder / "annotations" / "instances_val2017.json"
    assert all(image.path.is_file() for image in load_dataset(annotation_file, image_folder).images)


def test_names_with_a_folder_are_found_without_it(load):
    def rename(data):
        for image, begin in zip(data["images"], ("val2017/", "images\\", "./a/b/", "")):
            image["file_name"] = begin + image["file_name"]

    assert all(image.path.is_file() for image in load(rename).images)


def test_two_images_that_are_found_in_one_file_are_refused(load):
    """Of two sites, whose folders were put together."""
    names = ["siteA/000000000001.jpg", "siteB/000000000001.jpg"]
    with pytest.raises(
        DatasetError, match=r"lists siteA/0+1\.jpg and siteB/0+1\.jpg; both are found as .*/0+1\.jpg\. Put"
    ):
        load(lambda data: move_images(data, [*names, "000000000003.jpg", "000000000004.jpg"]))


def test_one_file_under_two_ids_is_taken(load):
    names = ["000000000001.jpg", "000000000001.jpg", "000000000003.jpg", "000000000004.jpg"]
    assert len(load(lambda data: move_images(data, names)).images) == 4


def test_an_incomplete_folder_is_named(small_coco):
    with pytest.raises(DatasetError, match="There is no COCO folder"):
        find_split(small_coco / "none")
    (small_coco / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(DatasetError, match="There is no annotation file"):
        find_split(small_coco)
    shutil.rmtree(small_coco / "val2017")
    with pytest.raises(DatasetError, match="neither .*val2017 nor .*images/val2017 is a folder"):
        find_split(small_coco)


def move_images(data, names):
    for image, name in zip(data["images"], names):
        image["file_name"] = name


def test_a_name_that_leads_out_of_the_folder_is_read_with_one_warning(load, small_coco):
    """Upstream joins folder and name: haotian-liu/yolact_edge @ a9a0028, yolact_edge/data/coco.py."""
    folder, outside = small_coco / "val2017", small_coco / "else\nwhere"
    outside.mkdir()
    for name in ("1.jpg", "2.jpg"):
        shutil.copy(folder / "000000000001.jpg", outside / name)
    kept = [f"{folder}/000000000003.jpg", "../val2017/000000000004.jpg"]
    dataset = load(lambda data: move_images(data, ["../else\nwhere/1.jpg", str(outside / "2.jpg"), *kept]))
    by_id = {image.image_id: image.path for image in dataset.images}
    assert all(path.is_file() for path in by_id.values())
    assert [by_id[number].name for number in (1, 2)] == ["1.jpg", "2.jpg"]
    (warning,) = dataset.warnings
    assert warning.startswith("instances_val2017.json: 2 of 4 images lie outside of the image folder, where their file")
    assert "else\\nwhere/1.jpg" in warning and "2.jpg" in warning and "000000000003" not in warning
    assert warning.endswith(": they are read from there.")


def test_a_link_in_the_folder_leads_where_its_owner_wants(load, small_coco):
    folder = small_coco / "val2017"
    (small_coco / "bigger disk").mkdir()
    (folder / "000000000001.jpg").rename(small_coco / "bigger disk" / "1.jpg")
    (folder / "part").symlink_to(small_coco / "bigger disk")
    dataset = load(lambda data: move_images(data, ["part/1.jpg"]))
    assert dataset.warnings == ()
    assert all(image.path.is_file() for image in dataset.images)


def test_an_image_folder_that_is_the_current_one_is_left_only_by_what_leads_out(load, small_coco, monkeypatch):
    monkeypatch.chdir(small_coco / "val2017")
    annotation_file = small_coco / "annotations" / "instances_val2017.json"
    load()
    assert load_dataset(annotation_file, Path()).warnings == ()
    load(lambda data: move_images(data, ["../a.jpg"]))
    assert r"(../a.jpg)" in load_dataset(annotation_file, Path()).warnings[0]


MISSING = {
    "a line break": ("no\nwhere.jpg", r"no\\nwhere\.jpg"),
    "longer than a path may be": ("a/" * 3000 + "b.jpg", r"b\.jpg"),
    "backslashes upwards": ("..\\..\\b.jpg", r"\.\.\\\\\.\.\\\\b\.jpg"),
    "a device": ("/dev/null", "null"),
}


@pytest.mark.parametrize(("name", "said"), MISSING.values(), ids=MISSING.keys())
def test_names_that_are_no_files_are_named_as_missing(load, name, said):
    dataset = load(lambda data: move_images(data, [name]))
    with pytest.raises(DatasetError, match=rf"1 of 4 images that the .* are not in .*the first is {said}\."):
        require_images(dataset.images)
