"""Weights of R-CNN as other programs wrote them give the tensors of our network, or say what they are of."""

from __future__ import annotations

import dataclasses
import pickle
import re

import numpy as np
import pytest
import torch
from factories import random_rcnn_state_dict, tiny_rcnn

from yolact_ascend.errors import WeightsError
from yolact_ascend.models import weights as weights_module
from yolact_ascend.models.class_record import add_classes
from yolact_ascend.models.classes import choose_classes, config_of, count_classes, with_numbers
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.families import family_of
from yolact_ascend.models.rcnn.foreign import explain_foreign
from yolact_ascend.models.rcnn.other_keys import BENCHMARK, DETECTRON, SEGMENTOLY, to_our_key, writer_of
from yolact_ascend.models.weights import expected_shapes, read_state_dict, write_weights
from yolact_ascend.models.weights_file import read_shapes

TINY = tiny_rcnn("mask_rcnn_R_50_FPN_3x")
TINY_DETECTRON = tiny_rcnn("resnet50_fpn_mask_rcnn")
LETTERS = {"1": "a", "2": "b", "3": "c"}
LAST_BLOCKS = {"2": 2, "3": 3, "4": 5, "5": 2}  # of ResNet-50's stages: the FPN's blobs are named by them


@pytest.fixture(scope="module")
def state():
    """Weights of Detectron's dialect whose batch norms have no statistics, as Detectron's."""
    found = random_rcnn_state_dict(TINY_DETECTRON)
    for key in found:
        if key.endswith("running_mean"):
            found[key] = torch.zeros_like(found[key])
        if key.endswith("running_var"):
            found[key] = torch.ones_like(found[key])
    return found


@pytest.fixture(scope="module")
def zoo_state():
    return random_rcnn_state_dict(TINY)


def write_pickle(path, value, protocol=2):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def arrays(state):
    return {key: value.numpy() for key, value in state.items()}


def same(found, expected):
    assert found.keys() == expected.keys()
    different = [key for key, value in expected.items() if not torch.equal(found[key], value)]
    assert not different


def blob_name(key):
    """Return Detectron's name of one of our tensors: detectron/modeling/ResNet.py, FPN.py, rpn_heads.py, …"""
    layer, _, rest = key.rpartition(".")
    kind = {"weight": "w", "bias": "b"}[rest]
    block = re.fullmatch(r"backbone\.bottom_up\.res(\d)\.(\d+)\.(shortcut|conv\d)(\.norm)?", layer)
    if block:
        branch = "branch1" if block[3] == "shortcut" else f"branch2{LETTERS[block[3][-1]]}"
        kind = {"w": "s"}.get(kind, kind) if block[4] else kind
        return f"res{block[1]}_{block[2]}_{branch}{'_bn' if block[4] else ''}_{kind}"
    fpn = re.fullmatch(r"backbone\.fpn_(lateral|output)(\d)", layer)
    if fpn:
        level = f"res{fpn[2]}_{LAST_BLOCKS[fpn[2]]}_sum"
        inner = f"fpn_inner_{level}{'' if fpn[2] == '5' else '_lateral'}"
        return f"{inner if fpn[1] == 'lateral' else f'fpn_{level}'}_{kind}"
    fixed = {
        "backbone.bottom_up.stem.conv1": "conv1",
        "proposal_generator.rpn_head.conv": "conv_rpn_fpn2",
        "proposal_generator.rpn_head.objectness_logits": "rpn_cls_logits_fpn2",
        "proposal_generator.rpn_head.anchor_deltas": "rpn_bbox_pred_fpn2",
        "roi_heads.box_head.fc1": "fc6",
        "roi_heads.box_head.fc2": "fc7",
        "roi_heads.box_predictor.cls_score": "cls_score",
        "roi_heads.box_predictor.bbox_pred": "bbox_pred",
        "roi_heads.mask_head.deconv": "conv5_mask",
        "roi_heads.mask_head.predictor": "mask_fcn_logits",
        **{f"roi_heads.mask_head.mask_fcn{i}": f"_[mask]_fcn{i}" for i in range(1, 5)},
    }
    if layer == "backbone.bottom_up.stem.conv1.norm":
        return f"res_conv1_bn_{'s' if kind == 'w' else 'b'}"
    return f"{fixed[layer]}_{kind}"


