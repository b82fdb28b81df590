"""Lets a checkout of Detectron2 run unbuilt on a CPU: its two compiled operators, `nms` and `roi_align`, are ours here.

DETECTRON2_DIR names the checkout (commit 02b5c4e2) and, after a colon, a folder with what it imports (CONTRIBUTING.md
tells how to make it). Of torchvision only its Python code runs: its compiled library asks for another build of PyTorch.
Not covered: Detectron2's model_zoo, and its deformable and rotated operators.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

VARIABLE = "DETECTRON2_DIR"
KEPT: list[torch.library.Library] = []
NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
ROI_ALIGN = (
    "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, int sampling_ratio,"
    " bool aligned) -> Tensor"
)


def _has_ops():
    return True


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Keep a box unless a kept one of a higher score overlaps it by more; ties of a score in the order given.

    boxes [N,4] xyxy, scores [N] -> indices [K] int64, highest score first. As torchvision's nms_kernel.cpp, float32.
    """
    corners = boxes.detach().float().numpy()
    left, top, right, bottom = corners.T
    areas = (right - left) * (bottom - top)
    order = torch.sort(scores.detach(), descending=True, stable=True).indices.numpy()
    alive, kept = np.ones(len(order), bool), []
    for place, index in enumerate(order):
        if not alive[place]:
            continue
        kept.append(index)
        rest = order[place + 1 :]
        width = np.minimum(right[index], right[rest]) - np.maximum(left[index], left[rest])
        height = np.minimum(bottom[index], bottom[rest]) - np.maximum(top[index], top[rest])
        inter = np.maximum(width, 0) * np.maximum(height, 0)
        with np.errstate(invalid="ignore", divide="ignore"):  # two boxes without an area: NaN, which is not more
            alive[place + 1 :] &= ~(inter / (areas[index] + areas[rest] - inter) > np.float32(iou_threshold))
    return torch.as_tensor(np.asarray(kept, np.int64))


def _axis_weights(start, length, cells: int, samples: int, size: int):
    """Weights [cells,size] that average `samples` linear interpolations in each of the cells along one axis.

    As torchvision's roi_align_common.h: more than one pixel outside counts as 0, up to one pixel repeats the edge.
    """
    step = length / cells
    at = start + torch.arange(cells)[:, None] * step + (torch.arange(samples) + 0.5) * step / max(samples, 1)
    inside = ((at >= -1) & (at <= size)).to(at.dtype)  # [cells,samples]
    at = at.clamp(min=0)
    low = at.long().clamp(max=size - 1)
    share = torch.where(low == size - 1, torch.zeros_like(at), at - low)
    weights = torch.zeros(cells, size)
    weights.scatter_add_(1, low, inside * (1 - share))
    weights.scatter_add_(1, (low + 1).clamp(max=size - 1), inside * share)
    return weights / max(samples, 1)


def roi_align(features, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned):
    """Pool each region [batch index, x1, y1, x2, y2 px] of features [B,C,H,W] to [R,C,pooled_height,pooled_width].

    The samples of a region form a grid, so their mean is two matrix products; one region at a time, only its pixels.
    """
    height, width = features.shape[-2:]
    pooled = [features.new_zeros(0, features.shape[1], pooled_height, pooled_width)]
    for roi in rois.detach():
        x1, y1, x2, y2 = roi[1:] * spatial_scale - (0.5 if aligned else 0.0)
        box = (y2 - y1, x2 - x1) if aligned else ((y2 - y1).clamp(min=1), (x2 - x1).clamp(min=1))
        sides = []
        for start, length, cells, size in zip((y1, x1), box, (pooled_height, pooled_width), (height, width)):
            samples = sampling_ratio if sampling_ratio > 0 else max(int(torch.ceil(length / cells)), 0)
            weights = _axis_weights(start, length, cells, samples, size)
            used = weights.any(0).nonzero()[:, 0]
            first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
            sides.append((weights[:, first:last], slice(first, last)))
        (rows, vertical), (columns, horizontal) = sides
        region = features[int(roi[0]), :, vertical, horizontal]
        pooled.append((rows @ region @ columns.T)[None])
    return torch.cat(pooled)


def add_to_path(variable: str) -> None:
    """Put the folders of a referee, CHECKOUT:PACKAGES, last on the path: what `.venv` has comes first."""
    sys.path += [str(Path(folder).resolve()) for folder in os.environ[variable].split(os.pathsep)[::-1] if folder]


@functools.cache
def import_detectron2():
    """Make `import detectron2` work in this process, and return the module."""
    add_to_path(VARIABLE)
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # its decorators would import the compiler, which is slow
    define_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("torchvision.extension", "torchvision.ops.roi_align"):
            importlib.import_module(name)._has_ops = _has_ops
        return importlib.import_module("detectron2")


@functools.cache
def define_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")
    library.define(f"nms{NMS}")
    library.define(f"qnms{NMS}")  # torchvision registers the shapes of both as it is imported
    library.define(f"roi_align{ROI_ALIGN}")
    library.impl("nms", nms, "CPU")
    library.impl("roi_align", roi_align, "CompositeImplicitAutograd")
    KEPT.append(library)  # a library that is collected takes its operators with it


def build_detectron2(config: str | Path, options: Sequence = ()) -> torch.nn.Module:
    """Build Detectron2's own model from one of its YAML files (or any other), with options [KEY, value, …], on a CPU.

    Its weights are random; the model is in evaluation mode, and its config is `model.cfg`.
    """
    cfg = detectron2_config(config, options)
    from detectron2.modeling import build_model

    model = build_model(cfg).eval()
    model.cfg = cfg
    return model


def detectron2_config(config: str | Path, options: Sequence = ()):
    """Read a YAML file of Detectron2's `configs` folder, or another, as its own CfgNode for a CPU."""
    package = import_detectron2()
    from detectron2.config import get_cfg

    cfg = get_cfg()
    cfg.merge_from_file(str(Path(package.__file__).parent.parent / "configs" / config))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", *options])
    return cfg
