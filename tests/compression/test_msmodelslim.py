"""The referee: msmodelslim's quantisation of an ONNX, unmodified, on the same model and the same inputs.

MSMODELSLIM_DIR names its environment (CONTRIBUTING.md). Known differences, none of them in the integers: it writes
`offset` as INT, which ATC's parser ignores; it quantises layers that ATC computes in float; it takes MinMax whatever
`calib_method` says; it renames nodes, and they are not in topological order; it does
not correct biases.
"""

import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from factories import DEMO_ONNX
from graphs import attributes
from onnx import AttributeProto, numpy_helper

from yolact_ascend.compression.ascend_form import ascend_model
from yolact_ascend.compression.calibration import read_feeds
from yolact_ascend.compression.layers import channel_axes, find_layers
from yolact_ascend.compression.ranges import collect_histograms
from yolact_ascend.compression.recipe import QuantizeRecipe
from yolact_ascend.compression.table import Table
from yolact_ascend.scenes.scenes import draw_scene
from yolact_ascend.targets.described import config_of_onnx

pytestmark = pytest.mark.msmodelslim
LAYERS = 61  # of the demo: all, as it quantises them all
RUN = """
import sys
import numpy as np
from msmodelslim.onnx.post_training_quant import QuantConfig, run_quantize
source, inputs, output = sys.argv[1:]
calibration = [[image[np.newaxis]] for image in np.load(inputs)]
run_quantize(source, output, QuantConfig(calib_data=calibration, is_optimize_graph=False))
"""


@pytest.fixture(scope="module")
def both(made, tmp_path_factory):
    """The demo by msmodelslim, and by us with all layers in INT8."""
    environment = os.environ.get("MSMODELSLIM_DIR")
    if not environment:
        pytest.skip("no environment with msmodelslim: MSMODELSLIM_DIR is not set")
    folder, source = tmp_path_factory.mktemp("msmodelslim"), made(DEMO_ONNX)
    config, images = config_of_onnx(source), []
    for index in range(3):
        images.append(folder / f"{index}.png")
        cv2.imwrite(str(images[-1]), draw_scene(1, "train2017", index).image)
    feeds = list(read_feeds(images, config, "referee"))
    np.save(folder / "inputs.npy", np.concatenate([feed["image"] for feed in feeds]))
    copy = folder / "demo.onnx"  # it refuses files that others may write
    copy.write_bytes(source.read_bytes())
    copy.chmod(0o600)
    command = [Path(environment, "bin", "python"), "-c", RUN, copy, folder / "inputs.npy", folder / "theirs.onnx"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    model = onnx.load(source)
    histograms = collect_histograms(source, channel_axes(find_layers(model)), feeds)
    table = Table(model, histograms, QuantizeRecipe(bias_correction=False))
    return onnx.load(folder / "theirs.onnx"), ascend_model(model, table.quantized("minmax", ()))


def integers(model) -> dict[str, dict]:
    """Return what each convolution holds, by its name in the float model."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    read_by = {name: node for node in model.graph.node for name in node.input if node.op_type == "AscendDequant"}
    found = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            quant = attributes(made_by[node.input[0]])
            found[node.name.removesuffix("_quant")] = {
                "scale": np.float32(quant["scale"]),
                "offset": int(quant["offset"]),
                "weight": values[node.input[1]],
                "bias": values[node.input[2]],
                "deq_scale": values[read_by[node.output[0]].input[1]],
            }
    return found


def test_all_integers_and_scales_are_equal(both):
    theirs, ours = map(integers, both)
    assert len(theirs) == LAYERS and set(theirs) == set(ours)
    for name, expected in theirs.items():
        for key, value in expected.items():
            np.testing.assert_array_equal(ours[name][key], value, err_msg=f"{name}, {key}", strict=key != "offset")


def test_its_offset_is_an_int_and_ours_a_float(both):
    def kinds(model):
        quants = (node for node in model.graph.node if node.op_type == "AscendQuant")
        return {each.type for node in quants for each in node.attribute if each.name == "offset"}

    assert [kinds(model) for model in both] == [{AttributeProto.INT}, {AttributeProto.FLOAT}]
