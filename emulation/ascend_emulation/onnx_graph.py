"""Turns an ONNX model with free dimensions into one that a card would run: fixed shapes, folded shape arithmetic."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from ascend_emulation.atc_errors import AtcError
from ascend_emulation.om import DTYPES, TensorInfo

_STANDARD_DOMAINS = ("", "ai.onnx")
_RANK_OF_FORMAT = {"NCHW": 4, "NCDHW": 5}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def load_model(path: Path) -> tuple[onnx.ModelProto, bytes]:
    """The model and the bytes of its file; raises AtcError E10041 where it cannot be read."""
    try:
        model, content = onnx.load_model(str(path)), path.read_bytes()
    except Exception as error:  # protobuf, onnx and the file system have no common base class
        raise AtcError("E10041", value=path, reason=_first_line(error)) from error
    if not model.graph.node:
        raise AtcError("E10041", value=path, reason="It has no operators.")
    return model, content


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operators; 1 where the model uses none."""
    return next((opset.version for opset in model.opset_import if opset.domain in _STANDARD_DOMAINS), 1)


def graph_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller feeds, weights excluded."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Dimensions of a tensor, -1 where free."""
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else -1
        for dim in value.type.tensor_type.shape.dim
    )


def _shape_text(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))


def fix_input_shapes(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write `shapes` into the inputs of `model`; afterwards no input has a free dimension.

    A value replaces a fixed dimension, too: GE's ONNX parser compares ranks and nothing else. Raises AtcError E10016,
    E10049, and E10001 for a free dimension without a value.
    """
    inputs = {value.name: value for value in graph_inputs(model)}
    for name in shapes:
        if name not in inputs:
            raise AtcError("E10016", name=name, parameter="input_shape", known=", ".join(inputs))
    for name, value in inputs.items():
        free = _dims(value)
        shape = shapes.get(name, free)
        if len(shape) != len(free):
            raise AtcError("E10049", count=len(shape), expected=len(free), name=name, shape=_shape_text(free))
        if min(shape, default=1) < 0:
            reason = "maybe you should set input_shape to specify its shape"
            raise AtcError("E10001", value=-1, parameter=name, reason=reason)
        if any(dim not in (wanted, -1) for dim, wanted in zip(free, shape)):
            del model.graph.value_info[:]  # the shapes that followed from the old one; they are inferred again
        for dim, size in zip(value.type.tensor_type.shape.dim, shape):
            dim.Clear()
            dim.dim_value = size


def _fill_empty_inputs(model: onnx.ModelProto) -> None:
    """Give Resize empty tensors in place of empty names: CANN's parser takes these, ONNX Runtime from opset 13 on."""
    empty = "emulated_atc/empty"
    nodes = [node for node in model.graph.node if node.op_type == "Resize" and "" in node.input[1:3]]
    if not nodes or not 11 <= opset_of(model) < 13:
        return
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.float32), empty))
    for node in nodes:
        for index in (1, 2):
            node.input[index : index + 1] = [name or empty for name in node.input[index : index + 1]]


def _drop_unused_opsets(model: onnx.ModelProto) -> None:
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def fold_shapes(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """`model` with its constants folded by ONNX Runtime and every shape inferred; operators stay standard ones.

    Raises AtcError E10041 where ONNX Runtime cannot run the model, E10055 where an output's shape depends on data.
    """
    import onnxruntime  # here: it takes a second, and most mistakes are found without it

    _fill_empty_inputs(model)
    for output in model.graph.output:  # a stale '-1' or '8' there would contradict the fixed inputs
        output.type.tensor_type.ClearField("shape")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with os.fdopen(os.memfd_create("folded.onnx"), "rb") as file:  # in memory: a temporary folder may be full
        options.optimized_model_filepath = f"/proc/self/fd/{file.fileno()}"
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exceptions of ONNX Runtime have no common base class
            raise AtcError("E10041", value=path, reason=_first_line(error)) from error
        folded = shape_inference.infer_shapes(onnx.load_model_from_string(file.read()), data_prop=True)
    _drop_unused_opsets(folded)
    for output in folded.graph.output:
        has_shape = output.type.tensor_type.HasField("shape")
        if not has_shape or min(_dims(output), default=1) < 0:
            reason = f"the shape of output {output.name} depends on data, the emulated atc has fixed shapes only"
            raise AtcError("E10055", reason=reason)
    return folded


def describe(values: list[onnx.ValueInfoProto], tensor_format: str | None = None) -> tuple[TensorInfo, ...]:
    """Name, type and shape of inputs or outputs; ND where `tensor_format` does not suit the rank."""
    tensors = []
    for value in values:
        shape = _dims(value)
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name
        if dtype not in DTYPES:
            raise AtcError("E10055", reason=f"tensor {value.name} is {dtype}, the emulated device has no such type")
        suits = tensor_format is not None and _RANK_OF_FORMAT.get(tensor_format) == len(shape)
        tensors.append(TensorInfo(value.name, dtype, shape, str(tensor_format) if suits else "ND"))
    return tuple(tensors)


def describe_inputs(model: onnx.ModelProto, input_format: str, nhwc: Collection[str]) -> tuple[TensorInfo, ...]:
    """The inputs that a caller feeds, weights excluded; those called in `nhwc` have that format."""
    tensors = describe(graph_inputs(model), input_format)
    return tuple(replace(tensor, format="NHWC") if tensor.name in nhwc else tensor for tensor in tensors)


def describe_outputs(model: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """The outputs in the order of the graph."""
    return describe(list(model.graph.output))
