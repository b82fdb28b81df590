"""Ascend's form of an INT8 model: AscendQuant and AscendDequant, as ATC's ONNX parser reads them.

Sources: hicann/ops-nn @ e5c3fa9, quant/*/framework/*_onnx_plugin.cpp: `scale` is 1/scale, and `scale` and `offset` are
read only where they are FLOAT; hicann/amct @ 2be20da, insert_dequant_pass.py: `deq_scale` is uint64, its lower half the
bits of a float32. That the real ATC compiles such a file was not checked on a card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from yolact_ascend.compression.affine import QuantizedLayer, inverse_scale
from yolact_ascend.compression.graphs import INT8_SUFFIX, Constants, layers_of_nodes, node_layer, replace_nodes
from yolact_ascend.compression.layers import Layer, find_layers
from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.onnx_metadata import ASCEND_INT8, OPERATORS

QUANT, DEQUANT = "AscendQuant", "AscendDequant"
ROUND = "Round"  # half to even
FLOAT32 = 0  # of AscendDequant's dtype


def ascend_model(model: onnx.ModelProto, layers: Sequence[QuantizedLayer]) -> onnx.ModelProto:
    """Return a float model with these layers in integers; the opset stays that of the export."""
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    by_node, constants, nodes = layers_of_nodes(layers), Constants(), list[onnx.NodeProto]()
    done: set[str] = set()
    for node in quantized.graph.node:
        found = node_layer(node, by_node)
        if found is None:
            nodes.append(node)
            continue
        if found.layer.tensor not in done:
            done.add(found.layer.tensor)
            nodes.append(_quantize_node(found))
        nodes += _layer_nodes(node, found, constants)
    replace_nodes(quantized, nodes, constants.tensors)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(quantized, {**metadata, OPERATORS: ASCEND_INT8})
    return quantized


def layers_of_twin(
    layers: Sequence[QuantizedLayer], model: onnx.ModelProto, twin: onnx.ModelProto, path: Path
) -> list[QuantizedLayer]:
    """Return layers of a model as those of `twin`, of the file `path`: the same network with other operators.

    Nodes have the same names, tensors may have others. Raises ArtifactError when a layer or its weights differ.
    """
    own = {layer.name: layer for layer in find_layers(twin)}
    found = find_layers(model)
    known, theirs = ({t.name: t for t in each.graph.initializer} for each in (model, twin))
    differing = {layer.name for layer in found} ^ set(own)
    differing |= {
        layer.name
        for layer in found
        if layer.name in own
        and any(
            not np.array_equal(numpy_helper.to_array(known[one]), numpy_helper.to_array(theirs[other]))
            for one, other in zip(_constants(layer), _constants(own[layer.name]))
        )
    }
    if differing:
        raise ArtifactError(
            f"{path} is of another network than the model that was measured: {min(differing)} differs. Export both "
            "from the same weights, with operators=onnx and operators=ascend."
        )
    return [replace(layer, layer=own[layer.layer.name]) for layer in layers]


def _constants(layer: Layer) -> list[str]:
    return [layer.weight, *([] if layer.bias is None else [layer.bias])]


def pack_deq_scale(deq_scale: np.ndarray) -> np.ndarray:
    """Return scales, float32, as uint64 that hold their bits."""
    return np.ascontiguousarray(deq_scale, np.float32).view(np.uint32).astype(np.uint64)


def _quantize_node(found: QuantizedLayer) -> onnx.NodeProto:
    """Return the node that makes a tensor int8. Both numbers are FLOAT: an INT would be ignored, and read as 0."""
    return helper.make_node(
        QUANT,
        [found.layer.tensor],
        [found.layer.tensor + INT8_SUFFIX],
        f"{found.layer.tensor}_quantize",
        scale=float(inverse_scale(found.input)),
        offset=float(found.input.zero_point),
        round_mode=ROUND,
    )


def _layer_nodes(node: onnx.NodeProto, found: QuantizedLayer, constants: Constants) -> list[onnx.NodeProto]:
    """Return the node on integers, and the one that makes its sums numbers again."""
    layer = found.layer
    inputs = [layer.tensor + INT8_SUFFIX, constants.add(layer.weight + INT8_SUFFIX, found.weight, layer.name)]
    if layer.bias is not None and found.bias is not None:
        inputs.append(constants.add(layer.bias + INT8_SUFFIX, found.bias, layer.name))
    deq_scale = constants.add(f"{layer.name}_deq_scale", pack_deq_scale(found.deq_scale), layer.name)
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = inputs
    copy.output[:] = [f"{node.output[0]}_int32"]
    dequantize = helper.make_node(
        DEQUANT, [copy.output[0], deq_scale], list(node.output), f"{layer.name}_dequantize", dtype=FLOAT32
    )
    return [copy, dequantize]
