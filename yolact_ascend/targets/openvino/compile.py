"""An exported ONNX as OpenVINO IR (`.xml` and `.bin`) for one batch size, on request with the preprocessing inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.files import atomic_path
from yolact_ascend.models.config import Preprocessing
from yolact_ascend.models.description import KEY, parse_description
from yolact_ascend.models.inputs import NOTHING, RESIZE, require_input_names
from yolact_ascend.models.onnx_metadata import read_metadata, refuse_own_operators
from yolact_ascend.targets.compiled import weights_of
from yolact_ascend.targets.described import RT_INFO, RT_INFO_DESCRIPTION
from yolact_ascend.targets.openvino.model_info import MODEL_INFO, model_info
from yolact_ascend.targets.openvino.runtime import last_line, load_openvino
from yolact_ascend.tensors import TensorSpec


def compile_ir(
    source: Path,
    path: Path,
    batch_size: int,
    precision: str,
    network_inputs: Sequence[TensorSpec],
    preprocessing: Preprocessing,
    embed: str = NOTHING,
) -> None:
    """Write `source` as `path` (.xml) and its weights beside it (.bin), with static shapes.

    The metadata of the ONNX goes along, in rt_info. Weights stay float32, and are float16 for precision fp16. Raises
    ArtifactError when the file is no ONNX model or has other inputs, UsageError when the preprocessing cannot be
    inside.
    """
    if embed == RESIZE and batch_size != 1:
        raise UsageError(
            f"embed=resize takes one image at a time, because images differ in size: set bs=1, found bs={batch_size}."
        )
    openvino = load_openvino()
    model = _read(openvino, source)
    require_input_names(source, [value.get_any_name() for value in model.inputs], network_inputs)
    model.reshape({spec.name: [batch_size, *spec.shape] for spec in network_inputs})
    if embed != NOTHING:
        model = _embed(openvino, model, preprocessing, is_resized=embed == RESIZE)
    for key, value in {"precision": precision, "embed": embed}.items():
        model.set_rt_info(value, [RT_INFO, key])
    stated = read_metadata(source).get(KEY)
    if stated is not None:  # not an ONNX of an older version, or of another program
        model.set_rt_info(stated, [RT_INFO, RT_INFO_DESCRIPTION])
        for key, value in model_info(parse_description(stated, str(source)), embed).items():
            model.set_rt_info(value, [MODEL_INFO, key])
    if precision == "fp16":
        from openvino._offline_transformations import compress_model_transformation  # what save_model does

        compress_model_transformation(model)
    # The .bin first: it is nothing without an .xml.
    with atomic_path(path, ending=".xml") as xml, atomic_path(weights_of(path)) as weights:
        openvino.serialize(model, xml, weights)


def _read(openvino: Any, source: Path) -> Any:
    try:
        return openvino.convert_model(source)
    except Exception as error:  # OpenVINO's own classes, and RuntimeError
        refuse_own_operators(source)
        raise ArtifactError(
            f"{source} cannot be read as ONNX: {last_line(error)}. Export it first (pth2onnx.py)."
        ) from error


def _embed(openvino: Any, model: Any, preprocessing: Preprocessing, is_resized: bool) -> Any:
    """Put pixels -> normalised image in front of the model: uint8 [B,H,W,3] in the network's order of channels.

    In float32, as the host does it: resize, divide, subtract the mean, divide by the deviation.
    """
    if not preprocessing.is_stretched:
        raise UsageError("This model pads its inputs, which cannot be compiled in: leave out embed=.")
    if is_resized and preprocessing.interpolation != "cv2":
        raise UsageError("This model resizes as Pillow does, which OpenVINO cannot: use embed=1 or leave out embed=.")
    from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

    is_rgb = preprocessing.channel_order == "RGB"
    mean, std = (list(values if is_rgb else values[::-1]) for values in (preprocessing.mean_rgb, preprocessing.std_rgb))
    processor = PrePostProcessor(model)
    image = processor.input(0)
    image.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    image.model().set_layout(openvino.Layout("NCHW"))
    steps = image.preprocess().convert_element_type(openvino.Type.f32)
    if is_resized:
        image.tensor().set_spatial_dynamic_shape()
        steps.resize(ResizeAlgorithm.RESIZE_LINEAR)
    if preprocessing.pixel_max != 255:
        steps.scale(255 / preprocessing.pixel_max)
    if any(mean):
        steps.mean(mean)
    if any(value != 1 for value in std):
        steps.scale(std)
    return processor.build()
