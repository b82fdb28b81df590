"""docs/openvino.md, pasted: the steps of OpenVINO's YOLACT guide with today's tools."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from factories import CHECKOUT, TINY_CONFIG

from yolact_ascend.images.transforms import normalise_image
from yolact_ascend.targets.openvino.engine import OpenVinoEngine

TEXT = (CHECKOUT / "docs" / "openvino.md").read_text()
BIN = Path(sys.executable).parent


def block(kind, *words):
    """The one code block of a kind that has these words."""
    (found,) = (text for text in re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL) if all(w in text for w in words))
    return found


def paste(line, folder):
    program, *words = shlex.split(line)
    env = {**os.environ, "CI": "true", "HOME": str(folder)}  # no telemetry
    done = subprocess.run(
        [sys.executable, BIN / program, *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tiny_onnx, tmp_path_factory):
    """A folder with yolact.onnx after steps 4 and 5."""
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("by_hand")
    shutil.copy(tiny_onnx, folder / "yolact.onnx")
    paste(block("sh", "ovc "), folder)
    script = block("python", "PrePostProcessor")
    subprocess.run([sys.executable, "-c", script], cwd=folder, env={**os.environ, "CI": "true"}, check=True)
    return folder


def test_step_4_keeps_the_weights_in_float32(folder):
    size = (folder / "yolact.bin").stat().st_size
    assert size == pytest.approx((folder / "yolact.onnx").stat().st_size, rel=0.05)


def test_step_5_takes_what_opencv_reads(folder):
    image = np.random.default_rng(3).integers(0, 256, (550, 550, 3), dtype=np.uint8)  # BGR
    session = onnxruntime.InferenceSession(str(folder / "yolact.onnx"), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": normalise_image(image, TINY_CONFIG.preprocessing)[np.newaxis]})
    with OpenVinoEngine(folder / "yolact_u8.xml") as engine:
        assert (engine.inputs[0].shape, engine.inputs[0].dtype) == ((550, 550, 3), "uint8")
        for found, right in zip(engine.infer([image[np.newaxis]]), expected):
            assert np.abs(found - right).max() <= 1e-4 * np.abs(right).max()


def test_benchmark_app_measures_it(folder):
    line = block("sh", "benchmark_app -m")
    assert "Throughput" in paste(line.replace("-niter 100", "-niter 2"), folder)
