"""`cuts --layers`: what each layer of a graph costs in multiply-adds, and how many weights it has.

Counted are the operators that multiply matrices. Additions of a bias, activations, normalisation and pooling are not:
together they are about a hundredth of the arithmetic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.exported import read_onnx
from yolact_ascend.models.layer import Layer
from yolact_ascend.models.onnx_metadata import refuse_own_operators
from yolact_ascend.tables import counted, markdown_table

# Operators of ONNX that multiply matrices -> the inputs with values and weights, and the one with the bias.
_CONVOLUTIONS = {"Conv": (0, 1, 2), "ConvInteger": (0, 1, None), "QLinearConv": (0, 3, 8), "DeformConv": (0, 1, 3)}
_MATRICES = {"MatMul": (0, 1, None), "MatMulInteger": (0, 1, None), "QLinearMatMul": (0, 3, None), "Gemm": (0, 1, 2)}
_TRANSPOSED = {"ConvTranspose": (0, 1, 2)}
COUNTED = {**_CONVOLUTIONS, **_MATRICES, **_TRANSPOSED}
# What exporters compute the sizes of a Resize or Reshape with, from the Shape of a tensor.
_SIZE_OPERATORS = frozenset(
    ("Add", "Cast", "Concat", "Constant", "Div", "Gather", "Mul", "Slice", "Squeeze", "Sub", "Unsqueeze")
)
MOST_SIZES = 64  # numbers of a shape or of its indices
# Operators that multiply matrices, too, and are not in the models of this project.
NOT_COUNTED = frozenset(("Einsum", "Attention", "GRU", "LSTM", "RNN"))


def count_layers(onnx_file: Path) -> list[Layer]:
    """Return the layers of an ONNX file that multiply matrices, in the graph's order, for one image.

    Raises ArtifactError for a file that is no ONNX, or whose shapes are not static.
    """
    graph = _with_shapes(read_onnx(onnx_file), onnx_file).graph
    shapes = {value.name: _static_shape(value) for value in (*graph.input, *graph.output, *graph.value_info)}
    shapes.update({tensor.name: tuple(tensor.dims) for tensor in graph.initializer})
    constants = {tensor.name for tensor in graph.initializer}
    seen: set[str] = set()
    layers = []
    for number, node in enumerate(graph.node):
        if node.op_type in COUNTED:
            layers.append(_layer(node, number, shapes, constants, seen, onnx_file))
        elif all(name in constants for name in node.input if name):  # folded weights, and those of quantised models
            constants.update(node.output)
    return layers


def count_others(onnx_file: Path) -> Counter[str]:
    """Return how many nodes of each operator are not counted though they multiply matrices, or hold a graph."""
    nodes = read_onnx(onnx_file).graph.node
    return Counter(node.op_type for node in nodes if node.op_type in NOT_COUNTED or _holds_layers(node))


def format_layers(layers: Sequence[Layer], subject: str, others: Mapping[str, int]) -> str:
    """Return a table with a row for each layer, the totals, and what they are of."""
    rows = [
        [
            layer.name,
            layer.operator,
            "x".join(map(str, layer.output_shape)),
            "shared" if layer.is_shared else layer.parameters,
            f"{layer.macs / 1e6:.3f}",
            f"{layer.flop / 1e9:.4f}",
        ]
        for layer in layers
    ]
    totals = totals_of(layers)
    rows.append(["total", "", "", totals["parameters"], f"{totals['macs'] / 1e6:.3f}", f"{totals['flop'] / 1e9:.4f}"])
    notes = [f"{subject}; {counted(len(layers), 'layer')}, one image. A FLOP count is 2 for each multiply-add (MAC)."]
    if others:
        named = ", ".join(f"{operator} ({count})" for operator, count in sorted(others.items()))
        notes.append(f"Not counted: {named}.")
    head = ["layer", "operator", "output", "parameters", "MMAC", "GFLOP"]
    return "\n\n".join([markdown_table(head, rows), *notes])


def layers_to_json(layers: Sequence[Layer], subject: str, others: Mapping[str, int]) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "schema_version": 1,
        "of": subject,
        **totals_of(layers),
        "layers": [{**asdict(layer), "output_shape": list(layer.output_shape), "flop": layer.flop} for layer in layers],
        "not_counted": dict(others),
    }


def totals_of(layers: Sequence[Layer]) -> dict[str, int]:
    """Return the sums over the layers; weights that several of them share count once."""
    return {
        "macs": sum(layer.macs for layer in layers),
        "flop": sum(layer.flop for layer in layers),
        "parameters": sum(layer.parameters for layer in layers if not layer.is_shared),
    }


def _with_shapes(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return the model with all shapes that can be inferred, for a batch of one where the batch is free."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    batch = set()  # the names of the free batch
    for value in graph.input:
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            if value.name in weights or dim.HasField("dim_value"):
                continue
            if place > 0:
                raise ArtifactError(
                    f"{path}: its input {value.name} is of any size along axis {place}, expected a fixed size. Export "
                    "it with static shapes."
                )
            batch.add(dim.dim_param)
    for value in (*graph.input, *graph.value_info, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in batch and not dim.HasField("dim_value"):
                dim.dim_value = 1
    while True:  # a size that is computed from a shape may give the next one
        model = onnx.shape_inference.infer_shapes(model)
        if not _fold_sizes(model):
            return model


def _fold_sizes(model: onnx.ModelProto) -> bool:
    """Replace nodes that compute sizes from static shapes by their values; tell whether there were any."""
    graph, opsets = model.graph, {entry.domain: entry.version for entry in model.opset_import}
    shapes = {value.name: _static_shape(value) for value in (*graph.input, *graph.value_info)}
    small = (tensor for tensor in graph.initializer if prod(tensor.dims) <= MOST_SIZES)
    sizes: dict[str, Any] = {tensor.name: numpy_helper.to_array(tensor) for tensor in small}
    kept, folded = [], []
    for node in graph.node:
        shape = shapes.get(node.input[0]) if node.op_type == "Shape" else None
        if shape is not None:
            feed = {node.input[0]: np.broadcast_to(np.zeros((), np.uint8), shape)}
        elif node.op_type in _SIZE_OPERATORS and all(name in sizes for name in node.input if name):
            feed = {name: sizes[name] for name in node.input if name}
        else:
            kept.append(node)
            continue
        name, computed = node.output[0], cast(Any, ReferenceEvaluator(node, opsets=opsets).run(None, feed))
        sizes[name] = np.asarray(computed[0])
        folded.append(numpy_helper.from_array(sizes[name], name))
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(folded)
    return bool(folded)


def _layer(
    node: onnx.NodeProto,
    number: int,
    shapes: dict[str, tuple[int, ...] | None],
    constants: set[str],
    seen: set[str],
    path: Path,
) -> Layer:
    value, weight, bias = COUNTED[node.op_type]
    name = node.name or f"{node.op_type}_{number}"
    needed = node.input[value], node.input[weight], node.output[0]
    found = [shapes.get(tensor) for tensor in needed]
    if None in found:
        refuse_own_operators(path)
        unknown = needed[found.index(None)]
        raise ArtifactError(f"{path}: the shape of {unknown}, of {name}, is not static. Export it with static shapes.")
    value_shape, weight_shape, output_shape = (shape or () for shape in found)
    own = [tensor for tensor in (node.input[weight], _input(node, bias)) if tensor and tensor in constants]
    is_shared = bool(own) and own[0] in seen
    seen.update(own)
    parameters = sum(prod(shapes.get(tensor) or ()) for tensor in own)
    return Layer(
        name, node.op_type, output_shape, parameters, is_shared, _macs(node, value_shape, weight_shape, found[2])
    )


def _macs(node: onnx.NodeProto, value: tuple[int, ...], weight: tuple[int, ...], output: tuple[int, ...] | None) -> int:
    """Return the multiply-adds: for each output value a convolution's filter, or a row by a column."""
    assert output is not None
    if node.op_type in _CONVOLUTIONS:
        return prod(output) * prod(weight[1:])  # [Cout, Cin / groups, kh, kw]
    if node.op_type in _TRANSPOSED:
        return prod(value) * prod(weight[1:])  # [Cin, Cout / groups, kh, kw]: each input value is spread
    is_transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(output) * value[0 if is_transposed else -1]


def _input(node: onnx.NodeProto, place: int | None) -> str:
    return node.input[place] if place is not None and place < len(node.input) else ""


def _holds_layers(node: onnx.NodeProto) -> bool:
    """Whether a node's branches hold layers that are counted elsewhere."""
    branches = [branch for attribute in node.attribute for branch in (attribute.g, *attribute.graphs)]
    return any(inner.op_type in COUNTED or _holds_layers(inner) for branch in branches for inner in branch.node)


def _static_shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """Return the shape of a tensor; None when a side of it is not known."""
    kind = value.type.tensor_type
    sides = list(_sides(kind)) if kind.HasField("shape") else [None]
    return None if None in sides else tuple(side for side in sides if side is not None)


def _sides(kind: Any) -> Iterator[int | None]:
    for dim in kind.shape.dim:
        yield dim.dim_value if dim.HasField("dim_value") else None
