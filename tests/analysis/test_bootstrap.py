"""Intervals of differences: on runs that are equal, that differ everywhere, and on simulated networks."""

import sys

import numpy as np
import pytest
import referee
from factories import CHECKOUT

from yolact_ascend.analysis.bootstrap import compare_precision, draw_weights
from yolact_ascend.detection.average_precision import AveragePrecision
from yolact_ascend.detection.matches import match_results
from yolact_ascend.detection.tasks import BOX

sys.path.insert(0, str(CHECKOUT / "benchmarks"))

import interval_coverage


@pytest.fixture(scope="module")
def scored():
    annotations, boxes, _ = referee.random_dataset(3)
    image_ids = [image["id"] for image in annotations["images"]]

    def precision(results):
        return AveragePrecision(match_results(annotations, image_ids, results, BOX))

    return annotations, boxes, precision


def test_a_run_does_not_differ_from_itself(scored):
    _, boxes, precision = scored
    found = compare_precision(precision(boxes), precision(boxes), samples=20)
    assert set(found.columns) == {"all", *(str(percent) for percent in range(50, 100, 5))}
    for difference in (*found.columns.values(), *found.classes.values()):
        assert (difference.points, difference.low, difference.high) == (0, 0, 0)
    assert len(found.classes) == referee.CLASSES - 1  # one class has no objects


def test_the_difference_is_that_of_cocoevals_maps_and_lies_in_its_interval(scored):
    annotations, boxes, precision = scored
    worse = [entry for n, entry in enumerate(boxes) if n % 3]
    image_ids = [image["id"] for image in annotations["images"]]
    found = compare_precision(precision(boxes), precision(worse), samples=50)
    for column, difference in found.columns.items():
        before, after = (
            referee.score_by_pycocotools(annotations, image_ids, results, "bbox").table[column]
            for results in (boxes, worse)
        )
        assert difference.points == pytest.approx(after - before, abs=1e-10)
        assert difference.low <= difference.points <= difference.high
    assert found == compare_precision(precision(boxes), precision(worse), samples=50)  # seeded


def test_nothing_to_score_has_no_difference(scored):
    annotations, boxes, _ = scored
    empty = {**annotations, "annotations": []}
    precision = AveragePrecision(match_results(empty, [annotations["images"][0]["id"]], boxes, BOX))
    found = compare_precision(precision, precision, samples=5)
    assert found.columns["all"].points is None and found.classes == {}


def test_samples_draw_as_many_images_whatever_the_block():
    blocks = [np.concatenate([*draw_weights(7, 10, block, 4)]) for block in (1, 3, 10)]
    assert blocks[0].shape == (10, 7) and (blocks[0].sum(axis=1) == 7).all()
    for other in blocks[1:]:
        np.testing.assert_array_equal(blocks[0], other)


def test_intervals_hold_the_true_difference_of_simulated_networks():
    """The quick form of benchmarks/interval_coverage.py; with 60 data sets, 95 % are 57 ± 1.7."""
    networks = (interval_coverage.BASE, interval_coverage.CASES["a worse network"])
    truth = interval_coverage.true_difference(networks, images=20_000)
    share, width, _ = interval_coverage.coverage(networks, images=60, data_sets=60, samples=60, truth=truth)
    assert 52 / 60 <= share < 1
    assert width < 12
