"""What each cut costs: counted by hand here, and measured."""

import dataclasses
import json

import pytest
import torch
from factories import random_rcnn_state_dict, tiny_rcnn

from yolact_ascend.analysis import cuts
from yolact_ascend.analysis.cuts import Measured, count_cuts, cuts_to_json, format_cuts, measure_cuts
from yolact_ascend.cli import main
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.timings import Timings

CELLS = 69**2 + 35**2 + 18**2 + 9**2 + 5**2


def head_macs(channels, classes, prototypes):
    """One 3x3 convolution for the features, three for what is predicted of each cell's three anchors."""
    return CELLS * 9 * channels * (channels + 3 * (4 + classes + 1 + prototypes))


@pytest.mark.parametrize(
    ("name", "channels", "classes", "prototypes"),
    [
        ("yolact_edge_resnet50_config", 256, 80, 32),
        ("yolact_edge_mobilenetv2_config", 256, 80, 32),
        (DEMO_CONFIG, 64, 8, 24),
    ],
)
def test_the_heads_move_from_the_host_to_the_device(name, channels, classes, prototypes):
    fpn, *others = count_cuts(CONFIGS[name])
    assert [costs.cut for costs in (fpn, *others)] == ["fpn", "heads", "boxes", "candidates", "detections"]
    assert fpn.host_flop == 2 * head_macs(channels, classes, prototypes)
    for costs in others:
        assert (costs.host_flop, costs.device_flop) == (0, fpn.device_flop + fpn.host_flop)


def test_the_rest_of_the_network_is_what_it_is_said_to_be():
    """The demo's network has 2.7 GMAC with its heads (CHANGELOG.md)."""
    _, heads, *_ = count_cuts(CONFIGS[DEMO_CONFIG])
    assert heads.device_flop == pytest.approx(2 * 2.7e9, rel=0.02)


def test_bytes_and_disk():
    fpn, heads, boxes, candidates, detections = count_cuts(CONFIGS["yolact_edge_resnet50_config"])
    assert boxes.output_bytes == heads.output_bytes
    protos = 138 * 138 * 32
    assert (fpn.output_bytes, heads.output_bytes) == (4 * (CELLS * 256 + protos), 4 * (3 * CELLS * 117 + protos))
    assert candidates.output_bytes == 4 * (1000 * (4 + 81 + 32) + 1 + protos) < 3e6
    assert detections.output_bytes == 4 * (100 * (4 + 1 + 1 + 32) + 1 + protos) < 2.5e6
    assert fpn.scratch_bytes("float32") == 5000 * (fpn.output_bytes + 3 * 550 * 550 * 4)
    assert fpn.scratch_bytes("uint8") == 5000 * (fpn.output_bytes + 3 * 550 * 550)


def test_a_network_that_pads_has_float32_inputs_only():
    """R-CNN's two inputs: the canvas, and the size of the picture on it."""
    config = tiny_rcnn()
    (costs,) = count_cuts(config)
    assert costs.input_bytes == {"float32": 4 * (3 * 96 * 128 + 2)}
    assert "uint8" not in format_cuts(config, [costs], None)
    assert cuts_to_json(config, [costs], None)["cuts"][0]["scratch_bytes"] == {
        "float32": costs.scratch_bytes("float32")
    }


def test_the_hosts_work_behind_an_rcnn_is_measured(tmp_path, small_coco):
    """It makes two inputs of an image, and detects at the one cut."""
    config = tiny_rcnn()
    canvas = dataclasses.replace(config.preprocessing, height_px=128)  # one of the pictures is upright
    config = dataclasses.replace(config, preprocessing=canvas)
    torch.save(random_rcnn_state_dict(config), tmp_path / "w.pth")
    measured = measure_cuts(config, tmp_path / "w.pth", small_coco / "val2017", 2)
    assert measured.images == 2 and measured.detections > 0
    assert {"decode", "resize", "masks"} <= set(measured.core_ms["detections"])


def test_without_weights_the_host_is_not_measured_and_that_is_said(capsys):
    assert main.main(["cuts", "--config=yolact_edge_mobilenetv2_config"]) == 0
    said = capsys.readouterr().out
    assert "The host was not measured" in said and "--trained_model" in said and "core-ms" not in said
    assert main.main(["cuts", "--config=yolact_edge_mobilenetv2_config", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["measured"] is None and [cut["core_ms_per_image"] for cut in value["cuts"]] == [None] * 5
    assert value["cuts"][0]["host_flop"] == 2 * head_macs(256, 80, 32)


def test_the_demo_is_measured_on_its_own_scenes(capsys):
    assert main.main(["cuts", f"--config={DEMO_CONFIG}", "--limit=2", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    fpn, heads, *others = (cut["core_ms_per_image"] for cut in value["cuts"])
    assert [list(each) for each in others] == [list(heads)] * 3
    assert list(heads) == ["decode", "resize", "detect", "masks", "RLE"]
    assert set(fpn) == {*heads, "heads"} and all(ms > 0 for ms in [*fpn.values(), *heads.values()])
    measured = value["measured"]
    assert (measured["weights"], measured["images"]) == ("yolact_edge_demo.pth", 2)
    assert measured["source"].startswith("the first 2 drawn scenes")
    # 8 and 70, as `detect_batch` finds; with the first scene's run to warm up it would be 29.
    assert measured["detections_per_image"] == pytest.approx(39, abs=2)


def test_a_folder_of_images_is_taken_as_it_is(small_coco):
    with cuts._images(small_coco / "val2017", 2) as (images, source):
        assert [path.name for path in images] == ["000000000001.jpg", "000000000002.jpg"]
        assert source == f"the first 2 of {small_coco}/val2017"


def test_the_table_has_a_column_for_each_cut(tmp_path):
    config = CONFIGS["yolact_edge_resnet50_config"]
    without = {"decode": 1.0, "detect": 9.0}
    core_ms = {"fpn": {"decode": 1.0, "heads": 160.0, "detect": 9.0}, "heads": without, "boxes": without}
    core_ms["candidates"] = core_ms["detections"] = {"decode": 1.0, "detect": 1.0}
    text = format_cuts(config, count_cuts(config), Measured(tmp_path / "a.pth", 8, "the first 8 of DIR", 12.5, core_ms))
    rows = {line[:36].strip(): line[36:].split() for line in text.splitlines()[:13]}
    assert rows["GFLOP per image on the host"] == ["17.9", "0.0", "0.0", "0.0", "0.0"]
    assert rows["GB on disk, 5000 images, float32 in"] == ["63.2", "75.4", "75.4", "32.7", "30.4"]
    assert rows["the same, uint8 in (aipp=1)"] == ["49.6", "61.8", "61.8", "19.1", "16.8"]
    assert rows["core-ms per image, heads"] == ["160.0"]
    assert rows["core-ms per image on the host"] == ["170.0", "10.0", "10.0", "2.0", "2.0"]
    assert "Measured on one core with a.pth on the first 8 of DIR; medians; 12.5 detections per image" in text


def test_a_step_is_its_median_over_the_images():
    """The second found nothing, so that there was no mask to make."""
    spent = [
        Timings(1, {"detect": 0.001, "masks": 0.004}),
        Timings(1, {"detect": 0.009}),
        Timings(1, {"detect": 0.002}),
    ]
    assert cuts._medians(spent) == {"detect": 2.0, "masks": 0.0}
