"""The weights in this repository still find what they found when they were published."""

import json

import pytest
from factories import CHECKOUT

from yolact_ascend.files import sha256_file
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.classes import read_config
from yolact_ascend.models.config import CONFIGS, with_classes
from yolact_ascend.models.weights import load_network
from yolact_ascend.scenes.scenes import draw_dataset
from yolact_ascend.training.score import score_network
from yolact_ascend.training.train import summarise

SHIPPED = [config for config in CONFIGS.values() if config.source.is_shipped]
# By config: held-out scenes, and points of mask mAP that were the goal.
GOALS = {"yolact_edge_demo_config": (200, 50), "mask_rcnn_demo_config": (100, 30)}

pytestmark = pytest.mark.parametrize("config", SHIPPED, ids=lambda config: config.name)


def weights_of(config):
    return CHECKOUT / config.source.url


def note_of(config):
    return json.loads(weights_of(config).with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def first_scenes(tmp_path_factory):
    """The first held-out scenes of the demo's data set."""
    folder = tmp_path_factory.mktemp("held_out")
    notes = [note_of(config) for config in SHIPPED]
    (seed,) = {note["seed"] for note in notes}
    draw_dataset(folder, train_images=1, val_images=max(note["first"]["images"] for note in notes), seed=seed)
    # Image ids count on from the training images, of which there are fewer here; order and content are the same.
    return load_dataset(folder / "annotations" / "instances_val2017.json", folder / "val2017")


def test_the_weights_are_the_configs_and_small(config):
    # Other classes: a file without a record would leave those that it is given.
    assert read_config(weights_of(config), with_classes(config, ("screw", "nut"), (7, 9))) == config
    assert weights_of(config).stat().st_size <= 4e6


def test_the_published_map_is_that_of_the_whole_held_out_split(config):
    note = note_of(config)
    assert (note["config"], note["sha256"]) == (config.name, sha256_file(weights_of(config)))
    images, least_map = GOALS[config.name]
    assert note["all"]["images"] == images
    assert note["all"]["mask_map"] >= least_map


def test_the_weights_score_what_was_published(config, first_scenes):
    """On the first held-out scenes. Tolerance in points of mAP: another numpy, OpenCV or CPU moves single pixels."""
    published = note_of(config)["first"]
    network = load_network(weights_of(config), config)
    scores = summarise(score_network(network, config, first_scenes, published["images"]))
    assert scores == {key: pytest.approx(published[key], abs=1.5) for key in published}
