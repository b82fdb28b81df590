"""Other people's code: imports it, and compares its detections with ours."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose

from yolact_ascend.detection.detections import Detections


def match_detections(ours: Detections, theirs: Mapping[str, np.ndarray]) -> list[int]:
    """Return where each of our detections stands among theirs: in the same place, but for scores as good as equal.

    The heads run on ONNX Runtime here and in PyTorch there, so that scores differ in the last bits, and so do boxes
    before they are cut to whole pixels.
    """
    assert_allclose(ours.scores, theirs["scores"], atol=1e-5)
    left = list(range(len(theirs["scores"])))
    order = []
    for class_id, box, score in zip(ours.class_ids, ours.boxes_xyxy_px, ours.scores):
        alike = [i for i in left if theirs["classes"][i] == class_id and abs(theirs["scores"][i] - score) <= 1e-5]
        best = min(alike, key=lambda i: np.abs(theirs["boxes"][i] - box).max(), default=None)
        assert best is not None and np.abs(theirs["boxes"][best] - box).max() <= 1, (class_id, box, score)
        order.append(best)
        left.remove(best)
    assert (theirs["boxes"][order] != ours.boxes_xyxy_px).any(axis=1).sum() <= 0.02 * len(order)
    moved = [(ours.scores[place], theirs["scores"][i]) for place, i in enumerate(order) if place != i]
    assert len(moved) <= 0.05 * len(order) and all(abs(a - b) <= 1e-6 for a, b in moved), moved
    return order


def import_yolact(checkout: Path) -> None:
    """Make upstream's modules importable without a GPU, torchvision and a C compiler, none of which are used here."""
    import torch

    torch.cuda.current_device = lambda: 0
    torch.cuda.device_count = lambda: 2  # more than one: it then leaves the JIT alone
    for name in ("torchvision", "torchvision.models", "torchvision.models.resnet", "torchvision.transforms"):
        module = types.ModuleType(name)
        module.__dict__.update(Bottleneck=torch.nn.Module, transforms=None)
        sys.modules[name] = module
    sys.path.insert(0, str(checkout))
