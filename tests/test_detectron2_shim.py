"""The two operators that a checkout of Detectron2 gets from the tests, against torchvision and arrays by hand."""

import pytest
import torch
from detectron2_shim import build_detectron2, nms, roi_align

FEATURES = (2, 3, 9, 13)
INSIDE = [
    [0, 0, 0, 20, 30],
    [1, 5, 5, 5, 5],
    [1, 0, 0, 51.9, 35.9],
    [0, 3, 4, 3.5, 4.2],
    [1, 40, 30, 51, 35],
]  # image, x1 y1 x2 y2 px at stride 4


@pytest.mark.parametrize(
    ("boxes", "scores", "kept"),
    [
        ([], [], []),
        ([[0, 0, 2, 2], [0, 0, 2, 2], [5, 5, 6, 6]], [0.5, 0.5, 0.9], [2, 0]),
        ([[0, 0, 3, 2], [0, 0, 3, 1]], [0.9, 0.8], [0, 1]),  # IoU is 0.5, the threshold: not above it
        ([[0, 0, 3, 2], [0, 0, 3, 1.1]], [0.9, 0.8], [0]),
        ([[0, 0, 2, 2], [0, 1, 2, 2.9], [0, 2, 2, 4]], [0.7, 0.9, 0.8], [1, 2, 0]),
        ([[1, 1, 1, 1], [1, 1, 1, 1]], [0.9, 0.8], [0, 1]),  # no area: their IoU is 0/0
    ],
    ids=["none", "twins", "at the threshold", "above it", "chain", "no area"],
)
def test_nms_keeps_what_no_better_box_covers(boxes, scores, kept):
    found = nms(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores), 0.5)
    assert found.tolist() == kept


def test_pooling_a_ramp_gives_the_centres_of_its_bins():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)  # the value of pixel x is x, and its centre lies at x + 0.5
    boxes = torch.tensor([[0, 2.0, 2.0, 6.0, 6.0]])
    assert roi_align(ramp, boxes, 1.0, 2, 2, 0, True)[0, 0].tolist() == [[2.5, 4.5], [2.5, 4.5]]
    assert roi_align(ramp, boxes, 1.0, 2, 2, 0, False)[0, 0].tolist() == [[3, 5], [3, 5]]
    assert roi_align(ramp, boxes, 0.5, 1, 1, 0, False)[0, 0].tolist() == [[2]]


def test_a_region_outside_the_features_counts_as_zero():
    ones = torch.ones(1, 1, 4, 4)
    outside = torch.tensor([[0, 10.0, 10.0, 12.0, 12.0], [0, -4.0, 0.0, 4.0, 4.0], [0, 0, 0, 0, 0]])
    far, half, empty = roi_align(ones, outside, 1.0, 1, 2, 2, True)
    assert far.tolist() == [[[0, 0]]]
    assert half.tolist() == [[[0, 1]]]  # samples at -3.5 and -1.5 lie more than a pixel outside
    assert empty.tolist() == [[[1, 1]]]  # at -0.5: within a pixel
    assert roi_align(ones, outside[2:], 1.0, 1, 1, 0, True).tolist() == [[[[0]]]]  # no size: no sample


def test_no_region_gives_no_row():
    assert roi_align(torch.ones(FEATURES), torch.zeros(0, 5), 1.0, 7, 7, 0, True).shape == (0, 3, 7, 7)


@pytest.mark.detectron2
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_pooling_is_that_of_torchvision(detectron2, aligned, sampling_ratio):
    """Its Python code, which differs from its C++ outside the features only."""
    from torchvision.ops.roi_align import _roi_align

    features = torch.randn(FEATURES, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor(INSIDE, dtype=torch.float32)
    ours = roi_align(features, boxes, 0.25, 7, 5, sampling_ratio, aligned)
    theirs = _roi_align(features, boxes, 0.25, 7, 5, sampling_ratio, aligned)
    assert (ours - theirs).abs().max() < 2e-6  # float32, sums of at most a hundred samples


@pytest.mark.detectron2
def test_detectron2_runs_a_model_of_its_own(detectron2):
    """Its own building, its own random weights."""
    model = build_detectron2("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml", SMALL)
    with torch.no_grad():
        (answer,) = model([{"image": torch.full((3, 64, 96), 90.0), "height": 128, "width": 192}])
    found = answer["instances"]
    assert len(found) == 100  # any random score passes 0
    assert found.pred_masks.shape == (100, 128, 192)
    assert found.pred_boxes.tensor.max() <= 192


SMALL = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "MODEL.FPN.OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 16]
