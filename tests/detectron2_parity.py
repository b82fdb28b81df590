"""Detectron2's own model beside ours: the same weights, and the same canvas for both.

Random weights of a new network tell nothing: all scores are alike. `spread_outputs` rescales the last layers by what
they give for one picture, so that scores, boxes and masks are spread as those of a trained network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from detectron2_shim import build_detectron2
from torch import nn

from yolact_ascend.detection.sets import match_rows
from yolact_ascend.detection.tasks import MASK
from yolact_ascend.models.config import ModelConfig

YAML_OF_CONFIG = {
    "faster_rcnn_R_50_FPN_1x": "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml",
    "faster_rcnn_R_50_FPN_3x": "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml",
    "mask_rcnn_R_50_FPN_3x": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml",
    "mask_rcnn_R_101_FPN_3x": "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml",
}
DEPTH_OF_STAGES = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
COMPUTED_KEYS = ("proposal_generator.anchor_generator.", "pixel_mean", "pixel_std")  # Detectron2's, from its config
# layer -> the standard deviation that its outputs get: what the trained demo gives on its scenes, but for the scores of
# classes (3.3), which random features would saturate: then many are equal
SPREAD = {
    "proposal_generator.rpn_head.objectness_logits": 4.1,
    "proposal_generator.rpn_head.anchor_deltas": 0.33,
    "roi_heads.box_predictor.cls_score": 1.5,
    "roi_heads.box_predictor.bbox_pred": 0.88,
    "roi_heads.mask_head.predictor": 3.3,
}
TIE_TRIES, TIE_INPUT, TIE_PX = 12, 3e-6, 0.1  # how often and by how much (relative) an input is moved to show a tie


class Rows(NamedTuple):
    """Detections by falling score: boxes [N,4] px of the resized picture, scores, classes [N], masks [N,28,28]."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: np.ndarray


class Differences(NamedTuple):
    """How far two lists are apart, over the detections that both have."""

    detections: int
    unmatched: int
    boxes_px: float
    scores: float
    masks: float
    disordered: float  # the largest difference of two scores whose order is turned


def yaml_and_options(config: ModelConfig) -> tuple[str, list]:
    """Return a YAML file of Detectron2 and the options [KEY, value, …] that make it build the network of a config."""
    if config.name in YAML_OF_CONFIG:
        return YAML_OF_CONFIG[config.name], []
    rcnn, pixels = config.rcnn, config.preprocessing
    values = {
        "INPUT.FORMAT": pixels.channel_order,
        "INPUT.MAX_SIZE_TEST": pixels.longest_edge_px,
        "INPUT.MIN_SIZE_TEST": pixels.shortest_edge_px,
        "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [list(rcnn.aspect_ratios)],
        "MODEL.ANCHOR_GENERATOR.SIZES": [list(sizes) for sizes in rcnn.anchor_sizes_px],
        "MODEL.FPN.OUT_CHANNELS": config.fpn_channels,
        "MODEL.MASK_ON": MASK in config.tasks,
        "MODEL.PIXEL_MEAN": list(pixels.mean_rgb[:: -1 if pixels.channel_order == "BGR" else 1]),
        "MODEL.PIXEL_STD": list(pixels.std_rgb[:: -1 if pixels.channel_order == "BGR" else 1]),
        "MODEL.RESNETS.DEPTH": DEPTH_OF_STAGES[config.backbone.stages],
        "MODEL.RESNETS.NUM_GROUPS": rcnn.groups,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": rcnn.res2_channels,
        "MODEL.RESNETS.STEM_OUT_CHANNELS": config.backbone.stem_channels,
        "MODEL.RESNETS.STRIDE_IN_1X1": rcnn.stride_in_1x1,
        "MODEL.RESNETS.WIDTH_PER_GROUP": rcnn.bottleneck_channels // rcnn.groups,
        "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": rcnn.box_weights,
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": rcnn.class_agnostic_boxes,
        "MODEL.ROI_BOX_HEAD.FC_DIM": rcnn.box_channels,
        "MODEL.ROI_BOX_HEAD.NUM_FC": rcnn.box_layers,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": rcnn.box_pooler_size,
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": rcnn.box_pooler_samples,
        "MODEL.ROI_HEADS.NMS_THRESH_TEST": rcnn.nms_iou,
        "MODEL.ROI_HEADS.NUM_CLASSES": config.num_classes,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": rcnn.score_threshold,
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": rcnn.class_agnostic_masks,
        "MODEL.ROI_MASK_HEAD.CONV_DIM": rcnn.mask_channels,
        "MODEL.ROI_MASK_HEAD.NUM_CONV": rcnn.mask_layers,
        "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": rcnn.mask_pooler_size,
        "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": rcnn.mask_pooler_samples,
        "MODEL.RPN.BBOX_REG_WEIGHTS": rcnn.rpn_box_weights,
        "MODEL.RPN.NMS_THRESH": rcnn.rpn_nms_iou,
        "MODEL.RPN.POST_NMS_TOPK_TEST": rcnn.rpn_proposals,
        "MODEL.RPN.PRE_NMS_TOPK_TEST": rcnn.rpn_candidates,
        "TEST.DETECTIONS_PER_IMAGE": rcnn.max_detections,
    }
    return YAML_OF_CONFIG["mask_rcnn_R_50_FPN_3x"], [word for pair in values.items() for word in pair]


