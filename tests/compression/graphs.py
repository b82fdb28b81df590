"""Small ONNX graphs for the tests of compression, and a config whose input is theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from factories import TINY_CONFIG

from yolact_ascend.models.values import Preprocessing

SIZE = 8
# Pixels as they are: 0..255, so that inputs are easy to check by eye.
PLAIN_CONFIG = replace(
    TINY_CONFIG,
    preprocessing=Preprocessing(height_px=SIZE, width_px=SIZE, mean_rgb=(0.0, 0.0, 0.0), std_rgb=(1.0, 1.0, 1.0)),
)


def write_chain(path: Path, channels: tuple[int, ...] = (3, 20, 24), weight=None, bias=None) -> Path:
    """Write image -> Conv -> Relu -> Conv -> Relu … of 1x1 kernels; a second Conv reads the last Relu, too.

    `weight` and `bias` are functions of (outputs, inputs) that give their values.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    generator = np.random.default_rng(0)
    weight = weight or (lambda outputs, inputs: generator.normal(0, 1 / np.sqrt(inputs), (outputs, inputs)))
    bias = bias or (lambda outputs, inputs: generator.normal(0, 0.1, outputs))
    nodes, tensors, tensor = [], [], "image"

    def conv(name, source, inputs, outputs, target):
        values = {"weight": weight(outputs, inputs).reshape(outputs, inputs, 1, 1), "bias": bias(outputs, inputs)}
        tensors.extend(
            numpy_helper.from_array(each.astype(np.float32), f"{name}.{kind}") for kind, each in values.items()
        )
        nodes.append(helper.make_node("Conv", [source, f"{name}.weight", f"{name}.bias"], [target], name))

    for number, (inputs, outputs) in enumerate(zip(channels, channels[1:])):
        conv(f"conv{number}", tensor, inputs, outputs, f"sum{number}")
        nodes.append(helper.make_node("Relu", [f"sum{number}"], [f"relu{number}"], f"relu{number}"))
        tensor = f"relu{number}"
    conv("left", tensor, channels[-1], 20, "left_out")
    conv("right", tensor, channels[-1], 20, "right_out")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", channels[0], SIZE, SIZE])
    outputs = [helper.make_tensor_value_info(f"{side}_out", TensorProto.FLOAT, None) for side in ("left", "right")]
    graph = helper.make_graph(nodes, "chain", [image], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    helper.set_model_props(model, {"origin": "graphs.py"})
    save(model, path)
    return path


def write_inputs(folder: Path, images: int = 8, scale: float = 255) -> list[Path]:
    """Write inputs (.bin) of `PLAIN_CONFIG` with values from 0 to `scale`."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    files = [folder / f"{index}.bin" for index in range(images)]
    for file in files:
        file.write_bytes(generator.uniform(0, scale, (3, SIZE, SIZE)).astype(np.float32).tobytes())
    return files


def attributes(node) -> dict:
    """Return the attributes of an ONNX node by name."""
    from onnx import helper

    return {each.name: helper.get_attribute_value(each) for each in node.attribute}
