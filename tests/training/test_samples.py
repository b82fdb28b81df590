"""Training samples: what they hold, and that they depend on seed and position alone."""

import dataclasses

import cv2
import numpy as np
import pytest
from factories import SMALL_CONFIG

from yolact_ascend.detection.boxes import decode_boxes
from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.config import Anchors, Preprocessing, with_classes
from yolact_ascend.models.labels import COCO_CATEGORY_IDS
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.training.augment import Augmentation, Window, cut_window
from yolact_ascend.training.methods import method_of
from yolact_ascend.training.objects import Objects, crop_masks, tight_box
from yolact_ascend.training.recipe import Phase, Recipe
from yolact_ascend.training.samples import TrainingSet, load_batches
from yolact_ascend.training.views import View, cut_masks, cut_objects, mirror_view
from yolact_ascend.training.yolact.matching import Matches
from yolact_ascend.training.yolact.samples import draw_scored, make_sample, map_classes

METHOD = method_of(SMALL_CONFIG)
PLAIN = Augmentation(expand_most=1, crop_least=1, photometric=False, mirror=False)
FIVE_CLASSES = with_classes(SMALL_CONFIG, tuple("abcde"), tuple(range(5)))
ONE_CLASS = with_classes(SMALL_CONFIG, ("a",), (1,))
MEAN_RGB, STD_RGB = (123.68, 116.78, 103.94), (58.40, 57.12, 57.38)  # ImageNet's
NO_BOXES = np.zeros((0, 4), dtype=np.float32)


@pytest.fixture
def training_set(small_coco, annotation_file):
    return TrainingSet(load_dataset(annotation_file, small_coco / "val2017"), COCO_CATEGORY_IDS)


def anchors(image_size):
    return make_anchors(SMALL_CONFIG.anchors, image_size)


def objects_of(*masks, class_ids=None, crowds=NO_BOXES):
    ids = np.arange(len(masks)) if class_ids is None else np.array(class_ids)
    return Objects(*crop_masks(masks), ids, crowds)


def rectangle(height, width, left, top, right, bottom):
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def cut(objects, window, grid=8, height=8, width=16):
    return cut_objects(objects, window, (grid, grid), height, width)


def test_tight_box_of_a_mask_and_of_none():
    assert tight_box(rectangle(6, 8, 2, 1, 5, 4)) == (2, 1, 5, 4)
    assert tight_box(np.zeros((6, 8))) == (0, 0, 0, 0)


def test_reading_gives_masks_classes_and_crowds(training_set):
    by_id = {entry.image_id: index for index, entry in enumerate(training_set.images)}
    image, objects = training_set.read(by_id[1])
    assert image.shape == (480, 640, 3)
    assert objects.class_ids.tolist() == [0, COCO_CATEGORY_IDS.index(90)]
    assert objects.boxes_xyxy_px.tolist() == [[100, 50, 300, 350], [400, 200, 500, 300]]
    assert [mask.shape for mask in objects.masks] == [(300, 200), (100, 100)]
    assert all(mask.all() for mask in objects.masks)
    image, objects = training_set.read(by_id[2])
    assert (len(objects.masks), objects.boxes_xyxy_px.shape) == (0, (0, 4))
    assert objects.crowds_xyxy_px.tolist() == [[0, 0, 300, 250]]
    _, objects = training_set.read(by_id[4])
    assert (len(objects.masks), len(objects.crowds_xyxy_px)) == (0, 0)


def test_an_image_of_another_size_is_refused(training_set, small_coco):
    cv2.imwrite(str(small_coco / "val2017" / f"{training_set.images[0].image_id:012d}.jpg"), np.zeros((7, 9, 3)))
    with pytest.raises(DatasetError, match="has 9×7 pixels, its annotations say 100×80"):
        training_set.read(0)


