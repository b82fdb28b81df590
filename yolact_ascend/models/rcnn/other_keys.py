"""Names of tensors in weights of R-CNN that other programs wrote, in ours, which are Detectron2's.

Sources: facebookresearch/Detectron @ 04155a0, detectron/modeling (blobs); facebookresearch/maskrcnn-benchmark @
57eec25, maskrcnn_benchmark/modeling; openvinotoolkit/training_extensions @ 1c4634d, pytorch_toolkit/
instance_segmentation/segmentoly/rcnn (backbones/resnet.py, fpn.py, rpn.py, model_zoo/fpn_mask_rcnn_base.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

DETECTRON, BENCHMARK, SEGMENTOLY = "Detectron", "maskrcnn-benchmark", "segmentoly"
# A name that only one of them has.
SIGNS = {
    DETECTRON: "conv1_w",
    BENCHMARK: "backbone.body.stem.conv1.weight",
    SEGMENTOLY: "backbone.stages.stage_0.conv1.weight",
}
BODY, RPN, HEADS = "backbone.bottom_up.", "proposal_generator.rpn_head.", "roi_heads."
KINDS = {"w": "weight", "b": "bias", "s": "weight"}  # Caffe2's; a scale of the batch norm is its weight
LETTERS = {"a": "1", "b": "2", "c": "3"}  # of the convolutions in a block
# Layers with their name in a file, and in ours.
DETECTRON_LAYERS = {
    "conv1": f"{BODY}stem.conv1",
    "conv_rpn_fpn2": f"{RPN}conv",  # P2's, which all levels share
    "rpn_cls_logits_fpn2": f"{RPN}objectness_logits",
    "rpn_bbox_pred_fpn2": f"{RPN}anchor_deltas",
    "fc6": f"{HEADS}box_head.fc1",
    "fc7": f"{HEADS}box_head.fc2",
    "cls_score": f"{HEADS}box_predictor.cls_score",
    "bbox_pred": f"{HEADS}box_predictor.bbox_pred",
    "conv5_mask": f"{HEADS}mask_head.deconv",
    "mask_fcn_logits": f"{HEADS}mask_head.predictor",
    **{f"_[mask]_fcn{i}": f"{HEADS}mask_head.mask_fcn{i}" for i in range(1, 5)},
}
BENCHMARK_LAYERS = {
    "backbone.body.stem.conv1": f"{BODY}stem.conv1",
    "backbone.body.stem.bn1": f"{BODY}stem.conv1.norm",
    **{f"backbone.fpn.fpn_inner{i}": f"backbone.fpn_lateral{i + 1}" for i in range(1, 5)},
    **{f"backbone.fpn.fpn_layer{i}": f"backbone.fpn_output{i + 1}" for i in range(1, 5)},
    "rpn.head.conv": f"{RPN}conv",
    "rpn.head.cls_logits": f"{RPN}objectness_logits",
    "rpn.head.bbox_pred": f"{RPN}anchor_deltas",
    "roi_heads.box.feature_extractor.fc6": f"{HEADS}box_head.fc1",
    "roi_heads.box.feature_extractor.fc7": f"{HEADS}box_head.fc2",
    "roi_heads.box.predictor.cls_score": f"{HEADS}box_predictor.cls_score",
    "roi_heads.box.predictor.bbox_pred": f"{HEADS}box_predictor.bbox_pred",
    **{f"roi_heads.mask.feature_extractor.mask_fcn{i}": f"{HEADS}mask_head.mask_fcn{i}" for i in range(1, 5)},
    "roi_heads.mask.predictor.conv5_mask": f"{HEADS}mask_head.deconv",
    "roi_heads.mask.predictor.mask_fcn_logits": f"{HEADS}mask_head.predictor",
}
SEGMENTOLY_LAYERS = {
    "backbone.stages.stage_0.conv1": f"{BODY}stem.conv1",
    "backbone.stages.stage_0.bn1": f"{BODY}stem.conv1.norm",
    "fpn.conv_top": "backbone.fpn_lateral5",  # the coarsest level comes first
    **{f"fpn.topdown_lateral.{i}.conv_lateral": f"backbone.fpn_lateral{4 - i}" for i in range(3)},
    **{f"fpn.posthoc.{i}": f"backbone.fpn_output{5 - i}" for i in range(4)},
    "rpn.conv": f"{RPN}conv",
    "rpn.cls_score": f"{RPN}objectness_logits",
    "rpn.bbox_deltas": f"{RPN}anchor_deltas",
    "detection_head.fc1": f"{HEADS}box_head.fc1",
    "detection_head.fc2": f"{HEADS}box_head.fc2",
    "detection_head.cls_score": f"{HEADS}box_predictor.cls_score",
    "detection_head.bbox_pred": f"{HEADS}box_predictor.bbox_pred",
    **{f"mask_head.conv_fcn.{2 * i - 2}": f"{HEADS}mask_head.mask_fcn{i}" for i in range(1, 5)},
    "mask_head.upconv": f"{HEADS}mask_head.deconv",
    "mask_head.segm": f"{HEADS}mask_head.predictor",
}
LAYERS = {**BENCHMARK_LAYERS, **SEGMENTOLY_LAYERS}
# A layer of a residual block in both: stage 1 is res2.
BLOCK_LAYERS = {
    **{f"conv{i}": f"conv{i}" for i in range(1, 4)},
    **{f"bn{i}": f"conv{i}.norm" for i in range(1, 4)},
    "downsample.0": "shortcut",
    "downsample.1": "shortcut.norm",
}
_BLOB = re.compile(r"(?P<layer>.+)_(?P<kind>[wb])")
_BLOB_OF_BLOCK = re.compile(
    r"res(?P<stage>\d+)_(?P<block>\d+)_branch(?:1|2(?P<letter>[abc]))(?P<norm>_bn)?_(?P<kind>[wbs])"
)
_BLOB_OF_STEM = re.compile(r"res_conv1_bn_(?P<kind>[sb])")
_BLOB_OF_FPN = re.compile(r"fpn_(?P<inner>inner_)?res(?P<stage>\d)_\d+_sum(_lateral)?_(?P<kind>[wb])")
_BLOCK = re.compile(
    r"backbone\.(?:body\.layer|stages\.stage_)(?P<stage>[1-4])\.(?P<block>\d+)\."
    r"(?P<layer>conv\d|bn\d|downsample\.[01])\.(?P<rest>\w+)"
)
# What such files have, and no network uses: states of the optimizer, and what Detectron keeps of its ImageNet weights.
SURPLUS = (
    r".+_momentum$",
    r"fc1000_[wb]$",
    r"conv1_b$",
    r"rpn\.anchor_generator\.cell_anchors\.",
    r"prior_boxes\.",
    r".+\.num_batches_tracked$",
)


def to_our_key(key: str) -> str:
    """Return a tensor's name in our network; a name that is not known, or ours already, comes back as it is."""
    block = _BLOCK.fullmatch(key)
    if block:
        stage = int(block["stage"]) + 1
        return f"{BODY}res{stage}.{block['block']}.{BLOCK_LAYERS[block['layer']]}.{block['rest']}"
    layer, _, rest = key.rpartition(".")
    if layer:
        return f"{LAYERS[layer]}.{rest}" if layer in LAYERS else key
    return _from_blob(key)