def benchmark_name(key):
    """Return maskrcnn-benchmark's name, as its checkpoints have it."""
    for ours, theirs in (
        (r"backbone\.bottom_up\.stem\.conv1\.norm", "backbone.body.stem.bn1"),
        (r"backbone\.bottom_up\.stem", "backbone.body.stem"),
        (r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.norm", r"backbone.body.layer\1.\2.downsample.1"),
        (r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut", r"backbone.body.layer\1.\2.downsample.0"),
        (r"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)\.norm", r"backbone.body.layer\1.\2.bn\3"),
        (r"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)", r"backbone.body.layer\1.\2.conv\3"),
        (r"backbone\.fpn_lateral(\d)", r"backbone.fpn.fpn_inner\1"),
        (r"backbone\.fpn_output(\d)", r"backbone.fpn.fpn_layer\1"),
        (r"proposal_generator\.rpn_head\.conv", "rpn.head.conv"),
        (r"proposal_generator\.rpn_head\.objectness_logits", "rpn.head.cls_logits"),
        (r"proposal_generator\.rpn_head\.anchor_deltas", "rpn.head.bbox_pred"),
        (r"roi_heads\.box_head\.fc1", "roi_heads.box.feature_extractor.fc6"),
        (r"roi_heads\.box_head\.fc2", "roi_heads.box.feature_extractor.fc7"),
        (r"roi_heads\.box_predictor", "roi_heads.box.predictor"),
        (r"roi_heads\.mask_head\.mask_fcn(\d)", r"roi_heads.mask.feature_extractor.mask_fcn\1"),
        (r"roi_heads\.mask_head\.deconv", "roi_heads.mask.predictor.conv5_mask"),
        (r"roi_heads\.mask_head\.predictor", "roi_heads.mask.predictor.mask_fcn_logits"),
    ):
        made, count = re.subn(rf"^{ours}(?=\.)", theirs, key)
        if count:
            number = r"(?<=layer)\d(?=\.)|(?<=fpn_inner)\d|(?<=fpn_layer)\d"  # they count from 1, we from 2
            return re.sub(number, lambda found: str(int(found[0]) - 1), made)
    raise KeyError(key)


def segmentoly_name(key):
    """Return segmentoly's name, by maskrcnn-benchmark's: segmentoly/utils/weight_converters.py maps these."""
    name = benchmark_name(key)
    fixed = {
        "backbone.fpn.fpn_inner4": "fpn.conv_top",
        **{f"backbone.fpn.fpn_inner{i}": f"fpn.topdown_lateral.{3 - i}.conv_lateral" for i in range(1, 4)},
        **{f"backbone.fpn.fpn_layer{i}": f"fpn.posthoc.{4 - i}" for i in range(1, 5)},
        "rpn.head.conv": "rpn.conv",
        "rpn.head.cls_logits": "rpn.cls_score",
        "rpn.head.bbox_pred": "rpn.bbox_deltas",
        "roi_heads.box.feature_extractor.fc6": "detection_head.fc1",
        "roi_heads.box.feature_extractor.fc7": "detection_head.fc2",
        "roi_heads.box.predictor.cls_score": "detection_head.cls_score",
        "roi_heads.box.predictor.bbox_pred": "detection_head.bbox_pred",
        **{f"roi_heads.mask.feature_extractor.mask_fcn{i}": f"mask_head.conv_fcn.{2 * (i - 1)}" for i in range(1, 5)},
        "roi_heads.mask.predictor.conv5_mask": "mask_head.upconv",
        "roi_heads.mask.predictor.mask_fcn_logits": "mask_head.segm",
    }
    layer, _, rest = name.rpartition(".")
    if layer in fixed:
        return f"{fixed[layer]}.{rest}"
    return name.replace("backbone.body.stem.", "backbone.stages.stage_0.").replace(
        "backbone.body.layer", "backbone.stages.stage_"
    )


def is_statistic(key):
    return key.endswith(("running_mean", "running_var"))


def test_names_of_other_programs_become_ours(state):
    blobs = [key for key in state if not is_statistic(key)]
    assert [to_our_key(blob_name(key)) for key in blobs] == blobs
    assert [to_our_key(benchmark_name(key)) for key in state] == list(state)
    assert [to_our_key(segmentoly_name(key)) for key in state] == list(state)
    assert [to_our_key(key) for key in state] == list(state), "our own names stay"
    assert blob_name("backbone.bottom_up.res4.5.conv3.norm.weight") == "res4_5_branch2c_bn_s"
    assert to_our_key("conv1_b") == "conv1_b", "ImageNet's network has this bias, this one has none"


@pytest.mark.detectron2
def test_detectrons_blobs_get_the_names_that_detectron2_gives_them(detectron2, state):
    from detectron2.checkpoint.c2_model_loading import convert_c2_detectron_names

    blobs = {blob_name(key): value for key, value in state.items() if not is_statistic(key)}
    _, originals = convert_c2_detectron_names(blobs)
    assert len(originals) == len(blobs)
    assert [theirs for theirs, blob in originals.items() if not f".{to_our_key(blob)}".endswith(f".{theirs}")] == []


@pytest.mark.parametrize(("writer", "name"), [(DETECTRON, blob_name), (BENCHMARK, benchmark_name)])
def test_the_writer_is_known_by_a_name(state, writer, name):
    assert writer_of(name(key) for key in state if not is_statistic(key)) == writer
    assert writer_of(state) is None
    assert writer_of(map(segmentoly_name, state)) == SEGMENTOLY


def test_detectrons_blobs_are_read(state, tmp_path, capsys):
    blobs = {blob_name(key): value.numpy() for key, value in state.items() if not is_statistic(key)}
    momentum = {f"{key}_momentum": np.zeros_like(value) for key, value in blobs.items()}
    kept = {"fc1000_w": np.zeros((2, 3), np.float32), "conv1_b": np.zeros(8, np.float32)}
    path = write_pickle(tmp_path / "model_final.pkl", {"blobs": {**blobs, **momentum, **kept}, "cfg": "MODEL: {}"})
    same(read_state_dict(path, TINY_DETECTRON), state)
    assert f"{len(momentum) + 2} tensors of older code are not used" in capsys.readouterr().err
    assert count_classes(read_shapes(path), TINY_DETECTRON) == 3


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_detectron2s_zoo_files_are_read(zoo_state, tmp_path, protocol, capsys):
    extra = {f"proposal_generator.anchor_generator.cell_anchors.{i}": np.zeros((3, 4), np.float32) for i in range(5)}
    extra["pixel_mean"] = np.zeros((3, 1, 1), np.float32)
    value = {"model": {**arrays(zoo_state), **extra}, "__author__": "Detectron2 Model Zoo"}
    path = write_pickle(tmp_path / "a.pkl", value, protocol)
    same(read_state_dict(path, TINY), zoo_state)
    assert "6 tensors of older code are not used" in capsys.readouterr().err
    assert {key: tuple(value.shape) for key, value in zoo_state.items()}.items() <= read_shapes(path).items()


FORMS = {
    "checkpoint": lambda state: {"model": state, "optimizer": {"lr": 0.1}, "scheduler": {}, "iteration": 7},
    "state dict": lambda state: state,
    "parallel": lambda state: {"model": {f"module.{key}": value for key, value in state.items()}, "iteration": 7},
    "BN": lambda state: {
        "model": {
            **state,
            **{
                key.replace("running_var", "num_batches_tracked"): torch.tensor(5)
                for key in state
                if key.endswith("running_var")
            },
        }
    },
    "buffers": lambda state: {**state, "pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)},
}


@pytest.mark.parametrize("form", FORMS)
def test_detectron2s_checkpoints_are_read(zoo_state, tmp_path, form):
    torch.save(FORMS[form](zoo_state), tmp_path / "model_final.pth")
    same(read_state_dict(tmp_path / "model_final.pth", TINY), zoo_state)


def test_maskrcnn_benchmarks_checkpoints_are_read(state, tmp_path):
    own = {f"module.{benchmark_name(key)}": value for key, value in state.items()}
    own |= {f"module.rpn.anchor_generator.cell_anchors.{i}": torch.zeros(3, 4) for i in range(5)}
    torch.save({"model": own, "optimizer": {}, "iteration": 9}, tmp_path / "a.pth")
    same(read_state_dict(tmp_path / "a.pth", TINY_DETECTRON), state)


@pytest.mark.parametrize("has_statistics", [True, False], ids=["trained", "converted from Detectron's"])
def test_segmentolys_checkpoints_are_read(state, tmp_path, has_statistics):
    """Its batch norms are PyTorch's, which add 1e-5 to the variance; those of this dialect add nothing."""
    own = {segmentoly_name(key): value for key, value in state.items() if has_statistics or not is_statistic(key)}
    if has_statistics:
        own["backbone.stages.stage_0.bn1.num_batches_tracked"] = torch.tensor(5)
    torch.save({"model": own}, tmp_path / "a.pth")
    found = read_state_dict(tmp_path / "a.pth", TINY_DETECTRON)
    expected = {key: value + 1e-5 if key.endswith("running_var") else value for key, value in state.items()}
    same(found, expected)


@pytest.mark.parametrize("number", range(3))
def test_class_k_is_class_k_in_every_dialect(state, zoo_state, tmp_path, number):
    """The rows of the class layer stay: the background is the first of Detectron's, and the last of Detectron2's."""
    for config, own, row in ((TINY_DETECTRON, state, number + 1), (TINY, zoo_state, number)):
        key = "roi_heads.box_predictor.cls_score.bias"
        marked = {**own, key: torch.nn.functional.one_hot(torch.tensor(row), 4).float()}
        blobs = {blob_name(k): v for k, v in marked.items() if not is_statistic(k)}
        saved = {"blobs": arrays(blobs)} if config is TINY_DETECTRON else {"model": arrays(marked)}
        found = read_state_dict(write_pickle(tmp_path / "a.pkl", saved), config)
        assert found[key].argmax() == row


# What does not fit.


@pytest.fixture
def few_configs(monkeypatch):
    """Only narrow configs are there to fit, so that a test builds no large network."""
    deeper = dataclasses.replace(
        TINY, name="tiny_101", backbone=dataclasses.replace(TINY.backbone, stages=(3, 4, 23, 3))
    )
    configs = {config.name: config for config in (TINY, TINY_DETECTRON, deeper)}
    monkeypatch.setattr(weights_module, "CONFIGS", configs)
    return configs


def save(path, config, changed=None):
    state = {key: torch.zeros(shape) for key, shape in expected_shapes(config).items()}
    torch.save({"model": state if changed is None else changed(state)}, path)
    return path


def refuse(path, config, said):
    with pytest.raises(WeightsError, match=said):
        read_state_dict(path, config)


def test_weights_of_another_depth_name_their_config(few_configs, tmp_path):
    path = save(tmp_path / "a.pth", few_configs["tiny_101"])
    refuse(path, TINY, r"does not fit tiny_mask_rcnn_R_50_FPN_3x: .* extra .*These are the weights of tiny_101: use")


def test_weights_of_the_other_dialect_name_their_config(few_configs, tmp_path, state):
    blobs = {blob_name(key): value.numpy() for key, value in state.items() if not is_statistic(key)}
    path = write_pickle(tmp_path / "a.pkl", {"blobs": blobs})
    refuse(path, TINY, rf"bbox_pred.weight \[16, 32\] instead of \[12, 32\].*weights of {TINY_DETECTRON.name}: use")


def test_weights_of_a_depth_that_no_config_has_ask_for_the_config_file(few_configs, tmp_path):
    other = dataclasses.replace(TINY, backbone=dataclasses.replace(TINY.backbone, stages=(3, 8, 36, 3)))
    refuse(
        save(tmp_path / "a.pth", other), TINY, r"They are of ResNet-152: pass the Detectron2 config file .*FILE.yaml"
    )


def with_keys(*names):
    return lambda state: {**state, **{name: torch.zeros(1) for name in names}}


def without_statistics(state):
    return {key: value for key, value in state.items() if not is_statistic(key)}


OTHERS = {
    "cascade": (with_keys("roi_heads.box_head.0.fc1.weight"), "They are of Cascade R-CNN, which the rcnn family"),
    "keypoints": (with_keys("roi_heads.keypoint_head.conv_fcn1.weight"), "They are of Keypoint R-CNN"),
    "panoptic": (with_keys("sem_seg_head.predictor.weight"), "They are of Panoptic FPN"),
    "deformable": (
        with_keys("backbone.bottom_up.res3.0.conv2_offset.weight"),
        "a network with deformable convolutions",
    ),
    "GN": (without_statistics, r"They have group norms \(GN\).*NORM: FrozenBN"),
    "GN of the FPN": (with_keys("backbone.fpn_lateral2.norm.weight"), "They have norms in the FPN or the heads"),
    "convolutions": (with_keys("roi_heads.box_head.conv1.weight"), "a box head with convolutions"),
    "C4": (with_keys("roi_heads.res5.0.conv1.weight"), r"a network without an FPN \(C4\)"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_relatives_are_named_with_what_to_use(few_configs, tmp_path, name):
    changed, said = OTHERS[name]
    refuse(save(tmp_path / "a.pth", TINY, changed), TINY, said)


def test_groups_are_named():
    shapes = {
        "backbone.bottom_up.res2.0.conv2.weight": (256, 8, 3, 3),
        "backbone.bottom_up.res2.0.conv3.weight": (256, 256, 1, 1),
    }
    assert "with 32 groups (ResNeXt)" in explain_foreign(shapes)
    assert explain_foreign({"backbone.layers.0.0.conv1.weight": (1, 2)}) == "", "YOLACT's"
    assert explain_foreign({}) == ""


# Classes, and a config that travels in the weights.


def test_classes_of_a_file_without_names(zoo_state, tmp_path):
    path = write_pickle(tmp_path / "a.pkl", {"model": arrays(zoo_state)})
    full = CONFIGS["mask_rcnn_R_50_FPN_3x"]
    assert choose_classes(path, full).config == with_numbers(full, 3)
    assert choose_classes(path, full, "a,b,c").config.class_names == ("a", "b", "c")
    with pytest.raises(WeightsError, match=r"a.pkl has 3 classes, but the list of names has 2"):
        choose_classes(path, full, "a,b")


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("model_final_280758.pkl", "faster_rcnn_R_50_FPN_3x"),
        ("mask_rcnn_R_101_FPN_3x_model_final_a3ec72.pkl", "mask_rcnn_R_101_FPN_3x"),
        ("model_final.pth", "yolact_edge_resnet50_config"),
    ],
)
def test_the_names_of_the_zoos_files_tell_the_config(tmp_path, name, config):
    assert config_of(None, tmp_path / name) is CONFIGS[config]


def test_a_config_in_no_list_travels_in_the_weights(tmp_path, zoo_state):
    network = family_of(TINY).build(TINY)
    network.load_state_dict(zoo_state)
    path = tmp_path / "trained.pth"
    write_weights(network, TINY, path)
    assert config_of(None, path).rcnn == TINY.rcnn
    assert config_of(TINY.name, path).preprocessing == TINY.preprocessing
    assert dataclasses.replace(config_of(None, path), source=TINY.source) == TINY
    same(read_state_dict(path, config_of(None, path)), zoo_state)
    with pytest.raises(WeightsError, match=rf"holds weights of {TINY.name}, not of mask_rcnn.*leave out --config"):
        choose_classes(path, CONFIGS["mask_rcnn_R_50_FPN_3x"])


def test_a_listed_config_adds_nothing_to_the_record(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    add_classes(tmp_path / "a.pth", CONFIGS["mask_rcnn_R_50_FPN_3x"])
    assert b'"values"' not in (tmp_path / "a.pth").read_bytes()
