"""Performance counters by layer: ONNX Runtime's and OpenVINO's own, of the layers that they ran."""

import numpy as np
import onnx
import pytest
from factories import TINY_CONFIG
from onnx import TensorProto, helper, numpy_helper

from yolact_ascend.errors import UsageError
from yolact_ascend.host.model import Model
from yolact_ascend.targets.layer_times import LayerTime, format_layer_times, layer_times
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.openvino.compile import compile_ir
from yolact_ascend.targets.openvino.engine import OpenVinoEngine
from yolact_ascend.tensors import TensorSpec


@pytest.fixture
def network(tmp_path):
    """A large convolution and a small one, which take very different times."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 96, 96])
    found = helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, 2, 96, 96])
    weights = [
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in (("w", [128, 3, 7, 7]), ("v", [2, 128, 1, 1]))
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], "large", pads=[3] * 4),
        helper.make_node("Softplus", ["a"], ["b"], "between"),
        helper.make_node("Conv", ["b", "v"], ["found"], "small"),
    ]
    graph = helper.make_graph(nodes, "g", [image], [found], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture(params=["onnxruntime", "openvino"])
def engine(request, network, tmp_path):
    if request.param == "onnxruntime":
        with OnnxEngine(network, threads=1) as opened:
            yield opened
        return
    image = TensorSpec("image", (3, 96, 96))
    compile_ir(network, tmp_path / "m.xml", 1, "fp32", [image], TINY_CONFIG.preprocessing)
    with OpenVinoEngine(tmp_path / "m.xml", threads=1) as opened:
        yield opened


def test_each_layer_that_ran_has_its_time(engine):
    image = np.zeros((1, 3, 96, 96), np.float32)
    times = layer_times(engine, [image])
    convolutions = [time for time in times if time.operator in ("Conv", "Convolution")]
    assert len(convolutions) == 2 and all(time.kernel for time in convolutions)
    assert convolutions[0].ms > convolutions[1].ms > 0  # 70 times as many multiply-adds
    assert len({time.name for time in times}) == len(times)  # one run, not that which warms up
    assert engine.infer([image])[0].shape == (1, 2, 96, 96)  # the engine itself goes on


def test_an_engine_without_a_profiler_says_so():
    class Engine:
        pass

    with pytest.raises(UsageError, match="Engine has no performance counters by layer: only target=openvino and"):
        layer_times(Engine(), [])


def test_a_model_measures_the_layers_for_a_picture(tiny_onnx):
    class Detector:
        config = TINY_CONFIG

    picture = np.zeros((40, 60, 3), np.uint8)
    with Model([OnnxEngine(tiny_onnx)], Detector()) as model:
        assert len(model.layer_times(picture)) > 20
    with pytest.raises(UsageError, match="is closed"):
        model.layer_times(picture)


def test_the_table_begins_with_the_slowest_and_has_shares_and_a_total():
    text = format_layer_times([LayerTime("relu", "Relu", "ref", 1.0), LayerTime("conv1", "Conv", "jit_avx2", 3.0)])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert rows[0] == ["layer", "operator", "kernel", "ms", "%"]
    assert rows[2:] == [
        ["conv1", "Conv", "jit_avx2", "3.000", "75.0"],
        ["relu", "Relu", "ref", "1.000", "25.0"],
        ["total", "", "", "4.000", "100.0"],
    ]
    assert format_layer_times([]).splitlines()[-1].split()[-2] == "0.0"
