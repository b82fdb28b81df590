"""Images through an engine and a detector: the one way from pixels to detections, whole or in its two halves.

`detect_batch` is the whole of it, in this process: `Model` and the score in training call it. Its halves are
`prepare_inputs` and the detector's `detect`. `overlap` runs them in worker processes around the device, `preprocess`
and `postprocess` with files between them, and `cuts` step by step, to time each.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np

from yolact_ascend.detection.detections import Detections
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.images.transforms import prepare_inputs
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.family import Detector
from yolact_ascend.models.inputs import DTYPE_OF_EMBED, input_tensors
from yolact_ascend.models.resized_size import resized_size
from yolact_ascend.targets.compiled import COMPILE_IN_FLOAT32
from yolact_ascend.targets.target import Engine
from yolact_ascend.timings import Timings


def detect_batch(
    images_bgr: Sequence[np.ndarray],
    engine: Engine,
    detector: Detector,
    timed: Callable[[str], AbstractContextManager[None]],
    sizes: Sequence[tuple[int, int]] | None = None,
) -> list[Detections]:
    """Detect the instances in a batch of BGR uint8 images [H,W,3]; `timed` counts "prepare", "infer" and "detect".

    `sizes` are the heights and widths in pixels that boxes and masks are for (default: those of the images).

    Warns of images in which the graph left out anchors above the threshold (RuntimeWarning).
    Raises ArtifactError when the model is not one of the detector's config, or its outputs are not finite.
    """
    config = detector.config
    dtype = input_dtype(engine, config)
    with timed("prepare"):
        inputs = prepare_batch(images_bgr, config, dtype)
    with timed("infer"):
        outputs = engine.infer(inputs)
    with timed("detect"):
        found, spent = [], Timings()
        for i, (height, width) in enumerate(sizes or [(image.shape[0], image.shape[1]) for image in images_bgr]):
            one = [output[i] for output in outputs]
            found.append(detector.detect(one, height, width, "The model's outputs", f"{COMPILE_IN_FLOAT32}.", spent))
    if spent.overfull_images:
        warnings.warn(spent.describe_overfull(), RuntimeWarning, stacklevel=2)
    return found


def require_fit(image_bgr: np.ndarray, config: ModelConfig, name: str) -> None:
    """Raise DatasetError that names an image [H,W,3] which does not fit onto the model's canvas."""
    try:
        resized_size(image_bgr.shape[0], image_bgr.shape[1], config.preprocessing)
    except DatasetError as error:
        raise DatasetError(f"{name}: {error}") from error


def prepare_batch(images_bgr: Sequence[np.ndarray], config: ModelConfig, dtype: str) -> list[np.ndarray]:
    """Return the inputs [B,...] of a model for BGR uint8 images [H,W,3]; `dtype` is one of `models.inputs`."""
    prepared = [prepare_inputs(image, config, dtype) for image in images_bgr]
    return [np.stack(samples) for samples in zip(*prepared)]


def input_dtype(engine: Engine, config: ModelConfig) -> str:
    """Return the dtype of `models.inputs` that a model takes; raises ArtifactError when it takes another input."""
    found = [(spec.shape, spec.dtype) for spec in engine.inputs]
    expected = {dtype: input_tensors(config, dtype) for dtype in DTYPE_OF_EMBED.values()}
    for dtype, specs in expected.items():
        if found == [(spec.shape, spec.dtype) for spec in specs]:
            return dtype
    # A device that describes its input as bytes alone (see DeviceEngine): their number tells the two apart.
    if len(engine.inputs[0].shape) == 1:
        for dtype, specs in expected.items():
            sizes = [-1 if spec.is_free else spec.size_bytes for spec in specs]
            if sizes == [spec.size_bytes for spec in engine.inputs]:
                return dtype
    listed = " or ".join(
        " with ".join(f"{list(spec.shape)} {spec.dtype}" for spec in specs) for specs in expected.values()
    )
    raise ArtifactError(f"The model takes {found} for one image, expected {listed}. Compile an ONNX of pth2onnx.py.")
