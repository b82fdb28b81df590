"""Graphs with integers inside: what the QDQ form and Ascend's form have in common.

Both walk over the float graph once, in its order, and put in front of a quantised layer what its input needs, so that
nodes stay in topological order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from yolact_ascend.compression.affine import QuantizedLayer
from yolact_ascend.compression.layers import name_of

INT8_SUFFIX = "_int8"  # of a tensor, behind the name of its float form


def layers_of_nodes(layers: Iterable[QuantizedLayer]) -> dict[str, QuantizedLayer]:
    """Return the layers by the names of their nodes."""
    return {layer.layer.name: layer for layer in layers}


def replace_nodes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], new: Mapping[str, TensorProto]) -> None:
    """Put nodes and new initializers into a model; what no node reads any more goes."""
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used and tensor.name not in new]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *new.values()])
    del model.graph.value_info[:]


class Constants:
    """The initializers of a graph that is written; equal ones of one name are kept once."""

    def __init__(self) -> None:
        self.tensors: dict[str, TensorProto] = {}

    def add(self, name: str, values: np.ndarray, node: str) -> str:
        """Add an initializer and return its name, which gets the node's where another one has it already."""
        tensor = numpy_helper.from_array(values.copy(order="C"), name)
        known = self.tensors.setdefault(name, tensor)
        if known is tensor or known.SerializeToString() == tensor.SerializeToString():
            return name
        return self.add(f"{name}_{node}", values, node)


def node_layer(node: onnx.NodeProto, layers: Mapping[str, QuantizedLayer]) -> QuantizedLayer | None:
    """Return the layer that a node is, if it is quantised."""
    return layers.get(name_of(node))
