"""Annotations of very many images: what a plan holds of them is what one read of the file gives."""

import json
import random
import resource

import pyarrow.parquet as pq
import pytest
from annotation_files import TRIANGLE, annotation, image

from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.images.annotations import read_annotations
from yolact_ascend.images.coco import order_images
from yolact_ascend.scale.manifest import Image, hash_images, match_images, read_shard, write_manifest
from yolact_ascend.scale.places import find_place
from yolact_ascend.scale.source import Entry
from yolact_ascend.scale.truths import read_truths

IMAGES = 7


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Annotations before their images, in no order, some next to each other; one image has none."""
    rng = random.Random(0)
    images = [
        image(id=100 - number, file_name=f"{number}.jpg", width=20 + number, more="é") for number in range(IMAGES)
    ]
    ids = [each["id"] for each in images[1:]]
    annotations = [annotation(id=number, image_id=rng.choice(ids), area=..., more=[None]) for number in range(40)]
    annotations += [annotation(id=number, image_id=ids[0], segmentation=[TRIANGLE, [1, 2]]) for number in range(40, 44)]
    path = tmp_path_factory.mktemp("truths") / "a.json"
    categories = [{"id": 1, "name": "a"}]
    path.write_text(json.dumps({"annotations": annotations, "images": images, "categories": categories}))
    return path


@pytest.fixture
def entries():
    return [Entry(f"{number}.jpg", f"{number}.jpg") for number in range(IMAGES)]


def images_of(file, entries):
    """The images of a plan, made from one read of an annotation file."""
    data = read_annotations(file).data
    by_id, by_name = {each["id"]: each for each in data["images"]}, {entry.name: entry for entry in entries}
    return [
        Image(
            by_name[by_id[image_id]["file_name"]],
            image_id,
            (by_id[image_id]["height"], by_id[image_id]["width"]),
            json.dumps([each for each in data["annotations"] if each["image_id"] == image_id]),
        )
        for image_id in order_images(data)
    ]


@pytest.mark.parametrize("together", [1, 3, 2048])
def test_images_are_those_of_one_read(file, entries, together, monkeypatch):
    monkeypatch.setattr("yolact_ascend.long_json.MOST_ENTRIES", together)
    monkeypatch.setattr("yolact_ascend.scale.manifest.TOGETHER", together)
    expected = images_of(file, entries)
    found = match_images(entries, read_truths(file), "s")
    assert [*found] == expected and len(found) == IMAGES
    assert (found[2], found[-1], found[1:3]) == (expected[2], expected[-1], expected[1:3])
    assert hash_images(found) == hash_images(expected)
    assert [*match_images(entries, read_truths(file), "s", 3)] == expected[:3]


def test_a_manifest_has_them_shard_by_shard(file, entries, tmp_path):
    place = find_place(str(tmp_path / "manifest.parquet"))
    found = match_images(entries, read_truths(file), "s")
    write_manifest(place, found, 3)
    assert pq.ParquetFile(place.path).num_row_groups == 3
    assert [each for shard in range(3) for each in read_shard(place, shard)] == [*found]


def test_of_two_lists_with_one_key_the_last_counts(tmp_path):
    """As Python's json has it."""
    one, two = json.dumps([annotation(), annotation()]), json.dumps([annotation(id=2)])
    images, categories = json.dumps([image()]), json.dumps([{"id": 1, "name": "a"}])
    more = json.dumps([image(id=2)])
    file = tmp_path / "a.json"
    lists = f'"images": {more}, "annotations": {one}, "annotations": {two}, "images": {images}'
    file.write_text(f'{{{lists}, "categories": {categories}}}')
    found = match_images([Entry("a.jpg", "a.jpg")], read_truths(file), "s")
    assert [*found] == images_of(file, [Entry("a.jpg", "a.jpg")])
    assert [each["id"] for each in json.loads(found[0].truth)] == [2]


def test_without_annotations_there_is_nothing_to_score(tmp_path):
    """COCO's image_info_test-dev2017.json."""
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"images": [image()], "categories": []}))
    read = read_truths(file)
    (found,) = match_images([Entry("a.jpg", "a.jpg")], read, "s")
    assert found.truth is None and not read.checked.is_scored


def test_a_file_that_is_not_there_is_a_fault_of_the_data_set(tmp_path):
    with pytest.raises(DatasetError, match=r"There is no .*none\.json \(COCO annotations\)"):
        read_truths(tmp_path / "none.json")


def test_a_manifest_that_does_not_fit_is_said_and_leaves_nothing(file, entries, tmp_path):
    """The system refuses what is larger than a limit, as it does where a disk is full."""
    found, before = match_images(entries, read_truths(file), "s"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(ArtifactError, match=r"(No room to write|Cannot write) .*manifest\.parquet"):
            write_manifest(find_place(str(tmp_path / "manifest.parquet")), found, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [*tmp_path.iterdir()]
