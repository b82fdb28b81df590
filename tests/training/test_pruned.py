"""A training of a pruned network keeps its widths: VainF/Torch-Pruning#341."""

import dataclasses

import torch

from yolact_ascend.models.classes import config_of, read_config
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.models.families import family_of
from yolact_ascend.models.weights import load_network, write_weights
from yolact_ascend.training.recipe import Phase, Recipe
from yolact_ascend.training.train import TrainingFiles, train

PRUNED = dataclasses.replace(CONFIGS[DEMO_CONFIG], name="pruned_config", widths=(("proto_net.4", 32),))


def test_steps_checkpoint_and_weights_have_the_widths_of_the_file(training_set, tmp_path):
    start = tmp_path / "pruned.pth"
    write_weights(family_of(PRUNED).build(PRUNED), PRUNED, start)
    config = read_config(start, config_of(None, start))
    recipe = Recipe((Phase(64, 1, 2),), warmup_steps=0, clip_norm=10)
    train(config, recipe, training_set, tmp_path / "out", pretrained=start)
    files = TrainingFiles(tmp_path / "out")
    found = config_of(None, files.weights)
    assert found.widths == PRUNED.widths
    network = load_network(files.weights, found)
    assert network.state_dict()["proto_net.8.weight"].shape == (64, 32, 3, 3)
    made_from = torch.load(files.checkpoint, weights_only=True)["made_from"]
    assert made_from["widths"] == {"proto_net.4": 32}
