"""Batch norms in weights of R-CNN that other programs wrote: made equal in ours, which adds nothing to the variance.

In Detectron's dialect, that is. Sources: facebookresearch/Detectron @ 04155a0, detectron/modeling/ResNet.py
(AffineChannel: scale and shift alone); facebookresearch/maskrcnn-benchmark @ 57eec25, maskrcnn_benchmark/layers/
batch_norm.py (adds nothing); openvinotoolkit/training_extensions @ 1c4634d, segmentoly/rcnn/backbones/resnet.py
(PyTorch's, which adds 1e-5).
"""

from __future__ import annotations

from collections.abc import Container

import torch

from yolact_ascend.models.rcnn.other_keys import SEGMENTOLY

NORM_WEIGHT = ".norm.weight"
PYTORCH_EPSILON = 1e-5


def complete_norms(weights: dict[str, torch.Tensor], expected: Container[str], writer: str) -> dict[str, torch.Tensor]:
    """Return weights, by our names, with the statistics that their writer leaves out, or counts otherwise."""
    found = dict(weights)
    added = PYTORCH_EPSILON if writer == SEGMENTOLY else 0.0
    for key in [key for key in weights if key.endswith(NORM_WEIGHT) and key in expected]:
        layer = key[: -len("weight")]
        mean, variance = f"{layer}running_mean", f"{layer}running_var"
        if mean not in found and variance not in found:
            found[mean] = torch.zeros_like(weights[key], dtype=torch.float32)
            found[variance] = torch.ones_like(weights[key], dtype=torch.float32)
        if variance in found:
            found[variance] = found[variance] + added
    return found
