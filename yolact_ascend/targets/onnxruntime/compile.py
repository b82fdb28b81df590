"""An exported ONNX made ready for one batch size: the batch axis fixed, and on request the preprocessing inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yolact_ascend.errors import UsageError
from yolact_ascend.files import atomic_path
from yolact_ascend.models.config import Preprocessing
from yolact_ascend.models.exported import read_onnx
from yolact_ascend.models.inputs import require_input_names, takes_pixels
from yolact_ascend.tensors import TensorSpec


def compile_onnx(
    source: Path,
    path: Path,
    batch_size: int,
    network_inputs: Sequence[TensorSpec],
    image: TensorSpec,
    preprocessing: Preprocessing,
) -> None:
    """Write `source` with a fixed batch to `path`; `image` is what the new model takes, pixels or the network's.

    Metadata stays. Raises ArtifactError when the file is no ONNX model or does not have these inputs.
    """
    model = read_onnx(source)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    found = [value.name for value in graph.input if value.name not in weights]
    require_input_names(source, found, network_inputs)
    if takes_pixels(image):
        _embed_preprocessing(graph, network_inputs[0], image, preprocessing)
    for value in (*graph.input, *graph.output):
        if value.name not in weights:
            value.type.tensor_type.shape.dim[0].dim_value = batch_size
    del graph.value_info[:]
    onnx.checker.check_model(model)
    with atomic_path(path) as temporary:
        onnx.save(model, temporary)


def _embed_preprocessing(
    graph: onnx.GraphProto, network_input: TensorSpec, image: TensorSpec, preprocessing: Preprocessing
) -> None:
    """Put pixels -> normalised image in front of the graph; the operations are those of the host's transform."""
    if not preprocessing.is_stretched:
        raise UsageError("This model pads its inputs, which cannot be compiled in: leave out embed=1.")
    is_rgb = preprocessing.channel_order == "RGB"
    mean, std = (
        np.array(values if is_rgb else values[::-1], np.float32).reshape(1, 3, 1, 1)
        for values in (preprocessing.mean_rgb, preprocessing.std_rgb)
    )
    constants = {"pixels_mean": mean, "pixels_std": std}
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Transpose", [image.name], {"perm": [0, 3, 1, 2]}),
        ("Cast", ["pixels_0"], {"to": TensorProto.FLOAT}),
    ]
    if preprocessing.pixel_max != 255:
        constants["pixels_scale"] = np.array(255 / preprocessing.pixel_max, np.float32)
        steps.append(("Div", [f"pixels_{len(steps) - 1}", "pixels_scale"], {}))
    steps.append(("Sub", [f"pixels_{len(steps) - 1}", "pixels_mean"], {}))
    steps.append(("Div", [f"pixels_{len(steps) - 1}", "pixels_std"], {}))
    normalised = f"pixels_{len(steps) - 1}"
    nodes = [
        helper.make_node(kind, inputs, [f"pixels_{number}"], name=f"preprocessing_{number}", **attributes)
        for number, (kind, inputs, attributes) in enumerate(steps)
    ]
    for node in graph.node:
        node.input[:] = [normalised if name == network_input.name else name for name in node.input]
    others = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *others])
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    kept = [value for value in graph.input if value.name != network_input.name]
    del graph.input[:]
    graph.input.extend([helper.make_tensor_value_info(image.name, TensorProto.UINT8, ["batch", *image.shape]), *kept])
