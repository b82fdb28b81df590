"""docs/rcnn.md, pasted: a user's own Detectron2 checkpoint to a picture, by the steps of OpenVINO's tutorial."""

from __future__ import annotations

import json
import re
import shlex

import cv2
import numpy as np
import pytest
import torch
from factories import CHECKOUT, random_rcnn_state_dict, tiny_rcnn
from pycocotools import mask as coco_mask

from yolact_ascend.cli.main import main
from yolact_ascend.models.config import get_config
from yolact_ascend.models.families import family_of

DOCUMENT = (CHECKOUT / "docs" / "rcnn.md").read_text()
SECTION = DOCUMENT.split("## By hand: from a Detectron2 checkpoint to a picture")[1].split("\n## ")[0]
TINY = tiny_rcnn(stages=(3, 4, 6, 3))  # of ResNet-50: Detectron2 builds no shallower one of bottlenecks
OURS = ".venv/bin/python -m yolact_ascend "
# What Detectron2 writes as output/config.yaml has all keys; these are those that differ from its defaults.
CONFIG = """\
_BASE_: "Base-RCNN-FPN.yaml"
MODEL:
  MASK_ON: True
  FPN: {OUT_CHANNELS: 16}
  RESNETS: {DEPTH: 50, STEM_OUT_CHANNELS: 8, WIDTH_PER_GROUP: 8, RES2_OUT_CHANNELS: 16}
  ROI_HEADS: {NUM_CLASSES: 3}
  ROI_BOX_HEAD: {FC_DIM: 32}
  ROI_MASK_HEAD: {CONV_DIM: 16}
  RPN: {PRE_NMS_TOPK_TEST: 200, POST_NMS_TOPK_TEST: 150}
INPUT: {MIN_SIZE_TEST: 90, MAX_SIZE_TEST: 120}
TEST: {DETECTIONS_PER_IMAGE: 20}
"""


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", SECTION, re.DOTALL)


def lines(block):
    """The commands of ours in a block, as words."""
    joined = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line[len(OURS) :]) for line in joined if line.startswith(OURS)]


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A folder with what Detectron2's training left, and a picture that is wider than the canvas."""
    pytest.importorskip("openvino")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "output" / "config.yaml").write_text(CONFIG)
    state = random_rcnn_state_dict(TINY)
    torch.save({"model": state, "iteration": 9}, tmp_path / "output" / "model_final.pth")
    picture, generator = np.full((150, 200, 3), 90, np.uint8), np.random.default_rng(0)
    for x, y, w, h, *colour in generator.integers(0, 200, (20, 7)).tolist():
        cv2.rectangle(picture, (x, y), (x + w // 3, y + h // 3), colour, cv2.FILLED)
    cv2.imwrite(str(tmp_path / "example_image.jpg"), picture)
    return tmp_path


def test_a_checkpoint_becomes_a_picture(user, capsys):
    shell, python = blocks("sh"), blocks("python")
    assert [words[0] for words in lines(shell[1])] == ["export", "compile", "doctor", "predict"]
    for words in lines(shell[1]):
        assert main(words) == 0, words
    assert "CPU" in capsys.readouterr().out
    found = json.loads((user / "predictions" / "detections.json").read_text())["detections"]
    assert found
    assert {entry["class_name"] for entry in found} <= {"ball", "crate", "star"}
    assert all("segmentation" in entry for entry in found)
    drawn = cv2.imread(str(user / "predictions" / "example_image.jpg"))
    assert drawn.shape == (150, 200, 3)
    assert (np.abs(drawn.astype(int) - cv2.imread(str(user / "example_image.jpg"))) > 60).mean() > 0.01

    names: dict = {}
    exec(compile(python[0], "docs/rcnn.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(names["found"]) == len([entry for entry in found if entry["score"] > 0.05])
    exec(compile(python[1], "docs/rcnn.md", "exec"), names)
    assert names["masks"].shape == (names["count"], 28, 28)
    assert names["count"] > 0


def test_the_zoos_names_are_ours():
    for verb, kind, name, folder in lines(blocks("sh")[0]):
        assert (verb, kind, folder) == ("download", "weights", "--to=model")
        assert get_config(name).source.file_name.endswith(".pkl")


@pytest.mark.detectron2
def test_what_detectron2_wrote_gives_what_detectron2_finds(detectron2, user):
    """Its config with all keys, and its checkpoint. The canvas is what it pads the picture to: 90×120 to 96×128."""
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2_evaluation import predict_by_detectron2
    from detectron2_parity import Rows, differences, random_detectron2

    image = cv2.imread("example_image.jpg")
    sample, _ = family_of(TINY).sample_inputs(TINY, np.random.default_rng(0), 1)
    theirs = random_detectron2(TINY, sample[0])
    (user / "output" / "config.yaml").write_text(theirs.cfg.dump())
    DetectionCheckpointer(theirs, save_dir="output").save("model_final")
    expected = predict_by_detectron2(theirs, image)
    names = [f"--config={user / 'output' / 'config.yaml'}", "--weights=output/model_final.pth"]
    assert main(["export", *names, "--canvas=96x128", "--output=model/own.onnx"]) == 0
    assert main(["predict", "example_image.jpg", "--model=model/own.onnx", "--score_threshold=0.05"]) == 0
    found = json.loads((user / "predictions" / "detections.json").read_text())["detections"]
    boxes = np.array([entry["bbox"] for entry in found])
    boxes[:, 2:] += boxes[:, :2]
    classes = np.array([entry["category_id"] - 1 for entry in found])
    masks = np.stack([coco_mask.decode(entry["segmentation"]) for entry in found])
    ours = Rows(boxes, np.array([entry["score"] for entry in found]), classes, masks.astype(np.float32))
    apart = differences(ours, expected)
    assert apart.detections > 10
    assert apart.unmatched == 0
    assert apart.boxes_px <= 0.01  # written with two or more decimals
    assert apart.scores <= 1e-4
    assert apart.masks == 0  # every pixel
    print(f"parity: a checkpoint and config.yaml that Detectron2 wrote: {apart.detections} detections are its own")
