"""Plays the float16 of a card: rounds weights at compile time, and values behind the operators that make new ones.

An operator itself computes in float32, as a Cube unit accumulates; what it stores is rounded to float16 by a pair of
Casts, to FLOAT16 and back, so that ONNX Runtime's float32 kernels stay in use. ONNX Runtime keeps such a pair, because
it loses digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ascend_emulation.atc_errors import AtcError
from ascend_emulation.onnx_graph import opset_of
from ascend_emulation.precision import FLOAT16_MAX, KEEP, PrecisionMode, Width

_MATRIX = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Of rounded values they make rounded values: they move or choose.
_EXACT = """
    Abs ArgMax ArgMin Clip Concat DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND GlobalMaxPool
    Identity Max MaxPool Min Neg Pad ReduceMax ReduceMin Relu Reshape Slice SpaceToDepth Split Squeeze Tile TopK
    Transpose Unsqueeze Where
"""
# Monotone: rounding behind them gives what rounding in front of them gives, and ONNX Runtime can still fuse Conv+Relu.
_MONOTONE = frozenset({"Clip", "MaxPool", "Relu"})
# Inputs that are settings of the operator, not data.
_SETTINGS = {"Resize": {1, 2}, "Upsample": {1}}


def round_weights(values: np.ndarray) -> np.ndarray:
    """float32 values as float16 would hold them; beyond ±65504 they are clipped, atc's default (is_weight_clip)."""
    clipped = np.clip(values, -FLOAT16_MAX, FLOAT16_MAX)
    return np.asarray(clipped.astype(np.float16).astype(np.float32))


def apply_precision(
    model: onnx.ModelProto,
    mode: PrecisionMode,
    saturate: bool,
    kept: Collection[str] = (),
    half: Collection[str] = (),
) -> None:
    """Insert the roundings of `mode` into `model`, whose shapes and types are inferred.

    `kept` are the names of nodes that stay float32 (--keep_dtype), `half` the tensors that hold float16 values
    anyway. Raises AtcError E10055 for operators with subgraphs.
    """
    if mode != KEEP:
        _Rounding(model, mode, saturate, frozenset(kept), half).run()


