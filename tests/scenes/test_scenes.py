"""The drawn data set: the same for the same seed, in COCO's format, with the variety that it promises."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from yolact_ascend.detection.segmentation import decode_annotation
from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import load_dataset, match_classes
from yolact_ascend.images.layout import find_split
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.models.labels import COCO_CATEGORY_IDS, DRAWN_CATEGORY_IDS, DRAWN_CLASSES
from yolact_ascend.scenes.scenes import (
    SPLITS,
    DrawnObject,
    annotate,
    draw_dataset,
    draw_scene,
    trace_polygons,
)
from yolact_ascend.scenes.shapes import (
    ASPECTS,
    PAINTERS,
    draw_sprite,
    value_noise,
)
from yolact_ascend.training.objects import tight_box

DEMO = CONFIGS[DEMO_CONFIG]


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(3, "train2017", index) for index in range(40)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, train_images=5, val_images=3, seed=3)
    return folder


def equal(scene, other):
    masks = zip(scene.instances, other.instances)
    return np.array_equal(scene.image, other.image) and all(np.array_equal(a.mask, b.mask) for a, b in masks)


def test_a_scene_depends_on_seed_split_and_index_alone():
    scene = draw_scene(3, "val2017", 5)
    assert equal(scene, draw_scene(3, "val2017", 5))
    for other in ((4, "val2017", 5), (3, "train2017", 5), (3, "val2017", 6)):
        assert not equal(scene, draw_scene(*other))


def test_scenes_have_all_classes_and_overlaps_and_every_size(scenes):
    single = [instance for scene in scenes for instance in scene.instances if not instance.is_crowd]
    assert {instance.class_id for instance in single} == set(range(len(DRAWN_CLASSES)))
    boxes = np.array([tight_box(instance.mask) for instance in single])
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.max(axis=1).min() < 48 and sides.max() > 250
    assert (sides.max(axis=1) / sides.min(axis=1)).max() > 3
    assert ((boxes[:, 0] == 0) | (boxes[:, 1] == 0)).any()  # some reach over the border


def test_some_scenes_are_empty_and_some_have_a_crowd(scenes):
    empty = [scene for scene in scenes if not scene.instances]
    crowds = [instance for scene in scenes for instance in scene.instances if instance.is_crowd]
    assert 1 <= len(empty) <= 8
    assert 1 <= len(crowds) <= 8


def test_no_pixel_belongs_to_two_instances_and_the_covered_stay_visible(scenes):
    for scene in scenes:
        total = sum((instance.mask.astype(int) for instance in scene.instances), np.zeros(scene.image.shape[:2], int))
        assert total.max() <= 1
        assert all(instance.mask.any() for instance in scene.instances)


def test_scenes_are_textured_even_without_objects():
    """The background of a photograph is never flat: neighbouring patches differ."""
    for index in range(8):
        image = draw_scene(3, "val2017", index).image
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        patches = cv2.resize(grey, (8, 8), interpolation=cv2.INTER_AREA)
        assert patches.std() > 3 and image.dtype == np.uint8


@pytest.mark.parametrize("class_id", range(len(DRAWN_CLASSES)), ids=DRAWN_CLASSES)
def test_a_sprite_is_as_long_as_asked_and_inside_its_patch(class_id):
    for seed in range(12):
        sprite = draw_sprite(class_id, 80, np.random.default_rng(seed))
        assert sprite.colours.shape == (*sprite.coverage.shape, 3)
        assert sprite.colours.min() >= 0 and sprite.colours.max() <= 255
        left, top, right, bottom = tight_box(sprite.coverage > 0.5)
        longest = np.hypot(right - left, bottom - top)
        assert 60 < longest < 80 * np.sqrt(2) + 35
        assert not sprite.coverage[[0, -1]].any() and not sprite.coverage[:, [0, -1]].any()


def test_every_class_has_a_painter_and_proportions():
    assert tuple(PAINTERS) == tuple(ASPECTS) == DRAWN_CLASSES


def test_noise_is_smooth_and_about_one():
    noise = value_noise(60, 80, 4, 3, np.random.default_rng(0))
    assert noise.shape == (60, 80)
    assert 0.3 < np.abs(noise).max() < 2
    assert np.abs(np.diff(noise, axis=1)).max() < 0.3


def test_polygons_say_what_the_mask_says(scenes):
    compared = 0
    for scene in scenes:
        for instance in scene.instances:
            polygons = trace_polygons(instance.mask)
            if polygons:
                assert np.array_equal(
                    decode_annotation({"segmentation": polygons}, *instance.mask.shape), instance.mask
                )
                compared += 1
    assert compared > 50


def test_a_mask_with_a_hole_is_no_polygon():
    mask = np.zeros((20, 20), dtype=bool)
    assert trace_polygons(mask) == []
    mask[2:12, 3:13] = True
    assert len(trace_polygons(mask)) == 1
    mask[15:18, 3:6] = True
    assert len(trace_polygons(mask)) == 2
    mask[5:8, 5:8] = False
    assert trace_polygons(mask) is None


def test_annotations_of_objects_rings_and_crowds():
    mask = np.zeros((30, 40), dtype=bool)
    mask[10:20, 5:25] = True
    plain = annotate(DrawnObject(2, mask), 7, 9)
    assert (plain["id"], plain["image_id"], plain["category_id"], plain["iscrowd"]) == (9, 7, 103, 0)
    assert isinstance(plain["segmentation"], list)
    np.testing.assert_allclose(plain["bbox"], [5, 10, 20, 10], atol=1)
    crowd = annotate(DrawnObject(2, mask, is_crowd=True), 7, 9)
    assert crowd["iscrowd"] == 1
    assert np.array_equal(coco_mask.decode(crowd["segmentation"]).astype(bool), mask)
    assert (crowd["area"], crowd["bbox"]) == (200.0, [5.0, 10.0, 20.0, 10.0])
    mask[12:18, 10:20] = False
    ring = annotate(DrawnObject(4, mask), 7, 9)
    assert (ring["iscrowd"], ring["area"]) == (0, 140.0)
    assert np.array_equal(coco_mask.decode(ring["segmentation"]).astype(bool), mask)


def test_the_folder_is_read_like_cocos(drawn):
    for split, count in zip(SPLITS, (5, 3)):
        image_folder, annotation_file = find_split(drawn, split)
        dataset = load_dataset(annotation_file, image_folder)
        assert len(dataset.images) == count
        assert match_classes(dataset, DEMO) is DEMO
        for image in dataset.images:
            assert cv2.imread(str(image.path)).shape == (image.height, image.width, 3)
    assert [image.image_id for image in sorted(dataset.images, key=lambda image: image.image_id)] == [6, 7, 8]


def test_the_folder_holds_the_scenes_but_for_jpegs_loss(drawn):
    image = cv2.imread(str(drawn / "val2017" / "000000000006.jpg")).astype(int)
    assert np.abs(image - draw_scene(3, "val2017", 0).image).mean() < 8


def test_drawing_twice_gives_the_same_annotations(drawn, tmp_path):
    draw_dataset(tmp_path, train_images=1, val_images=1, seed=3)
    first = json.loads((drawn / "annotations" / "instances_train2017.json").read_text())
    again = json.loads((tmp_path / "annotations" / "instances_train2017.json").read_text())
    assert again["annotations"] == [entry for entry in first["annotations"] if entry["image_id"] == 1]
    assert again["annotations"]


def test_its_classes_are_none_of_cocos(drawn):
    assert not set(DRAWN_CATEGORY_IDS) & set(COCO_CATEGORY_IDS)
    image_folder, annotation_file = find_split(drawn, "val2017")
    dataset = load_dataset(annotation_file, image_folder)
    assert [category["name"] for category in dataset.annotations["categories"]] == list(DRAWN_CLASSES)
    with pytest.raises(DatasetError, match=r"other classes than the weights .*\(only in the file: 'ball'"):
        match_classes(dataset, CONFIGS["yolact_edge_resnet50_config"])
