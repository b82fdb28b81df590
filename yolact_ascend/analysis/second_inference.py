"""Runs a finished run's model once more, in memory: for a stream, which keeps no outputs, and on other inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from yolact_ascend.analysis.finished_run import FinishedRun
from yolact_ascend.host.inference import input_dtype
from yolact_ascend.images.coco import CocoImage
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import normalise_pixels, prepare_inputs, resize_image
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.inputs import FLOAT32
from yolact_ascend.targets.registry import find_target, target_of_model
from yolact_ascend.targets.target import RUN, DeviceRequest, batches

# pixels [H,W,3], config, dtype -> what the model takes for one image
Prepare = Callable[[np.ndarray, ModelConfig, str], Sequence[np.ndarray]]


def infer_again(
    run: FinishedRun, config: ModelConfig, images: Sequence[CocoImage], prepare: Prepare = prepare_inputs
) -> Iterator[list[np.ndarray]]:
    """Give the outputs of each image, as the run's model computes them on this host.

    Raises ToolError where no device can run it, DatasetError for an image that cannot be decoded.
    """
    target = find_target(target_of_model(run.model), DeviceRequest(work=frozenset((RUN,))))
    with target.open(run.model, target.npus[0]) as engine:
        dtype = input_dtype(engine, config)
        for batch in batches(images, engine.batch_size or run.batch_size):
            samples = [prepare(decode_image(image.path, image.is_turned), config, dtype) for image in batch]
            outputs = engine.infer([np.stack(one) for one in zip(*samples)])
            for n in range(len(batch)):
                yield [output[n] for output in outputs]


def resized_in_uint8(image_bgr: np.ndarray, config: ModelConfig, dtype: str) -> tuple[np.ndarray, ...]:
    """Prepare a float32 input from pixels that were resized in whole levels, as uint8 inputs are."""
    _, *others = prepare_inputs(image_bgr, config, dtype)
    preprocessing = config.preprocessing
    resized = resize_image(image_bgr, preprocessing)
    bgr = resized[:, :, ::-1] if preprocessing.channel_order == "RGB" else resized
    return normalise_pixels(bgr, preprocessing), *others


def why_resized_once_only(run: FinishedRun, config: ModelConfig) -> str:
    """Return why the two ways to resize cannot be compared on this run; "" where they can."""
    preprocessing = config.preprocessing
    if not preprocessing.is_stretched or preprocessing.interpolation != "cv2":
        return f"{config.name} resizes in one way only"
    if run.sidecar.input["dtype"] != FLOAT32:
        return "the model takes uint8 inputs: explain a run with embed=0, and `compare` the two"
    return ""
