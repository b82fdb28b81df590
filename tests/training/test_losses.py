"""The four losses, against numbers worked out by hand."""

import math

import pytest
import torch

from yolact_ascend.models.yolact.network import HeadTensors
from yolact_ascend.training.yolact.losses import (
    BOX_WEIGHT,
    MASK_WEIGHT,
    Targets,
    box_loss,
    box_windows,
    compute_losses,
    conf_loss,
    mask_loss,
    mine_negatives,
    segmentation_loss,
)

NEUTRAL = -1


def logit(probability):
    return math.log(probability / (1 - probability))


def targets(**parts):
    """One image with two anchors and one scored mask; any part may be given."""
    defaults = {
        "classes": torch.zeros(1, 2, dtype=torch.int64),
        "loc": torch.zeros(1, 2, 4),
        "class_map": torch.zeros(1, 1, 1, 1, dtype=torch.uint8),
        "anchor_ids": torch.zeros(1, 1, dtype=torch.int64),
        "masks": torch.zeros(1, 1, 4, 4, dtype=torch.uint8),
        "boxes_xyxy_rel": torch.tensor([[[0.0, 0, 1, 1]]]),
        "mask_weights": torch.ones(1, 1),
    }
    return Targets(**{**defaults, **parts})


def test_box_loss_is_smooth_l1_of_the_positive_anchors():
    loc = torch.tensor([[[0.5, 0.0, 0.0, 0.0], [9.0, 9, 9, 9], [0.0, -3.0, 0.0, 0.0]]])
    classes = torch.tensor([[1, 0, 2]])
    # 0.5 · 0.5² for a small error, 3 - 0.5 for a large one; the background's offsets count for nothing.
    assert box_loss(loc, targets(classes=classes, loc=torch.zeros(1, 3, 4))).item() == pytest.approx(0.125 + 2.5)


def test_three_hard_negatives_for_each_positive():
    # Class 0 is the background: the lower its logit against the other's, the harder the anchor.
    foreground = torch.tensor([9.0, 1, 5, 2, 4, 3, 8])
    conf = torch.stack([torch.zeros(7), foreground], dim=1)[None]
    classes = torch.tensor([[1, 0, 0, 0, 0, 0, NEUTRAL]])
    assert mine_negatives(conf, classes)[0].tolist() == [False, False, True, False, True, True, False]


def test_fewer_negatives_than_wanted_are_all_taken_and_nothing_else():
    classes = torch.tensor([[1, 0, NEUTRAL, 1]])
    assert mine_negatives(torch.zeros(1, 4, 2), classes)[0].tolist() == [False, True, False, False]


def test_negatives_are_counted_in_each_image_by_itself():
    conf = torch.zeros(2, 5, 2)
    classes = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    assert mine_negatives(conf, classes).sum(dim=1).tolist() == [3, 0]


def test_an_image_without_objects_has_negatives_of_its_own():
    # The hardest two of the second image: it has no positive anchor. The first has one, hence three.
    conf = torch.stack([torch.zeros(2, 5), torch.tensor([[0.0, 1, 2, 3, 4], [1.0, 9, 0, 8, 2]])], dim=2)
    classes = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 0, NEUTRAL, 0]])
    assert mine_negatives(conf, classes, background_negatives=2).tolist() == [
        [False, False, True, True, True],
        [False, True, False, False, True],
    ]


def test_a_background_image_teaches_the_class_layer_unless_upstreams_rule_is_asked_for():
    conf = torch.zeros(2, 40, 3, requires_grad=True)
    classes = torch.zeros(2, 40, dtype=torch.int64)
    classes[0, 0] = 2
    conf_loss(conf, classes).backward()
    assert conf.grad[0].abs().sum() > 0
    assert conf.grad[1].abs().sum() == 0
    conf.grad = None
    conf_loss(conf, classes, background_negatives=24).backward()
    assert (conf.grad[1].abs().sum(dim=1) > 0).sum() == 24
    # Each image's share: 1 positive and 3 negatives against 24 negatives, which count as 8 positives.
    assert conf_loss(conf, classes, 24).item() == pytest.approx(math.log(3) * (4 + 24) / (1 + 8))


def test_without_background_images_both_rules_are_the_same():
    torch.manual_seed(0)
    conf, classes = torch.randn(3, 50, 4), torch.randint(-1, 3, (3, 50)).clamp(min=NEUTRAL)
    classes[:, 0] = 1
    assert torch.equal(conf_loss(conf, classes), conf_loss(conf, classes, background_negatives=24))


def test_conf_loss_is_cross_entropy_of_positives_and_their_negatives():
    # One positive of class 2 with probability 1/2, one negative whose background has 1/4, one neutral.
    conf = torch.log(torch.tensor([[[0.25, 0.25, 0.5], [0.25, 0.5, 0.25], [0.01, 0.01, 0.98]]]))
    classes = torch.tensor([[2, 0, NEUTRAL]])
    assert conf_loss(conf, classes).item() == pytest.approx(math.log(2) + math.log(4))


