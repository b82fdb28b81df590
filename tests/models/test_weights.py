"""Upstream's weights load strictly; what does not fit is refused by name."""

import dataclasses
import os
import pickle
from pathlib import Path

import pytest
import torch
from factories import SMALL_CONFIG, as_published_by_yolact, random_state_dict

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.classes import read_config
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.file_names import note_other_name
from yolact_ascend.models.weights import (
    compare_shapes,
    expected_shapes,
    load_fitting,
    load_network,
    read_state_dict,
    write_weights,
)
from yolact_ascend.models.yolact.network import YolactEdge

# Seen in upstream @ a9a0028 for each config: state-dict entries and parameters, training-only layer included.
UPSTREAM_COUNTS = {
    "yolact_edge_resnet50_config": (354, 31_164_943),
    "yolact_edge_config": (660, 50_157_071),
    "yolact_edge_mobilenetv2_config": (348, 9_028_815),
    # In dbolya/yolact @ 57b8f2d.
    "yolact_base_config": (660, 50_157_071),
    "yolact_resnet50_config": (354, 31_164_943),
    "yolact_darknet53_config": (348, 47_783_087),
    "yolact_resnet50_pascal_config": (354, 30_734_623),
}
SEMANTIC_SEG_PARAMETERS = 256 + 1  # for each class


@pytest.fixture(scope="module")
def state():
    return random_state_dict(SMALL_CONFIG)


@pytest.fixture
def write(tmp_path):
    def write(value):
        path = tmp_path / "weights.pth"
        torch.save(value, path)
        return path

    return write


@pytest.mark.parametrize("name", UPSTREAM_COUNTS)
def test_the_networks_are_as_large_as_upstreams(name):
    with torch.device("meta"):
        network = YolactEdge(CONFIGS[name])
    entries, parameters = UPSTREAM_COUNTS[name]
    assert len(network.state_dict()) == entries - 2
    in_training = SEMANTIC_SEG_PARAMETERS * CONFIGS[name].num_classes
    assert sum(p.numel() for p in network.parameters()) == parameters - in_training


def test_upstreams_file_loads_and_its_training_layer_is_dropped(state, write):
    assert "semantic_seg_conv.weight" in state
    weights = read_state_dict(write(state), SMALL_CONFIG)
    assert not any(key.startswith("semantic_seg_conv") for key in weights)
    network = load_network(write(state), SMALL_CONFIG)
    assert not network.training
    key = "prediction_layers.0.upfeature.0.weight"
    assert torch.equal(network.state_dict()[key], state[key])


def test_yolacts_one_piece_fpn_is_renamed(state, write):
    renamed = {k.replace("fpn_phase_1.", "fpn.").replace("fpn_phase_2.", "fpn."): v for k, v in state.items()}
    assert "fpn.lat_layers.0.weight" in renamed
    assert read_state_dict(write(renamed), SMALL_CONFIG).keys() == read_state_dict(write(state), SMALL_CONFIG).keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("fpn_phase_1.lat_layers.0.weight"), r"1 missing \(fpn_phase_1.lat_layers.0.weight\)"),
        (lambda s: s.update({"flow_net.conv.weight": torch.zeros(1)}), r"1 extra \(flow_net.conv.weight\)"),
        (
            lambda s: s.update({"proto_net.10.bias": torch.zeros(5)}),
            r"1 misshapen \(proto_net.10.bias \[5\] instead of \[32\]\)",
        ),
        (
            lambda s: [s.pop(key) for key in list(s) if key.startswith("fpn_phase")],
            r"16 missing \(.* and 12 more\)",
        ),
    ],
    ids=["missing", "extra", "misshapen", "many"],
)
def test_differing_keys_are_named(state, write, change, message):
    changed = dict(state)
    change(changed)
    with pytest.raises(WeightsError, match=message) as caught:
        read_state_dict(write(changed), SMALL_CONFIG)
    assert "They fit none of the configs" in str(caught.value)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != SMALL_CONFIG.name])
def test_weights_of_another_config_say_which(state, write, name):
    with pytest.raises(WeightsError, match=f"does not fit {name}.*use --config={SMALL_CONFIG.name}"):
        read_state_dict(write(state), CONFIGS[name])