@pytest.mark.parametrize(
    "window",
    [Window(0, 0, 300, 200), Window(-150, -90, 450, 320), Window(40, 30, 247, 171), Window(100, 80, 137, 121)],
    ids=["all", "expanded", "a crop", "enlarged"],
)
@pytest.mark.parametrize("grid", [(69, 69), (138, 138), (33, 21)], ids=str)
def test_masks_cut_together_are_those_cut_one_by_one(window, grid):
    """The same cells bit for bit, however the objects overlap: it is only faster."""
    generator = np.random.default_rng(grid[0])
    masks = []
    for _ in range(40):
        mask = np.zeros((200, 300), np.uint8)
        centre, axes = generator.integers(0, 300, 2), generator.integers(1, 30, 2)
        cv2.ellipse(mask, centre.tolist(), axes.tolist(), float(generator.uniform(0, 180)), 0, 360, 1, -1)
        masks.append(mask)
    objects = objects_of(*masks)
    shown = [number for number, mask in enumerate(masks) if mask.any()]
    found = cut_masks(objects, shown, window, grid, 200, 300)
    expected = [cut_window(masks[number] * np.uint8(255), window, grid) > 127 for number in shown]
    np.testing.assert_array_equal(found, expected)
    assert found.any() and len(shown) > 20


def test_objects_are_cut_to_the_window():
    # The window shows the right half of the first object, and a sliver of the second, too little to learn from.
    objects = objects_of(rectangle(8, 16, 4, 2, 12, 6), rectangle(8, 16, 0, 0, 9, 2))
    view = cut(objects, Window(8, 0, 16, 8))
    np.testing.assert_allclose(view.boxes_xyxy_rel, [[0, 0.25, 0.5, 0.75]])
    assert view.masks.tolist() == [rectangle(8, 8, 0, 2, 4, 6).tolist()]
    assert view.class_ids.tolist() == [0]
    np.testing.assert_allclose(view.ignored_xyxy_rel, [[0, 0, 0.125, 0.25]])


def test_the_box_of_a_cut_object_is_that_of_its_visible_pixels():
    corner = rectangle(8, 16, 4, 0, 12, 1) | rectangle(8, 16, 4, 0, 5, 8)  # an L lying on its back
    view = cut(objects_of(corner), Window(8, 0, 16, 8))
    np.testing.assert_allclose(view.boxes_xyxy_rel, [[0, 0, 0.5, 0.125]])


def test_objects_elsewhere_are_left_out_and_crowds_are_clipped():
    crowds = np.array([[4, 0, 12, 4], [0, 0, 8, 8]], dtype=np.float32)
    view = cut(objects_of(rectangle(8, 16, 0, 0, 4, 4), crowds=crowds), Window(8, 0, 16, 8))
    assert len(view.boxes_xyxy_rel) == len(view.masks) == len(view.class_ids) == 0
    np.testing.assert_allclose(view.ignored_xyxy_rel, [[0, 0, 0.5, 0.5]])


def test_mirroring_turns_boxes_and_masks_alike():
    view = cut(objects_of(rectangle(8, 8, 1, 2, 3, 5)), Window(0, 0, 8, 8))
    mirrored = mirror_view(view._replace(ignored_xyxy_rel=view.boxes_xyxy_rel))
    np.testing.assert_allclose(mirrored.boxes_xyxy_rel * 8, [[5, 2, 7, 5]])
    np.testing.assert_allclose(mirrored.ignored_xyxy_rel, mirrored.boxes_xyxy_rel)
    assert tight_box(mirrored.masks[0]) == (5, 2, 7, 5)


def test_class_maps_join_the_masks_of_a_class():
    masks = np.array([rectangle(4, 4, 0, 0, 2, 1), rectangle(4, 4, 2, 2, 4, 4), rectangle(4, 4, 2, 0, 3, 1)])
    view = View(NO_BOXES, masks, np.array([1, 1, 0]), NO_BOXES)
    # Half of the first cell counts, a quarter of another does not.
    assert map_classes(view, 3).tolist() == [[[0, 0], [0, 0]], [[1, 0], [0, 1]], [[0, 0], [0, 0]]]


def test_scored_anchors_are_the_positive_ones_with_a_mask():
    masks = np.array([rectangle(2, 2, 0, 0, 1, 1), np.zeros((2, 2), dtype=np.uint8)])
    matches = Matches(np.array([1, 0, 2, -1, 1]), np.array([0, 0, 1, 0, 0]), NO_BOXES)
    anchor_ids, weight = draw_scored(matches, masks, 10, np.random.default_rng(0))
    assert (anchor_ids.tolist(), weight) == ([0, 4], 1.0)


