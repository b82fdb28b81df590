"""A model whose answer is known: the mean of each channel, and a detector that finds one object of that score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from factories import TINY_CONFIG

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.thresholds import DetectionSettings
from yolact_ascend.models.config import ModelConfig, Preprocessing
from yolact_ascend.tensors import TensorSpec

HEIGHT, WIDTH = 8, 6
ANY_SCORE = DetectionSettings(score_threshold=-1.0)
PREPROCESSING = Preprocessing(HEIGHT, WIDTH, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
CONFIG = replace(TINY_CONFIG, preprocessing=PREPROCESSING)


@dataclass(frozen=True)
class MeanDetector:
    """Finds one object, whose box is the picture and whose score is the mean level of green, over 255."""

    config: ModelConfig = CONFIG
    settings: DetectionSettings = ANY_SCORE

    @property
    def outputs(self):
        return (TensorSpec("found", (3, 1, 1)),)

    def detect(self, outputs, height, width, source, remedy, timings):
        score = outputs[0][1].reshape(1) / 255
        return Detections(np.array([2]), score, np.array([[0, 0, width, height]]), None)


def save_averaging(path: Path) -> Path:
    """Write the network as ONNX: a convolution over all of the image."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((3, 3, HEIGHT, WIDTH), np.float32)
    for channel in range(3):
        weights[channel, channel] = 1 / (HEIGHT * WIDTH)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["found"])],
        "averaging",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, ["batch", 3, 1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), path)
    return path


def picture(level: int, height: int = 20, width: int = 30) -> np.ndarray:
    """Return a picture of one level, BGR uint8 [H,W,3]."""
    return np.full((height, width, 3), level, np.uint8)


def levels_of(found) -> list[int]:
    """Return the level that each picture was taken for."""
    return [round(255 * float(each.scores[0])) for each in found]