def zeros_of(name):
    """Weights that fit a config, without values that matter."""
    return {key: torch.zeros(shape) for key, shape in expected_shapes(CONFIGS[name]).items()}


@pytest.mark.parametrize("name", ["yolact_resnet50_config", "yolact_edge_resnet50_config"])
def test_yolacts_file_fits_yolact_edges_config_of_the_same_network(write, name):
    state = as_published_by_yolact(zeros_of("yolact_resnet50_config"))
    assert len(read_state_dict(write(state), CONFIGS[name])) == 352


def test_weights_that_fit_several_configs_name_them_all(write):
    fitting = "yolact_edge_config, yolact_base_config, yolact_im400_config, yolact_im700_config"
    with pytest.raises(WeightsError, match=f"They fit {fitting}: use --config=NAME .* with the one they are of"):
        read_state_dict(write(zeros_of("yolact_base_config")), CONFIGS["yolact_darknet53_config"])


def test_the_name_of_a_file_tells_which_of_them(write):
    path = write(zeros_of("yolact_base_config"))
    path = path.rename(path.with_name("yolact_im700_54_800000.pth"))
    with pytest.raises(WeightsError, match="These are the weights of yolact_im700_config: use --config=yolact_im700"):
        read_state_dict(path, CONFIGS["yolact_darknet53_config"])


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("yolact_im700_54_800000.pth", "yolact_base_config", "yolact_im700_config"),
        ("yolact_im700_10_3000_interrupt.pth", "yolact_base_config", "yolact_im700_config"),
        ("yolact_resnet50_pascal_54_120000.pth", "yolact_resnet50_config", "yolact_resnet50_pascal_config"),
        ("yolact_im700_54_800000.pth", "yolact_im700_config", None),
        ("yolact_edge_54_800000.pth", "yolact_base_config", None),  # the same network
        ("mine.pth", "yolact_base_config", None),
        ("yolact_plus_base_54_800000.pth", "yolact_base_config", None),  # its tensors do not fit
    ],
)
def test_a_file_whose_name_is_of_other_anchors_is_noted(name, config, said):
    notes = note_other_name(Path("weights") / name, CONFIGS[config])
    assert len(notes) == (said is not None)
    assert all(f"of weights of {said}, whose" in note and f"use --config={said}" in note for note in notes)


def test_a_truncated_file_is_refused(state, write):
    path = write(state)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"cannot be read as PyTorch weights \(100000 bytes\).*truncated"):
        read_state_dict(path, SMALL_CONFIG)


@pytest.mark.parametrize("size", [0, 3, 40, 1000, 30_000, 200_000])
def test_a_truncated_file_of_torchs_old_format_is_refused(state, tmp_path, size):
    """Files from before torch 1.6 fail in other ways at each place where they are cut."""
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert read_state_dict(path, SMALL_CONFIG)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WeightsError, match=f"cannot be read as PyTorch weights .{size} bytes"):
        read_state_dict(path, SMALL_CONFIG)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4\n"  # git-lfs, docs/spec.md


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"", "Is it truncated"),
        (b"\n<html>Not found</html>", "is a web page. Open the address in a browser"),
        (b"hello\n", "is plain text, expected a file that PyTorch saved .* Pass the file of the weights"),
        (LFS_POINTER, "is a Git LFS pointer. Fetch the file that it stands for"),
    ],
    ids=["empty", "an error page", "text", "a pointer"],
)
def test_a_file_that_is_no_pth_is_refused(tmp_path, content, remedy):
    for name, kind in (("a.pth", "PyTorch weights"), ("a.pkl", "weights")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=rf"cannot be read as {kind} \({len(content)} bytes.*{remedy}"):
            read_state_dict(tmp_path / name, SMALL_CONFIG)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    (tmp_path / "a.pth").write_bytes(pickle.dumps({"a": Evil()}, protocol=2))
    with pytest.raises(WeightsError, match=r"holds Python objects \(getattr\).*can run any code"):
        read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"state_dict": {}, "epoch": 3}, "a dict with state_dict, epoch"),
        ([1], "a list"),
        ({1: torch.zeros(1)}, "a dict with 1"),
        ({}, "352 missing"),
    ],
    ids=["checkpoint", "list", "other keys", "empty"],
)
def test_a_file_without_a_state_dict_is_refused(write, value, found):
    config = CONFIGS["yolact_edge_resnet50_config"]
    with pytest.raises(WeightsError, match=found):
        read_state_dict(write(value), config)


