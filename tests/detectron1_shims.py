"""Lets checkouts of the older Detectrons run unbuilt on a CPU: maskrcnn-benchmark's whole model, Detectron's NumPy.

MASKRCNN_BENCHMARK_DIR and DETECTRON_DIR name a checkout (commits 57eec25 and 04155a0) and, after a colon, the folder of
packages that `detectron2_shim` uses, with `six` and `future` for Detectron. Of maskrcnn-benchmark, the compiled `nms`
and `roi_align` are ours, and apex does nothing. Of Detectron run the functions on NumPy arrays: Caffe2, which computes
its network, is not there.
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch
from detectron2_shim import add_to_path, define_operators, nms, roi_align

MASKRCNN_BENCHMARK = "MASKRCNN_BENCHMARK_DIR"
DETECTRON = "DETECTRON_DIR"
LAST_PIXEL = torch.tensor([0.0, 0.0, 1.0, 1.0])  # their boxes end with their last pixel: x2 - x1 + 1 wide
CAFFE2 = (
    "caffe2 caffe2.proto caffe2.python caffe2.python.core caffe2.python.dyndep caffe2.python.modeling "
    "caffe2.python.modeling.parameter_info caffe2.python.workspace detectron.utils.cython_bbox"
)


def nms_of_last_pixels(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """`nms` of boxes [N,4] whose corners are their last pixels; indices [K] in rising order, as in nms_cpu.cpp."""
    return nms(boxes + LAST_PIXEL, scores, iou_threshold).sort().values


@functools.cache
def import_maskrcnn_benchmark():
    """Make `import maskrcnn_benchmark` work in this process, and return the module."""
    add_to_path(MASKRCNN_BENCHMARK)
    define_operators()
    compiled = types.ModuleType("maskrcnn_benchmark._C")
    compiled.nms = nms_of_last_pixels
    compiled.roi_align_forward = functools.partial(roi_align, aligned=False)
    apex = types.ModuleType("apex")
    apex.amp = types.SimpleNamespace(float_function=lambda function: function)
    sys.modules |= {"maskrcnn_benchmark._C": compiled, "apex": apex}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = importlib.import_module("maskrcnn_benchmark")
        package._C = compiled
        importlib.import_module("maskrcnn_benchmark.modeling.detector")
    return package


def build_maskrcnn_benchmark(config: str, options: Sequence = ()) -> torch.nn.Module:
    """Build maskrcnn-benchmark's own model from one of its YAML files with options [KEY, value, …], on a CPU.

    Its weights are random; the model is in evaluation mode, and its config is `model.cfg`.
    """
    package = import_maskrcnn_benchmark()
    from maskrcnn_benchmark.config import cfg
    from maskrcnn_benchmark.modeling.detector import build_detection_model

    cfg = cfg.clone()
    cfg.merge_from_file(str(Path(package.__file__).parent.parent / "configs" / config))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", *options])
    np.float = float  # its anchors ask for the name that NumPy 1.24 removed
    try:
        model = build_detection_model(cfg).eval()
    finally:
        del np.float
    model.cfg = cfg
    return model


@functools.cache
def import_detectron():
    """Make Detectron's NumPy modules importable in this process, and return its package."""
    add_to_path(DETECTRON)
    sys.modules |= {name: MagicMock() for name in CAFFE2.split()}
    suppress = types.ModuleType("detectron.utils.cython_nms")
    suppress.nms = _nms_of_detections
    sys.modules[suppress.__name__] = suppress
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("core.test", "modeling.FPN", "modeling.generate_anchors", "ops.generate_proposals", "utils.blob"):
            importlib.import_module(f"detectron.{name}")
    return importlib.import_module("detectron")


def _nms_of_detections(detections: np.ndarray, threshold: float) -> np.ndarray:
    """`nms` of rows x1, y1, x2, y2, score [N,5], as Detectron calls it; highest score first."""
    boxes, scores = torch.as_tensor(detections[:, :4]), torch.as_tensor(detections[:, 4])
    return nms(boxes + LAST_PIXEL, scores, threshold).numpy()
