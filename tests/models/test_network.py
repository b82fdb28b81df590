"""Shapes and order of what the network gives."""

import dataclasses

import pytest
import torch
from factories import SMALL_CONFIG

from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG, YOLACT_CONFIGS, Backbone
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.yolact.backbones import make_backbone
from yolact_ascend.models.yolact.cuts import cut_outputs
from yolact_ascend.models.yolact.network import PredictionHead, YolactEdge

# Channels and strides of each stage.
RESNET_STAGES = [256, 512, 1024, 2048], [4, 8, 16, 32]
DARKNET_STAGES = [64, 128, 256, 512, 1024], [2, 4, 8, 16, 32]
BACKBONE_STAGES = {
    **{config.name: RESNET_STAGES for config in YOLACT_CONFIGS},
    "yolact_darknet53_config": DARKNET_STAGES,
    "yolact_edge_resnet50_config": RESNET_STAGES,
    "yolact_edge_config": RESNET_STAGES,
    "yolact_edge_mobilenetv2_config": (
        [32, 16, 24, 32, 64, 96, 160, 320, 1280],
        [2, 2, 4, 8, 16, 16, 32, 32, 32],
    ),
    DEMO_CONFIG: ([16, 8, 16, 24, 48, 64, 96], [2, 2, 4, 8, 16, 16, 32]),
}


@pytest.mark.parametrize(
    ("config", "batch_size"),
    [(SMALL_CONFIG, 1), (SMALL_CONFIG, 2), (CONFIGS[DEMO_CONFIG], 1)],
    ids=["1", "2", "narrow"],
)
def test_outputs_have_the_contracts_shapes(config, batch_size):
    network = YolactEdge(config).eval()
    with torch.inference_mode():
        outputs = network(torch.zeros(batch_size, *input_tensor(config).shape))
    assert [tuple(output.shape) for output in outputs] == [
        (batch_size, *spec.shape) for spec in cut_outputs(config, "fpn")
    ]
    assert outputs[-1].is_contiguous()
    assert (outputs[-1] >= 0).all()


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if config.family == "yolact"])
def test_backbones_say_their_channels(name):
    backbone = make_backbone(CONFIGS[name].backbone).eval()
    with torch.inference_mode():
        outputs = backbone(torch.zeros(1, 3, 64, 64))
    channels, strides = BACKBONE_STAGES[name]
    assert backbone.channels == channels
    assert [tuple(output.shape[1:]) for output in outputs] == [(c, 64 // s, 64 // s) for c, s in zip(channels, strides)]


@pytest.mark.parametrize(
    ("kind", "block"),
    [("resnet34", "bottleneck"), ("resnet", "basic"), ("resnet", "inverted_residual"), ("mobilenetv2", "bottleneck")],
)
def test_an_unknown_backbone_is_refused_with_those_there_are(kind, block):
    with pytest.raises(ValueError) as caught:
        make_backbone(Backbone(kind, block, (3, 4, 6, 3)))
    assert str(caught.value) == (
        f"Unknown backbone {kind} of {block} blocks, expected one of: "
        "resnet of bottleneck blocks, mobilenetv2 of inverted_residual blocks, darknet of darknet_block blocks."
    )


def test_the_narrow_config_has_its_own_widths():
    config = CONFIGS[DEMO_CONFIG]
    network = YolactEdge(config).eval()
    with torch.inference_mode():
        *levels, protos = network(torch.zeros(1, 3, 128, 128))
        head = network.prediction_layers[0].predict_levels(levels)
    assert [tuple(level.shape[1:]) for level in levels] == [(64, n, n) for n in (16, 8, 4, 2, 1)]
    assert tuple(protos.shape) == (1, 32, 32, 24)
    anchors = 3 * (16**2 + 8**2 + 4**2 + 2**2 + 1)
    assert [tuple(part.shape) for part in head] == [(1, anchors, 4), (1, anchors, 9), (1, anchors, 24)]


def test_the_narrow_config_is_small_enough_for_a_laptop():
    """At most 10 GMAC an image, and 4 MB on disk as float32."""
    network = YolactEdge(CONFIGS[DEMO_CONFIG]).eval()
    assert 1e9 < count_macs(network) < 10e9
    assert sum(value.numel() * 4 for value in network.state_dict().values()) < 4e6


def test_macs_of_a_known_network_are_what_is_known():
    """The graph of ResNet-50 up to FPN and prototypes has 100.3 GFLOP, two for each multiplication."""
    network = YolactEdge(CONFIGS["yolact_edge_resnet50_config"])
    assert count_macs(network, with_head=False) == pytest.approx(50.15e9, rel=0.01)


def count_macs(network, with_head=True):
    """Return the multiplications of the convolutions for one image of 550×550 pixels."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    network.to("meta")  # shapes alone
    *levels, _ = network(torch.zeros(1, 3, 550, 550, device="meta"))
    if with_head:
        network.prediction_layers[0].predict_levels(levels)
    return total


def test_head_orders_anchors_by_level_row_column_and_ratio():
    head = PredictionHead(dataclasses.replace(SMALL_CONFIG, class_names=("a", "b"), category_ids=(1, 2)))
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    # The bias alone tells an anchor's aspect ratio; the centre tap of one channel tells its place.
    head.conf_layer.bias.data = torch.tensor([0.0, 0, 0, 10, 0, 0, 20, 0, 0])
    head.upfeature[0].weight.data[0, 0, 1, 1] = 1
    head.conf_layer.weight.data[[0, 3, 6], 0, 1, 1] = 1
    first, second = torch.zeros(1, 256, 2, 3), torch.zeros(1, 256, 1, 1)
    first[0, 0] = torch.tensor([[100.0, 200, 300], [400, 500, 600]])
    second[0, 0] = 700
    with torch.inference_mode():
        conf = head.predict_levels([first, second]).conf
    expected = [place + ratio for place in range(100, 800, 100) for ratio in (0, 10, 20)]
    assert conf.shape == (1, 21, 3)
    assert conf[0, :, 0].tolist() == expected
