"""Widths of pruned networks: from the file, and from nowhere else."""

import dataclasses
import json
import re
import subprocess
import sys

import pytest
import torch
from factories import TINY_CONFIG, describe_network

from yolact_ascend.errors import ArtifactError, WeightsError
from yolact_ascend.models.classes import config_of, read_config
from yolact_ascend.models.config import CONFIGS, Preprocessing, is_alike
from yolact_ascend.models.config_json import config_to_json
from yolact_ascend.models.description import from_json, to_json
from yolact_ascend.models.families import cut_outputs, family_of
from yolact_ascend.models.weights import expected_shapes, load_network, write_weights

LEVELS = ("pred_layers.0", "pred_layers.1", "pred_layers.2", "downsample_layers.0", "downsample_layers.1")
WIDTHS = (
    ("backbone.layers.4.0.conv.0.0", 64),
    *((f"fpn_phase_2.{name}", 48) for name in LEVELS),
    ("proto_net.4", 32),
)
PRUNED = dataclasses.replace(TINY_CONFIG, name="pruned_config", widths=WIDTHS)


@pytest.fixture(scope="module")
def pruned_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("pruned") / "pruned.pth"
    write_weights(family_of(PRUNED).build(PRUNED), PRUNED, path)
    return path


def test_inputs_norms_and_depthwise_layers_follow_the_widths_that_are_stated():
    found, plain = expected_shapes(PRUNED), expected_shapes(TINY_CONFIG)
    changed = {key: shape for key, shape in found.items() if shape != plain[key]}
    assert list(found) == list(plain)
    assert changed["backbone.layers.4.0.conv.0.0.weight"] == (64, 24, 1, 1)
    assert changed["backbone.layers.4.0.conv.1.0.weight"] == (64, 1, 3, 3)  # depthwise
    assert changed["backbone.layers.4.0.conv.1.1.running_var"] == (64,)
    assert changed["backbone.layers.4.0.conv.2.weight"] == (48, 64, 1, 1)
    assert changed["fpn_phase_2.pred_layers.2.bias"] == (48,)
    assert changed["fpn_phase_2.downsample_layers.1.weight"] == (48, 48, 3, 3)
    assert changed["prediction_layers.0.upfeature.0.weight"] == (64, 48, 3, 3)
    assert changed["proto_net.8.weight"] == (64, 32, 3, 3)
    assert not any(key.startswith(("fpn_phase_1", "backbone.layers.5")) for key in changed)


def test_outputs_of_a_cut_have_the_width_of_the_levels(pruned_file):
    small = dataclasses.replace(PRUNED, preprocessing=Preprocessing(96, 96))
    with torch.inference_mode():
        outputs = load_network(pruned_file, small)(torch.zeros(1, 3, 96, 96))
    assert [tuple(output.shape[1:]) for output in outputs] == [spec.shape for spec in cut_outputs(small, "fpn")]
    assert cut_outputs(PRUNED, "fpn")[0].shape == (48, 69, 69)


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        pytest.param((("proto_net.99", 8),), "a width of proto_net.99, expected a convolution", id="no such layer"),
        pytest.param((("proto_net.1", 8),), "a width of proto_net.1, expected a convolution", id="no convolution"),
        pytest.param(
            (("backbone.layers.4.0.conv.1.0", 64),),
            "a width of backbone.layers.4.0.conv.1.0, expected a convolution of its network whose width is its own",
            id="depthwise",
        ),
        pytest.param((("backbone.layers.4.1.conv.2", 32),), "contradict each other", id="residual sum"),
        pytest.param((("fpn_phase_2.pred_layers.0", 48),), "contradict each other", id="levels of one head"),
    ],
)
def test_widths_that_no_network_can_have_are_one_sentence(widths, expected):
    with pytest.raises(WeightsError, match=re.escape(expected)) as caught:
        expected_shapes(dataclasses.replace(PRUNED, widths=widths))
    assert "Prune again" in str(caught.value) and "\n" not in str(caught.value)


def test_a_new_process_finds_the_same_widths_and_outputs(pruned_file):
    """VainF/Torch-Pruning#341: the full network is built again from its name, and the pruned weights do not fit."""
    code = f"""
from pathlib import Path
import torch
from yolact_ascend.models.classes import config_of, read_config
from yolact_ascend.models.weights import load_network
path = Path({str(pruned_file)!r})
network = load_network(path, read_config(path, config_of(None, path)))
with torch.inference_mode():
    print(*(f"{{output.double().sum().item():.17g}}" for output in network(torch.ones(1, 3, 96, 96))))
"""
    with torch.inference_mode():
        outputs = load_network(pruned_file, PRUNED)(torch.ones(1, 3, 96, 96))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [f"{output.double().sum().item():.17g}" for output in outputs]


def test_widths_come_from_the_file_and_not_from_the_name(pruned_file):
    assert config_of(None, pruned_file).widths == WIDTHS
    assert config_of("pruned_config", pruned_file).widths == WIDTHS
    other = dataclasses.replace(PRUNED, widths=WIDTHS[:1])
    assert not is_alike(other, PRUNED)
    with pytest.raises(WeightsError, match="holds weights of a pruned_config with other widths: leave out --config"):
        read_config(pruned_file, other)


def test_configs_without_widths_are_written_as_before():
    assert all("widths" not in config_to_json(config) for config in CONFIGS.values())
    assert config_to_json(PRUNED)["widths"] == dict(WIDTHS)


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ({}, '"widths" is empty'),
        ([], '"widths" is [], expected an object'),
        ({"proto_net.4": 0}, '"proto_net.4" is 0, expected a whole number from 1 to 65536'),
        ({"proto_net.4": "32"}, "\"proto_net.4\" is '32', expected a whole number"),
    ],
)
def test_widths_of_a_description_are_read_strictly(widths, expected):
    value = to_json(describe_network(PRUNED, "heads"))
    assert from_json(json.loads(json.dumps(value)), "a.onnx").config.widths == WIDTHS
    value["config"]["widths"] = widths
    with pytest.raises(ArtifactError, match=re.escape(expected)):
        from_json(value, "a.onnx")
