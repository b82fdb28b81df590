"""Nodes and constants that stand in place of one node of an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from ascend_emulation.atc_errors import AtcError

LEAST_OPSET = 11  # from here on Clip and Pad take their values as inputs, and Round exists


@dataclass
class NodeBuilder:
    """Nodes in place of one node, named after it."""

    node: onnx.NodeProto
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.node.name or self.node.output[0]
        if self.opset < LEAST_OPSET:
            self.refuse(f"at opset {self.opset}; it computes it from opset {LEAST_OPSET} on")

    def refuse(self, reason: str) -> None:
        """Raise AtcError E10055, which names the node."""
        raise AtcError(
            "E10055", reason=f"the emulated atc cannot compute {self.node.op_type} (node {self.name}) {reason}"
        )

    def attribute(self, name: str, kind: int, default: object = None) -> object:
        """The value of an attribute of that type; one of another type is ignored, as CANN's plugins do."""
        value = next((a for a in self.node.attribute if a.name == name and a.type == kind), None)
        if value is not None:
            return helper.get_attribute_value(value)
        if default is None:
            self.refuse(f"without {name} as {AttributeProto.AttributeType.Name(kind)}, which it requires")
        return default

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        """Append a node, and return the name of its output."""
        return self.add_several(operator, 1, *inputs, **attributes)[0]

    def add_several(self, operator: str, outputs: int, *inputs: str, **attributes: object) -> list[str]:
        """Append a node with several outputs, and return their names."""
        name = f"{self.name}/expanded/{operator}_{len(self.nodes)}"
        names = [f"{name}/output_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, **attributes))
        return names

    def constant(self, value: object, dtype: type) -> str:
        """Append a constant, and return its name."""
        name = f"{self.name}/expanded/constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def ints(self, *values: int) -> str:
        """Append a constant of int64, and return its name."""
        return self.constant(values, np.int64)


def replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Make `nodes` those of the graph."""
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)
