"""Sums of 8-bit products saturate on CPUs without VNNI: a convolution of 127s, beside int32, and the cure.

Each pair of products uint8 * int8 is added up in int16 there: 2 * 255 * 127 = 64770 becomes 32767 (field:
microsoft/onnxruntime#6004). Weights within ±63 fit: 2 * 255 * 63 = 32130.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import SIZE, write_chain

from yolact_ascend.compression.qdq import qdq_model
from yolact_ascend.compression.ranges import Histogram
from yolact_ascend.compression.recipe import QuantizeRecipe
from yolact_ascend.compression.table import Table

CHANNELS = 64
BRIGHT = 255.0
RUN = f"""
import sys
import numpy as np
import openvino

for path in sys.argv[1:]:
    model = openvino.Core().read_model(path)
    model.reshape([1, {CHANNELS}, {SIZE}, {SIZE}])
    options = {{"INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}}
    request = openvino.compile_model(model, "CPU", options).create_infer_request()
    found = request.infer([np.full((1, {CHANNELS}, {SIZE}, {SIZE}), {BRIGHT}, np.float32)])
    kinds = [layer.exec_type for layer in request.get_profiling_info() if layer.node_type == "Convolution"]
    print(found[0].max(), all("I8" in kind for kind in kinds), len(kinds))
"""
pytestmark = [
    pytest.mark.needs("openvino"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86"),
]


def test_weights_within_63_do_not_saturate_without_vnni(tmp_path):
    """OpenVINO is held to AVX2 by oneDNN's variable; with VNNI both are right."""
    models = {is_reduced: write_ones(tmp_path / f"{is_reduced}.onnx", is_reduced) for is_reduced in (False, True)}
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-c", RUN, *map(str, models.values())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (full, *kinds), (reduced, *_) = (line.split() for line in done.stdout.splitlines())
    assert kinds == ["True", "2"]  # OpenVINO computes both convolutions in INT8
    full, reduced = float(full), float(reduced)
    assert full == pytest.approx(CHANNELS * BRIGHT * 32767 / 64770, rel=1e-3)
    assert reduced == pytest.approx(CHANNELS * BRIGHT, rel=1e-3)


def write_ones(path: Path, is_reduced: bool) -> Path:
    """Write the QDQ form of convolutions whose weights are all 1."""
    write_chain(path, (CHANNELS,), lambda outputs, inputs: np.ones((outputs, inputs)), lambda count, _: np.zeros(count))
    histogram = Histogram(np.zeros(1), np.zeros(2), 0.0, BRIGHT)
    table = Table(onnx.load(path), {"image": histogram}, QuantizeRecipe(reduce_range=is_reduced))
    onnx.save(qdq_model(table.model, table.quantized("minmax", ())), path)
    return path
