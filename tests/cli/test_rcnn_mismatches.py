"""R-CNN by hand: files that fit by their sizes and are of another model, and pictures that are too long."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from factories import random_rcnn_state_dict, tiny_rcnn, write_coco

import yolact_ascend
from yolact_ascend.cli import main
from yolact_ascend.errors import DatasetError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.values import FIT_WINDOW

PLAIN = tiny_rcnn("faster_rcnn_R_50_FPN_3x")


MINE = dataclasses.replace(PLAIN, name="mine", preprocessing=dataclasses.replace(PLAIN.preprocessing, height_px=128))
OTHERS = {"fit": {"fit": FIT_WINDOW}, "canvas": {"canvas": "160x128"}}  # models of the same config; flags of `export`


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONFIGS, MINE.name, MINE)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Inputs and outputs of the model `mine`, and two models whose pictures have other sizes on the canvas."""
    folder = tmp_path_factory.mktemp("mismatches")
    torch.save(random_rcnn_state_dict(MINE), folder / "w.pth")
    coco = write_coco(folder / "coco", MINE)
    data = {"image_path": coco / "val2017", "json_file": coco / "annotations" / "instances_val2017.json", "workers": 1}
    for name, flags in {"mine": {}, **OTHERS}.items():
        model = folder / f"{name}.onnx"
        assert run("export", config="mine", trained_model=folder / "w.pth", output=model, **flags) == 0
    assert run("preprocess", **data, model=folder / "mine.onnx", save_path=folder / "inputs") == 0
    assert infer(folder, "mine.onnx") == 0
    return SimpleNamespace(folder=folder, data=data)


def run(verb, *words, **flags):
    return main.main([verb, *map(str, words), *(f"--{flag}={value}" for flag, value in flags.items())])


def infer(folder, model, output="output", inputs=None):
    inputs = inputs or folder / "inputs"
    return run("infer", model=folder / model, input=inputs / "bin_file", output=folder / output)


def postprocess(made, model, ids):
    detections = {"bbox_det_file": made.folder / "found.json", "mask_det_file": made.folder / "masks.json"}
    files = {"file_path": made.folder / "output", "ids_path": ids, "model": made.folder / model}
    return run("postprocess", **made.data, **files, **detections)


def test_inputs_of_another_way_onto_the_canvas_are_refused(made, capsys):
    assert infer(made.folder, "fit.onnx", "refused") == 1
    assert "were made with fit max, expected window, as " in capsys.readouterr().err
    assert not (made.folder / "refused").exists()


def test_inputs_of_the_configs_canvas_are_not_those_of_a_model_with_another(made, capsys, tmp_path):
    """`preprocess --config` by hand knows the config's own canvas; a model states its own."""
    assert run("preprocess", **made.data, config="mine", save_path=tmp_path / "by_config") == 0
    assert infer(made.folder, "canvas.onnx", "refused", tmp_path / "by_config") == 1
    assert "were made with height_px 128, expected 160, as " in capsys.readouterr().err
    both = {"config": "mine", "model": made.folder / "canvas.onnx"}
    assert run("preprocess", **made.data, **both, save_path=tmp_path / "by_both") == 0
    assert infer(made.folder, "canvas.onnx", "taken", tmp_path / "by_both") == 0


@pytest.mark.parametrize(("name", "said"), [("fit", "fit max, expected window"), ("canvas", "height_px 128, exp")])
def test_outputs_of_another_model_are_refused_by_the_recipe_of_their_inputs(made, capsys, name, said):
    """Outputs of all canvases have one size; scaled back from another picture's size, all boxes would be wrong."""
    assert postprocess(made, f"{name}.onnx", made.folder / "inputs" / "ids.json") == 1
    error = capsys.readouterr().err
    assert said in error and "Pass the model that ran on these inputs" in error
    assert postprocess(made, "mine.onnx", made.folder / "inputs" / "ids.json") == 0


@pytest.mark.parametrize("size", [(np.nan, 9.0), (0.0, 0.0), (129.0, 9.0), (9.0, np.inf)])
def test_a_spoiled_size_is_refused(made, capsys, size):
    path = made.folder / "inputs" / "image_size" / "1.bin"
    whole = path.read_bytes()
    path.write_bytes(np.float32(size).tobytes())
    assert infer(made.folder, "mine.onnx", "spoiled") == 1
    path.write_bytes(whole)
    error = capsys.readouterr().err
    assert "image_size/1.bin says that the picture on the canvas is" in error and "expected 1 to 128 and 1 to" in error


def test_a_picture_that_does_not_fit_is_named_and_left_out(made, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, height, width in (("a", 60, 80), ("b", 3, 900), ("c", 80, 60)):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((height, width, 3), 90, np.uint8))
    assert run("predict", folder, model=made.folder / "mine.onnx", save_path=tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert f"skipped: {folder / 'b.png'}: An image of 900×3 pixels becomes 120×0" in error
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == ["a.jpg", "c.jpg"]


def test_a_call_names_the_picture_that_does_not_fit(made):
    with (
        yolact_ascend.load(made.folder / "mine.onnx") as model,
        pytest.raises(DatasetError, match="picture 2: An image of 900×3 pixels becomes 120×0"),
    ):
        model([np.zeros((60, 80, 3), np.uint8), np.zeros((3, 900, 3), np.uint8)])


def test_a_picture_of_other_proportions_than_listed_is_refused(made, tmp_path, capsys):
    """Boxes are scaled back from the size that the picture has on the canvas, which the listed one would not give."""
    listed = json.loads(made.data["json_file"].read_text())
    listed["images"][0]["width"] *= 2
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(listed))
    words = {"image_path": made.data["image_path"], "json_file": file, "workers": 1}
    model = made.folder / "mine.onnx"
    for name, flags in (("preprocess", {"save_path": tmp_path / "in"}), ("stream", {"bbox_det_file": tmp_path / "b"})):
        assert run(name, **words, **flags, model=model) == 1
        assert "1 of 4 images have other proportions than the annotation file says" in capsys.readouterr().err
    listed["images"][0]["height"] *= 2
    file.write_text(json.dumps(listed))
    assert run("preprocess", **words, save_path=tmp_path / "in", model=model) == 0


@pytest.mark.parametrize("name", ["bin_file", "image_size"])
def test_an_input_that_is_missing_is_made_again_by_preprocess(made, capsys, name):
    path = made.folder / "inputs" / name / "1.bin"
    path.rename(path.with_suffix(".gone"))
    if name == "bin_file":
        path.write_bytes(b"short")
    assert infer(made.folder, "mine.onnx", "missing") == 1
    path.with_suffix(".gone").replace(path)
    assert "Run `preprocess` with this model again." in capsys.readouterr().err