def test_windows_are_the_box_and_one_cell_around_it():
    # Of 8 cells the box covers 3..5 both ways; the left edge is that of the grid.
    windows = box_windows(torch.tensor([[[3 / 8, 3 / 8, 5 / 8, 5 / 8], [0, 0, 1 / 8, 1]]]), 8, 8)[0]
    assert windows[0].any(dim=0).tolist() == [False, False, True, True, True, True, False, False]
    assert windows[0].sum() == 16
    assert windows[1].any(dim=0).tolist() == [True, True] + [False] * 6
    assert windows[1].any(dim=1).all()


def test_windows_of_a_flat_grid_know_rows_from_columns():
    window = box_windows(torch.tensor([[[0.0, 0, 0.25, 1]]]), 2, 8)[0, 0]
    assert window.shape == (2, 8)
    assert window[0].tolist() == window[1].tolist() == [True, True, True, False, False, False, False, False]


def mask_case(probability, mask, box=(0.0, 0, 1, 1), weight=1.0, prototypes=2):
    """The mask loss of one anchor whose mask has this probability everywhere on a grid of 4×4."""
    protos = torch.zeros(1, 4, 4, prototypes)
    protos[..., 0] = logit(probability)
    coeffs = torch.zeros(1, 2, prototypes)
    coeffs[0, 1, 0] = 1  # the second anchor's
    parts = targets(
        anchor_ids=torch.tensor([[1]]),
        masks=torch.tensor(mask, dtype=torch.uint8)[None, None],
        boxes_xyxy_rel=torch.tensor([[box]]),
        mask_weights=torch.tensor([[weight]]),
    )
    return mask_loss(coeffs, protos, parts).item()


FULL = [[1] * 4] * 4
EMPTY = [[0] * 4] * 4


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (mask_case(0.8, FULL), -math.log(0.8)),
        (mask_case(0.8, EMPTY), -math.log(0.2)),
        (mask_case(0.8, [[1] * 4, [0] * 4] * 2), -(math.log(0.8) + math.log(0.2)) / 2),
        (mask_case(0.8, FULL, weight=2.5), -2.5 * math.log(0.8)),
        (mask_case(0.8, FULL, weight=0.0), 0.0),
        # A box of 2×2 cells has a window of 3×3 at the corner: nine cells over an area of four.
        (mask_case(0.8, FULL, box=(0.0, 0, 0.5, 0.5)), -math.log(0.8) * 9 / 4),
    ],
    ids=["all set", "none set", "half", "weighted", "padding", "normalised by the box"],
)
def test_mask_loss_is_the_mean_cross_entropy_in_the_box(case, expected):
    assert case == pytest.approx(expected, rel=1e-5)


def test_mask_loss_of_no_scored_anchor_is_zero():
    nothing = targets(
        anchor_ids=torch.zeros(1, 0, dtype=torch.int64),
        masks=torch.zeros(1, 0, 4, 4, dtype=torch.uint8),
        boxes_xyxy_rel=torch.zeros(1, 0, 4),
        mask_weights=torch.zeros(1, 0),
    )
    assert mask_loss(torch.zeros(1, 2, 3), torch.zeros(1, 4, 4, 3), nothing) == 0


def test_segmentation_loss_sums_classes_and_means_cells_and_images():
    logits = torch.full((2, 3, 4, 5), logit(0.8))
    class_map = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    class_map[:, 0] = 1
    expected = -math.log(0.8) - 2 * math.log(0.2)
    assert segmentation_loss(logits, class_map).item() == pytest.approx(expected, rel=1e-6)


def test_losses_are_weighted_and_divided_by_the_positives():
    head = HeadTensors(torch.full((1, 2, 4), 2.0), torch.zeros(1, 2, 3), torch.zeros(1, 2, 5))
    parts = targets(classes=torch.tensor([[1, 2]]))
    losses = compute_losses(head, torch.zeros(1, 4, 4, 5), torch.zeros(1, 1, 1, 1), parts)
    assert losses.box.item() == pytest.approx(BOX_WEIGHT * 2 * 4 * 1.5 / 2)
    assert losses.conf.item() == pytest.approx(math.log(3))
    assert losses.mask.item() == pytest.approx(MASK_WEIGHT * math.log(2) / 2)
    assert losses.segmentation.item() == pytest.approx(math.log(2))


def test_a_batch_without_objects_has_finite_losses():
    head = HeadTensors(torch.ones(1, 2, 4), torch.ones(1, 2, 3), torch.ones(1, 2, 5))
    losses = compute_losses(
        head, torch.ones(1, 4, 4, 5), torch.zeros(1, 1, 1, 1), targets(mask_weights=torch.zeros(1, 1))
    )
    assert [losses.box.item(), losses.conf.item(), losses.mask.item()] == [0, 0, 0]