def random_detectron2(config: ModelConfig, picture: np.ndarray, seed: int = 0) -> nn.Module:
    """Build Detectron2's model of a config with random weights that find something in `picture` [3,H,W]."""
    torch.manual_seed(seed)
    model = build_detectron2(*yaml_and_options(config))
    randomise_norms(model, "norm", "conv3.norm")
    spread_outputs(model, SPREAD, lambda: run_detectron2(model, picture, picture.shape[1:]))
    return model


@torch.no_grad()
def randomise_norms(model: nn.Module, name: str, last: str) -> None:
    """Give batch norms random statistics; those that end a residual branch are small, so that sums stay bounded."""
    for key, module in model.named_modules():
        if key.endswith(name) and hasattr(module, "running_var"):
            module.weight.copy_(torch.empty_like(module.weight).uniform_(0.6, 1.2))
            if key.endswith(last):
                module.weight.mul_(0.3)
            module.bias.copy_(torch.randn_like(module.bias) * 0.1)
            module.running_mean.copy_(torch.randn_like(module.running_mean) * 0.1)
            module.running_var.copy_(torch.empty_like(module.running_var).uniform_(0.5, 1.5))


def spread_outputs(model: nn.Module, deviations: Mapping[str, float], run: Callable[[], object]) -> None:
    """Scale and shift layers so that what each gives in `run`, when first called, has this deviation around 0."""

    def rescale(layer: nn.Module, deviation: float):
        def hook(_module, _inputs, output):
            handle.remove()
            over = [axis for axis in range(output.dim()) if axis != 1]
            mean = output.mean(over, keepdim=True)  # of each class: no class wins everywhere
            factor = deviation / (output - mean).std().clamp(min=1e-9)
            layer.weight.data.mul_(factor)
            layer.bias.data.sub_(mean.flatten()).mul_(factor)
            return (output - mean) * factor

        handle = layer.register_forward_hook(hook)

    for name, deviation in deviations.items():
        if name in dict(model.named_modules()):
            rescale(model.get_submodule(name), deviation)
    run()


@torch.no_grad()
def run_detectron2(model: nn.Module, canvas: np.ndarray, size: tuple[int, int]) -> Rows:
    """Detect by Detectron2's three parts in a canvas [3,H,W], normalised and padded, with a picture of `size` on it."""
    from detectron2.structures import ImageList

    images = ImageList(torch.as_tensor(np.ascontiguousarray(canvas))[None], [tuple(map(int, size))])
    features = model.backbone(images.tensor)
    proposals, _ = model.proposal_generator(images, features, None)
    (found,), _ = model.roi_heads(images, features, proposals, None)
    masks = found.pred_masks[:, 0].numpy() if found.has("pred_masks") else np.zeros((len(found), 0, 0), np.float32)
    return Rows(found.pred_boxes.tensor.numpy(), found.scores.numpy(), found.pred_classes.numpy(), masks)


