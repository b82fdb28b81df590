"""Makes the host's part behind a cut; PyTorch is imported only where that contains a part of the network."""

from __future__ import annotations

from pathlib import Path

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, DetectionSettings
from yolact_ascend.errors import ToolError
from yolact_ascend.files import path_in_memory
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.families import family_of
from yolact_ascend.models.family import Detector


def load_detector(
    weights: Path,
    config: ModelConfig,
    cut: str,
    settings: DetectionSettings = EVALUATION_SETTINGS,
    threads: int = 1,
) -> Detector:
    """Return the host's part behind a cut; `threads` is for callers that have one image at a time.

    Raises WeightsError when the weights are needed, and missing or do not fit the config, ToolError without PyTorch.
    """
    family = family_of(config)
    host_part = None
    if family.has_host_part(cut):
        try:
            from yolact_ascend.models.exporter import write_onnx
            from yolact_ascend.models.weights import load_network
        except ImportError as error:
            raise ToolError(
                f"The heads of {weights} are made by PyTorch, which cannot be imported ({error}). Pass the model that "
                "was exported or compiled, with its heads beside it: --model=FILE."
            ) from error
        part = family.host_part(load_network(weights, config), config, cut)
        with path_in_memory("host_part.onnx") as path:
            names = [spec.name for spec in part.outputs]
            write_onnx(part.network, path, part.inputs, names, family.opset, has_free_batch=False)
            host_part = path.read_bytes()
    return family.make_detector(config, cut, host_part, settings, threads)