def test_too_many_positive_anchors_are_drawn_from_and_weighted():
    matches = Matches(np.ones(20, dtype=int), np.zeros(20, dtype=int), NO_BOXES)
    masks = np.ones((1, 2, 2), dtype=np.uint8)
    drawn = [draw_scored(matches, masks, 8, np.random.default_rng(seed)) for seed in range(5)]
    assert all(len(set(ids.tolist())) == 8 and weight == 2.5 for ids, weight in drawn)
    assert len({tuple(ids.tolist()) for ids, _ in drawn}) > 1


@pytest.mark.parametrize("image_size", [275, 550])
def test_targets_of_a_whole_image_say_where_its_object_is(image_size):
    image = np.full((400, 500, 3), 90, dtype=np.uint8)
    objects = objects_of(rectangle(400, 500, 100, 80, 250, 200), class_ids=[3])
    sample = make_sample(image, objects, image_size, FIVE_CLASSES, PLAIN, 100, np.random.default_rng(0))
    grid = {275: 70, 550: 138}[image_size]
    assert sample.image.shape == (3, image_size, image_size) and sample.image.dtype == np.float32
    np.testing.assert_allclose(
        sample.image[:, 0, 0], [(90 - mean) / std for mean, std in zip(MEAN_RGB, STD_RGB)], rtol=1e-5
    )
    if image_size == 550:  # a smaller input shows a piece
        positive = np.flatnonzero(sample.classes > 0)
        assert set(sample.classes[positive]) == {4}
        np.testing.assert_allclose(
            decode_boxes(sample.loc[positive], anchors(550)[positive]),
            np.repeat([[0.2, 0.2, 0.5, 0.5]], len(positive), axis=0),
            atol=1e-5,
        )
        assert sample.anchor_ids.tolist() == positive.tolist()
        assert sample.masks[0].mean() == pytest.approx(0.09, abs=0.01)
        assert sample.class_map[3].mean() == pytest.approx(0.09, abs=0.01)
    assert sample.class_map.shape == (5, grid // 2, grid // 2)
    assert sample.class_map[[0, 1, 2, 4]].max() == 0
    assert sample.masks.shape == (len(sample.anchor_ids), grid, grid)
    assert sample.classes.shape == (len(anchors(image_size)),)


def test_a_sample_of_another_config_has_its_size_anchors_and_statistics():
    preprocessing = Preprocessing(height_px=128, width_px=128, mean_rgb=(40, 50, 60), std_rgb=(2, 4, 5))
    anchors = Anchors((16, 32, 64, 128, 256), (1, 2), is_square=False)
    config = dataclasses.replace(FIVE_CLASSES, preprocessing=preprocessing, anchors=anchors)
    image = np.full((128, 128, 3), (65, 70, 80), dtype=np.uint8)  # BGR
    objects = objects_of(rectangle(128, 128, 32, 64, 64, 96), class_ids=[3])
    sample = make_sample(image, objects, 128, config, PLAIN, 100, np.random.default_rng(0))
    np.testing.assert_allclose(sample.image[:, 0, 0], [(80 - 40) / 2, (70 - 50) / 4, (65 - 60) / 5])
    assert sample.classes.shape == (682,)  # 2 · (256 + 64 + 16 + 4 + 1)
    positive = np.flatnonzero(sample.classes > 0)
    # The input shows the whole image, so that the object is where it was.
    np.testing.assert_allclose(
        decode_boxes(sample.loc[positive], make_anchors(anchors, 128)[positive]),
        np.repeat([[0.25, 0.5, 0.5, 0.75]], len(positive), axis=0),
        atol=1e-5,
    )
    # Beyond the edge of the image lies the mean: zeros.
    expanded = dataclasses.replace(PLAIN, expand_most=4.0)
    corners = [
        make_sample(image, objects, 128, config, expanded, 100, np.random.default_rng(seed)).image[:, -1, -1].tolist()
        for seed in range(8)
    ]
    assert {tuple(corner) for corner in corners} == {(0, 0, 0), (20, 5, 1)}


def draw_sample(objects, augmentation, seed, image_size=550):
    """A sample of an image that is light where its first object is, and dark elsewhere."""
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    left, top, right, bottom = objects.boxes_xyxy_px[0]
    image[top:bottom, left:right] = objects.masks[0][:, :, None] * np.uint8(200)
    return make_sample(image, objects, image_size, ONE_CLASS, augmentation, 100, np.random.default_rng(seed))


def test_a_mirrored_picture_has_mirrored_boxes_and_masks():
    objects = objects_of(rectangle(100, 100, 10, 20, 30, 60))
    seen = set()
    for seed in range(6):
        sample = draw_sample(objects, dataclasses.replace(PLAIN, mirror=True), seed)
        shown = cv2.resize(sample.image[0], (138, 138), interpolation=cv2.INTER_AREA) > 0
        left = tight_box(shown)[0]
        seen.add(left)
        expected = {14: [0.1, 0.2, 0.3, 0.6], 97: [0.7, 0.2, 0.9, 0.6]}[left]
        np.testing.assert_allclose(sample.boxes_xyxy_rel[0], expected, atol=1e-6)
        decoded = decode_boxes(sample.loc[sample.anchor_ids], anchors(550)[sample.anchor_ids])
        np.testing.assert_allclose(decoded, [expected] * len(decoded), atol=1e-5)
        assert (sample.masks[0] != shown).mean() < 0.01
        assert (sample.class_map[0] != shown[::2, ::2]).mean() < 0.01
    assert len(seen) == 2


def test_colours_change_only_when_asked():
    objects = objects_of(rectangle(100, 100, 10, 20, 30, 60))
    plain = draw_sample(objects, PLAIN, 0, 64).image
    others = [draw_sample(objects, dataclasses.replace(PLAIN, photometric=True), seed, 64).image for seed in range(4)]
    assert np.array_equal(draw_sample(objects, PLAIN, 0, 64).image, plain)
    assert any(abs(other.max() - plain.max()) > 0.1 for other in others)


def test_objects_too_small_for_the_network_are_ignored():
    objects = objects_of(rectangle(550, 550, 100, 100, 103, 140), rectangle(550, 550, 200, 200, 205, 240))
    view = cut(objects, Window(0, 0, 550, 550), height=550, width=550)
    np.testing.assert_allclose(view.boxes_xyxy_rel * 550, [[200, 200, 205, 240]], rtol=1e-6)
    np.testing.assert_allclose(view.ignored_xyxy_rel * 550, [[100, 100, 103, 140]], rtol=1e-6)


def collect(training_set, first_step=0, workers=1, seed=5):
    recipe = Recipe((Phase(64, 2, 2), Phase(128, 1, 2)), seed=seed)
    return list(load_batches(training_set, SMALL_CONFIG, METHOD, recipe, first_step, workers))


def same(batches, others):
    pairs = [pair for batch, other in zip(batches, others) for pair in zip(batch, other)]
    return len(batches) == len(others) and all(np.array_equal(a.image, b.image) for a, b in pairs)


def test_batches_have_the_sizes_of_their_phases(training_set):
    batches = collect(training_set)
    assert [[sample.image.shape[1] for sample in batch] for batch in batches] == [[64, 64], [64, 64], [128], [128]]


def test_batches_depend_on_seed_and_step_alone(training_set):
    batches = collect(training_set)
    assert same(batches, collect(training_set, workers=3))
    assert same(batches[1:], collect(training_set, first_step=1))
    assert same(batches[3:], collect(training_set, first_step=3))
    assert not same(batches, collect(training_set, seed=6))


def test_every_epoch_shows_every_image_once_in_an_order_of_its_own(training_set):
    read = training_set.read
    seen = []
    training_set.read = lambda index: seen.append(index) or read(index)
    list(load_batches(training_set, SMALL_CONFIG, METHOD, Recipe((Phase(64, 1, 40),), augmentation=PLAIN)))
    epochs = [seen[start : start + 4] for start in range(0, 40, 4)]
    assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_missing_image_ends_the_training_with_its_name(training_set, small_coco):
    (small_coco / "val2017" / "000000000003.jpg").unlink()
    with pytest.raises(DatasetError, match=r"There is no image .*000000000003.jpg"):
        collect(training_set)
