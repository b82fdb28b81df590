"""The parts of R-CNN on arrays that are worked out by hand, or against the definition written out in loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import tiny_rcnn

from yolact_ascend.models.rcnn import ascend
from yolact_ascend.models.rcnn.anchors import cell_anchors, make_anchors
from yolact_ascend.models.rcnn.boxes import clip_boxes, decode_deltas, has_area, pyramid_levels
from yolact_ascend.models.rcnn.cuts import cut_outputs, rcnn_of
from yolact_ascend.models.rcnn.nms import pairwise_iou, suppress
from yolact_ascend.models.rcnn.roi_align import Pooling, pool_levels, roi_align
from yolact_ascend.models.values import DETECTRON1, DETECTRON2, Rcnn
from yolact_ascend.tensors import TensorSpec

ALIGNED, UNALIGNED = Pooling(3, 0, True, DETECTRON2), Pooling(3, 2, False, DETECTRON1)


def test_outputs_of_the_cut():
    boxes, scores, classes, count, masks = cut_outputs(tiny_rcnn(), "detections")
    assert (boxes, scores) == (TensorSpec("boxes", (20, 4)), TensorSpec("scores", (20,)))
    assert (classes, count) == (TensorSpec("classes", (20,), "int32"), TensorSpec("count", (1,), "int32"))
    assert masks == TensorSpec("masks", (20, 28, 28))
    assert len(cut_outputs(tiny_rcnn("faster_rcnn_R_50_FPN_1x"), "detections")) == 4
    config = tiny_rcnn()
    odd = replace(config, preprocessing=replace(config.preprocessing, height_px=100))
    with pytest.raises(ValueError, match="canvas of 100x128 pixels .*expected multiples of 32"):
        cut_outputs(odd, "detections")


def test_anchors_of_detectron2():
    """32 px at ratio 1/2: sides 32·√2 and 32/√2, around the corner of the first cell (ANCHOR_GENERATOR.OFFSET 0)."""
    half, full = 32 / 2**0.5 / 2, 32 * 2**0.5 / 2
    expected = [[-full, -half, full, half], [-16, -16, 16, 16], [-half, -full, half, full]]
    np.testing.assert_allclose(cell_anchors(Rcnn(), (32,), 4), expected, rtol=1e-6)


def test_anchors_of_detectron():
    """generate_anchors(4, 32): sides rounded to whole strides, then times 8, around the middle of pixels 0..3."""
    expected = [[-22, -10, 25, 13], [-14, -14, 17, 17], [-10, -22, 13, 25]]
    assert cell_anchors(Rcnn(dialect=DETECTRON1), (32,), 4).tolist() == expected


def test_anchors_go_row_by_row():
    levels = make_anchors(Rcnn(), 64, 96)
    assert [len(level) for level in levels] == [16 * 24 * 3, 8 * 12 * 3, 4 * 6 * 3, 2 * 3 * 3, 1 * 2 * 3]
    np.testing.assert_allclose(levels[0][3] - levels[0][0], [4, 0, 4, 0])  # the next cell to the right
    np.testing.assert_allclose(levels[0][24 * 3] - levels[0][0], [0, 4, 0, 4])  # the next row


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        # width 10, centre 5; moved by a tenth of the width, twice as wide
        pytest.param(DETECTRON2, [-4, 0, 16, 10], id="detectron2"),
        # width 11, centre 5.5; the last pixel is one before the end
        pytest.param(DETECTRON1, [5.5 + 1.1 - 11, 0, 5.5 + 1.1 + 11 - 1, 10], id="detectron1"),
    ],
)
def test_decode_deltas(dialect, expected):
    box, deltas = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[1.0, 0, 5 * np.log(2), 0]])
    decoded = decode_deltas(deltas, box, (10, 10, 5, 5), dialect)
    np.testing.assert_allclose(decoded[0], expected, atol=1e-5)  # a few roundings of values up to 16


def test_a_box_grows_at_most_so_much():
    decoded = decode_deltas(
        torch.tensor([[0.0, 0, 100, 100]]), torch.tensor([[0.0, 0, 2, 2]]), (1, 1, 1, 1), DETECTRON2
    )
    np.testing.assert_allclose(decoded[0, 2] - decoded[0, 0], 2 * 1000 / 16, rtol=1e-5)


def test_boxes_are_clipped_to_the_picture():
    boxes, size = torch.tensor([[-5.0, -5, 200, 200]]), torch.tensor([60.0, 100.0])  # height, width
    assert clip_boxes(boxes, size, DETECTRON2).tolist() == [[0, 0, 100, 60]]
    assert clip_boxes(boxes, size, DETECTRON1).tolist() == [[0, 0, 99, 59]]


def test_has_area():
    boxes = torch.tensor([[0.0, 0, 1, 1], [3, 3, 3, 3], [0, 0, 5, 0], [2, 0, 1, 5]])
    assert has_area(boxes).tolist() == [True, False, False, False]
    assert has_area(torch.zeros(0, 4)).tolist() == []


@pytest.mark.parametrize(
    ("side", "level"), [(0, 0), (111, 0), (112, 1), (223, 1), (224, 2), (447, 2), (448, 3), (2e3, 3)]
)
def test_the_level_follows_from_the_size(side, level):
    assert pyramid_levels(torch.tensor([[7.0, 7, 7 + side, 7 + side]]), 4, DETECTRON2).tolist() == [level]
    if side:  # a pixel more there
        assert pyramid_levels(torch.tensor([[7.0, 7, 6 + side, 6 + side]]), 4, DETECTRON1).tolist() == [level]


def test_pairwise_iou():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]])
    np.testing.assert_allclose(pairwise_iou(boxes[:1], boxes), [[1, 0.5, 0]])


def test_suppress_keeps_what_overlaps_exactly_at_the_threshold():
    """IoU 0.5 exactly is kept, as in Detectron2 and ONNX Runtime; OpenVINO drops it (field_problems 8)."""
    boxes = torch.tensor(
        [[[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 9]], [[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 9]]]
    )
    scores = torch.tensor([[0.9, 0.8, 0.7], [0.6, 0.05, 0.9]])
    assert suppress(boxes, scores, 0.5, 0.05).tolist() == [0, 1, 3 + 2]  # group, then falling score
    assert suppress(boxes, scores, 0.49, 0.05).tolist() == [0, 3 + 2]
    assert suppress(boxes, scores, 0.5, 0.95).tolist() == []


def test_boxes_without_area_suppress_nothing():
    boxes, scores = torch.tensor([[[3.0, 3, 3, 3], [3, 3, 3, 3]]]), torch.tensor([[0.9, 0.8]])
    assert suppress(boxes, scores, 0.5, 0.0).tolist() == [0, 1]


def pooled_by_loops(features, box, scale, pooling):
    """ROIAlign as the paper has it, one sample after the other; features [C,h,w] -> [C,size,size]."""
    height, width = features.shape[1:]
    x1, y1, x2, y2 = (value * scale - (0.5 if pooling.is_aligned else 0) for value in box)
    sides = [y2 - y1, x2 - x1] if pooling.is_aligned else [max(y2 - y1, 1), max(x2 - x1, 1)]
    bins = [side / pooling.size for side in sides]
    counts = [pooling.samples or int(np.ceil(each)) for each in bins]

    def sample(y, x):
        if not (-1 <= y <= height and -1 <= x <= width):
            return np.zeros(len(features))
        y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = features[:, top, left] * (left + 1 - x) + features[:, top, right] * (x - left)
        lower = features[:, bottom, left] * (left + 1 - x) + features[:, bottom, right] * (x - left)
        return upper * (top + 1 - y) + lower * (y - top)

    pooled = np.zeros((len(features), pooling.size, pooling.size))
    for row, column in np.ndindex(pooling.size, pooling.size):
        for i, j in np.ndindex(*counts):
            y = y1 + row * bins[0] + (i + 0.5) * bins[0] / counts[0]
            x = x1 + column * bins[1] + (j + 0.5) * bins[1] / counts[1]
            pooled[:, row, column] += sample(y, x) / max(counts[0] * counts[1], 1)
    return pooled


BOXES = [[4.0, 8, 60, 30], [0, 0, 3, 90], [-9, -9, 5, 5], [70, 60, 99, 99], [5, 5, 5, 5], [0, 7, 95, 7.5]]


@pytest.mark.parametrize("pooling", [ALIGNED, UNALIGNED, replace(ALIGNED, samples=2)], ids=["aligned", "old", "fixed"])
def test_roi_align_is_the_mean_of_its_samples(pooling):
    features = torch.randn(2, 4, 20, 24, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([0, 1, 0, 1, 1, 0])
    pooled = roi_align(features, torch.tensor(BOXES), ids, 0.25, pooling)
    for row, box in enumerate(BOXES):
        expected = pooled_by_loops(features[ids[row]].double().numpy(), box, 0.25, pooling)
        np.testing.assert_allclose(pooled[row], expected, atol=1e-5)  # places to 2e-6 of a cell
    assert roi_align(features, torch.zeros(0, 4), ids[:0], 0.25, pooling).shape == (0, 4, 3, 3)
    assert pooled[4].eq(0).all() == (pooling.samples == 0)  # no area, no samples


def test_roi_align_passes_gradients_to_the_features():
    features = torch.randn(
        1, 2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    boxes = torch.tensor([[2.0, 3, 20, 17], [9, 1, 30, 8]], dtype=torch.float64)
    ids = torch.zeros(2, dtype=torch.int64)
    assert torch.autograd.gradcheck(
        lambda values: roi_align(values, boxes, ids, 0.25, ALIGNED), features, fast_mode=True
    )


def test_boxes_come_back_in_their_order_whatever_level_they_are_pooled_from():
    levels = [torch.full((1, 1, 64 >> i, 64 >> i), float(i)) for i in range(4)]
    sides = [500, 30, 230, 120, 40]
    boxes = torch.tensor([[0.0, 0, side, side] for side in sides])
    pooled = pool_levels(levels, boxes, torch.zeros(5, dtype=torch.int64), replace(ALIGNED, samples=1))
    assert pooled[:, 0, 0, 0].tolist() == pytest.approx([3, 0, 2, 1, 0], rel=1e-6)  # weights add up to 1 so well


def play_nms(boxes, scores, least_score, iou, most):
    """BatchMultiClassNMS in half precision, areas included, one class after the other."""
    found = []
    for group in range(boxes.shape[2]):
        order = np.argsort(-scores[0, :, group].numpy().astype(np.float32), kind="stable")
        kept = []
        for row in order:
            box = boxes[0, row, group].numpy()
            if scores[0, row, group] > least_score and all(half_iou(box, other) <= iou for _, other in kept):
                kept.append((scores[0, row, group].item(), box))
        found += [(score, box, group) for score, box in kept[:most]]
    found = sorted(found, key=lambda each: -each[0])[:most]
    result = [torch.zeros(1, most, 4).half(), torch.zeros(1, most).half(), torch.zeros(1, most).half()]
    for row, (score, box, group) in enumerate(found):
        result[0][0, row], result[1][0, row], result[2][0, row] = torch.from_numpy(box), score, group
    return *result, torch.tensor([len(found)], dtype=torch.int32)


def half_iou(first, second):
    assert first.dtype == np.float16
    sides = np.maximum(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), np.float16(0))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    with np.errstate(over="ignore", invalid="ignore"):
        return sides.prod() / (areas[0] + areas[1] - sides.prod())


class Played:
    apply = staticmethod(play_nms)


def test_large_twins_on_ascend(monkeypatch):
    """Two boxes of 600×600 px: in half precision their areas are infinite unless scaled (field_problems 9)."""
    monkeypatch.setattr(ascend, "_BatchMultiClassNms", Played)
    boxes = torch.tensor([[[100.0, 100, 700.3, 700.3], [101, 100, 701, 700], [10, 10, 20, 20]]])
    kept = ascend.suppress_on_ascend(boxes, torch.tensor([[0.9, 0.8, 0.5]]), 0.5, 0.05, 4)
    assert kept.tolist() == [0, 2, 3, 3]  # one twin; two rows of padding, behind the three boxes
    with np.errstate(over="ignore"):
        assert np.isinf(np.float16(600) * np.float16(600))


def test_ascend_finds_each_survivor_again_in_its_group(monkeypatch):
    monkeypatch.setattr(ascend, "_BatchMultiClassNms", Played)
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(4, 50, 2, generator=generator) * 1000
    boxes = torch.cat([corners, corners + 20 + torch.rand(4, 50, 2, generator=generator) * 300], dim=2)
    scores = torch.rand(4, 50, generator=generator)
    expected = suppress(boxes, scores, 0.5, 0.3)
    found = ascend.suppress_on_ascend(boxes, scores, 0.5, 0.3, 200)
    found = found[found < 200]
    # A box whose overlap or score is next to a threshold may differ: half precision has 11 bits.
    assert len(set(found.tolist()) ^ set(expected.tolist())) <= 0.03 * len(expected)
    assert len(expected) > 80 and len(set(found.tolist())) == len(found)


def test_scores_on_ascend_keep_the_order_of_logits():
    logits = torch.tensor([-20.0, -3, -2.99, 0, 5, 5.01, 30])
    scores = ascend.positive_scores(logits).half()
    assert (scores > 0).all() and torch.isfinite(scores).all()
    assert (scores[1:] > scores[:-1]).all()


def test_configs_have_the_values_of_their_dialect():
    first, second = (rcnn_of(tiny_rcnn(name)) for name in ("mask_rcnn_R_50_FPN_3x", "resnet50_fpn_mask_rcnn"))
    assert (first.dialect, first.pooler_is_aligned, first.box_pooler_samples) == (DETECTRON2, True, 0)
    assert (second.dialect, second.pooler_is_aligned, second.mask_pooler_samples) == (DETECTRON1, False, 2)
