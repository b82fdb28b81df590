"""All verbs with a config in which everything differs from YolactEdge's: size, pixels, anchors, classes; and its cut.

Each verb runs in this process, where the config can be added: a network as large as YOLACT's would take minutes.
"""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from factories import TINY_CONFIG, compile_model, random_state_dict, write_coco
from runs import cosine

from yolact_ascend.cli import main
from yolact_ascend.models.class_record import read_classes
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.targets.ascend.aipp import aipp_config
from yolact_ascend.targets.ascend.engine import DeviceEngine
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.openvino.engine import OpenVinoEngine

DARKNET, PASCAL, IM400 = (CONFIGS[f"yolact_{name}_config"] for name in ("darknet53", "resnet50_pascal", "im400"))
UNUSUAL = dataclasses.replace(
    TINY_CONFIG,
    name="unusual_config",
    preprocessing=dataclasses.replace(DARKNET.preprocessing, height_px=400, width_px=400),
    anchors=dataclasses.replace(PASCAL.anchors, scales_px=IM400.anchors.scales_px),
    class_names=PASCAL.class_names,
    category_ids=PASCAL.category_ids,
)
ANCHORS = 10077
OUTPUTS = {"conf": [ANCHORS, 21], "boxes": [ANCHORS, 4], "mask": [ANCHORS, 24], "proto": [100, 100, 24]}