def _from_blob(key: str) -> str:
    """Return the name in our network of one of Detectron's blobs."""
    stem, block, fpn, blob = (each.fullmatch(key) for each in (_BLOB_OF_STEM, _BLOB_OF_BLOCK, _BLOB_OF_FPN, _BLOB))
    if stem:
        return f"{BODY}stem.conv1.norm.{KINDS[stem['kind']]}"
    if block:
        layer = f"conv{LETTERS[block['letter']]}" if block["letter"] else "shortcut"
        norm = ".norm" if block["norm"] else ""
        return f"{BODY}res{block['stage']}.{block['block']}.{layer}{norm}.{KINDS[block['kind']]}"
    if fpn:
        return f"backbone.fpn_{'lateral' if fpn['inner'] else 'output'}{fpn['stage']}.{KINDS[fpn['kind']]}"
    if blob and blob["layer"] in DETECTRON_LAYERS and key != "conv1_b":  # of ImageNet's network, not of this one
        return f"{DETECTRON_LAYERS[blob['layer']]}.{KINDS[blob['kind']]}"
    return key


def writer_of(keys: Iterable[str]) -> str | None:
    """Return which program wrote a file with these names; None for Detectron2, and for any other."""
    names = set(keys)
    return next((writer for writer, sign in SIGNS.items() if sign in names), None)
