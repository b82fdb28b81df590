"""What `fuzz.py` damages of R-CNN: pickles of arrays, and Detectron2 config files."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from factories import describe_network, random_rcnn_state_dict, tiny_rcnn
from mutators import edit_bytes, edit_lines

# Each section that is read, and a tuple and a number as Detectron2 writes them.
CONFIG_FILE = """_BASE_: ../Base-RCNN-FPN.yaml
MODEL:
  MASK_ON: True
  WEIGHTS: output/model_final.pth
  PIXEL_MEAN: [103.53, 116.28, 123.675]
  RESNETS:
    DEPTH: 50
    STRIDE_IN_1X1: False
  ANCHOR_GENERATOR:
    SIZES: [[16], [32], [64], [128], [256]]
    ASPECT_RATIOS: [[0.5, 1.0, 2.0]]
  ROI_HEADS:
    NUM_CLASSES: 3
    SCORE_THRESH_TEST: 0.05
  ROI_BOX_HEAD:
    BBOX_REG_WEIGHTS: (10.0, 10.0, 5.0, 5.0)
DATASETS:
  TRAIN: ("mine",)
INPUT:
  MIN_SIZE_TEST: 480
  MAX_SIZE_TEST: 640
  FORMAT: BGR
TEST:
  DETECTIONS_PER_IMAGE: 50
SOLVER:
  BASE_LR: 1e-3
"""


def array_pickles(folder: Path) -> Callable[[Any], str | None]:
    """Read a pickle of arrays with damaged bytes; it has no checksum, so values may change, but not to odd ones."""
    import torch

    from yolact_ascend.models.classes import choose_classes
    from yolact_ascend.models.weights import read_state_dict

    config, path = tiny_rcnn(), folder / "weights.pkl"
    arrays = {key: value.numpy() for key, value in random_rcnn_state_dict(config).items()}
    small = {key: np.zeros(value.shape[:1], np.float32) for key, value in arrays.items()}
    # The small ones do not fit, but most of their bytes say what an array is.
    originals = [pickle.dumps({"model": some, "__author__": "a"}, p) for some in (arrays, small) for p in (2, 4, 5)]

    def attempt(damage: dict[str, Any]) -> str | None:
        path.write_bytes(edit_bytes(originals[damage["form"]], damage["bytes"]))
        with contextlib.redirect_stderr(io.StringIO()):
            found = read_state_dict(path, choose_classes(path, config).config)
        odd = [key for key, value in found.items() if not bool(torch.isfinite(value).all())]
        return f"accepted values that are not finite: {odd[0]}" if odd else None

    return attempt


def config_files(folder: Path) -> Callable[[Any], str | None]:
    """Read a damaged Detectron2 config file; what is accepted must survive as the value that a model states."""
    from yolact_ascend.models.config import get_config
    from yolact_ascend.models.description import from_json, to_json

    path = folder / "mine.yaml"

    def attempt(damage: dict[str, list]) -> str | None:
        text = edit_lines(CONFIG_FILE, damage["lines"])
        path.write_bytes(edit_bytes(text.encode("utf-8", "surrogatepass"), damage["bytes"]))
        with contextlib.redirect_stderr(io.StringIO()):
            config = get_config(str(path))
        stated = json.loads(json.dumps(to_json(describe_network(config, "detections"))))
        return None if from_json(stated, "a.onnx").config == config else "accepted a config that no model can state"

    return attempt
