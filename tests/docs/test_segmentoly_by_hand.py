"""docs/rcnn.md, pasted: segmentoly's demo, evaluation and export, with a narrow network of the same kind."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from factories import CHECKOUT, random_rcnn_state_dict, tiny_rcnn
from live_sources import PlayedCamera

from yolact_ascend.cli.main import main
from yolact_ascend.images import live as live_module
from yolact_ascend.models.config import CONFIGS, get_config

NAME = "resnet50_fpn_mask_rcnn"
SECTION = (CHECKOUT / "docs" / "rcnn.md").read_text().split("## By hand: segmentoly's demo")[1].split("\n## ")[0]
OURS = ".venv/bin/python -m yolact_ascend "
WEIGHTS, CANVAS = "model/mask_rcnn_resnet50_fpn_2x", "--canvas=800x1344"


def commands():
    """The commands of ours in the section, as words, by block; weights and canvas are those of the narrow network."""
    for block in re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL):
        lines = [line for line in block.replace("\\\n", " ").splitlines() if line.startswith(OURS)]
        yield [
            shlex.split(
                line[len(OURS) :].replace(f"{WEIGHTS}.pkl", f"{WEIGHTS}.pth").replace(CANVAS, "--canvas=96x128")
            )
            for line in lines
        ]


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A folder with weights, a video and a data set, where the config's name stands for a narrow network."""
    for package in ("openvino", "trackers"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("segmentoly")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        narrow = replace(tiny_rcnn(NAME), name=NAME)
        patch.setitem(CONFIGS, NAME, narrow)
        (folder / "model").mkdir()
        torch.save(random_rcnn_state_dict(narrow), f"{WEIGHTS}.pth")
        draw_video(folder / "walk.mp4")
        draw_dataset(folder / "data" / "coco", narrow)
        yield folder


def noise(seed, height=90, width=120):
    generator = np.random.default_rng(seed)
    return cv2.GaussianBlur(generator.integers(0, 255, (height, width, 3), dtype=np.uint8), (0, 0), 2)


def draw_video(path):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (120, 90))
    for _ in range(3):
        writer.write(noise(0))
    writer.release()


def draw_dataset(folder, config):
    """Two pictures, and a square in each."""
    (folder / "val2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for number in (1, 2):
        cv2.imwrite(str(folder / "val2017" / f"{number}.jpg"), noise(number))
        images.append({"id": number, "file_name": f"{number}.jpg", "height": 90, "width": 120})
        square = {"bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0, "category_id": config.category_ids[0]}
        corners = [[10, 10, 50, 10, 50, 50, 10, 50]]
        annotations.append({"id": number, "image_id": number, "segmentation": corners, **square})
    categories = [{"id": key, "name": name} for key, name in zip(config.category_ids, config.class_names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


def test_weights_export_backends_and_cost(user, capsys):
    made, _, _ = commands()
    assert [words[0] for words in made] == ["download", "export", "compile", "compile", "cuts"]
    assert get_config(made[0][2]).name == NAME and made[0][3] == "--to=model"
    for words in made[1:]:
        assert main(words) == 0, words
    assert {f"segmentoly.{suffix}" for suffix in ("onnx", "xml", "torch")} <= {
        path.name for path in (user / "model").iterdir()
    }
    assert "MAC" in capsys.readouterr().out


def test_the_demo_on_a_camera_and_a_video(user, capsys, monkeypatch):
    """After the test above, which makes the models."""
    _, (by_torch, by_openvino, on_video), _ = commands()
    found = []
    for words in (by_torch, by_openvino):
        with monkeypatch.context() as patch:
            camera = PlayedCamera()
            patch.setattr(live_module.cv2, "VideoCapture", camera)
            camera.frames.put(noise(0))
            camera.put(None)
            assert main(words) == 0, words
        found.append(json.loads((user / "predictions" / "camera_0.jsonl").read_text())["detections"])
    assert found[0] and [entry["class_name"] for entry in found[0]] == [entry["class_name"] for entry in found[1]]
    # Both compute in float32, in another order of sums.
    np.testing.assert_allclose(*[[entry["score"] for entry in each] for each in found], atol=1e-4)
    assert "images/s of each step: decode " in capsys.readouterr().out
    assert main(on_video) == 0
    frames = json.loads((user / "predictions" / "walk.json").read_text())["frames"]
    assert all(entry["score"] > 0.5 and "track_id" in entry for frame in frames for entry in frame["detections"])
    assert "| layer " in capsys.readouterr().out


def test_the_evaluation_on_both_backends(user, capsys):
    _, _, evaluations = commands()
    tables = []
    for words in evaluations:
        assert main(words) == 0, words
        tables.append(capsys.readouterr().out.split("COCOeval")[0])
    assert all("2 images" in table for table in tables)
