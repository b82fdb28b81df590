"""Shapes and order of what the network gives."""

import pytest
import torch
from factories import SMALL_CONFIG

from yolact_ascend.artifacts import FPN_CUT_OUTPUTS, INPUT
from yolact_ascend.backbones import MobileNetV2, ResNet
from yolact_ascend.config import MOBILENETV2_STAGES
from yolact_ascend.network import PredictionHead, YolactEdge


@pytest.mark.parametrize("batch_size", [1, 2])
def test_outputs_have_the_contracts_shapes(batch_size):
    network = YolactEdge(SMALL_CONFIG).eval()
    with torch.inference_mode():
        outputs = network(torch.zeros(batch_size, *INPUT.shape))
    assert [tuple(output.shape) for output in outputs] == [(batch_size, *spec.shape) for spec in FPN_CUT_OUTPUTS]
    assert outputs[-1].is_contiguous()
    assert (outputs[-1] >= 0).all()


@pytest.mark.parametrize(
    ("backbone", "channels", "strides"),
    [
        (ResNet((1, 1, 1, 1)), [256, 512, 1024, 2048], [4, 8, 16, 32]),
        (MobileNetV2(MOBILENETV2_STAGES), [32, 16, 24, 32, 64, 96, 160, 320, 1280], [2, 2, 4, 8, 16, 16, 32, 32, 32]),
    ],
    ids=["resnet", "mobilenetv2"],
)
def test_backbones_say_their_channels(backbone, channels, strides):
    with torch.inference_mode():
        outputs = backbone.eval()(torch.zeros(1, 3, 64, 64))
    assert backbone.channels == channels
    assert [tuple(output.shape[1:]) for output in outputs] == [(c, 64 // s, 64 // s) for c, s in zip(channels, strides)]


def test_head_orders_anchors_by_level_row_column_and_ratio():
    head = PredictionHead(num_classes=2)
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
