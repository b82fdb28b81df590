"""The weights in this repository still find what they found when they were published."""

import json

import pytest
from factories import CHECKOUT

from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.classes import read_config
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG, with_classes
from yolact_ascend.models.weights import load_network
from yolact_ascend.scenes.scenes import draw_dataset
from yolact_ascend.training.score import score_network
from yolact_ascend.training.train import summarise

WEIGHTS = CHECKOUT / "weights" / "yolact_edge_demo.pth"
NOTE = json.loads(WEIGHTS.with_suffix(".json").read_text())
DEMO = CONFIGS[DEMO_CONFIG]


def test_the_weights_are_the_configs_and_small():
    # Other classes: a file without a record would leave those that it is given.
    assert read_config(WEIGHTS, with_classes(DEMO, ("screw", "nut"), (7, 9))) == DEMO
    assert WEIGHTS.stat().st_size <= 4e6


def test_the_published_map_is_that_of_the_whole_held_out_split():
    assert NOTE["all"]["images"] == 200
    assert NOTE["all"]["mask_map"] >= 50


def test_the_weights_score_what_was_published(tmp_path):
    """On the first held-out scenes. Tolerance in points of mAP: another numpy, OpenCV or CPU moves single pixels."""
    published = NOTE["first"]
    draw_dataset(tmp_path, train_images=1, val_images=published["images"], seed=NOTE["seed"])
    dataset = load_dataset(tmp_path / "annotations" / "instances_val2017.json", tmp_path / "val2017")
    # Image ids count on from the training images, of which there are fewer here; order and content are the same.
    scores = summarise(score_network(load_network(WEIGHTS, DEMO), DEMO, dataset))
    assert scores == {key: pytest.approx(published[key], abs=1.5) for key in published}
