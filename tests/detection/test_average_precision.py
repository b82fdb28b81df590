"""AP from matches computed once, against pycocotools: whole data sets, and samples that repeat and drop images."""

import numpy as np
import pytest
import referee

from yolact_ascend.detection.average_precision import AveragePrecision, mean_precision
from yolact_ascend.detection.matches import match_overlaps, match_results
from yolact_ascend.detection.tasks import BOX, MASK

IOU_TYPE = {BOX: "bbox", MASK: "segm"}
EXACT = 1e-12  # of a fraction: rounding of sums


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("task", [BOX, MASK])
def test_with_weights_of_one_it_is_cocoevals_map(seed, task):
    annotations, boxes, masks = referee.random_dataset(seed)
    results = {BOX: boxes, MASK: masks}[task]
    image_ids = [image["id"] for image in annotations["images"]]
    matches = match_results(annotations, image_ids, results, task)
    found = AveragePrecision(matches).of_classes(np.ones((1, len(image_ids)), np.int64))[0]
    expected = referee.score_by_pycocotools(annotations, image_ids, results, IOU_TYPE[task]).table
    by_iou = mean_precision(found)
    assert found.shape == (10, referee.CLASSES) and np.isnan(found[:, -1]).all()  # the last one has no objects
    np.testing.assert_allclose([by_iou.mean(), *by_iou], np.array([*expected.values()]) / 100, rtol=0, atol=EXACT)


@pytest.mark.parametrize("task", [BOX, MASK])
def test_a_weight_is_a_number_of_copies(task):
    annotations, boxes, masks = referee.random_dataset(11)
    results = {BOX: boxes, MASK: masks}[task]
    image_ids = [image["id"] for image in annotations["images"]]
    precision = AveragePrecision(match_results(annotations, image_ids, results, task))
    weights = np.array([[0, 3, 1, 0, 2, 1, 0, 1], [1, 0, 0, 0, 0, 0, 5, 0], [0] * 8])
    found = mean_precision(precision.of_classes(weights)).mean(axis=1)
    for row, value in zip(weights[:2], found):
        copied, repeated = _copies(annotations, results, dict(zip(image_ids, row.tolist())))
        ids = [image["id"] for image in copied["images"]]
        expected = referee.score_by_pycocotools(copied, ids, repeated, IOU_TYPE[task]).table["all"]
        assert value == pytest.approx(expected / 100, abs=EXACT)
    assert np.isnan(found[2])  # nothing is left


def _copies(annotations, results, times):
    """Return a data set with each image as often as `times` says, and its results."""
    copied, repeated = {"categories": annotations["categories"], "images": [], "annotations": []}, []
    for image in annotations["images"]:
        for copy in range(times[image["id"]]):
            image_id = 1000 * (copy + 1) + image["id"]
            copied["images"].append({**image, "id": image_id})
            for entry in annotations["annotations"]:
                if entry["image_id"] == image["id"]:
                    number = len(copied["annotations"]) + 1
                    copied["annotations"].append({**entry, "id": number, "image_id": image_id})
            repeated += [{**entry, "image_id": image_id} for entry in results if entry["image_id"] == image["id"]]
    return copied, repeated


def test_each_image_by_itself_is_a_data_set_of_one_image():
    annotations, boxes, _ = referee.random_dataset(5)
    image_ids = [image["id"] for image in annotations["images"]]
    precision = AveragePrecision(match_results(annotations, image_ids, boxes, BOX))
    alone = precision.of_images()
    for index, weights in enumerate(np.eye(len(image_ids), dtype=np.int64)):
        np.testing.assert_allclose(alone[:, index], precision.of_classes(weights[None])[0], rtol=0, atol=EXACT)


@pytest.mark.parametrize(
    ("overlaps", "is_crowd", "hits", "ignored"),
    [
        (np.zeros((0, 0)), [], [], []),
        (np.zeros((2, 0)), [], [False, False], [False, False]),
        ([[0.5]], [False], [True], [False]),
        ([[0.49]], [False], [False], [False]),
        ([[0.8], [0.9]], [False], [True, False], [False, False]),
        ([[0.8, 0.9], [0.0, 0.9]], [False, False], [True, False], [False, False]),
        ([[0.7, 0.7], [0.7, 0.0]], [False, False], [True, True], [False, False]),
        ([[0.9], [0.9]], [True], [False, False], [True, True]),
        ([[0.6, 0.9], [0.6, 0.9]], [False, True], [True, False], [False, True]),
    ],
    ids=[
        *("nothing", "no objects", "at the threshold", "below it", "the better one comes first", "the best is taken"),
        *("of equal ones the last", "a crowd stays", "an object before a crowd"),
    ],
)
def test_who_takes_what(overlaps, is_crowd, hits, ignored):
    found = match_overlaps(np.array(overlaps, float), np.array(is_crowd, bool), np.array([0.5]))
    assert [row.tolist() for row in (found[0][0], found[1][0])] == [hits, ignored]
