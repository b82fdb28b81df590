"""The QDQ form of an INT8 model, for ONNX Runtime and OpenVINO: QuantizeLinear and DequantizeLinear around layers.

Activations are uint8 here, the same integers as Ascend's int8, 128 higher: that is what the CPU's kernels are made for.
A tensor is quantised once, whatever reads it. Biases are int32 in units of input scale times weight scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, version_converter

from yolact_ascend.compression.affine import QuantizedLayer
from yolact_ascend.compression.graphs import INT8_SUFFIX, Constants, layers_of_nodes, node_layer, replace_nodes
from yolact_ascend.models.onnx_metadata import QDQ

OPSET = 13  # the first with a scale for each channel
UINT8_OFFSET = 128


def qdq_model(model: onnx.ModelProto, layers: Sequence[QuantizedLayer]) -> onnx.ModelProto:
    """Return a float model with these layers in integers; operators of at least opset 13."""
    quantized = with_opset(model)
    by_node, constants, nodes = layers_of_nodes(layers), Constants(), list[onnx.NodeProto]()
    done: set[str] = set()
    for node in quantized.graph.node:
        found = node_layer(node, by_node)
        nodes += [node] if found is None else twin_nodes(node, found, constants, node.output[0], done)
    replace_nodes(quantized, nodes, constants.tensors)
    quantized.metadata_props.add(key=QDQ, value="1")
    return quantized


def with_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model whose operators are of at least opset 13."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions.get("", 0) >= OPSET:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy
    converted = version_converter.convert_version(model, OPSET)
    del converted.metadata_props[:]
    converted.metadata_props.extend(model.metadata_props)
    return converted


def twin_nodes(
    node: onnx.NodeProto, found: QuantizedLayer, constants: Constants, output: str, done: set[str]
) -> list[onnx.NodeProto]:
    """Return the nodes that compute a layer from integers, into `output`; `done` are the tensors that are integers."""
    nodes = [] if found.layer.tensor in done else _quantize_input(found, constants)
    done.add(found.layer.tensor)
    return [*nodes, *_layer_nodes(node, found, constants, output)]


def _quantize_input(found: QuantizedLayer, constants: Constants) -> list[onnx.NodeProto]:
    """Return the two nodes that make a tensor integers, and numbers again."""
    tensor, affine = found.layer.tensor, found.input
    scale = constants.add(f"{tensor}_scale", np.array(affine.scale, np.float32), "")
    zero = constants.add(f"{tensor}_zero_point", np.array(affine.zero_point + UINT8_OFFSET, np.uint8), "")
    names = [tensor + INT8_SUFFIX, _dequantized(tensor)]
    return [
        helper.make_node("QuantizeLinear", [tensor, scale, zero], names[:1]),
        helper.make_node("DequantizeLinear", [names[0], scale, zero], names[1:]),
    ]


def _dequantized(name: str) -> str:
    return f"{name}_dq"


def _layer_nodes(
    node: onnx.NodeProto, found: QuantizedLayer, constants: Constants, output: str
) -> list[onnx.NodeProto]:
    """Return the node with its weight and bias from integers."""
    layer, nodes = found.layer, list[onnx.NodeProto]()
    inputs = [_dequantized(layer.tensor)]
    axis = layer.channel_axis
    parts = [(layer.weight, found.weight, found.weight_scale, axis)]
    if layer.bias is not None and found.bias is not None:
        parts.append((layer.bias, found.bias, found.deq_scale, None if axis is None else 0))
    for name, values, scales, channel_axis in parts:
        # One for each node: a weight that several layers read has other scales where a bias raised them.
        integers = constants.add(name + INT8_SUFFIX, values, layer.name)
        scale = constants.add(f"{name}_scale", scales if channel_axis is not None else scales.reshape(()), layer.name)
        floats = f"{layer.name}_{name}"
        attributes: dict[str, Any] = {} if channel_axis is None else {"axis": channel_axis}
        nodes.append(helper.make_node("DequantizeLinear", [integers, scale], [floats], **attributes))
        inputs.append(floats)
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:], copy.output[:] = inputs, [output]
    return [*nodes, copy]
