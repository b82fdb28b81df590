"""Matching, sampling and losses of R-CNN, against numbers worked out by hand."""

import math

import pytest
import torch

from yolact_ascend.models.rcnn.boxes import decode_deltas
from yolact_ascend.models.values import DETECTRON2, Rcnn
from yolact_ascend.training.rcnn.losses import (
    ANCHORS_PER_IMAGE,
    Regions,
    crop_masks,
    draw_regions,
    head_losses,
    mask_loss,
    rpn_losses,
)
from yolact_ascend.training.rcnn.matching import (
    NEGATIVE,
    NEUTRAL,
    box_ious,
    draw_scored,
    encode_deltas,
    match_boxes,
    spare_ignored,
)
from yolact_ascend.training.rcnn.samples import Truth

NO_BOXES = torch.zeros(0, 4)
TWO_BOXES = torch.tensor([[0.0, 0, 10, 10], [20.0, 0, 40, 10]])
RCNN = Rcnn()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def truth(boxes=TWO_BOXES, class_ids=(1, 0), masks=None, ignored=NO_BOXES):
    whole = torch.ones(len(boxes), 16, 48, dtype=torch.uint8)
    return Truth((16, 48), boxes, torch.tensor(class_ids[: len(boxes)]), whole if masks is None else masks, ignored)


def test_overlaps_of_boxes_and_of_none():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5.0, 0, 15, 10], [50.0, 50, 60, 60]])
    assert box_ious(TWO_BOXES, boxes).tolist() == [[1, pytest.approx(1 / 3), 0], [0, 0, 0]]
    assert box_ious(NO_BOXES, boxes).shape == (0, 3)


def test_boxes_are_positive_negative_or_neither_by_their_overlap():
    boxes = torch.tensor([[0.0, 0, 10, 8], [0.0, 0, 10, 5], [0.0, 0, 10, 2], [20.0, 0, 40, 10]])  # IoU 0.8, 0.5, 0.2, 1
    labels, rows = match_boxes(boxes, TWO_BOXES, 0.3, 0.7)
    assert labels.tolist() == [1, NEUTRAL, NEGATIVE, 1]
    assert rows.tolist() == [0, 0, 0, 1]
    assert match_boxes(boxes, TWO_BOXES, 0.5, 0.5).labels.tolist() == [1, 1, NEGATIVE, 1]


def test_an_object_without_a_good_box_keeps_its_best_ones_if_that_is_asked_for():
    boxes = torch.tensor([[0.0, 0, 10, 2], [0.0, 8, 10, 10], [0.0, 0, 10, 1]])  # IoU 0.2, 0.2, 0.1 with it
    objects = TWO_BOXES[:1]
    assert match_boxes(boxes, objects, 0.3, 0.7, keep_best=True).labels.tolist() == [1, 1, NEGATIVE]
    assert match_boxes(boxes, objects, 0.3, 0.7).labels.tolist() == [NEGATIVE] * 3


def test_without_objects_all_boxes_are_negative():
    assert match_boxes(TWO_BOXES, NO_BOXES, 0.3, 0.7, keep_best=True).labels.tolist() == [NEGATIVE] * 2


def test_negatives_in_a_crowd_are_neither():
    labels = torch.tensor([NEGATIVE, NEGATIVE, 1])
    boxes = torch.tensor([[0.0, 0, 10, 10], [5.0, 0, 15, 10], [0.0, 0, 10, 10]])
    assert spare_ignored(labels, boxes, torch.tensor([[0.0, 0, 10, 10]])).tolist() == [NEUTRAL, NEGATIVE, 1]
    assert spare_ignored(labels, boxes, NO_BOXES).tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("positives", "negatives", "drawn"),
    [(10, 100, (2, 6)), (1, 100, (1, 7)), (10, 3, (2, 3)), (0, 0, (0, 0))],
    ids=["enough", "few positives", "few negatives", "none"],
)
def test_a_share_of_positives_is_drawn_and_the_rest_is_negative(positives, negatives, drawn):
    labels = torch.tensor([1] * positives + [NEUTRAL] * 5 + [NEGATIVE] * negatives)
    positive, negative = draw_scored(labels, 8, 0.25, generator())
    assert (len(positive), len(negative)) == drawn
    assert set(labels[positive].tolist()) <= {1} and set(labels[negative].tolist()) <= {NEGATIVE}
    assert len(set(positive.tolist() + negative.tolist())) == sum(drawn)


