"""AscendQuant, AscendDequant and AscendAntiQuant: int8 layers, as standard operators with the same arithmetic.

- Quantise: x, scale and offset as float16; product and sum rounded to float16; then to the nearest integer, ties to
  even, and clipped to int8. So does CANN's kernel (ascend_quant.py, static TBE) in every precision mode.
- Sums: int32. CANN's graph engine pads with the offset (offset_x of Conv2D), and corrects the bias on the host by an
  operator that is not open (QuantBiasOptimization). That this is bias - offset * sum(weights) is inferred. The sum of
  (x - offset) * weight, which is computed here, is the same integer.
- Dequantise: int32 as float32, times deq_scale (hicann/ge, graph_dev, quantization); to float16 where the mode says so.
- Anti-quantise: (x - offset) * scale, in float16 (ascend_anti_quant.py).
- Convolutions of 16 input channels or fewer are computed in float (bias_optimize_quant_rollback_base.cc of the graph
  engine; for 310P today this is inferred). Their weights and bias are scaled back by deq_scale: inferred, too.

Sums are exact on any CPU: ONNX Runtime adds products of unsigned with unsigned bytes in 32 bits. Unsigned with signed
bytes it adds in 16 bits on CPUs with AVX2 and without VNNI, where they saturate (onnxruntime#6004).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper

from ascend_emulation.node_builder import NodeBuilder, replace_nodes
from ascend_emulation.onnx_graph import opset_of
from ascend_emulation.precision import FLOAT16_MAX, PrecisionMode, Width
from ascend_emulation.quantised_nodes import (
    ANTI_QUANT,
    CONVOLUTIONS,
    DEQUANT,
    HIGHEST,
    LOWEST,
    MATRIX,
    QUANT,
    Layer,
    Quantiser,
    is_quantised,
    is_set,
    notes_of,
    read_dtype,
    read_layer,
    read_quantiser,
)

CHANNELS_IN_FLOAT = 16
_UNSIGNED = 128  # what makes an int8 a uint8
_EXACT_IN_FLOAT32 = 2**24


@dataclass
class Expansion:
    """What became of a model's int8 layers."""

    made: list[str] = field(default_factory=list)  # names of nodes that are not to be rounded
    half: list[str] = field(default_factory=list)  # tensors that hold float16 values
    notes: list[str] = field(default_factory=list)  # lines of the log


def expand_quantised(
    model: onnx.ModelProto, mode: PrecisionMode, saturate: bool, kept: Collection[str] = ()
) -> Expansion:
    """Replace these operators, and the layers between them, in `model`.

    `kept` are nodes whose results stay float32. Raises AtcError E10055 for what CANN would not take, or whose effect
    is not known.
    """
    if not any(is_quantised(node) for node in model.graph.node):
        return Expansion()
    return _Expander(model, mode, saturate, kept).run()


class _Quantised:
    """The values of one AscendQuant; their nodes are made when something uses them."""

    def __init__(self, builder: NodeBuilder, saturate: bool) -> None:
        self.builder, self.saturate = builder, saturate
        self.quantiser: Quantiser = read_quantiser(builder)
        self._levels = self._bytes = ""

    @property
    def source(self) -> str:
        return str(self.builder.node.input[0])

    def levels(self) -> str:
        """float32 whole numbers from -128 to 127."""
        if not self._levels:
            b = self.builder
            x = round_to_half(b, self.source, self.saturate)
            y = round_to_half(b, b.add("Mul", x, b.constant(np.float16(self.quantiser.scale), np.float32)))
            if self.quantiser.offset:
                y = round_to_half(b, b.add("Add", y, b.constant(self.quantiser.offset, np.float32)))
            self._levels = _clip(b, b.add("Round", y), LOWEST, HIGHEST)
        return self._levels

    def bytes(self) -> str:
        """The same as uint8, 128 more."""
        if not self._bytes:
            b = self.builder
            moved = b.add("Add", self.levels(), b.constant(_UNSIGNED, np.float32))
            self._bytes = b.add("Cast", moved, to=TensorProto.UINT8)
        return self._bytes


def _clip(b: NodeBuilder, tensor: str, low: float, high: float) -> str:
    return b.add("Clip", tensor, b.constant(low, np.float32), b.constant(high, np.float32))