OWN_CLASSES = dataclasses.replace(SMALL_CONFIG, class_names=("screw", "nut"), category_ids=(7, 9))


@pytest.fixture
def own_weights(tmp_path):
    torch.manual_seed(0)
    network = YolactEdge(OWN_CLASSES)
    write_weights(network, OWN_CLASSES, tmp_path / "own.pth")
    return network, tmp_path / "own.pth"


def test_classes_travel_with_the_weights(own_weights):
    network, path = own_weights
    assert read_config(path, SMALL_CONFIG) == OWN_CLASSES
    loaded = load_network(path, OWN_CLASSES).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())


def test_written_weights_are_a_plain_state_dict(own_weights):
    network, path = own_weights
    weights = torch.load(path, weights_only=True)
    assert list(weights) == list(network.state_dict())
    YolactEdge(OWN_CLASSES).load_state_dict(weights, strict=True)


def test_the_same_weights_give_the_same_bytes_in_every_process(own_weights, tmp_path, monkeypatch):
    network, path = own_weights
    monkeypatch.setattr(os, "getpid", lambda: 12345)
    write_weights(network, OWN_CLASSES, tmp_path / "again.pth")
    assert (tmp_path / "again.pth").read_bytes() == path.read_bytes()


def test_loading_what_fits_takes_all_of_the_same_classes(own_weights):
    network, path = own_weights
    other = YolactEdge(OWN_CLASSES)
    assert load_fitting(other, path, OWN_CLASSES) == []
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), network.state_dict().values()))


def test_loading_what_fits_spares_only_the_class_layer(own_weights):
    _, path = own_weights
    network = YolactEdge(SMALL_CONFIG)
    before = network.head.conf_layer.weight.clone()
    assert load_fitting(network, path, SMALL_CONFIG) == [
        "prediction_layers.0.conf_layer.weight",
        "prediction_layers.0.conf_layer.bias",
    ]
    assert torch.equal(network.head.conf_layer.weight, before)
    with pytest.raises(WeightsError, match="holds weights of yolact_edge_mobilenetv2_config: use --config"):
        load_fitting(YolactEdge(CONFIGS["yolact_edge_config"]), path, CONFIGS["yolact_edge_config"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proto_net.10.bias": torch.zeros(5)}, r"1 misshapen \(proto_net.10.bias \[5\] instead of \[32\]\)"),
        ({"prediction_layers.0.bbox_layer.bias": torch.zeros(4)}, r"1 misshapen \(prediction_layers.0.bbox_layer.bias"),
        ({"flow_net.conv.weight": torch.zeros(1)}, r"1 extra \(flow_net.conv.weight\)"),
    ],
    ids=["prototypes", "beside the class layer", "extra"],
)
def test_loading_what_fits_refuses_any_other_layer_that_does_not(own_weights, write, change, message):
    _, path = own_weights
    other = write({**torch.load(path, weights_only=True), **change})
    with pytest.raises(WeightsError, match=f"does not fit {SMALL_CONFIG.name}: {message}"):
        load_fitting(YolactEdge(SMALL_CONFIG), other, SMALL_CONFIG)


@pytest.mark.parametrize(
    ("count", "listed"),
    [
        (1, "1 missing (a)"),
        (4, "4 missing (a, b, c, d)"),
        (5, "5 missing (a, b, c, d and 1 more)"),
        (7, "7 missing (a, b, c, d and 3 more)"),
    ],
)
def test_a_message_lists_at_most_four_keys_of_a_kind(count, listed):
    assert compare_shapes({}, dict.fromkeys("abcdefg"[:count], (1,))) == [listed]


def test_compare_shapes_describes_each_kind_in_a_phrase():
    found = {"a": (1,), "b": (2, 3), "x": (1,), "y": (4,)}
    expected = {"a": (1,), "b": (3, 2), "c": (5,)}
    assert compare_shapes(found, expected) == [
        "1 missing (c)",
        "2 extra (x, y)",
        "1 misshapen (b [2, 3] instead of [3, 2])",
    ]


def test_compare_shapes_of_equal_dicts_is_empty():
    shapes = expected_shapes(SMALL_CONFIG)
    assert compare_shapes(shapes, dict(shapes)) == []
