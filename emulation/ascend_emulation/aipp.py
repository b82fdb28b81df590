"""Static AIPP as ONNX operators in front of the network: swap, crop, colour conversion, normalisation, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ascend_emulation.aipp_config import (
    CHANNELS,
    crop_size,
    first,
    input_format,
    matrix,
    output_bias,
    padding_sizes,
    source_size,
)
from ascend_emulation.aipp_fit import check_fit
from ascend_emulation.atc_errors import AtcError
from ascend_emulation.model_ends import prepend_to_input
from ascend_emulation.onnx_graph import graph_inputs, opset_of
from ascend_emulation.precision import FLOAT16_MAX

OPSET_MIN = 11  # Pad and Clip take their values as inputs from here on


def find_inputs(model: onnx.ModelProto, blocks: list[Any], half_inputs: tuple[str, ...]) -> dict[str, Any]:
    """Input name -> its block; raises AtcError E10052, E10034 and E81012 where they do not go together."""
    inputs = graph_inputs(model)
    names = [value.name for value in inputs]
    found: dict[str, Any] = {}
    for block in blocks:
        rank = block.related_input_rank
        if block.related_input_name:
            # For ONNX models the real atc knows no such names, so this always fails there, too.
            reason = (
                f"related_input_name {block.related_input_name} convert rank failed, Please ensure it is caffe scene "
                "or related_input_name in aipp config is the top name of data node"
            )
            raise AtcError("E10052", reason=reason)
        if rank >= len(inputs):
            reason = f"Cannot find the data node by aipp parameter related_input_rank {rank}"
            raise AtcError("E10052", reason=reason)
        if names[rank] in half_inputs:
            raise AtcError("E10034", name=names[rank])
        _check_input(model, inputs[rank], block)
        found[names[rank]] = block
    return found


def _check_input(model: onnx.ModelProto, value: onnx.ValueInfoProto, block: Any) -> None:
    opset = opset_of(model)
    tensor = value.type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT or len(tensor.shape.dim) != 4:
        raise AtcError("E10055", reason=f"the emulated atc has AIPP for float32 NCHW inputs, {value.name} is another")
    if opset < OPSET_MIN:
        raise AtcError("E10055", reason=f"the emulated atc has AIPP from opset {OPSET_MIN} on, the model has {opset}")
    _, channels, height, width = (dim.dim_value for dim in tensor.shape.dim)
    check_fit(block, channels, height, width)


def insert_aipp(model: onnx.ModelProto, blocks: dict[str, Any]) -> None:
    """Make each input of `blocks` a uint8 one, NHWC, that AIPP turns into what the network takes."""
    for value in model.graph.input:
        if value.name not in blocks:
            continue
        block = blocks[value.name]
        batch, _, height, width = (dim.dim_value for dim in value.type.tensor_type.shape.dim)
        chain = _Chain(model, value.name)
        _append_aipp(chain, block, height, width)
        prepend_to_input(model, value.name, chain.nodes)
        shape = (batch, *source_size(block, height, width), CHANNELS[input_format(block)])
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.UINT8, shape))


class _Chain:
    """Nodes one behind the other; constants become initializers of the model."""

    def __init__(self, model: onnx.ModelProto, source: str) -> None:
        self.model, self.source, self.last = model, source, source
        self.nodes: list[onnx.NodeProto] = []

    def add(self, operator: str, *constants: np.ndarray, **attributes: Any) -> None:
        name = f"{self.source}/aipp/{len(self.nodes)}_{operator}"
        names = [f"{name}/{index}" for index in range(len(constants))]
        for constant, array in zip(names, constants):
            self.model.graph.initializer.append(numpy_helper.from_array(array, constant))
        self.nodes.append(helper.make_node(operator, [self.last, *names], [name], name=name, **attributes))
        self.last = name


def _append_aipp(chain: _Chain, block: Any, height: int, width: int) -> None:
    channels = CHANNELS[input_format(block)]
    if block.rbuv_swap_switch and channels == 3:
        chain.add("Gather", np.array([2, 1, 0]), axis=3)
    if block.crop:
        crop_h, crop_w = crop_size(block, height, width)
        top, left = block.load_start_pos_h, block.load_start_pos_w
        chain.add("Slice", np.array([top, left]), np.array([top + crop_h, left + crop_w]), np.array([1, 2]))
    if block.csc_switch:
        _append_colour_conversion(chain, block)
    else:
        chain.add("Cast", to=TensorProto.FLOAT)
    chain.add("Transpose", perm=[0, 3, 1, 2])
    _append_normalisation(chain, block, channels)
    if block.padding:
        top, bottom, left, right = padding_sizes(block)
        value = np.array(np.float16(block.padding_value), np.float32)
        chain.add("Pad", np.array([0, 0, top, left, 0, 0, bottom, right]), value)


def _append_colour_conversion(chain: _Chain, block: Any) -> None:
    """out = clip((matrix · in >> 8) + bias), in whole numbers; float64 holds them exactly."""
    chain.add("Cast", to=TensorProto.DOUBLE)
    chain.add("MatMul", np.array(matrix(block), np.float64).T.copy())
    chain.add("Mul", np.array(1 / 256))
    chain.add("Floor")
    chain.add("Add", np.array(output_bias(block), np.float64))
    chain.add("Cast", to=TensorProto.FLOAT)  # whole numbers below 2**24: still exact; ONNX Runtime clips no float64
    chain.add("Clip", np.array(0, np.float32), np.array(255, np.float32))


def _append_normalisation(chain: _Chain, block: Any, channels: int) -> None:
    """(pixel - mean - min) * var_reci, where min and var_reci are float16, and so is the result."""

    def per_channel(values: list[float]) -> np.ndarray:
        return np.array(values, np.float32).reshape(1, channels, 1, 1)

    def half(value: float) -> float:
        return float(np.float16(value))

    offsets = [getattr(block, f"mean_chn_{c}") + half(getattr(block, f"min_chn_{c}")) for c in range(channels)]
    factors = [half(first(block, f"var_reci_chn_{c}", 1.0)) for c in range(channels)]
    chain.add("Sub", per_channel(offsets))
    chain.add("Mul", per_channel(factors))
    chain.add("Clip", np.array(-FLOAT16_MAX, np.float32), np.array(FLOAT16_MAX, np.float32))
    chain.add("Cast", to=TensorProto.FLOAT16)
    chain.add("Cast", to=TensorProto.FLOAT)
