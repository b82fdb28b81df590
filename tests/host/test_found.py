"""What was found in a picture: arrays, pixels, pictures, and the forms that other programs take."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from factories import TINY_CONFIG, rectangle_rle

from yolact_ascend.detection.detections import Detections, bbox_results, mask_results
from yolact_ascend.errors import DatasetError, ToolError, UsageError
from yolact_ascend.host.found import Found
from yolact_ascend.images.reader import take_picture

HEIGHT, WIDTH = 40, 60
BOXES = [[5, 6, 25, 26], [30, 0, 60, 40]]


@pytest.fixture
def detections():
    masks = tuple(rectangle_rle(*box, HEIGHT, WIDTH) for box in BOXES)
    return Detections(np.array([3, 0]), np.array([0.9, 0.5], np.float32), np.array(BOXES), masks)


@pytest.fixture
def photograph():
    return np.full((HEIGHT, WIDTH, 3), 100, np.uint8)


@pytest.fixture
def found(detections, photograph):
    return Found(detections, TINY_CONFIG, HEIGHT, WIDTH, take_picture(photograph, "a grey picture"))


def test_everything_as_arrays(found):
    assert found.boxes_xyxy_px.tolist() == BOXES and found.boxes_xyxy_px.dtype == np.float32
    assert found.scores.tolist() == pytest.approx([0.9, 0.5]) and found.class_ids.tolist() == [3, 0]
    assert found.class_names == ["leaf", "ball"] and found.category_ids.tolist() == [104, 101]
    assert found.masks.shape == (2, HEIGHT, WIDTH) and found.masks.dtype == bool
    for mask, (left, top, right, bottom) in zip(found.masks, BOXES):
        assert mask[top:bottom, left:right].all() and mask.sum() == (bottom - top) * (right - left)
    assert found.masks is found.masks  # decoded once
    assert repr(found) == "<Found 2 in a grey picture: leaf 0.90, ball 0.50>"


def test_it_iterates_as_objects(found):
    first, second = found
    assert repr(found[0]) == repr(first) and repr(found[-1]) == repr(second)
    with pytest.raises(IndexError):
        found[2]
    assert (first.class_name, first.class_id, first.category_id, first.score) == ("leaf", 3, 104, pytest.approx(0.9))
    assert first.box_xyxy_px.tolist() == BOXES[0] and np.array_equal(second.mask, found.masks[1])


def test_changing_an_array_changes_nothing_else(found):
    found.boxes_xyxy_px[:] = 0
    found.scores[:] = 0
    assert found.boxes_xyxy_px.tolist() == BOXES and found.scores.all()


def test_results_go_to_other_processes(found):
    other = pickle.loads(pickle.dumps(found))
    assert other.to_coco(1) == found.to_coco(1) and np.array_equal(other.draw(), found.draw())


def test_entries_are_those_of_the_verbs(found, detections):
    """One task: as the files of postprocess and stream; without one: box and mask together, as predict's file."""
    boxes, masks = (make(detections, 7, TINY_CONFIG.category_ids) for make in (bbox_results, mask_results))
    assert found.to_coco(7, "box") == boxes and found.to_coco(7, task="mask") == masks
    whole = found.to_coco(7)
    assert list(whole[0]) == ["image_id", "category_id", "bbox", "segmentation", "score", "class_name"]
    assert whole == [
        {**box, "segmentation": mask["segmentation"], "class_name": name}
        for box, mask, name in zip(boxes, masks, ["leaf", "ball"])
    ]
    assert whole[0]["bbox"] == [5, 6, 20, 20]
    with pytest.raises(UsageError, match="task='segm': expected 'box' or 'mask', or none for both together"):
        found.to_coco(7, "segm")
    assert json.dumps(found.to_coco(np.int64(7))) == json.dumps(found.to_coco(7))
    with pytest.raises(UsageError, match="image_id='a': expected a whole number"):
        found.to_coco("a")


def test_it_draws_on_the_picture_that_was_searched(found, detections, photograph, tmp_path):
    drawn = found.draw()
    assert drawn.shape == photograph.shape and (drawn != photograph).any() and (photograph == 100).all()
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), photograph)
    by_path = Found(detections, TINY_CONFIG, HEIGHT, WIDTH, take_picture(path))
    assert np.array_equal(by_path.draw(), drawn) and np.array_equal(by_path.draw(path.read_bytes()), drawn)
    cv2.imwrite(str(path), photograph[:20])
    with pytest.raises(DatasetError, match="had 60×40 pixels when it was searched, but the picture to draw on has 60×"):
        by_path.draw()


def test_a_network_of_boxes_has_no_masks(detections, photograph):
    config = replace(TINY_CONFIG, tasks=("box",))
    found = Found(replace(detections, masks=None), config, HEIGHT, WIDTH, take_picture(photograph))
    for use in (lambda: found.masks, lambda: next(iter(found)).mask):
        with pytest.raises(UsageError, match="finds boxes only"):
            use()
    assert len(found.to_coco(1)) == 2 and "segmentation" not in found.to_coco(1)[0]
    with pytest.raises(UsageError, match="task='mask': expected 'box'"):
        found.to_coco(1, "mask")


def test_the_detections_of_supervision(found):
    """By the real package, which must not bring its own OpenCV: pip install --no-deps supervision."""
    supervision = pytest.importorskip("supervision", reason="supervision is not installed (CONTRIBUTING.md)")
    given = found.to_supervision()
    assert isinstance(given, supervision.Detections) and len(given) == 2
    assert np.array_equal(given.xyxy, found.boxes_xyxy_px) and np.array_equal(given.mask, found.masks)
    assert given.class_id.tolist() == [3, 0] and given.data["class_name"].tolist() == ["leaf", "ball"]
    kept = given[given.confidence > 0.6]  # its own selection works on ours
    assert len(kept) == 1 and kept.mask.shape == (1, HEIGHT, WIDTH)
    none = Detections(np.zeros(0, int), np.zeros(0, np.float32), np.zeros((0, 4), int), ())
    empty = replace(found, detections=none).to_supervision()
    assert len(empty) == 0 and empty.is_empty()


def test_without_supervision_it_says_what_to_install(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ToolError, match="supervision is not installed: pip install supervision"):
        found.to_supervision()