@pytest.fixture(scope="module", autouse=True)
def unusual():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONFIGS, UNUSUAL.name, UNUSUAL)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Weights, images, the exported model, one that takes pixels, and what `infer` made of these."""
    folder = tmp_path_factory.mktemp("unusual")
    torch.save(random_state_dict(UNUSUAL, background=8.0), folder / "w.pth")
    coco = write_coco(folder / "coco", UNUSUAL)
    names = {"config": UNUSUAL.name, "trained_model": folder / "w.pth"}
    data = {"image_path": coco / "val2017", "json_file": coco / "annotations" / "instances_val2017.json"}
    verb("export", **names, output=folder / "a.onnx", cut="boxes")
    verb("compile", model=folder / "a.onnx", output=folder / "b.onnx", batch_size=2, embed="1")
    verb("preprocess", **data, config=UNUSUAL.name, save_path=folder / "inputs", dtype="uint8", workers=1)
    verb("infer", model=folder / "b.onnx", input=folder / "inputs" / "bin_file", output=folder / "output")
    return SimpleNamespace(folder=folder, names=names, data=data)


def verb(name, *words, **flags):
    assert main.main([name, *words, *(f"--{flag}={value}" for flag, value in flags.items())]) == 0


def results(folder, name):
    return {"bbox_det_file": folder / f"{name}_bbox.json", "mask_det_file": folder / f"{name}_mask.json"}


def test_the_model_says_which_config_it_is_of(made):
    model = onnx.load(made.folder / "a.onnx")
    sizes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:] for value in model.graph.output
    }
    assert sizes == OUTPUTS
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:] == [3, 400, 400]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["config"], metadata["cut"], metadata["pixel_max"]) == (UNUSUAL.name, "boxes", "1.0")
    assert {path.stat().st_size for path in (made.folder / "inputs" / "bin_file").iterdir()} == {400 * 400 * 3}


def test_openvino_computes_what_onnxruntime_computes(made):
    """x/255 inside, 400 pixels, the cut `boxes`. Tolerance: random weights amplify the order of sums, tanh most."""
    folder = made.folder
    verb("compile", model=folder / "a.onnx", output=folder / "b.xml", batch_size=2, embed="1")
    verb("infer", model=folder / "b.xml", input=folder / "inputs" / "bin_file", output=folder / "openvino")
    with OpenVinoEngine(folder / "b.xml") as engine:
        assert [spec.name for spec in engine.outputs] == list(OUTPUTS)
        assert engine.metadata["config"] == UNUSUAL.name
    for path in (folder / "output").iterdir():
        found, expected = (np.fromfile(file, np.float32) for file in (folder / "openvino" / path.name, path))
        assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()


def test_files_and_memory_end_in_the_same_detections(made):
    folder = made.folder
    by_files, streamed = results(folder, "files"), results(folder, "stream")
    paths = {"file_path": folder / "output", "ids_path": folder / "inputs" / "ids.json"}
    verb("postprocess", **made.names, **made.data, **paths, **by_files, cut="boxes", workers=1)
    verb("stream", **made.names, **made.data, **streamed, model=folder / "b.onnx", device="cpu", workers=1)
    for one, other in zip(by_files.values(), streamed.values()):
        assert one.read_bytes() == other.read_bytes()
    found = json.loads(by_files["bbox_det_file"].read_text())
    assert found and {entry["category_id"] for entry in found} <= set(range(1, 21))


def test_the_card_normalises_pixels_as_onnxruntime_does(made, emulation):
    """AIPP with means of 0 and a factor of 1/255: in float16, hence the cosine."""
    aipp = made.folder / "aipp.cfg"
    aipp.write_text(aipp_config(UNUSUAL.preprocessing))
    assert "min_chn_0: 0\n" in aipp.read_text() and "var_reci_chn_2: 0.00392157\n" in aipp.read_text()
    om = compile_model(made.folder / "a.onnx", emulation, "unusual", 2, "fp32", aipp, UNUSUAL)
    names = sorted((made.folder / "inputs" / "bin_file").iterdir())[:2]
    pixels = np.stack([np.fromfile(path, np.uint8).reshape(400, 400, 3) for path in names])
    with DeviceEngine(om, emulation) as card, OnnxEngine(made.folder / "b.onnx") as cpu:
        for one, other in zip(card.infer([pixels]), cpu.infer([pixels])):
            assert cosine(one.ravel(), other.ravel()) > 0.999  # seen: 0.99999


def test_predict_names_the_classes(made):
    predictions = made.folder / "predictions"
    words = {"model": made.folder / "a.onnx", "device": "cpu", "save_path": predictions, "score_threshold": 0.01}
    verb("predict", str(made.data["image_path"]), **made.names, **words)
    text = "".join(path.read_text() for path in predictions.glob("*.json"))
    assert any(f'"class_name": "{name}"' in text for name in PASCAL.class_names)


def test_a_model_is_not_run_with_another_config_of_the_same_shapes(made, capsys):
    """Only pixels and anchors differ: nothing of that is seen in the shapes."""
    alike = dataclasses.replace(UNUSUAL, name="alike_config", preprocessing=IM400.preprocessing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONFIGS, alike.name, alike)
        names = {**made.names, "config": alike.name, "model": made.folder / "a.onnx", "device": "cpu"}
        words = [f"--{flag}={value}" for flag, value in names.items()]
        assert main.main(["predict", str(made.data["image_path"]), *words, f"--save_path={made.folder}/other"]) == 1
    assert f"exported for {UNUSUAL.name}, not for {alike.name}" in capsys.readouterr().err


def test_rehearse_and_cuts(made, capsys):
    verb("rehearse", "--json", model=made.folder / "a.onnx", image_path=made.data["image_path"], limit=1)
    faults = {value["kind"]: value["fault"] for value in json.loads(capsys.readouterr().out)["ranges"]}
    assert {"Softmax", "Exp"} <= set(faults)
    assert faults["Softmax"] is None
    verb("cuts", "--json", **made.names, image_path=made.data["image_path"], limit=1)
    value = json.loads(capsys.readouterr().out)
    sizes = [cut["output_bytes"] for cut in value["cuts"]]
    assert (value["config"], value["classes"]) == (UNUSUAL.name, 20)
    assert sizes[1] == sizes[2] == 4 * (ANCHORS * (4 + 21 + 24) + 100 * 100 * 24)


def test_train_takes_the_config(made, tmp_path, capsys):
    words = {"phases": "128x1:2", "warmup_steps": 1, "threads": 1, "workers": 1, "save_path": tmp_path / "trained"}
    verb("train", **made.data, **words, config=UNUSUAL.name, trained_model=made.folder / "w.pth")
    assert "w.pth: all layers." in capsys.readouterr().err
    recorded = read_classes(tmp_path / "trained" / "weights.pth")
    assert (recorded.config_name, recorded.class_names) == (UNUSUAL.name, PASCAL.class_names)
