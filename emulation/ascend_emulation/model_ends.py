"""The ends of a compiled model as --out_nodes, --output_type and --input_fp16_nodes want them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ascend_emulation.atc_errors import AtcError
from ascend_emulation.onnx_graph import graph_inputs
from ascend_emulation.precision import FLOAT16_MAX

_ONNX_TYPE = {"FP32": TensorProto.FLOAT, "FP16": TensorProto.FLOAT16}
_UNPLAYED_TYPES = ("UINT8", "INT8", "HIF8", "FP8E5M2", "FP8E4M3FN")
_TYPES_REASON = (
    "The value must be FP32, FP16, UINT8, INT8. A node can only have one type. "
    "The correct example is: --output_type=FP32."
)
_OUT_NODES_REASON = (
    "In the mode of specified node, the correct example is: node1:0:FP16;node2:0:FP32."
    "The nodes set in --output_type must be found in --out_nodes."
)


def _invalid(flag: str, value: str, reason: str) -> AtcError:
    return AtcError("E10001", value=value, parameter=f"--{flag}", reason=reason)


def select_outputs(model: onnx.ModelProto, out_nodes: str) -> dict[str, str]:
    """Make what `out_nodes` names the outputs of `model`, in that order; returns "node:index" -> tensor.

    Raises AtcError E10001 for another form, E10016 for a node and E19999 for an output that the model does not have,
    E10003 for an index beyond the node's outputs.
    """
    entries = out_nodes.split(";")
    by_node = [":" in entry for entry in entries]
    if any(by_node) and not all(by_node):
        raise _invalid("out_nodes", out_nodes, "Only one of index, top_name and output_name can be used.")
    outputs = {value.name: value for value in model.graph.output}
    if not any(by_node):
        tensors = {name: name for name in entries}
        for name in entries:
            if name not in outputs:
                raise AtcError("E19999", reason=f"User specified tensor[{name}] is not output of graph.")
    else:
        tensors = {entry: _node_output(model, entry) for entry in entries}
    if len(set(tensors.values())) != len(entries):
        raise AtcError("E10055", reason=f"--out_nodes {out_nodes} names an output twice, the emulated atc does not")
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = {value.name: value for value in [*graph.value_info, *graph.output]}
    del model.graph.output[:]
    for name in tensors.values():
        if name not in values:
            raise AtcError("E10055", reason=f"the type of {name} is unknown, the emulated atc makes it no output")
        model.graph.output.append(values[name])
    return tensors if any(by_node) else {}


def _node_output(model: onnx.ModelProto, entry: str) -> str:
    name, _, index = entry.rpartition(":")
    if ":" in name:
        raise _invalid("out_nodes", entry, 'The correct format is "node_name1:0; node_name1:1; node_name2:0".')
    if not index.isdecimal():
        raise _invalid("out_nodes", entry, "It is not a positive integer.")
    nodes = [node for node in model.graph.node if node.name and node.name == name]
    if not nodes:
        known = ", ".join([node.name for node in model.graph.node if node.name][-5:])
        raise AtcError("E10016", name=name, parameter="out_nodes", known=f"such as {known}")
    outputs = nodes[0].output
    if int(index) >= len(outputs):
        reason = f'Output index:"{index}" must be smaller than output size:{len(outputs)} and cannot be negative.'
        raise AtcError("E10003", value=name, parameter="out_nodes", reason=reason)
    return str(outputs[int(index)])


def parse_output_type(text: str, chosen: dict[str, str], outputs: Sequence[str]) -> dict[str, int]:
    """Output -> its ONNX type, of "FP16" or "node:0:FP16;…"; `chosen` is what select_outputs returned."""
    if not text:
        return {}
    if ":" not in text:
        return dict.fromkeys(outputs, _output_type(text))
    types: dict[str, int] = {}
    for entry in text.split(";"):
        parts = [part.strip() for part in entry.split(":")]
        if len(parts) != 3:
            raise _invalid("output_type", entry, 'The parameter is invalid. Valid format "opname:index:dtype".')
        node, index, name = parts
        if not index.isdecimal():
            raise _invalid("output_type", index, "The value is not a positive integer.")
        wanted = _output_type(name)
        if f"{node}:{index}" not in chosen:
            raise _invalid("output_type", f"{node}:{index}", _OUT_NODES_REASON)
        if chosen[f"{node}:{index}"] in types:
            raise _invalid("output_type", text, _TYPES_REASON)
        types[chosen[f"{node}:{index}"]] = wanted
    return types


def _output_type(name: str) -> int:
    if name in _UNPLAYED_TYPES:
        raise AtcError("E10055", reason=f"the emulated atc has --output_type=FP32 and FP16 only, not {name}")
    if name not in _ONNX_TYPE:
        raise _invalid("output_type", name, _TYPES_REASON)
    return _ONNX_TYPE[name]


def cast_outputs(model: onnx.ModelProto, types: dict[str, int], saturate: bool) -> None:
    """Give the outputs of `model` their `types`, by a Cast behind those that have another one; names stay."""
    for output in model.graph.output:
        wanted = types.get(output.name, output.type.tensor_type.elem_type)
        if output.type.tensor_type.elem_type == wanted:
            continue
        inner = f"{output.name}/before_output_type"
        for node in model.graph.node:
            _rename(node, output.name, inner)
        if wanted == TensorProto.FLOAT16 and saturate and output.type.tensor_type.elem_type == TensorProto.FLOAT:
            inner = _append_limits(model, inner)
        model.graph.node.append(helper.make_node("Cast", [inner], [output.name], name=f"{inner}/Cast", to=wanted))
        output.type.tensor_type.elem_type = wanted


def _append_limits(model: onnx.ModelProto, name: str) -> str:
    """Clip `name` to ±65504 by a Max and a Min, which every opset has in one form; returns the new name."""
    for operator, bound in (("Max", -FLOAT16_MAX), ("Min", FLOAT16_MAX)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(bound, np.float32), f"{name}/{operator}_bound"))
        node = helper.make_node(operator, [name, f"{name}/{operator}_bound"], [f"{name}/{operator}"])
        node.name = f"{name}/{operator}"
        model.graph.node.append(node)
        name = f"{name}/{operator}"
    return name


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for index, name in enumerate(names):
            if name == old:
                names[index] = new


def prepend_to_input(model: onnx.ModelProto, name: str, nodes: Sequence[onnx.NodeProto]) -> str:
    """Put `nodes` in front of the input `name`; what used it now uses the tensor that this returns."""
    inner = nodes[-1].output[0]
    for node in model.graph.node:
        _rename(node, name, inner)
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return str(inner)


def check_half_inputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Raise AtcError E10016 for a name that the model does not have, E10017 for one that is no input."""
    inputs = [value.name for value in graph_inputs(model)]
    for name in names:
        if name in inputs:
            continue
        known = ", ".join(inputs)
        code = "E10017" if name in {node.name for node in model.graph.node} else "E10016"
        raise AtcError(code, name=name, parameter="input_fp16_nodes", known=known)


def halve_inputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Make the inputs `names` float16 ones; raises AtcError E10055 where one is not float32 now."""
    for value in model.graph.input:
        if value.name not in names or value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            continue
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            reason = f"input {value.name} is not of floating-point type, the emulated atc makes it no float16"
            raise AtcError("E10055", reason=reason)
        inner = f"{value.name}/as_float32"
        cast = helper.make_node("Cast", [value.name], [inner], name=f"{inner}/Cast", to=TensorProto.FLOAT)
        prepend_to_input(model, value.name, [cast])
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