def round_to_half(b: NodeBuilder, tensor: str, saturate: bool = False) -> str:
    """float32 values as float16 holds them; `saturate` makes those beyond its range the largest ones."""
    if saturate:
        tensor = _clip(b, tensor, -FLOAT16_MAX, FLOAT16_MAX)
    return b.add("Cast", b.add("Cast", tensor, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)


class _Expander:
    """One walk over a graph."""

    def __init__(self, model: onnx.ModelProto, mode: PrecisionMode, saturate: bool, kept: Collection[str]) -> None:
        self.graph, self.opset, self.mode, self.saturate, self.kept = model.graph, opset_of(model), mode, saturate, kept
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.users[name].append(node)
        self.quantised: dict[str, _Quantised] = {}
        self.new: dict[int, list[onnx.NodeProto]] = {}  # id of a node -> what stands in its place
        self.result = Expansion()

    def run(self) -> Expansion:
        nodes = [node for node in self.graph.node if is_quantised(node)]
        for node in nodes:
            if node.op_type == QUANT:
                b = NodeBuilder(node, self.opset)
                self.quantised[node.output[0]] = _Quantised(b, self.saturate)
                self.result.notes += notes_of(b, self.quantised[node.output[0]].quantiser)
        for node in nodes:
            if node.op_type == DEQUANT:
                self._replace_layer(node)
            elif node.op_type == ANTI_QUANT:
                self._replace_anti_quant(node)
        for name, quantised in self.quantised.items():
            self._check_users(name, quantised.builder)
            self._replace(quantised.builder)
        replace_nodes(self.graph, [made for node in self.graph.node for made in self.new.get(id(node), [node])])
        return self.result

    def _replace(self, b: NodeBuilder) -> None:
        """Put what `b` made in the place of its node."""
        self.new[id(b.node)] = b.nodes
        self.graph.initializer.extend(b.weights)
        self.result.made += [node.name for node in b.nodes]

    def _check_users(self, name: str, b: NodeBuilder) -> None:
        other = next((node for node in self.users[name] if id(node) not in self.new), None)
        if other is not None:
            b.refuse(f"whose int8 values go into {other.op_type} {other.name or other.output[0]}")
        if name in {value.name for value in self.graph.output}:
            b.refuse("as an output of the model")

    def _source(self, b: NodeBuilder) -> _Quantised:
        if b.node.input[0] not in self.quantised:
            b.refuse(f"in int8: its input {b.node.input[0]} does not come from {QUANT}")
        return self.quantised[b.node.input[0]]

    def _replace_layer(self, dequant: onnx.NodeProto) -> None:
        after = NodeBuilder(dequant, self.opset)
        sums = dequant.input[0]
        node = self.makers.get(sums)
        if node is None or node.op_type not in MATRIX:
            after.refuse(f"behind {node.op_type if node else 'an input'}; it computes it behind {', '.join(MATRIX)}")
        assert node is not None
        if len(self.users[sums]) > 1:
            after.refuse(f"whose input {sums} also goes elsewhere")
        b = NodeBuilder(node, self.opset)
        quantised, layer = self._source(b), read_layer(b, after, self.weights)
        if node.op_type in CONVOLUTIONS and layer.inputs <= CHANNELS_IN_FLOAT:
            self._return_to_float(b, after, quantised, layer)
            return
        _add_sums(b, quantised, layer)
        _end(b)
        scaled = after.add(
            "Mul", after.add("Cast", sums, to=TensorProto.FLOAT), after.constant(_factor(b, layer), np.float32)
        )
        if is_set(dequant, "relu_flag"):
            scaled = after.add("Relu", scaled)
        is_half = self.mode.vector is Width.HALF and dequant.name not in self.kept
        if read_dtype(after) or is_half:
            round_to_half(after, scaled, self.saturate)
            self.result.half.append(dequant.output[0])
        _end(after)
        self._replace(b)
        self._replace(after)

    def _return_to_float(self, b: NodeBuilder, after: NodeBuilder, quantised: _Quantised, layer: Layer) -> None:
        """Compute a convolution on x itself, with weights and bias as they were before they were quantised."""
        axes = [1] * (layer.weight.ndim - 2)
        scales = layer.factor * np.float32(quantised.quantiser.scale)
        scales = scales.reshape(*((-1, 1) if b.node.op_type == "Conv" else (1, -1)), *axes)
        names = [quantised.source, b.constant(layer.weight * scales, np.float32)]
        if layer.bias is not None:
            names.append(b.constant(layer.bias * layer.factor, np.float32))
        node = helper.make_node(b.node.op_type, names, [after.node.output[0]], name=b.name)
        node.attribute.extend(b.node.attribute)
        self.new[id(b.node)], self.new[id(after.node)] = [node], []
        if is_set(after.node, "relu_flag"):
            node.output[0] = b.node.output[0]
            relu = helper.make_node("Relu", [node.output[0]], [after.node.output[0]], name=after.name)
            self.new[id(after.node)] = [relu]
        self.graph.initializer.extend(b.weights)
        self.result.notes.append(
            f"[INFO] {b.node.op_type} {b.name} is computed in float: its input has {layer.inputs} channels, and CANN "
            f"returns int8 convolutions on {CHANNELS_IN_FLOAT} channels or fewer to float."
        )

    def _replace_anti_quant(self, node: onnx.NodeProto) -> None:
        b = NodeBuilder(node, self.opset)
        quantised, quantiser = self._source(b), read_quantiser(b)
        read_dtype(b)
        self.result.notes += notes_of(b, quantiser)
        moved = round_to_half(b, b.add("Sub", quantised.levels(), b.constant(quantiser.offset, np.float32)))
        round_to_half(b, b.add("Mul", moved, b.constant(np.float16(quantiser.scale), np.float32)), self.saturate)
        self.result.half.append(node.output[0])
        _end(b)
        self._replace(b)


def _end(b: NodeBuilder) -> None:
    """Make what was added last the node that is replaced, by name and output."""
    b.nodes[-1].name, b.nodes[-1].output[0] = b.name, b.node.output[0]


def _factor(b: NodeBuilder, layer: Layer) -> np.ndarray:
    """deq_scale in the shape that the sums of a layer take."""
    return layer.factor.reshape(-1, *[1] * (layer.weight.ndim - 2)) if b.node.op_type in CONVOLUTIONS else layer.factor


def _add_sums(b: NodeBuilder, quantised: _Quantised, layer: Layer) -> None:
    """Append int32 sums of (x - offset) * weight, and the bias."""
    offset, operator = quantised.quantiser.offset, b.node.op_type
    if operator == "ConvTranspose":
        sums = _add_transposed(b, quantised, layer)
    else:
        weight = layer.weight.T if is_set(b.node, "transB") else layer.weight
        zeros = (b.constant(offset + _UNSIGNED, np.uint8), b.constant(_UNSIGNED, np.uint8))
        unsigned = b.constant(weight.astype(np.int16) + _UNSIGNED, np.uint8)
        sums = b.add("ConvInteger" if operator == "Conv" else "MatMulInteger", quantised.bytes(), unsigned, *zeros)
        if operator == "Conv":
            b.nodes[-1].attribute.extend(b.node.attribute)
    if layer.bias is not None:
        shape = (1, -1, *[1] * (layer.weight.ndim - 2)) if operator in CONVOLUTIONS else (-1,)
        b.add("Add", sums, b.constant(layer.bias.reshape(shape), np.int32))


def _add_transposed(b: NodeBuilder, quantised: _Quantised, layer: Layer) -> str:
    """In float32, which holds whole numbers exactly up to 2**24: ONNX has no ConvTranspose of integers."""
    offset = quantised.quantiser.offset
    kernel = layer.weight.shape[2:]
    strides = next((list(a.ints) for a in b.node.attribute if a.name == "strides"), [1] * len(kernel))
    overlaps = math.prod(-(-size // stride) for size, stride in zip(kernel, strides))
    taps = np.abs(layer.weight.astype(np.int64)).max(axis=tuple(range(2, layer.weight.ndim)))  # [inputs,outputs]
    largest = max(HIGHEST - offset, offset - LOWEST) * overlaps * int(taps.sum(axis=0).max())
    if largest > _EXACT_IN_FLOAT32:
        b.refuse(f"in int8 with sums up to {largest}, which float32 does not hold exactly")
    moved = b.add("Sub", quantised.levels(), b.constant(offset, np.float32))
    b.add("ConvTranspose", moved, b.constant(layer.weight, np.float32))
    b.nodes[-1].attribute.extend(b.node.attribute)
    return b.add("Cast", b.nodes[-1].output[0], to=TensorProto.INT32)
