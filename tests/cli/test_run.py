"""A finished run: report, names of files, and the same by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import CHECKOUT, QUICK_CONFIG

from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.files import sha256_file
from yolact_ascend.targets.compiled import SCHEMA


def test_the_report_has_its_contract(finished):
    report = finished.report()
    assert report["schema_version"] == 1
    assert report["device"]["kind"] == "cpu-emulation" and report["device"]["soc_version"] == "Ascend310P3"
    assert report["model"]["config"] == QUICK_CONFIG.name and report["model"]["cut"] == "fpn"
    assert report["model"]["network"] == "yolact_ascend"
    as_compiled = {"precision": "fp16", "aipp": False, "input_dtype": "float32"}
    assert as_compiled.items() <= report["model"].items() and as_compiled.items() <= report["results"][0].items()
    assert (report["dataset"]["images"], report["dataset"]["annotated_images"]) == (4, 3)
    assert report["command"].startswith("bash scripts/run_all.sh bs=3 ")
    (result,) = report["results"]
    assert (result["batch_size"], result["images"], result["input"]) == (3, 4, "dataset")
    assert list(result["box"]) == list(result["mask"]) == ["all", *(str(p) for p in range(50, 100, 5))]
    assert len(result["coco"]["bbox"]) == len(result["coco"]["segm"]) == 12
    assert set(result["latency_ms"]) == {"mean", "median", "min", "max", "p90", "p95", "p99"}
    assert result["throughput_images_per_s"] > 0
    assert result["batches"] == 2  # 4 images in batches of 3: the last is filled up
    infer = next(stage for stage in report["stages"] if stage["name"] == "infer")
    assert infer["images"] == 4 and infer["seconds"] > 0
    assert infer["images_per_s"] == pytest.approx(4 / infer["seconds"], rel=0.01)


def test_the_markdown_labels_the_world(finished):
    text = finished.markdown()
    assert "CPU emulation of Ascend310P3" in text
    assert "not an NPU's" in text
    assert "| 3 | box |" in text and "| 3 | mask |" in text


def test_the_report_shows_the_first_images(finished):
    expected = [f"overlays/{image_id:012d}.jpg" for image_id in (3, 1, 2, 4)]  # the data set's order
    assert finished.report()["overlays"] == expected
    assert {str(path.relative_to(finished.out)) for path in (finished.out / "overlays").iterdir()} == set(expected)
    text = finished.folder.report_md.read_text()
    assert "## First images: ground truth and detections (bs=3, score >= 0.3)" in text
    assert [f"![{Path(name).stem}]({name})" in text for name in expected] == [True] * 4


def test_files_have_the_guides_names(finished):
    folder = finished.folder
    names = {str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_file()}
    assert {"yolact_edge.onnx", "yolact_edge_bs3.om", "yolact_edge_bs3.om.json", "inputs/ids.json"} <= names
    assert {f"inputs/bin_file/{index}.bin" for index in range(4)} <= names
    assert {f"bs3/output/{index}_{k}.bin" for index in range(4) for k in range(6)} <= names
    assert {"bs3/output_summary.json", "bs3/bbox_detections.json", "bs3/mask_detections.json"} <= names
    assert not [name for name in names if name.endswith(".part")]
    assert (folder.root / "bs3").stat().st_mode & 0o777 == 0o750


def test_detections_are_cocos_results(finished):
    boxes = json.loads(finished.detections(3)[BOX].read_text())
    masks = json.loads(finished.detections(3)[MASK].read_text())
    assert boxes and len(boxes) == len(masks)
    assert set(boxes[0]) == {"image_id", "category_id", "bbox", "score"}
    assert {entry["image_id"] for entry in boxes} <= {1, 2, 3, 4}
    heights = {1: 480, 2: 500, 3: 80, 4: 550}
    assert all(entry["segmentation"]["size"][0] == heights[entry["image_id"]] for entry in masks)


def test_the_model_has_its_side_car(finished):
    folder = finished.folder
    sidecar = finished.sidecar(3)
    assert sidecar["onnx_sha256"] == sha256_file(folder.onnx) and sidecar["model_sha256"] == sha256_file(finished.om(3))
    assert (sidecar["schema"], sidecar["target"], sidecar["batch_size"]) == (SCHEMA, "ascend", 3)
    assert (sidecar["cut"], sidecar["precision"]) == ("fpn", "fp16")
    assert sidecar["made_for"] == {"soc_version": "Ascend310P3", "cann": "none, CPU emulation"}
    assert sidecar["input"] == {"name": "image", "shape": [3, 3, 138, 138], "dtype": "float32", "layout": "NCHW"}
    assert sidecar["command"].startswith("atc --model yolact_edge.onnx --framework 5 --output yolact_edge_bs3 ")
    assert f"$ atc --model {folder.onnx} --framework 5 " in folder.log("compile_bs3").read_text()
    assert sidecar["flags"][0] == "atc" and not any("/" in word for word in sidecar["flags"])


def test_the_side_car_names_the_weights(finished):
    assert finished.sidecar(3)["weights_sha256"] == sha256_file(finished.weights)


def test_the_report_has_the_time_per_image(finished):
    (result,) = finished.report()["results"]
    way = result["way"]
    steps = ["decode", "resize", "write", "read", "heads", "detect", "masks", "RLE", "eval"]
    assert list(way["core_ms_per_image"]) == steps and all(ms > 0 for ms in way["core_ms_per_image"].values())
    assert way["total_core_ms_per_image"] == pytest.approx(sum(way["core_ms_per_image"].values()), abs=1e-3)
    assert way["cores_for_images_per_s"] == pytest.approx(result["throughput_images_per_s"], abs=1e-3)  # as measured
    cores = way["total_core_ms_per_image"] * way["cores_for_images_per_s"] / 1000
    assert way["cores_for_one_card"] == pytest.approx(cores, abs=0.01)
    assert way["device_ms_per_image"] == pytest.approx(1000 / result["throughput_images_per_s"], rel=1e-3)
    passed = [stage for stage in finished.report()["stages"] if stage["name"] in ("preprocess", "infer", "postprocess")]
    seconds = sum(stage["seconds"] for stage in passed)
    assert way["end_to_end_images_per_s"] == pytest.approx(4 / seconds, rel=0.01)
    assert "## Time per image" in finished.folder.report_md.read_text()


def test_the_guides_commands_pasted_one_by_one_end_in_the_same_results(finished, tmp_path):
    """A shell with the stand-ins, in an empty folder; the guide's flags; as README's "By hand" has it."""
    weights, coco = finished.weights, finished.coco
    commands = f"""
        set -e
        source {CHECKOUT}/emulation/set_env.sh
        npu-smi info
        python3 {CHECKOUT}/pth2onnx.py --config={QUICK_CONFIG.name} --trained_model={weights}
        atc --model yolact_edge.onnx --framework 5 --output yolact_edge_bs3 --log error --soc_version Ascend310P3 \
            --input_shape "image:3,3,138,138"
        python3 {CHECKOUT}/preprocess.py --image_path {coco}/val2017 \
            --json_file {coco}/annotations/instances_val2017.json --save_path ./inputs \
            --model yolact_edge.onnx
        mkdir -m 750 run
        python3 -m ais_bench --model yolact_edge_bs3.om --input inputs/bin_file/ --output ./run --output_dirname output
        python3 {CHECKOUT}/postprocess.py --file_path run/output --trained_model {weights} \
            --config {QUICK_CONFIG.name} --image_path {coco}/val2017 \
            --json_file {coco}/annotations/instances_val2017.json --ids_path ./inputs/ids.json
        python3 -m ais_bench --model=yolact_edge_bs3.om --loop=2 --batchsize=3
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(CHECKOUT)}
    result = subprocess.run(
        ["bash", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False, env=env
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "310P3" in result.stdout
    assert "ATC run success, welcome to the next use." in result.stdout
    assert "[INFO] throughput 1000*batchsize" in result.stdout
    assert "   box |" in result.stdout and "  mask |" in result.stdout
    folder = finished.folder
    assert sha256_file(tmp_path / "yolact_edge.onnx") == sha256_file(folder.onnx)
    for name in ("ids.json", *(f"bin_file/{index}.bin" for index in range(4))):
        assert (tmp_path / "inputs" / name).read_bytes() == (folder.inputs / name).read_bytes()
    for path in finished.detections(3).values():
        assert (tmp_path / "results" / path.name).read_bytes() == path.read_bytes()


def test_a_report_alone_shows_every_stage(copied):
    assert copied(**{"from": "report"}) == []
    assert len(copied.report()["stages"]) == 5


def test_a_stage_runs_alone(copied):
    copied.folder.report_json.unlink()
    text = run_stages(copied.command(**{"from": "postprocess", "to": "postprocess", "force": "postprocess"}))
    assert text == "Stopped after postprocess (to=postprocess)."
    assert not copied.folder.report_json.exists()
