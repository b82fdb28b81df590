"""What the patched checkouts do: they run on a CPU, are cut, and YOLACT's eval.py writes yolact.onnx.

In processes of their own: upstream keeps its config in globals. The tests work on copies.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from factories import as_published_by_yolact, random_state_dict
from projects import ROOT, YOLACT_EDGE

from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.export import export_onnx

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="upstream compiles cython_nms with gcc")
CONFIG = "yolact_resnet50_config"
IMAGE_SIZE_PX = 550

FORWARD = """
import torch
from yolact_edge.data import cfg, set_cfg
from yolact_edge.yolact import Yolact
set_cfg("yolact_edge_mobilenetv2_config")
torch.manual_seed(0)
net = Yolact(training=False)
net.eval()  # returns None upstream
with torch.no_grad():
    net.prediction_layers[0].conf_layer.weight *= 300  # else no class of a random net reaches the threshold, 0.05
    x = torch.randn(1, 3, 550, 550)
    outs, proto_out = net(x)
    whole = net(x, extras={"backbone": "full", "moving_statistics": None})["pred_outs"]
    for use_fast_nms in (True, False):
        net.detect.use_fast_nms = use_fast_nms
        found = net.postprocess(outs, proto_out)
print(type(outs).__name__, [tuple(level.shape) for level in outs], tuple(proto_out.shape))
print(len(found), sorted(found[0]), all(torch.equal(found[0][key], whole[0][key]) for key in found[0]))
"""


@needs_compiler
@pytest.mark.upstream
@pytest.mark.parametrize("project", [YOLACT_EDGE], ids=["yolact_edge"])
def test_patched_yolact_edge_runs_on_the_cpu(apply_patch, checkout, env):
    assert apply_patch(checkout).returncode == 0
    command = [sys.executable, "-c", FORWARD]
    result = subprocess.run(command, check=False, env=env, cwd=checkout, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    shapes, detections = result.stdout.splitlines()[-2:]
    levels = [(1, 256, size, size) for size in (69, 35, 18, 9, 5)]
    assert shapes == f"list {levels} (1, 138, 138, 32)"
    assert detections == "1 ['box', 'class', 'mask', 'proto', 'score'] True"


@pytest.fixture(scope="module")
def yolact_weights(yolact_dir):
    """Random weights where OpenVINO's guide has the published ones, with what YOLACT's first release saved beside."""
    state = as_published_by_yolact(random_state_dict(CONFIGS[CONFIG]))
    path = yolact_dir / "weights" / "yolact_resnet50_54_800000.pth"
    path.parent.mkdir(exist_ok=True)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def evaluate(folder, *more):
    """Run the line of patches/README.md in a patched checkout, with some words replaced or added."""
    (line,) = re.findall(r"^    (python3 eval\.py .*)$", (ROOT / "patches" / "README.md").read_text(), re.MULTILINE)
    words = dict(word.split("=", 1) if "=" in word else (word, "") for word in shlex.split(line)[2:])
    assert set(words) == {"--trained_model", "--score_threshold", "--top_k", "--image", "--cuda"}
    words.update(word.split("=", 1) for word in more)
    command = [sys.executable, "eval.py", *(f"{key}={value}" for key, value in words.items())]
    (folder / "yolact.onnx").unlink(missing_ok=True)
    env = {**os.environ, "MPLBACKEND": "agg"}
    return subprocess.run(command, check=False, env=env, cwd=folder, capture_output=True, text=True)


@pytest.mark.yolact
def test_eval_py_writes_yolact_onnx_whose_outputs_equal_ours(yolact_dir, yolact_weights, tmp_path):
    """The same bits, but for the last one of boxes (seen: 1.2e-7): ours went through onnxsim."""
    result = evaluate(yolact_dir)
    assert result.returncode == 0, result.stderr
    assert "Parsed yolact_resnet50_config from the file name." in result.stdout
    path = yolact_dir / "yolact.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [11]
    image = np.random.default_rng(0).standard_normal((1, 3, IMAGE_SIZE_PX, IMAGE_SIZE_PX), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = dict(zip((output.name for output in session.get_outputs()), session.run(None, {"image": image})))
    assert {name: value.shape for name, value in found.items()} == {
        "conf": (1, 19248, 81),
        "boxes": (1, 19248, 4),
        "mask": (1, 19248, 32),
        "proto": (1, 138, 138, 32),
    }
    assert list(found) == ["conf", "boxes", "mask", "proto"]

    export_onnx(yolact_weights, CONFIGS[CONFIG], tmp_path / "ours.onnx", cut="boxes")
    session = onnxruntime.InferenceSession(str(tmp_path / "ours.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(found)
    ours = dict(zip(found, session.run(None, {"image": image})))
    differences = {name: float(np.abs(ours[name] - found[name]).max()) for name in found}
    figures = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    print(f"parity: yolact.onnx of eval.py differs from ours at cut=boxes by {figures}")
    assert found["conf"][..., 1:].max() > 0.5  # there is something to compare
    assert differences["conf"] == differences["mask"] == differences["proto"] == 0
    assert differences["boxes"] <= 1e-6


@pytest.mark.yolact
def test_eval_py_draws_as_before_and_exports_only_what_is_shown(yolact_dir, yolact_weights, tmp_path):
    """With detections, on a CPU."""
    source = "data/yolact_example_0.png"
    result = evaluate(yolact_dir, f"--image={source}:{tmp_path / 'drawn.png'}", "--score_threshold=0")
    assert result.returncode == 0, result.stderr
    drawn, image = cv2.imread(str(tmp_path / "drawn.png")), cv2.imread(str(yolact_dir / source))
    assert drawn.shape == image.shape and 0.001 < (drawn != image).any(axis=2).mean() < 0.999
    assert not (yolact_dir / "yolact.onnx").exists()