class _Rounding:
    """One walk over a graph; `half` are the tensors known to hold float16 values."""

    def __init__(
        self,
        model: onnx.ModelProto,
        mode: PrecisionMode,
        saturate: bool,
        kept: frozenset[str],
        half: Collection[str],
    ) -> None:
        graph = model.graph
        self.graph, self.mode, self.saturate, self.kept = graph, mode, saturate, kept
        self.opset = opset_of(model)
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        values = [*graph.input, *graph.value_info, *graph.output]
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        self.types.update({name: tensor.data_type for name, tensor in self.weights.items()})
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(value.name for value in graph.output)
        self.users = {name: node for node in graph.node for name in node.input}
        self.nodes: list[onnx.NodeProto] = []
        self.half = set(half)
        self.halves: dict[str, str] = {}
        self.pending: dict[str, bool] = {}  # to be rounded behind the next node; whether it is within ±65504 already

    def run(self) -> None:
        for node in self.graph.node:
            self._take(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input} | {value.name for value in self.graph.output}
        kept = [tensor for tensor in self.weights.values() if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def _width(self, node: onnx.NodeProto) -> Width:
        if node.name in self.kept:
            return Width.SINGLE
        return self.mode.matrix if node.op_type in _MATRIX else self.mode.vector

    def _is_float(self, name: str) -> bool:
        if name and name not in self.types:
            raise AtcError("E10055", reason=f"the type of tensor {name} is unknown, the emulated atc cannot round it")
        return bool(name) and self.types[name] == TensorProto.FLOAT

    def _take(self, node: onnx.NodeProto) -> None:
        if any(attribute.type in (attribute.GRAPH, attribute.GRAPHS) for attribute in node.attribute):
            reason = f"the emulated atc rounds no operators with subgraphs such as {node.op_type} {node.name}"
            raise AtcError("E10055", reason=reason)
        width = self._width(node)
        deferred = node.input[0] if node.input and node.input[0] in self.pending else ""
        if width is not Width.SINGLE:
            self._round_inputs(node, width)
        self.nodes.append(node)
        floats = [index for index, name in enumerate(node.output) if self._is_float(name)]
        if width is not Width.HALF:
            return
        within = False
        if deferred:
            within = self._keep_within(node, self.pending[deferred])
        elif self._is_exact(node):
            self.half.update(node.output[index] for index in floats)
            return
        for index in floats:
            if self._can_wait(node.output[index]):
                self.pending[node.output[index]] = within
            else:
                self._round_output(node, index, within)

    def _round_inputs(self, node: onnx.NodeProto, width: Width) -> None:
        # float16 in, float32 out: the bias joins the float32 accumulator as it is
        data = 2 if width is Width.HALF_IN else len(node.input)
        for index, name in enumerate(node.input[:data]):
            if index not in _SETTINGS.get(node.op_type, ()) and name not in self.pending and self._is_float(name):
                node.input[index] = self._half_of(name)

    def _half_of(self, name: str) -> str:
        """The name of a tensor with the values of `name` in float16."""
        if name in self.half:
            return name
        if name not in self.halves:
            if name in self.weights:
                self.halves[name] = self._half_weight(name)
            else:
                self.halves[name] = f"{name}/rounded"
                self._append_rounding(name, f"{name}/rounded", within=False)
        return self.halves[name]

    def _half_weight(self, name: str) -> str:
        values = numpy_helper.to_array(self.weights[name])
        rounded = round_weights(values)
        if np.array_equal(values, rounded):
            return name
        return self._add_weight(f"{name}/rounded", rounded)

    def _add_weight(self, name: str, values: np.ndarray) -> str:
        self.weights[name] = numpy_helper.from_array(values, name)
        return name

    def _round_output(self, node: onnx.NodeProto, index: int, within: bool) -> None:
        name = node.output[index]
        node.output[index] = f"{name}/float32"
        self._append_rounding(node.output[index], name, within)
        self.half.add(name)

    def _append_rounding(self, source: str, target: str, within: bool) -> None:
        if self.saturate and not within:
            self.nodes.append(self._clip(source, f"{target}/saturated", -FLOAT16_MAX, FLOAT16_MAX))
            source = f"{target}/saturated"
        half = f"{target}/float16"
        for name, result, to in ((source, half, TensorProto.FLOAT16), (half, target, TensorProto.FLOAT)):
            self.nodes.append(helper.make_node("Cast", [name], [result], name=f"{result}/Cast", to=to))

    def _clip(self, source: str, target: str, low: float, high: float) -> onnx.NodeProto:
        name = f"{target}/Clip"
        if self.opset < 11:
            return helper.make_node("Clip", [source], [target], name=name, min=low, max=high)
        bounds = [self._add_weight(f"float16_bound/{bound}", np.array(bound, np.float32)) for bound in (low, high)]
        return helper.make_node("Clip", [source, *bounds], [target], name=name)

    def _keep_within(self, node: onnx.NodeProto, within: bool) -> bool:
        """Whether the output of a monotone node with a deferred input is within ±65504; a Relu is made to be."""
        if not self.saturate or within:
            return True
        if node.op_type == "Relu":
            node.CopyFrom(self._clip(node.input[0], node.output[0], 0.0, FLOAT16_MAX))
            return True
        # a Clip's bounds are rounded, hence within; MaxPool passes all on
        return node.op_type == "Clip" and self._bounds(node) == 2

    def _bounds(self, node: onnx.NodeProto) -> int:
        if self.opset < 11:
            return sum(attribute.name in ("min", "max") for attribute in node.attribute)
        return sum(bool(name) for name in node.input[1:])

    def _is_exact(self, node: onnx.NodeProto) -> bool:
        if node.op_type in ("Resize", "Upsample"):
            modes = [attribute.s for attribute in node.attribute if attribute.name == "mode"]
            return modes in ([], [b"nearest"])  # nearest is the default
        return node.op_type in _EXACT.split() and not self._has_odd_bounds(node)

    def _has_odd_bounds(self, node: onnx.NodeProto) -> bool:
        """Whether a Clip has bounds that float16 does not hold; as inputs they are rounded, as attributes not."""
        bounds = [a.f for a in node.attribute if a.type == a.FLOAT] if node.op_type == "Clip" else []
        return any(float(round_weights(np.float32(bound))) != bound for bound in bounds)

    def _can_wait(self, name: str) -> bool:
        """Whether `name` goes into one monotone float16 operator only, so that it may be rounded behind that."""
        user = self.users.get(name)
        if user is None or self.uses[name] != 1 or user.op_type not in _MONOTONE or self._width(user) is not Width.HALF:
            return False
        constant = all(bound in self.weights for bound in user.input[1:] if bound)
        return user.input[0] == name and len(user.output) == 1 and constant and not self._has_odd_bounds(user)
