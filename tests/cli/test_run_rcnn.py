"""Runs of an R-CNN, whose model takes a second input and one image at a time: every target, by files and in memory.

The exported model stands in for the weights, as on a host without PyTorch; it states its canvas to every stage.
"""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from factories import random_rcnn_state_dict, tiny_rcnn, write_coco
from formats import require_valid
from runs import start_own_verbs_here

from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.models.canvas import with_canvas
from yolact_ascend.targets.folder import WorkFolder, sidecar_file
from yolact_ascend.targets.registry import TARGETS

pytestmark = pytest.mark.needs("torch")
LANDSCAPE = tiny_rcnn()  # 96×128
CONFIG = with_canvas(LANDSCAPE, (128, 128), None)
# Of the images 3, 1, 2, 4 of `write_coco`, 80×100, 480×640, 500×300 and 550×550 (height×width): the shorter edge
# becomes 90, the longer one at most 120.
SIZES = [[90, 113], [90, 120], [120, 72], [90, 90]]
TARGET_WORDS = {
    "onnxruntime": {},
    "openvino": {"device": "cpu"},
    "ascend": {"device": "emulation", "precision": "fp32"},
}
FEW_LOOPS = {"mode": "perf", "loop": "3"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The exported models of two canvases, and a data set."""
    import torch

    from yolact_ascend.models.export import export_onnx

    folder = tmp_path_factory.mktemp("rcnn")
    torch.save(random_rcnn_state_dict(CONFIG), folder / "w.pth")
    models = {}
    for name, config in {"square": CONFIG, "landscape": LANDSCAPE}.items():
        models[name] = folder / name / "yolact_edge.onnx"
        models[name].parent.mkdir()
        export_onnx(folder / "w.pth", config, models[name])
    return SimpleNamespace(**models, coco=write_coco(folder / "coco", CONFIG))


@pytest.fixture
def run(exported, tmp_path, monkeypatch):
    """What runs with the exported model of a canvas in a work folder of its own, and returns that."""
    start_own_verbs_here(monkeypatch)

    def run_in(name, model="square", coco=exported.coco, **words):
        folder = WorkFolder(tmp_path / name)
        if not folder.onnx.exists():
            folder.root.mkdir()
            shutil.copy(getattr(exported, model), folder.onnx)
        run_stages([f"{key}={value}" for key, value in {"out": folder.root, "coco": coco, **words}.items()])
        return folder

    return run_in


def read_report(folder):
    return require_valid(json.loads(folder.report_json.read_text()), "report")


@pytest.mark.parametrize("target", TARGET_WORDS)
def test_files_and_memory_end_in_the_same_detections(run, target, monkeypatch):
    """Byte for byte; and each stage is up to date in a second run."""
    pytest.importorskip(target if target != "ascend" else "onnxruntime")
    words = {"target": target, "workers": "1", **TARGET_WORDS[target]}
    files, memory = run("files", **words), run("memory", stream="1", **words)
    found = [[path.read_bytes() for path in folder.detections(1, CONFIG.tasks).values()] for folder in (files, memory)]
    assert found[0] == found[1] and len(json.loads(found[0][0])) > 10
    sizes = [np.fromfile(files.inputs / "image_size" / f"{i}.bin", np.float32).tolist() for i in range(4)]
    assert sizes == SIZES
    report = read_report(files)
    assert (report["model"]["canvas"], report["model"]["fit"]) == ([128, 128], "max")
    assert report["model"]["operators"] == "onnx"  # the exported model's, whatever the target's default is
    assert "- Input: canvas 128x128, fit=max, operators=onnx\n" in files.report_md.read_text()
    sidecar = require_valid(
        json.loads(sidecar_file(files.model(1, TARGETS[target].model_suffix)).read_text()), "sidecar"
    )
    assert [tensor["shape"] for tensor in (sidecar["input"], *sidecar["other_inputs"])] == [[1, 3, 128, 128], [1, 2]]
    run("files", **words)
    assert {stage["status"] for stage in read_report(files)["stages"]} == {"fresh"}


@pytest.mark.parametrize(
    ("target", "contents"),
    [("onnxruntime", "zeros"), ("openvino", "random"), ("ascend", "zeros"), ("ascend", "dataset")],
)
def test_a_benchmark_feeds_sizes_that_an_image_can_have(run, monkeypatch, target, contents):
    """No program fills the second input with those: boxes clipped to 0×0 pixels would all be dropped."""
    pytest.importorskip(target if target != "ascend" else "onnxruntime")
    from yolact_ascend.pipeline.stages import benchmark

    sizes = []

    def note(paths):
        sizes.append(np.fromfile(paths[1], np.float32).tolist())
        remove(paths)

    remove = benchmark._remove_batch
    monkeypatch.setattr(benchmark, "_remove_batch", note)
    folder = run("perf", target=target, input=contents, **FEW_LOOPS, **TARGET_WORDS[target])
    assert sizes == [SIZES[0] if contents == "dataset" else [128, 128]]
    assert read_report(folder)["results"][0]["throughput_images_per_s"] > 0
    assert not folder.benchmark_input(1).parent.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"bs": "1,4"}, "tiny_mask_rcnn_R_50_FPN_3x takes one image at a time.* bs=1, found 4.*parallel requests"),
        ({"embed": "1"}, "embed=1: .* pads its inputs with zeros after the normalisation"),
        ({"canvas": "160"}, "canvas=160: the exported model has canvas=128 fit=max"),
        ({"fit": "window"}, "fit=window: the exported model has canvas=128 fit=max"),
        (
            {"operators": "ascend", "target": "ascend", "device": "emulation"},
            "operators=ascend: the exported model has operators=onnx. Leave out operators=, or export again",
        ),
        ({"canvas": "100"}, "canvas=100: expected SIZE or HEIGHTxWIDTH in pixels, multiples of 32"),
    ],
)
def test_what_such_a_model_cannot_do_is_refused_before_any_work(run, tmp_path, words, said):
    with pytest.raises(UsageError, match=said):
        run("refused", **{"target": "onnxruntime", **words})
    assert [path.name for path in (tmp_path / "refused").iterdir()] == ["yolact_edge.onnx"]


def test_a_portrait_does_not_fit_a_landscape_canvas(run):
    """By files it is refused before any work; a stream leaves it out, as images that cannot be read."""
    said = "000000000002.jpg: An image of 300×500 pixels becomes 72×120, .* canvas of 128x128 .*fit=window"
    with pytest.raises(DatasetError, match=said):
        run("files", "landscape", target="onnxruntime", workers="1")
    memory = run("memory", "landscape", target="onnxruntime", workers="1", stream="1")
    assert read_report(memory)["results"][0]["failed"] == [2]