def test_draws_depend_on_their_generator_alone():
    labels = torch.zeros(100, dtype=torch.int64)
    draws = [draw_scored(labels, 8, 0.25, generator(seed))[1].tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_encoded_boxes_are_what_decoding_gives_back():
    weights = (10.0, 10.0, 5.0, 5.0)
    boxes, targets = TWO_BOXES, torch.tensor([[2.0, 1, 8, 21], [10.0, 5, 90, 6]])
    deltas = encode_deltas(boxes, targets, weights)
    assert deltas[0].tolist() == pytest.approx([0, 6, 5 * math.log(0.6), 5 * math.log(2)])
    # Tolerance: float32 of coordinates up to 90.
    torch.testing.assert_close(decode_deltas(deltas, boxes, weights, DETECTRON2), targets, rtol=0, atol=1e-4)


def test_rpn_losses_are_sums_over_the_scored_anchors():
    anchors = torch.tensor([[0.0, 0, 10, 10], [20.0, 0, 40, 20], [60.0, 60, 70, 70]])  # IoU 1, 0.5, 0
    logits, deltas = torch.zeros(1, 3), torch.full((1, 3, 4), 0.25)
    objectness, boxes = rpn_losses(logits, deltas, anchors, [truth()], RCNN, generator())
    assert objectness.item() == pytest.approx(3 * math.log(2) / ANCHORS_PER_IMAGE)
    # The first anchor is its object; the second's centre lies a quarter of its height lower, and it is twice as high.
    errors = [0.25 * 4, 0.25 + (0.25 + 0.25) + 0.25 + (math.log(2) + 0.25)]
    assert boxes.item() == pytest.approx(sum(errors) / ANCHORS_PER_IMAGE)


def test_an_image_without_objects_teaches_only_objectness():
    logits = torch.full((1, 2), -2.0, requires_grad=True)
    deltas = torch.ones(1, 2, 4)
    objectness, boxes = rpn_losses(logits, deltas, TWO_BOXES, [truth(NO_BOXES)], RCNN, generator())
    assert objectness.item() == pytest.approx(2 * math.log(1 + math.exp(-2)) / ANCHORS_PER_IMAGE)
    assert boxes.item() == 0


def test_regions_are_proposals_and_the_objects_themselves():
    proposals = torch.tensor([[0.0, 0, 10, 9], [50.0, 0, 60, 10]])
    regions = draw_regions(proposals, truth(), 3, 16, generator())
    assert sorted(regions.classes.tolist()) == [0, 1, 1, 3]
    assert regions.classes.tolist()[-1] == 3  # objects come first
    for box, class_id, row in zip(regions.boxes.tolist(), regions.classes.tolist(), regions.rows.tolist()):
        if class_id < 3:
            assert (1, 0)[row] == class_id and box[0] == TWO_BOXES[row, 0]
    empty = draw_regions(proposals, truth(NO_BOXES), 3, 16, generator())
    assert empty.classes.tolist() == [3, 3]


def one_object(boxes=None):
    """A region of the first object, class 1, and one of background, of three classes."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [50.0, 0, 60, 10]]) if boxes is None else boxes
    return Regions(boxes, torch.tensor([1, 3]), torch.tensor([0, 0]))


def test_box_losses_are_those_of_the_objects_class_divided_by_all_regions():
    deltas = torch.full((2, 12), 9.0)
    deltas[0, 4:8] = torch.tensor([0.5, -0.5, 0.0, 1.0])
    logits = torch.log(torch.tensor([[0.25, 0.5, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25]]))
    classes, boxes = head_losses(logits, deltas, [one_object()], [truth()], 3, RCNN)
    assert classes.item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert boxes.item() == pytest.approx(2.0 / 2)
    shared = Rcnn(class_agnostic_boxes=True)
    assert head_losses(logits, deltas[:, 4:8], [one_object()], [truth()], 3, shared)[1].item() == pytest.approx(1.0)


def test_no_regions_have_finite_losses():
    nothing = Regions(NO_BOXES, torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    logits, deltas, masks = torch.zeros(0, 4), torch.zeros(0, 12), torch.zeros(0, 3, 28, 28)
    assert [loss.item() for loss in head_losses(logits, deltas, [nothing], [truth()], 3, RCNN)] == [0, 0]
    assert mask_loss(masks, [nothing], [truth()], RCNN).item() == 0


def test_masks_are_cropped_to_their_boxes():
    masks = torch.zeros(2, 16, 48, dtype=torch.uint8)
    masks[0, :, :5] = 1
    masks[1, 4:8] = 1
    cropped = crop_masks(masks, torch.tensor([[0.0, 0, 10, 8], [0.0, 0, 48, 16]]), 4, DETECTRON2)
    assert cropped[0].tolist() == [[1, 1, 0, 0]] * 4
    assert cropped[1].tolist() == [[0] * 4, [1] * 4, [0] * 4, [0] * 4]


def test_the_mask_loss_is_the_mean_cross_entropy_of_the_objects_class():
    masks = torch.zeros(1, 16, 48, dtype=torch.uint8)
    masks[0, :, :5] = 1
    logits = torch.full((1, 3, 4, 4), 9.0)
    logits[0, 1] = math.log(0.8 / 0.2)
    region = Regions(torch.tensor([[0.0, 0, 10, 8]]), torch.tensor([1]), torch.tensor([0]))
    found = mask_loss(logits, [region], [truth(TWO_BOXES[:1], masks=masks)], RCNN)
    assert found.item() == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2, rel=1e-6)