@torch.no_grad()
def masks_by_detectron2(model: nn.Module, canvas: np.ndarray, size: tuple[int, int], rows: Rows) -> np.ndarray:
    """Return Detectron2's masks [N,28,28] of given detections: a mask depends on its box, so both take the same."""
    from detectron2.structures import Boxes, ImageList, Instances

    images = ImageList(torch.as_tensor(np.ascontiguousarray(canvas))[None], [tuple(map(int, size))])
    boxes, classes = Boxes(torch.as_tensor(rows.boxes)), torch.as_tensor(rows.classes.astype(np.int64))
    given = Instances(images.image_sizes[0], pred_boxes=boxes, pred_classes=classes)
    (found,) = model.roi_heads.forward_with_given_boxes(model.backbone(images.tensor), [given])
    return found.pred_masks[:, 0].numpy()


def network_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return Detectron2's weights without what it computes from its config."""
    return {key: value for key, value in model.state_dict().items() if not key.startswith(COMPUTED_KEYS)}


def rows_of(outputs: list[np.ndarray]) -> Rows:
    """Return the detections among our outputs of one image."""
    count = int(outputs[3].item())
    boxes, scores, classes = (np.asarray(output)[:count] for output in outputs[:3])
    masks = np.asarray(outputs[4])[:count] if len(outputs) > 4 else np.zeros((count, 0, 0), np.float32)
    return Rows(boxes, scores, classes, masks)


def same_rows(ours: Rows, theirs: Rows, most_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which of our rows are which of theirs: those whose boxes are the same to `most_px`, in our order."""
    left, right = match_rows((ours.boxes, ours.classes), (theirs.boxes, theirs.classes))
    is_same = np.abs(ours.boxes[left] - theirs.boxes[right]).max(axis=1, initial=0) <= most_px
    return left[is_same], right[is_same]


def take(rows: Rows, chosen: np.ndarray) -> Rows:
    """Return these rows of a list."""
    return Rows(*(values[chosen] for values in rows))


def unexplained(ours: Rows, theirs: Rows, most_px: float, moved: Callable[[int], Rows]) -> int:
    """Return how many of our rows are neither theirs to `most_px`, nor what they give for an input that moved a bit.

    Where an overlap, a score or a rank is just at its threshold, rounding decides which row is kept. `moved(seed)` are
    Detectron2's own rows for an input that differs in the sixth digit; it is only called where a row is left.
    """
    left = set(range(len(ours.scores))) - set(same_rows(ours, theirs, most_px)[0].tolist())
    for seed in range(TIE_TRIES):
        if left:
            left -= set(same_rows(ours, moved(seed), TIE_PX)[0].tolist())
    return len(left)


def moved_canvas(canvas: np.ndarray, seed: int) -> np.ndarray:
    """Return a canvas whose values differ in the sixth digit."""
    noise = np.random.default_rng(seed).uniform(-TIE_INPUT, TIE_INPUT, canvas.shape)
    return (canvas * (1 + noise)).astype(np.float32)


def differences(ours: Rows, theirs: Rows) -> Differences:
    """Return how far two lists are apart."""
    left, right = match_rows((ours.boxes, ours.classes), (theirs.boxes, theirs.classes))

    def largest(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.abs(first[left] - second[right]).max(initial=0))

    turned = np.flatnonzero(np.diff(right) < 0)
    scores = theirs.scores[right]
    return Differences(
        len(theirs.scores),
        max(len(ours.scores), len(theirs.scores)) - len(left),
        largest(ours.boxes, theirs.boxes),
        largest(ours.scores, theirs.scores),
        largest(ours.masks, theirs.masks),
        float(np.abs(scores[turned] - scores[turned + 1]).max(initial=0)),
    )
