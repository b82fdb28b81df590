"""Which layers cost the most when they are INT8, and the smallest set to keep in float32 for a budget of mAP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from yolact_ascend.compression.graphs import Constants, layers_of_nodes, node_layer
from yolact_ascend.compression.layers import last_layers
from yolact_ascend.compression.qdq import twin_nodes, with_opset
from yolact_ascend.compression.table import Table
from yolact_ascend.compression.trials import Trials
from yolact_ascend.progress import bar

NO_NOISE_DB = 200.0  # where a layer in integers gives the very values


@dataclass(frozen=True)
class Sensitivity:
    """A layer quantised alone: signal to noise of its output in dB, and the model's mAP in percent."""

    name: str
    sqnr_db: float
    map: float


def measure_sqnr(table: Table, method: str, feeds: Iterable[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Return the ratio of signal to quantisation noise of each layer's output, in dB, by name.

    Each layer is computed twice from the same float input, in float32 and from integers: one run for all layers.
    """
    import onnxruntime

    quantized = table.quantized(method, ())
    model, names = _with_twins(table.model, quantized)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sums = np.zeros((len(names), 2))
    for feed in feeds:
        found = session.run(None, dict(feed))
        sums += np.array(found, np.float64).reshape(len(names), 2)
    return {
        name: NO_NOISE_DB if noise == 0 else float(10 * np.log10(max(signal, np.finfo(float).tiny) / noise))
        for name, (signal, noise) in zip(names, sums)
    }


def _with_twins(model: onnx.ModelProto, quantized: Sequence) -> tuple[onnx.ModelProto, list[str]]:
    """Return the float model whose outputs are, for each layer, the squares of its output and of its twin's error."""
    copy = with_opset(model)
    by_node, constants = layers_of_nodes(quantized), Constants()
    nodes, outputs, names, done = list[onnx.NodeProto](), list[str](), list[str](), set[str]()
    for node in copy.graph.node:
        nodes.append(node)
        found = node_layer(node, by_node)
        if found is None:
            continue
        names.append(found.layer.name)
        signal, twin, noise = (f"{node.output[0]}_{word}" for word in ("signal", "twin", "noise"))
        nodes += twin_nodes(node, found, constants, twin, done)
        nodes[-1].name = twin  # two nodes of one name are refused
        nodes += [
            helper.make_node("Sub", [node.output[0], twin], [f"{noise}_values"]),
            helper.make_node("ReduceSumSquare", [node.output[0]], [signal], keepdims=0),
            helper.make_node("ReduceSumSquare", [f"{noise}_values"], [noise], keepdims=0),
        ]
        outputs += [signal, noise]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    copy.graph.initializer.extend(constants.tensors.values())
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in outputs)
    return copy, names


def measure_sensitivity(
    table: Table, method: str, kept: Collection[str], trials: Trials, sqnr_db: Mapping[str, float]
) -> list[Sensitivity]:
    """Quantise each layer alone, but for those that are kept anyway; the most sensitive comes first."""
    names = [layer.name for layer in table.layers]
    found = [
        Sensitivity(name, sqnr_db[name], trials.score(method, set(names) - {name}))
        for name in bar([name for name in names if name not in kept], desc="sensitivity", unit="layer")
    ]
    return sorted(found, key=lambda layer: (layer.map, layer.sqnr_db))


def first_to_keep(table: Table) -> list[str]:
    """Return which layers go back to float32 first: those that Ascend computes in float anyway, then the last ones."""
    last = last_layers(table.model, table.layers)
    few = [layer.name for layer in table.layers if layer.is_rolled_back]
    return [*few, *(layer.name for layer in table.layers if layer.name in last and layer.name not in few)]


def smallest_prefix(order: Sequence[str], meets: Callable[[Sequence[str]], bool]) -> list[str]:
    """Return the shortest prefix that meets the budget, by bisection; all, where none shorter does."""
    least, most = 0, len(order)
    while least < most:
        middle = (least + most) // 2
        if meets(order[:middle]):
            most = middle
        else:
            least = middle + 1
    return list(order[:most])
