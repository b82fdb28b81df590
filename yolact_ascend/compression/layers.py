"""Which nodes of an exported ONNX can be INT8, and which of them Ascend's compiler returns to float.

Source: hicann/ge @ ffdcbc9, docs/zh/user_guides/atc_tools/references/quantization_layers_constraints.md; convolutions
of at most 16 input channels: older CANN sources; whether that holds for a 310P today was not checked on a card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import helper

from yolact_ascend.errors import ArtifactError

MOST_FLOAT_CHANNELS = 16  # input channels of a convolution that the compiler returns to float
CONV, DECONV, GEMM, MATMUL = "Conv", "ConvTranspose", "Gemm", "MatMul"
# The axis of a weight that has a scale for each of its channels; None: one scale for all, as Ascend takes these.
CHANNEL_AXES = {CONV: 0, DECONV: 1, GEMM: None, MATMUL: None}
_QUANTIZED_MARKS = ("Quant", "QLinear", "Integer")  # in the names of operators of a model that is quantised already


@dataclass(frozen=True)
class Layer:
    """A node that can be INT8: its name, its operator, and the tensors that it reads."""

    name: str
    kind: str
    tensor: str  # its input
    weight: str
    bias: str | None
    input_channels: int
    weight_input_axis: int = 1  # of the weight, for the channels that it reads

    @property
    def input_axis(self) -> int:
        """The axis of its input's channels."""
        return 1 if self.kind in (CONV, DECONV) else -1

    @property
    def channel_axis(self) -> int | None:
        return CHANNEL_AXES[self.kind]

    @property
    def is_rolled_back(self) -> bool:
        """Whether Ascend's compiler computes it in float anyway."""
        return self.kind in (CONV, DECONV) and self.input_channels <= MOST_FLOAT_CHANNELS


def name_of(node: onnx.NodeProto) -> str:
    """Return a node's name; where it has none, that of its first output."""
    return node.name or node.output[0]


def find_layers(model: onnx.ModelProto) -> list[Layer]:
    """Return the nodes that can be INT8, in graph order."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return [layer for node in model.graph.node if (layer := _layer(node, weights)) is not None]


def _layer(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> Layer | None:
    if node.op_type not in CHANNEL_AXES or node.domain not in ("", "ai.onnx"):
        return None
    tensor, weight, *others = node.input
    bias = others[0] if others and others[0] else None
    if tensor in weights or weight not in weights or (bias is not None and bias not in weights):
        return None
    dims, values = weights[weight].dims, {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if weights[weight].data_type != onnx.TensorProto.FLOAT:
        return None
    if node.op_type == DECONV and values.get("group", 1) != 1:
        return None
    if node.op_type == GEMM and (values.get("transA", 0), values.get("alpha", 1.0), values.get("beta", 1.0)) != (
        0,
        1,
        1,
    ):
        return None
    if node.op_type == MATMUL and len(dims) != 2:
        return None
    axis = 1 if node.op_type == CONV or values.get("transB", 0) else 0
    channels = dims[axis] * (values.get("group", 1) if node.op_type == CONV else 1)
    return Layer(name_of(node), node.op_type, tensor, weight, bias, channels, axis)


def channel_axes(layers: Iterable[Layer]) -> dict[str, int]:
    """Return the axis of the channels of each tensor that layers read, by its name; those with a bias decide."""
    return {layer.tensor: layer.input_axis for layer in sorted(layers, key=lambda layer: layer.bias is not None)}


def last_layers(model: onnx.ModelProto, layers: Sequence[Layer]) -> set[str]:
    """Return the names of the layers behind which no other layer stands."""
    known, behind = {layer.name for layer in layers}, set[str]()  # tensors that a layer is computed from
    last = set()
    for node in reversed(model.graph.node):
        leads_on = any(output in behind for output in node.output)
        if name_of(node) in known:
            if not leads_on:
                last.add(name_of(node))
            leads_on = True
        if leads_on:
            behind.update(node.input)
    return last


def require_float(model: onnx.ModelProto, path: Path) -> None:
    """Raise ArtifactError for a model that is quantised already, or that has nothing to quantise."""
    found = sorted(
        {node.op_type for node in model.graph.node if any(mark in node.op_type for mark in _QUANTIZED_MARKS)}
    )
    if found:
        raise ArtifactError(
            f"{path} is quantised already: it has {', '.join(found)}. Pass the float32 ONNX that export wrote."
        )
    if not find_layers(model):
        raise ArtifactError(f"{path} has no layer to quantise ({', '.join(CHANNEL_AXES)} with weights in the file).")
