"""Capacity from one run's report, by figures that can be counted in the head."""

import json
from dataclasses import replace

import pytest

from yolact_ascend.cli.main import main
from yolact_ascend.scale.capacity import BESIDE_STEPS_CORE_MS, Hosts, Measured, describe_capacity

MEASURED = Measured(100, 20, 1000, "ascend, 310P3, bs=8, fp16", "")  # two cores keep one card busy


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_cards_are_put_into_hosts_as_the_cores_allow():
    text = describe_capacity(3_600_000, MEASURED, Hosts(cores=8))
    assert "2.00 cores per card" in text and "Hosts of 8 cores with 4 cards each." in text
    assert rows(text)[:4] == [
        ["1", "1", "2.0", "100.0", "10.00"],
        ["2", "1", "4.0", "200.0", "5.00"],
        ["4", "1", "8.0", "400.0", "2.50"],
        ["8", "2", "16.0", "800.0", "1.25"],
    ]
    assert "Results: 3.60 GB of JSON" in text


def test_a_host_has_slots_for_eight_cards():
    text = describe_capacity(100, MEASURED, Hosts(cores=64))
    assert "Hosts of 64 cores with 8 cards each." in text
    assert rows(text)[4][:2] == ["16", "2"]


def test_too_few_cores_are_the_limit():
    text = describe_capacity(3_600_000, MEASURED, Hosts(cores=8, cards=8))
    assert "the cores are the limit" in text
    assert rows(text)[3] == ["8", "1", "8.0", "400.0", "2.50"]


def test_a_host_without_cards_takes_its_cores_for_the_model_and_the_rest():
    """10 ms of all cores for the model, and then 20 core-ms by two cores."""
    text = describe_capacity(3_600_000, replace(MEASURED, is_host=True), Hosts(cores=2))
    assert "the model takes 10.0 ms of a host like that per image, and the rest 20.00 core-ms" in text
    assert rows(text)[:2] == [["1", "50.0", "20.00"], ["2", "100.0", "10.00"]]
    assert "Results: 3.60 GB of JSON" in text


def test_by_the_command_line(tmp_path, capsys):
    way = {"total_core_ms_per_image": 20.0 - BESIDE_STEPS_CORE_MS}
    result = {"batch_size": 8, "images": 10, "throughput_images_per_s": 200.0, "npus": [0, 1], "precision": "fp16"}
    device = {"target": "ascend", "kind": "npu", "chip": "310P3", "note": "emulated"}
    report = {"results": [{**result, "way": way}], "device": device}
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "bs8").mkdir()
    (tmp_path / "bs8" / "bbox_detections.json").write_bytes(b" " * 5000)
    (tmp_path / "bs8" / "mask_detections.json").write_bytes(b" " * 5000)
    words = ["scale", "--plan_only", f"--report={tmp_path / 'report.json'}", "--images=1000000", "--host_cores=4"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "1000000 images by what ascend, 310P3, bs=8, fp16 measured: 100.00 images/s per card" in said
    assert "Hosts of 4 cores with 2 cards each." in said and "Results: 1.00 GB" in said and "Note: emulated" in said


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({}, "is not a report.json of a run"),
        ({"results": [{"way": None, "images": None}]}, "scores no images"),
    ],
)
def test_a_report_without_figures_is_refused(report, said, tmp_path, capsys):
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert main(["scale", "--plan_only", f"--report={tmp_path / 'report.json'}", "--images=5"]) == 1
    assert said in capsys.readouterr().err
    assert main(["scale", "--plan_only", "--images=5"]) == 2
    assert "pass --report=FILE" in capsys.readouterr().err
