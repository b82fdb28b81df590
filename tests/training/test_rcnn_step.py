"""One training step beside Detectron2's own: the same weights and images give the same losses and gradients."""

import dataclasses

import pytest
import torch
from detectron2_parity import SPREAD, network_state, randomise_norms, run_detectron2, spread_outputs, yaml_and_options
from detectron2_shim import build_detectron2
from factories import tiny_rcnn

from yolact_ascend.models.config import with_classes
from yolact_ascend.models.labels import DRAWN_CATEGORY_IDS, DRAWN_CLASSES
from yolact_ascend.training.methods import method_of
from yolact_ascend.training.recipe import Phase, Recipe
from yolact_ascend.training.samples import load_batches

pytestmark = pytest.mark.detectron2
CPU = torch.device("cpu")
RECIPE = Recipe((Phase(96, 2, 1),), regions_per_image=32, seed=4)
LOSSES = {  # ours -> Detectron2's
    "objectness": "loss_rpn_cls",
    "rpn_box": "loss_rpn_loc",
    "class": "loss_cls",
    "box": "loss_box_reg",
    "mask": "loss_mask",
}


def tiny_config():
    tiny = tiny_rcnn(stages=(3, 4, 6, 3))  # a depth that Detectron2 has
    pixels = dataclasses.replace(tiny.preprocessing, height_px=96, width_px=96, shortest_edge_px=96, longest_edge_px=96)
    rcnn = dataclasses.replace(tiny.rcnn, anchor_sizes_px=((8,), (16,), (32,), (64,), (128,)))
    return with_classes(dataclasses.replace(tiny, preprocessing=pixels, rcnn=rcnn), DRAWN_CLASSES, DRAWN_CATEGORY_IDS)


def build_trained(config, norm, frozen_stages):
    """Build Detectron2's model of a config with random weights, to be trained by our recipe."""
    yaml, options = yaml_and_options(config)
    training = {
        "MODEL.BACKBONE.FREEZE_AT": frozen_stages,
        "MODEL.RESNETS.NORM": norm,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": RECIPE.regions_per_image,
        "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2 * config.rcnn.rpn_candidates,
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": config.rcnn.rpn_proposals,
    }
    torch.manual_seed(0)
    model = build_detectron2(yaml, [*options, *(word for pair in training.items() for word in pair)])
    randomise_norms(model, "norm", "conv3.norm")
    canvas = torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(1)).numpy() * 60
    spread_outputs(model, SPREAD, lambda: run_detectron2(model, canvas, (96, 96)))
    return model.train()


def detectron2_losses(model, images, truths):
    from detectron2.structures import BitMasks, Boxes, ImageList, Instances
    from detectron2.utils.events import EventStorage

    batch = ImageList(images, [truth.size for truth in truths])
    instances = []
    for truth in truths:
        each = Instances(truth.size)
        each.gt_boxes, each.gt_classes = Boxes(truth.boxes), truth.class_ids
        each.gt_masks = BitMasks(truth.masks.bool())
        instances.append(each)
    with EventStorage():
        features = model.backbone(images)
        proposals, rpn = model.proposal_generator(batch, features, instances)
        _, heads = model.roi_heads(batch, features, proposals, instances)
    return {**rpn, **heads}


@pytest.mark.parametrize(("norm", "frozen_stages"), [("FrozenBN", 2), ("BN", 0)], ids=["from weights", "from scratch"])
def test_losses_and_gradients_of_a_step_are_detectron2s(detectron2, training_set, monkeypatch, norm, frozen_stages):
    """Tolerance: float32 in another order of operations, 1e-4 of each loss, 1e-3 of the largest gradient of a tensor.

    Both draw the first of what they may draw: which random numbers are drawn is no question of parity.
    """
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.arange(count))
    config = tiny_config()
    method = method_of(config)
    model = build_trained(config, norm, frozen_stages)
    trainee = method.make_trainee(config, 0)
    state = {key: value for key, value in network_state(model).items() if not key.endswith("num_batches_tracked")}
    trainee.network.load_state_dict(state)
    trainee.train()
    if frozen_stages:
        method.freeze(trainee)
    images, truths = method.stack_samples(next(load_batches(training_set, config, method, RECIPE)), CPU)
    truths = [truth._replace(ignored=truth.ignored[:0]) for truth in truths]  # Detectron2 knows no ignored regions
    expected = detectron2_losses(model, images, truths)
    losses = method.compute_losses(trainee, images, truths, RECIPE, 0)
    assert set(LOSSES.values()) == set(expected)
    for ours, theirs in LOSSES.items():
        assert losses[ours].item() == pytest.approx(expected[theirs].item(), rel=1e-4), ours
        assert losses[ours].item() > 0
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    parameters = dict(model.named_parameters())
    worst = 0.0
    for name, parameter in trainee.network.named_parameters():
        theirs = parameters[name].grad if name in parameters else None
        assert (parameter.grad is None) == (theirs is None), name
        if theirs is not None:
            difference = (parameter.grad - theirs).abs().max() / theirs.abs().max().clamp(min=1e-8)
            worst = max(worst, difference.item())
            assert difference <= 1e-3, name
    print(f"parity: losses within 1e-4; the gradients' largest difference is {worst:.1e} of a tensor's largest")
