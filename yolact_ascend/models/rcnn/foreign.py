"""Weights of Detectron2 that no config here has: what they are of, by names and shapes, and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping

from yolact_ascend.models.rcnn.yaml_config import BLOCKS

BODY = "backbone.bottom_up."
# What only other networks have: a pattern of names, and what such a network is.
SIGNS = {
    r"roi_heads\.res5\.": "a network without an FPN (C4)",
    r"roi_heads\.box_head\.0\.": "Cascade R-CNN",
    r"roi_heads\.keypoint_head\.": "Keypoint R-CNN",
    r"sem_seg_head\.": "Panoptic FPN",
    r"head\.cls_subnet\.": "RetinaNet",
    r"backbone\.bottom_up\.res\d\.\d+\.conv2_offset\.": "a network with deformable convolutions",
    r"roi_heads\.box_head\.conv1\.": "a box head with convolutions",
    r"backbone\.res\d\.": "a network without an FPN (C4 or DC5)",
}


def explain_foreign(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the sentence on weights that look like Detectron2's, and fit no config here; "" for any others."""
    if not any(re.match(r"backbone\.(bottom_up|res\d|stem)|roi_heads\.|proposal_generator\.", key) for key in shapes):
        return ""
    found = next((what for sign, what in SIGNS.items() if any(re.match(sign, key) for key in shapes)), None)
    if found is not None:
        return (
            f"They are of {found}, which the rcnn family does not have: use weights of Faster or Mask R-CNN with an "
            "FPN."
        )
    norm = _norm(shapes)
    if norm is not None:
        return (
            f"They have {norm}, which the rcnn family does not have: use weights that were trained with frozen batch "
            "norms (NORM: FrozenBN), as those of Detectron2's COCO-Detection and COCO-InstanceSegmentation."
        )
    return (
        f"They are of {_depth(shapes)}: pass the Detectron2 config file that they were trained with, "
        "--config=FILE.yaml (config=FILE.yaml in a run)."
    )


def _norm(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return which other norm the network has; None for frozen batch norms in the backbone alone."""
    if f"{BODY}stem.conv1.norm.weight" in shapes and f"{BODY}stem.conv1.norm.running_var" not in shapes:
        return "group norms (GN)"
    if any(re.match(r"backbone\.fpn_\w+\.norm\.|roi_heads\.\w+\.\w+\.norm\.", key) for key in shapes):
        return "norms in the FPN or the heads (GN or SyncBN)"
    return None


def _depth(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the network's depth, classes and groups in words, by its blocks."""
    counts = []
    for stage in range(2, 6):
        numbers = [re.match(rf"{re.escape(BODY)}res{stage}\.(\d+)\.", key) for key in shapes]
        counts.append(1 + max((int(number[1]) for number in numbers if number), default=-1))
    is_basic = f"{BODY}res2.0.conv3.weight" not in shapes
    depths = [depth for depth, blocks in BLOCKS.items() if blocks == tuple(counts) and (depth < 50) == is_basic]
    name = f"ResNet-{depths[0]}" if depths else f"a backbone of {counts} blocks"
    conv = shapes.get(f"{BODY}res2.0.conv2.weight", ())
    if len(conv) == 4 and conv[1] and conv[0] % conv[1] == 0 and conv[0] != conv[1]:
        name += f" with {conv[0] // conv[1]} groups (ResNeXt)"
    return name
