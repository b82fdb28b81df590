"""The checkouts of the older Detectrons run, with our operators in place of their compiled ones."""

import pytest
import torch
from detectron1_shims import build_maskrcnn_benchmark, nms_of_last_pixels


def test_boxes_that_end_with_their_last_pixel_are_one_larger():
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]])  # 4, 2 and 1 pixels
    scores = torch.tensor([0.7, 0.8, 0.9])
    assert nms_of_last_pixels(boxes, scores, 0.4).tolist() == [0, 2]  # 1/2 is above it, 1/4 is not
    assert nms_of_last_pixels(boxes, scores, 0.2).tolist() == [2]


@pytest.mark.maskrcnn_benchmark
def test_maskrcnn_benchmark_runs_a_model_of_its_own(maskrcnn_benchmark):
    small = ["MODEL.ROI_HEADS.SCORE_THRESH", 0.0, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 16]
    model = build_maskrcnn_benchmark("e2e_mask_rcnn_R_50_FPN_1x.yaml", small)
    with torch.no_grad():
        (found,) = model(torch.full((3, 64, 96), 20.0))
    assert found.get_field("mask").shape == (100, 1, 28, 28)
    assert found.size == (96, 64)


@pytest.mark.detectron
def test_detectrons_anchors_are_those_of_its_comment(detectron):
    """Of Matlab's py-faster-rcnn, in modeling/generate_anchors.py; that are one-based there, and four of nine here."""
    from detectron.modeling.generate_anchors import generate_anchors

    assert generate_anchors(16, (128, 256), (0.5, 1)).tolist() == [
        [-84, -40, 99, 55],
        [-176, -88, 191, 103],
        [-56, -56, 71, 71],
        [-120, -120, 135, 135],
    ]
