"""Which operators of an exported graph are to stay float32 in half precision: those behind its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# They have nothing to keep, or take half precision by themselves.
LEFT_OUT = frozenset({"Constant", "BatchMultiClassNMS"})


def operators_behind(
    graph: onnx.GraphProto, wanted: Sequence[str], is_end: Callable[[onnx.NodeProto], bool]
) -> list[str]:
    """Return the names of the operators that make the tensors `wanted`, in the graph's order.

    Behind the network's layers, and behind other operators for which `is_end` is true: those are not among them.
    """
    maker = {output: node for node in graph.node for output in node.output}
    left, found = list(wanted), set[str]()
    while left:
        node = maker.get(left.pop())
        if node is None or node.op_type in LAYERS or is_end(node) or node.name in found:
            continue
        found.add(node.name)
        left += node.input
    return [node.name for node in graph.node if node.name in found and node.op_type not in LEFT_OUT]
