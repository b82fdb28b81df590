"""R-CNN through the verbs: a network that finds boxes only, one with masks, and one that finds nothing at all.

Each verb runs in this process, where narrow configs can be added.
"""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from factories import random_rcnn_state_dict, tiny_rcnn, write_coco
from formats import require_valid

import yolact_ascend
from yolact_ascend.cli import main
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.targets.folder import VERDICT

BIAS = "roi_heads.box_predictor.cls_score.bias"


def square(name):
    """Return a narrow config whose canvas takes portraits, too."""
    config = tiny_rcnn(name)
    return dataclasses.replace(config, preprocessing=dataclasses.replace(config.preprocessing, height_px=128))


FASTER, MASKED = square("faster_rcnn_R_50_FPN_3x"), square("mask_rcnn_R_50_FPN_3x")
CASES = {"boxes": FASTER, "masks": MASKED, "nothing": MASKED}  # the last one finds nothing
SHAPE_KEYS = {BOX: "bbox", MASK: "segmentation"}


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with pytest.MonkeyPatch.context() as patch:
        for config in (FASTER, MASKED):
            patch.setitem(CONFIGS, config.name, config)
        yield


@pytest.fixture(scope="module", params=CASES)
def made(request, tmp_path_factory):
    """Weights, images, the exported model, and what the stages made of them; for "nothing" the background is raised."""
    config, finds_nothing = CASES[request.param], request.param == "nothing"
    folder = tmp_path_factory.mktemp("rcnn")
    state = random_rcnn_state_dict(config)
    state[BIAS][-1] += 30.0 if finds_nothing else 0.0
    torch.save(state, folder / "w.pth")
    coco = write_coco(folder / "coco", config)
    cv2.imwrite(str(folder / "black.png"), np.zeros((50, 70, 3), np.uint8))
    names = {"config": config.name, "trained_model": folder / "w.pth"}
    data = {"image_path": coco / "val2017", "json_file": coco / "annotations" / "instances_val2017.json"}
    verb("export", **names, output=folder / "a.onnx")
    verb("preprocess", **data, config=config.name, save_path=folder / "inputs", workers=1)
    verb("infer", model=folder / "a.onnx", input=folder / "inputs" / "bin_file", output=folder / "output")
    return SimpleNamespace(folder=folder, config=config, names=names, data=data, finds_nothing=finds_nothing)


def verb(name, *words, **flags):
    assert main.main([name, *map(str, words), *(f"--{flag}={value}" for flag, value in flags.items())]) == 0


def results(made, name):
    files = {BOX: made.folder / f"{name}_bbox.json", MASK: made.folder / f"{name}_mask.json"}
    flags = {"bbox_det_file": files[BOX], "mask_det_file": files[MASK], "scores_file": made.folder / f"{name}.json"}
    return files, flags


def test_files_and_memory_end_in_the_same_detections(made, capsys):
    by_files, flags = results(made, "files")
    paths = {"file_path": made.folder / "output", "ids_path": made.folder / "inputs" / "ids.json"}
    verb("postprocess", **made.data, **paths, **flags, model=made.folder / "a.onnx", workers=1)
    printed = capsys.readouterr().out
    streamed, flags = results(made, "stream")
    verb("stream", **made.data, **flags, model=made.folder / "a.onnx", device="cpu", workers=1)
    for task, path in by_files.items():
        assert path.exists() == (task in made.config.tasks)
        if path.exists():
            assert path.read_bytes() == streamed[task].read_bytes()
            entries = json.loads(path.read_text())
            assert bool(entries) is not made.finds_nothing
            assert all(SHAPE_KEYS[task] in entry for entry in entries)
    scores = json.loads((made.folder / "stream.json").read_text())
    assert ("mask" in printed) == (MASK in made.config.tasks)
    assert scores["box"] is not None and (scores["mask"] is not None) == (MASK in made.config.tasks)
    if made.finds_nothing:
        assert scores["box"]["all"] == 0


def test_boxes_are_those_of_the_image_and_not_rounded(made):
    _, flags = results(made, "whole")
    verb("stream", **made.data, **flags, model=made.folder / "a.onnx", device="cpu", workers=1)
    sizes = {
        image["id"]: (image["width"], image["height"])
        for image in json.loads(made.data["json_file"].read_text())["images"]
    }
    corners = [(entry["image_id"], entry["bbox"]) for entry in json.loads(flags["bbox_det_file"].read_text())]
    assert all(x >= 0 and y >= 0 and w > 0 and h > 0 for _, (x, y, w, h) in corners)
    # of float32 corners up to 640 the width differs by their rounding, 2^-14
    assert all(x + w <= sizes[i][0] + 1e-4 and y + h <= sizes[i][1] + 1e-4 for i, (x, y, w, h) in corners)
    assert made.finds_nothing or any(value % 1 for _, box in corners for value in box)


def test_predict_writes_what_the_network_finds(made):
    out = made.folder / "predictions"
    verb("predict", made.data["image_path"], model=made.folder / "a.onnx", save_path=out, score_threshold=0.05)
    found = require_valid(json.loads((out / "detections.json").read_text()), "detections")
    assert len(found["images"]) == 4 and len(list(out.glob("*.jpg"))) == 4
    assert bool(found["detections"]) is not made.finds_nothing
    assert {"segmentation" in entry for entry in found["detections"]} <= {MASK in made.config.tasks}


def test_the_api_has_boxes_and_masks_where_there_are_some(made):
    with yolact_ascend.load(made.folder / "a.onnx", score_threshold=0.05) as model:
        found = model(made.folder / "black.png")
        listed = model([made.folder / "black.png"] * 2)
        assert model([]) == []
    assert found.boxes_xyxy_px.shape == (len(found), 4)
    assert [len(one) for one in listed] == [len(found)] * 2
    assert bool(len(found)) is not made.finds_nothing
    assert found.draw().shape == (50, 70, 3)
    if MASK in made.config.tasks:
        assert found.masks.shape == (len(found), 50, 70)
    else:
        with pytest.raises(UsageError, match="finds boxes only"):
            _ = found.masks
    assert len(found.to_coco(1)) == len(found.to_coco(1, task="box")) == len(found)


def test_more_than_the_graph_gives_is_refused(made, capsys):
    words = [f"--model={made.folder / 'a.onnx'}", f"--save_path={made.folder / 'more'}", str(made.folder / "black.png")]
    assert main.main(["predict", *words, "--score_threshold=0.01"]) == 2
    assert "A score threshold of 0.01: this model gives scores above 0.05 only" in capsys.readouterr().err


def test_a_pack_is_equal_to_itself(made, tmp_path):
    verb("pack", made.folder / "a.onnx", tmp_path / "pack", image=made.folder / "black.png", device="auto")
    expected = json.loads((tmp_path / "pack" / "self_test" / "expected.json").read_text())
    assert [one["name"] for one in expected["outputs"]][:4] == ["boxes", "scores", "classes", "count"]
    assert (expected["outputs"][0]["rows"] == 0) is made.finds_nothing
    verb("verify", tmp_path / "pack", out=tmp_path / "v")
    record = require_valid(json.loads((tmp_path / "v" / VERDICT).read_text()), "verify")
    assert record["is_equal"] and {check["status"] for check in record["checks"]} == {"OK"}
