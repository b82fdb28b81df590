"""The masks of COCO's annotations: polygons or run lengths, as one encoding or as pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.detection.masks import Rle
from yolact_ascend.errors import DatasetError


def encode_annotation(annotation: Mapping[str, Any], height: int, width: int) -> Rle:
    """Return an annotation's polygons, or run lengths compressed or not, as one compressed encoding.

    Raises DatasetError when it is encoded at another size than its image's.
    """
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if list(segmentation["size"]) != [height, width]:
        raise DatasetError(
            f"The mask of annotation {annotation['id']} has {segmentation['size'][1]}×{segmentation['size'][0]} "
            f"pixels, but its image is listed with {width}×{height}. Mend that annotation."
        )
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return dict(segmentation)


def decode_annotation(annotation: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """Return an annotation's mask [H,W] of 0 and 1; raises DatasetError like `encode_annotation`."""
    return coco_mask.decode(encode_annotation(annotation, height, width))
