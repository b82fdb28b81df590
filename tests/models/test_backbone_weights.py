"""Weights of the backbone alone, trained on ImageNet, as upstream names them: torchvision's files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from factories import SMALL_CONFIG, TINY_CONFIG

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.weights import load_backbone
from yolact_ascend.models.yolact.backbones import imagenet_prefixes
from yolact_ascend.models.yolact.network import YolactEdge

RESNET = CONFIGS["yolact_edge_resnet50_config"]
DARKNET = CONFIGS["yolact_darknet53_config"]
UPSTREAM_DIR = Path(os.environ.get("YOLACT_EDGE_DIR") or "missing")
# torchvision 0.28, models/resnet.py and models/mobilenetv2.py: name in the file -> ours, behind "backbone."
NAMES = {
    RESNET.name: {
        "conv1.weight": "conv1.weight",
        "bn1.running_var": "bn1.running_var",
        "layer1.0.conv1.weight": "layers.0.0.conv1.weight",
        "layer1.0.downsample.1.bias": "layers.0.0.downsample.1.bias",
        "layer4.2.bn3.weight": "layers.3.2.bn3.weight",
    },
    DARKNET.name: {  # dbolya/yolact @ 57b8f2d, backbone.py: its own names
        "_preconv.0.weight": "_preconv.0.weight",
        "layers.4.3.conv2.1.running_var": "layers.4.3.conv2.1.running_var",
    },
    SMALL_CONFIG.name: {
        "features.0.0.weight": "layers.0.0.weight",
        "features.1.conv.0.0.weight": "layers.1.0.conv.0.0.weight",
        "features.2.conv.2.weight": "layers.2.0.conv.2.weight",
        "features.3.conv.0.0.weight": "layers.2.1.conv.0.0.weight",
        "features.10.conv.0.1.bias": "layers.4.3.conv.0.1.bias",
        "features.17.conv.3.running_mean": "layers.7.0.conv.3.running_mean",
        "features.18.1.weight": "layers.8.1.weight",
    },
}


def imagenet_file(config, path, change=lambda state: None, has_counters=True):
    """Write a file as torchvision has it, in its order, with random values and a classifier."""
    torch.manual_seed(3)
    back = {new: old for old, new in imagenet_prefixes(config.backbone).items()}
    state = {}
    for key, value in YolactEdge(config).backbone.state_dict().items():
        begin = next((new for new in back if key.startswith(new)), "")
        if has_counters or not key.endswith("num_batches_tracked"):
            state[back.get(begin, "") + key[len(begin) :]] = value + 1 if value.is_floating_point() else value
    for kind, size in (("weight", (1000, 8)), ("bias", (1000,))):
        state[f"{'fc' if config is RESNET else 'classifier.1'}.{kind}"] = torch.zeros(size)
    change(state)
    torch.save(state, path)
    return state


@pytest.mark.parametrize("config", [RESNET, DARKNET, SMALL_CONFIG], ids=lambda config: config.backbone.kind)
@pytest.mark.parametrize("has_counters", [True, False])
def test_the_backbone_takes_all_of_the_file_and_nothing_else_changes(config, tmp_path, has_counters):
    """resnet50-19c8e357.pth is from before PyTorch counted batches."""
    state = imagenet_file(config, tmp_path / "a.pth", has_counters=has_counters)
    network = YolactEdge(config)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    count = load_backbone(network, tmp_path / "a.pth", config)
    after = network.state_dict()
    for theirs, ours in NAMES[config.name].items():
        assert torch.equal(after[f"backbone.{ours}"], state[theirs]), ours
    counted = [key for key in after if key.startswith("backbone.") and not key.endswith("num_batches_tracked")]
    assert count == len(counted)
    assert all(not torch.equal(after[key], before[key]) for key in counted)
    assert all(torch.equal(after[key], before[key]) for key in after.keys() - set(counted))


FAULTS = {
    "missing": (lambda state: state.pop("layer2.1.bn2.bias"), r"1 missing \(layers.1.1.bn2.bias\)"),
    "extra": (lambda state: state.update({"layer5.0.w": torch.zeros(1)}), r"1 extra \(layer5.0.w\)"),
    "misshapen": (
        lambda state: state.update({"conv1.weight": torch.zeros(3)}),
        r"1 misshapen \(conv1.weight \[3\] instead of \[64, 3, 7, 7\]\)",
    ),
}


@pytest.mark.parametrize(("change", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_what_does_not_fit_is_named_with_upstreams_file(tmp_path, change, said):
    imagenet_file(RESNET, tmp_path / "a.pth", change)
    expected = f"does not fit the backbone of {RESNET.name}: {said}. Upstream's file is resnet50-19c8e357.pth"
    with pytest.raises(WeightsError, match=expected):
        load_backbone(YolactEdge(RESNET), tmp_path / "a.pth", RESNET)


def test_what_darknets_file_holds_beside_the_backbone_is_named_and_not_used(tmp_path, capsys):
    """Upstream loads it with strict=False: it takes what it knows, and keeps quiet about the rest."""
    imagenet_file(DARKNET, tmp_path / "a.pth", lambda state: state.update({"head.weight": torch.zeros(3)}))
    network = YolactEdge(DARKNET)
    assert load_backbone(network, tmp_path / "a.pth", DARKNET) == 52 * 5  # a weight and four of batch norm
    assert "note: a.pth: 1 tensors beside the backbone are not used (head.weight)." in capsys.readouterr().err


def test_a_missing_tensor_of_darknet_is_refused_which_upstream_would_leave_random(tmp_path):
    imagenet_file(DARKNET, tmp_path / "a.pth", lambda state: state.pop("layers.2.7.conv1.0.weight"))
    with pytest.raises(
        WeightsError, match=r"1 missing \(layers.2.7.conv1.0.weight\). Upstream's file is darknet53.pth"
    ):
        load_backbone(YolactEdge(DARKNET), tmp_path / "a.pth", DARKNET)


def test_a_missing_file_is_named_with_upstreams(tmp_path):
    with pytest.raises(WeightsError, match=r"no file .*a\.pth .* Upstream's file is mobilenet_v2-b0353104\.pth"):
        load_backbone(YolactEdge(SMALL_CONFIG), tmp_path / "a.pth", SMALL_CONFIG)
    with pytest.raises(WeightsError, match=r"weights of the backbone\.$"):
        load_backbone(YolactEdge(TINY_CONFIG), tmp_path / "a.pth", TINY_CONFIG)


@pytest.mark.upstream
@pytest.mark.skipif(not UPSTREAM_DIR.is_dir(), reason="no checkout of upstream: YOLACT_EDGE_DIR is not set")
@pytest.mark.parametrize("config", [RESNET, SMALL_CONFIG], ids=lambda config: config.backbone.kind)
def test_upstream_takes_the_same_tensors(config, tmp_path):
    """haotian-liu/yolact_edge @ a9a0028, init_backbone, patched to run on a CPU."""
    imagenet_file(config, tmp_path / "a.pth")
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); from yolact_edge.data import set_cfg, cfg; "
        f"set_cfg('{config.name}'); from yolact_edge.backbone import construct_backbone; "
        "net = construct_backbone(cfg.backbone); net.init_backbone(sys.argv[2]); "
        "torch.save(net.state_dict(), sys.argv[3])"
    )
    words = [sys.executable, "-c", code, UPSTREAM_DIR, tmp_path / "a.pth", tmp_path / "b.pth"]
    done = subprocess.run(words, cwd=UPSTREAM_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs, network = torch.load(tmp_path / "b.pth", weights_only=True), YolactEdge(config)
    load_backbone(network, tmp_path / "a.pth", config)
    ours = network.backbone.state_dict()
    assert all(torch.equal(theirs[key], value) for key, value in ours.items() if not key.endswith("tracked"))
