"""Runs from weights to the report: what is redone, what is kept, what is refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from emulation.cases import real_packages, real_tool_in
from factories import CHECKOUT, SMALL_CONFIG, TINY_CONFIG, write_coco

from yolact_ascend.analysis.compare import compare_runs
from yolact_ascend.cli import run
from yolact_ascend.errors import (
    ArtifactError,
    DatasetError,
    ToolError,
    UsageError,
    WeightsError,
)
from yolact_ascend.files import sha256_file
from yolact_ascend.models.config import MEAN_RGB, STD_RGB
from yolact_ascend.models.inputs import INPUT, UINT8_INPUT
from yolact_ascend.pipeline import stages
from yolact_ascend.targets.compiled import SCHEMA
from yolact_ascend.targets.folder import WorkFolder

PER_BATCH = ("compile bs3", "infer bs3", "postprocess bs3")
ALL = ("export", "compile bs3", "preprocess", "infer bs3", "postprocess bs3")


class Run:
    """A work folder with its inputs, and runs in it."""

    def __init__(self, folder: Path, weights: Path, coco: Path) -> None:
        self.out = folder / "results"
        self.weights = weights
        self.coco = coco
        self.words = {
            "bs": "3",
            "config": TINY_CONFIG.name,
            "weights": str(weights),
            "coco": str(coco),
            "out": str(self.out),
            "device": "cpu",
        }
        self.folder = WorkFolder(self.out)

    def command(self, **words: str) -> list[str]:
        return [f"{key}={value}" for key, value in {**self.words, **words}.items()]

    def __call__(self, **words: str) -> list[str]:
        """Run, and return the labels of the steps that were done, not fresh."""
        run.run(self.command(**words))
        stages = self.report()["stages"]
        label = "{name} bs{batch_size}".format_map
        return [s["name"] if s["batch_size"] is None else label(s) for s in stages if s["status"] == "done"]

    def report(self) -> dict:
        return json.loads(self.folder.report_json.read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_weights) -> Run:
    """A finished run of all stages on drawn images; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("pipeline")
    weights = Path(shutil.copy(tiny_weights, folder))
    run = Run(folder, weights, write_coco(folder / "coco", TINY_CONFIG))
    assert run() == list(ALL)
    return run


@pytest.fixture
def copied(finished, tmp_path) -> Run:
    """A copy of the finished run: its records hold wherever it lies."""
    shutil.copytree(finished.out.parent, tmp_path / "w", copy_function=shutil.copy2)
    run = Run(tmp_path / "w", tmp_path / "w" / finished.weights.name, tmp_path / "w" / "coco")
    return run


def test_the_report_has_its_contract(finished):
    report = finished.report()
    assert report["schema_version"] == 1
    assert report["device"]["kind"] == "cpu-emulation" and report["device"]["soc_version"] == "Ascend310P3"
    assert report["model"]["config"] == TINY_CONFIG.name and report["model"]["cut"] == "fpn"
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
    text = finished.folder.report_md.read_text()
    assert "CPU emulation of Ascend310P3" in text
    assert "not an NPU's" in text
    assert "| 3 | box |" in text and "| 3 | mask |" in text


def test_the_report_shows_the_first_images(finished):
    expected = [f"overlays/{image_id:012d}.jpg" for image_id in (3, 1, 2, 4)]  # the data set's order
    assert finished.report()["overlays"] == expected
    assert {str(path.relative_to(finished.out)) for path in (finished.out / "overlays").iterdir()} == set(expected)
    text = finished.folder.report_md.read_text()
    assert "## First images: ground truth beside the detections of bs=3 that score at least 0.3" in text
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
    boxes = json.loads(finished.folder.bbox_detections(3).read_text())
    masks = json.loads(finished.folder.mask_detections(3).read_text())
    assert boxes and len(boxes) == len(masks)
    assert set(boxes[0]) == {"image_id", "category_id", "bbox", "score"}
    assert {entry["image_id"] for entry in boxes} <= {1, 2, 3, 4}
    heights = {1: 480, 2: 500, 3: 80, 4: 550}
    assert all(entry["segmentation"]["size"][0] == heights[entry["image_id"]] for entry in masks)


def test_the_model_has_its_side_car(finished):
    folder = finished.folder
    sidecar = json.loads(folder.sidecar(3).read_text())
    assert sidecar["onnx_sha256"] == sha256_file(folder.onnx) and sidecar["om_sha256"] == sha256_file(folder.om(3))
    assert (sidecar["schema"], sidecar["soc_version"], sidecar["batch_size"]) == (SCHEMA, "Ascend310P3", 3)
    assert (sidecar["cut"], sidecar["precision"], sidecar["cann"]) == ("fpn", "fp16", "none, CPU emulation")
    assert sidecar["input"] == {"name": "image", "shape": [3, 3, 550, 550], "dtype": "float32", "layout": "NCHW"}
    assert sidecar["command"].startswith(f"atc --model {folder.onnx} --framework 5 ")
    assert sidecar["flags"][0] == "atc" and not any("/" in word for word in sidecar["flags"])


def test_the_side_car_names_the_weights(finished):
    assert json.loads(finished.folder.sidecar(3).read_text())["weights_sha256"] == sha256_file(finished.weights)


def test_a_second_run_redoes_nothing_and_says_so(copied, capfd):
    before = {path: path.stat().st_mtime_ns for path in copied.out.rglob("*.bin")}
    assert copied() == []
    assert "Nothing to do: every stage is fresh." in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in copied.out.rglob("*.bin")} == before
    assert [stage["status"] for stage in copied.report()["stages"]] == ["fresh"] * 5


def test_the_guides_commands_pasted_one_by_one_end_in_the_same_results(finished, tmp_path):
    """A shell with the stand-ins, in an empty folder; the guide's flags; as README's "By hand" has it."""
    weights, coco = finished.weights, finished.coco
    commands = f"""
        set -e
        source {CHECKOUT}/emulation/set_env.sh
        npu-smi info
        python3 {CHECKOUT}/pth2onnx.py --config={TINY_CONFIG.name} --trained_model={weights}
        atc --model yolact_edge.onnx --framework 5 --output yolact_edge_bs3 --log error --soc_version Ascend310P3 \
            --input_shape "image:3,3,550,550"
        python3 {CHECKOUT}/preprocess.py --image_path {coco}/val2017 \
            --json_file {coco}/annotations/instances_val2017.json --save_path ./inputs
        mkdir -m 750 run
        python3 -m ais_bench --model yolact_edge_bs3.om --input inputs/bin_file/ --output ./run --output_dirname output
        python3 {CHECKOUT}/postprocess.py --file_path run/output --trained_model {weights} \
            --config {TINY_CONFIG.name} --image_path {coco}/val2017 \
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
    for path in (folder.bbox_detections(3), folder.mask_detections(3)):
        assert (tmp_path / "results" / path.name).read_bytes() == path.read_bytes()


def change_weights(run):
    state = torch.load(run.weights, weights_only=True)
    state["prediction_layers.0.conf_layer.bias"] += 0.1
    torch.save(state, run.weights)


def change_image(run):
    path = run.coco / "val2017" / "000000000002.jpg"
    shutil.copy(run.coco / "val2017" / "000000000001.jpg", path)


def change_annotations(run):
    path = run.coco / "annotations" / "instances_val2017.json"
    data = json.loads(path.read_text())
    data["annotations"][0]["bbox"][0] += 1
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        # Only the head's bias changes, which is not in the graph: the ONNX is another (its metadata), and all after.
        (change_weights, ["export", *PER_BATCH]),
        (change_image, ["preprocess", "infer bs3", "postprocess bs3"]),
        (change_annotations, ["postprocess bs3"]),
        # The .om names the paths that it was compiled from, so that it is another one in the copied folder.
        (lambda run: run.folder.om(3).unlink(), list(PER_BATCH)),
        (lambda run: (run.folder.outputs(3) / "2_4.bin").unlink(), ["infer bs3", "postprocess bs3"]),
        (lambda run: run.folder.scores(3).unlink(), ["postprocess bs3"]),
    ],
    ids=["weights", "an image", "annotations", "om lost", "an output lost", "scores lost"],
)
def test_a_change_redoes_exactly_what_depends_on_it(copied, change, redone):
    change(copied)
    assert copied() == redone
    assert copied() == []


def test_flags_redo_exactly_what_depends_on_them(copied):
    assert copied(bs="2") == ["compile bs2", "infer bs2", "postprocess bs2"]
    assert copied(bs="3,2") == []
    assert copied(limit="2", bs="2") == ["preprocess", "infer bs2", "postprocess bs2"]
    assert len(list((copied.out / "bs2" / "output").iterdir())) == 2 * 6
    assert copied(limit="2", bs="2", force="postprocess") == ["postprocess bs2"]
    assert copied.report()["dataset"]["images"] == 2


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def read_outputs(run: Run, batch_size: int) -> list[np.ndarray]:
    """Each output of the four images, end to end."""
    folder = run.folder.outputs(batch_size)
    return [np.concatenate([np.fromfile(folder / f"{i}_{k}.bin", np.float32) for i in range(4)]) for k in range(6)]


def test_fp32_compiles_without_float16(copied):
    """Only what follows from the model is stale; its outputs differ by what float16 costs (printed with -s)."""
    before = read_outputs(copied, 3)
    run.run(copied.command(precision="fp32", to="infer"))
    for k, (one, other) in enumerate(zip(before, read_outputs(copied, 3))):
        print(f"fp32 against fp16, output{k}: cosine {cosine(one, other):.7f}, max-abs {np.abs(one - other).max():.4f}")
        assert cosine(one, other) > 0.999 and not np.array_equal(one, other)  # seen: 0.9997
    sidecar = json.loads(copied.folder.sidecar(3).read_text())
    assert sidecar["command"].endswith(" --precision_mode must_keep_origin_dtype") and sidecar["precision"] == "fp32"
    assert copied(precision="fp32") == ["postprocess bs3"]
    (result,) = copied.report()["results"]
    assert result["precision"] == copied.report()["model"]["precision"] == "fp32"


def test_aipp_takes_a_quarter_of_the_bytes_and_normalises_alike(copied):
    """Its outputs are those of the ONNX on the same pixels, normalised here in float32; float16 is the difference."""
    assert copied(aipp="1") == ["compile bs3", "preprocess", "infer bs3", "postprocess bs3"]
    bins = [copied.folder.inputs / "bin_file" / f"{index}.bin" for index in range(4)]
    pixels = np.stack([np.fromfile(path, np.uint8) for path in bins]).reshape(4, *UINT8_INPUT.shape)
    images = ((pixels - np.float32(MEAN_RGB)) / np.float32(STD_RGB)).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(str(copied.folder.onnx), providers=["CPUExecutionProvider"])
    expected = [output.ravel() for output in session.run(None, {"image": images})]
    for k, (one, other) in enumerate(zip(expected, read_outputs(copied, 3))):
        print(f"aipp, output{k}: cosine {cosine(one, other):.7f}, max-abs {np.abs(one - other).max():.4f}")
        # Seen: 0.9989. With means that are one level off it is 0.945 or less, with the deviations in BGR order 0.990.
        assert cosine(one, other) > 0.998
    assert {path.stat().st_size for path in (copied.folder.inputs / "bin_file").iterdir()} == {907_500}
    sidecar = json.loads(copied.folder.sidecar(3).read_text())
    assert sidecar["input"] == {"name": "image", "shape": [3, 550, 550, 3], "dtype": "uint8", "layout": "NHWC"}
    assert sidecar["command"].endswith(f" --insert_op_conf {copied.folder.aipp_config}")
    as_compiled = {"precision": "fp16", "aipp": True, "input_dtype": "uint8"}
    report = copied.report()
    assert as_compiled.items() <= report["model"].items() and as_compiled.items() <= report["results"][0].items()
    assert copied(aipp="1") == []


def test_float32_inputs_for_a_model_with_aipp_are_found_afterwards_by_hand(copied, tmp_path):
    """At batch size 4 ais_bench takes each for a whole batch, without a word."""
    run.run(copied.command(bs="4", aipp="1", to="compile"))
    (tmp_path / "run").mkdir(mode=0o750)
    commands = f"""
        set -e
        source {CHECKOUT}/emulation/set_env.sh
        python3 -m ais_bench --model {copied.folder.om(4)} --input {copied.folder.inputs}/bin_file/ \\
            --output ./run --output_dirname output
        python3 {CHECKOUT}/postprocess.py --file_path run/output --trained_model {copied.weights} \\
            --config {TINY_CONFIG.name} --image_path {copied.coco}/val2017 \\
            --json_file {copied.coco}/annotations/instances_val2017.json --ids_path {copied.folder.inputs}/ids.json
    """
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False, env=env
    )
    assert "filesperbatch:1 runcount:4" in result.stdout
    assert result.returncode == 1
    assert re.search(
        r"error: .*_0\.bin holds 4875264 bytes, expected 1218816 .* 4 images' worth: were float32 inputs given to a "
        r"model with AIPP, .*Run the inference again\.\n$",
        result.stderr,
    )


def test_weights_of_another_config_end_the_run_at_export(copied, tmp_path, capfd):
    with pytest.raises(ToolError, match="its own message is above"):
        copied(config="yolact_edge_resnet50_config", coco=str(write_coco(tmp_path / "coco")))
    assert f"use --config={TINY_CONFIG.name}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("stage", "sign", "lost"),
    [("export", "yolact_edge.onnx", ALL), ("infer", "bs3/output/0_0.bin", ALL[ALL.index("preprocess") :])],
    ids=["export", "infer"],
)
def test_a_killed_run_continues(copied, stage, sign, lost):
    """Everything of the run is killed at once, mid-stage, as a lost connection or a full machine does."""
    shutil.rmtree(copied.folder.inputs)
    for label in lost:
        (copied.folder.records / f"{label.replace(' ', '_')}.json").unlink()
    shutil.rmtree(copied.folder.outputs(3))
    if "export" in lost:
        copied.folder.onnx.unlink()
    assert copied.folder.report_json.exists()
    command = [sys.executable, "-m", "yolact_ascend", "run", *copied.command()]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    marker, started = f"[{stage}", b""
    while marker not in started.decode():
        line = process.stderr.readline()
        assert line, started.decode()
        started += line
    deadline = time.monotonic() + 60
    while not (copied.out / sign).exists() and time.monotonic() < deadline and stage != "export":
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not copied.folder.report_json.exists()
    done = [path.stem for path in copied.folder.records.glob("*.json")] if copied.folder.records.exists() else []
    assert not any(stage in label for label in done)
    redone = copied()
    assert redone[0].startswith(stage)
    assert len(redone) + len(done) == len(ALL)
    assert copied() == []


def test_an_interrupt_ends_with_a_word_and_no_half_stage(copied):
    change_weights(copied)
    command = [sys.executable, "-m", "yolact_ascend", "run", *copied.command()]
    process = subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while b"[export" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted: what was finished is kept; the same command continues." in stderr
    assert not (copied.folder.records / "export.json").exists()
    assert not list(copied.out.glob(".*.part"))


def test_starting_later_needs_a_model_of_these_weights(copied):
    """Else the report would credit the old model's outputs to the new weights."""
    change_weights(copied)
    run.run(copied.command(to="export"))
    for first in ("preprocess", "infer", "postprocess"):
        with pytest.raises(UsageError, match=f"from={first} needs compile bs3 to be done, but: changed: onnx_sha256"):
            copied(**{"from": first})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"precision": "fp32"}, "precision is fp16, expected fp32"),
        ({"aipp": "1"}, r"input is image float32 NCHW .* expected image uint8 NHWC \[3, 550, 550, 3\]"),
    ],
    ids=["precision", "aipp"],
)
def test_starting_later_with_another_model_names_the_difference(copied, words, said):
    with pytest.raises(UsageError, match=rf"from=infer needs compile bs3 .* changed: flags.*bs3\.om was .*: {said}"):
        copied(**words, **{"from": "infer"})


def test_compare_sees_that_the_model_is_another_than_that_of_the_outputs(copied):
    assert compare_runs(copied.folder.run(3), copied.folder.run(3)).images == 4
    run.run(copied.command(precision="fp32", to="compile"))
    with pytest.raises(ArtifactError, match=r"made by another model than .*_bs3\.om, .* without stream=1"):
        compare_runs(copied.folder.run(3), copied.folder.run(3))


def test_a_model_with_a_side_car_of_an_earlier_version_is_compiled_again(copied, capfd):
    path = copied.folder.records / "compile_bs3.json"
    record = json.loads(path.read_text())
    del record["inputs"]["sidecar_schema"]
    path.write_text(json.dumps(record))
    run.run(copied.command(to="compile"))
    assert "[compile bs3] changed: sidecar_schema" in capfd.readouterr().err


def test_starting_later_needs_every_batch_size(copied):
    with pytest.raises(UsageError, match="from=infer needs compile bs2 to be done, but: not done yet"):
        copied(**{"from": "infer"}, bs="3,2")


def test_the_plan_follows_the_named_order(copied, tmp_path, capfd):
    run.run(copied.command(to="export", bs="3,2"))
    plan = re.findall(r"^  ([a-z]+)(?: bs(\d))? ", capfd.readouterr().err, re.MULTILINE)
    assert plan == [
        *(("patch", ""), ("export", ""), ("compile", "3"), ("compile", "2"), ("preprocess", "")),
        *(("infer", "3"), ("infer", "2"), ("postprocess", "3"), ("postprocess", "2")),
    ]


def test_another_stand_in_redoes_what_it_computed(copied, monkeypatch, tmp_path):
    changed = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", changed)
    with (changed / "aclruntime" / "_session.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr("yolact_ascend.targets.ascend.tools.EMULATION", changed)
    assert copied() == ["compile bs3", "infer bs3", "postprocess bs3"]


def test_a_range_without_a_stage_is_refused(copied):
    with pytest.raises(UsageError, match="There is nothing from patch to patch: without upstream="):
        run.run(copied.command(to="patch"))


def test_a_report_alone_shows_every_stage(copied):
    assert copied(**{"from": "report"}) == []
    assert len(copied.report()["stages"]) == 5


def test_a_path_that_ais_bench_refuses_is_said_before_any_work(copied, tmp_path):
    with pytest.raises(UsageError, match="the work folder is .*out put"):
        copied(out=str(tmp_path / "out put"))
    assert not (tmp_path / "out put").exists()


def test_a_work_folder_that_is_a_file_or_closed_is_said(copied, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="Cannot create the folder"):
        copied(out=str(tmp_path / "file"))


def test_the_programs_of_a_run_hold_its_folder(copied, monkeypatch):
    """A killed run's ais_bench may live on; it must keep the next run out."""
    seen = {}
    real = stages.run_tool

    def look(command, env, log=None, explain=None, pass_fds=()):
        seen["atc" if command[0] == "atc" else command[3]] = (len(pass_fds), "emulation/bin" in env["PATH"])
        return real(command, env, log, explain, pass_fds)

    monkeypatch.setattr(stages, "run_tool", look)
    run.run(copied.command(to="compile", force="export,compile"))
    assert seen == {"export": (1, False), "atc": (1, True)}  # and the stand-ins are only before CANN's tools


def test_an_ais_bench_that_writes_too_little_is_not_believed(copied, monkeypatch):
    monkeypatch.setattr(stages.Stages, "_run_tool", lambda *_: "")
    with pytest.raises(ArtifactError, match="0_0.bin is missing"):
        copied(force="infer")
    assert not (copied.folder.records / "infer_bs3.json").exists()


def test_old_results_go_before_new_ones_are_made(copied, monkeypatch):
    def fail(*_):
        raise ToolError("failed")

    monkeypatch.setattr(stages.Stages, "_run_own", fail)
    with pytest.raises(ToolError):
        copied(force="postprocess")
    assert not copied.folder.bbox_detections(3).exists() and not copied.folder.mask_detections(3).exists()
    assert not copied.folder.report_json.exists()


def test_nothing_of_the_benchmark_but_its_timings_stays(copied):
    copied(mode="perf", loop="1")
    assert list((copied.out / "bs3" / "perf").iterdir()) == []
    assert (copied.out / "bs3" / "perf_summary.json").is_file()
    assert copied.report()["overlays"] == [] and not (copied.out / "overlays").exists()  # those of the full run went


def test_a_stage_runs_alone(copied):
    copied.folder.report_json.unlink()
    text = run.run(copied.command(**{"from": "postprocess", "to": "postprocess", "force": "postprocess"}))
    assert text == "Stopped after postprocess, as asked."
    assert not copied.folder.report_json.exists()


def test_a_report_goes_when_the_folder_no_longer_holds_what_it_says(copied):
    copied(**{"from": "report"})
    assert copied.folder.report_json.exists()
    copied.weights.write_bytes(b"broken")
    with pytest.raises(ToolError):
        copied()
    assert not copied.folder.report_json.exists() and not copied.folder.report_md.exists()
    assert not (copied.out / "overlays").exists()


def test_starting_later_needs_what_comes_before(copied):
    change_image(copied)
    with pytest.raises(UsageError, match="from=infer needs preprocess to be done, but: changed: images"):
        copied(**{"from": "infer"})
    with pytest.raises(UsageError, match="from=compile needs export to be done, but: not done yet"):
        copied(**{"from": "compile", "out": str(copied.out.parent / "empty")})


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (
            {"weights": "none.pth"},
            WeightsError,
            "There is no weights file none.pth. Those of yolact_edge_demo_config come",
        ),
        ({"coco": "nowhere"}, DatasetError, "There is no COCO folder nowhere"),
        ({"device": "npu"}, ToolError, "device=npu, but"),
        ({"bs": "0"}, UsageError, "bs=0: expected"),
    ],
)
def test_what_is_missing_is_said_before_any_work(copied, tmp_path, words, error, message):
    with pytest.raises(error, match=message):
        copied(**words, out=str(tmp_path / "new"))
    assert not (tmp_path / "new" / "yolact_edge.onnx").exists()


def test_a_listed_image_that_is_missing_is_said_before_any_work(copied, tmp_path):
    (copied.coco / "val2017" / "000000000002.jpg").unlink()
    with pytest.raises(DatasetError, match="1 of 4 images .* the first is 000000000002.jpg"):
        copied(out=str(tmp_path / "new"))
    assert not (tmp_path / "new" / "yolact_edge.onnx").exists()


def test_force_makes_the_inputs_again(copied):
    before = (copied.folder.inputs / "bin_file" / "0.bin").stat().st_mtime_ns
    run.run(copied.command(to="preprocess", force="preprocess"))
    assert (copied.folder.inputs / "bin_file" / "0.bin").stat().st_mtime_ns > before


def test_unknown_categories_are_said_before_any_work(copied, tmp_path):
    path = copied.coco / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace('"category_id": 108', '"category_id": 109'))
    with pytest.raises(DatasetError, match="category_id 109"):
        copied(out=str(tmp_path / "new"))
    assert not (tmp_path / "new" / "yolact_edge.onnx").exists()


def test_the_plan_says_why_there_is_no_patch(copied, capfd):
    copied()
    assert "patch              not needed: without upstream= the network is our own" in capfd.readouterr().err


def test_an_atc_that_claims_success_without_an_om_is_not_believed(copied, monkeypatch, tmp_path):
    fake = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", fake)
    (fake / "bin" / "atc").write_text("#!/bin/sh\necho 'ATC run success, welcome to the next use.'\n")
    monkeypatch.setattr("yolact_ascend.targets.ascend.tools.EMULATION", fake)
    with pytest.raises(ToolError, match="exit code 0, but without yolact_edge_bs3.om"):
        copied(force="compile")
    assert not copied.folder.om(3).exists() and not copied.folder.sidecar(3).exists()


@pytest.mark.parametrize(("suffix", "is_fresh"), [("_linux_aarch64", True), ("_linux_x86_64", True), ("", False)])
def test_an_atc_for_another_system_names_its_file_otherwise(copied, monkeypatch, tmp_path, capfd, suffix, is_fresh):
    """It appends the system to the prefix; a file of that name from before is not taken for its result."""
    fake = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", fake)
    prefix = copied.folder.om_prefix(3)
    made = f"touch {prefix}{suffix}.om" if is_fresh else "true"
    (fake / "bin" / "atc").write_text(f"#!/bin/sh\n{made}\necho 'ATC run success, welcome to the next use.'\n")
    monkeypatch.setattr("yolact_ascend.targets.ascend.tools.EMULATION", fake)
    for name in ("_linux_aarch64", "_linux_x86_64"):
        (copied.out / f"{prefix.name}{name}.om").write_text("stale")
    if is_fresh:
        run.run(copied.command(to="compile"))
        assert copied.folder.om(3).stat().st_size == 0
        assert f"{prefix.name}{suffix}.om renamed to {prefix.name}.om" in capfd.readouterr().err
        assert json.loads(copied.folder.sidecar(3).read_text())["om_sha256"] == sha256_file(copied.folder.om(3))
    else:
        with pytest.raises(ToolError, match=r"exit code 0, but without yolact_edge_bs3\.om"):
            run.run(copied.command(to="compile"))
        assert not copied.folder.om(3).exists()
    assert not list(copied.out.glob("*_linux_*"))


def refuse_tools(monkeypatch):
    """Make a run fail as soon as it starts one of CANN's tools."""

    def fail(self, command, *_):
        pytest.fail(f"started {command}")

    monkeypatch.setattr(stages.Stages, "_run_tool", fail)


@pytest.mark.parametrize("mode", ["full", "perf"])
def test_a_model_that_was_replaced_does_not_reach_the_device(copied, monkeypatch, mode):
    """Its size and time are as before, so that no stage is stale."""
    om = copied.folder.om(3)
    status = om.stat()
    om.write_bytes(bytes(status.st_size))
    os.utime(om, ns=(status.st_atime_ns, status.st_mtime_ns))
    refuse_tools(monkeypatch)
    with pytest.raises(ArtifactError, match=r"bs3\.om is not the file that .* om_sha256 is .*from=compile force=comp"):
        copied(mode=mode)


def test_inputs_that_were_replaced_do_not_reach_the_device(copied, monkeypatch):
    """ais_bench takes the batch's files by the size of the first."""
    recipe = copied.folder.inputs / "recipe.json"
    recipe.write_text(recipe.read_text().replace("float32", "uint8"))
    refuse_tools(monkeypatch)
    with pytest.raises(ArtifactError, match=r"'uint8'\], expected float32 NCHW \[3, 550, 550\].*force=preprocess"):
        copied(force="infer")


@pytest.mark.parametrize("words", [{"from": "infer"}, {"mode": "perf", "from": "benchmark"}], ids=["full", "perf"])
def test_a_model_that_was_compiled_by_hand_is_told_what_to_do(copied, words):
    copied.folder.sidecar(3).unlink()
    (copied.folder.records / "compile_bs3.json").unlink()
    with pytest.raises(UsageError) as caught:
        copied(**words)
    said = str(caught.value)
    assert said.startswith(f"from={words['from']} needs compile bs3 to be done, but: not done yet. Start there instead")
    assert re.search(r"nothing says what yolact_edge_bs3\.om was compiled from.* from=compile force=compile\.$", said)


def test_a_disk_that_is_too_small_is_said_before_any_work(copied, monkeypatch, capfd):
    monkeypatch.setattr("yolact_ascend.pipeline.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    refuse_tools(monkeypatch)
    shutil.rmtree(copied.folder.outputs(3))
    (copied.folder.records / "infer_bs3.json").unlink()
    with pytest.raises(
        UsageError, match=r"^This run would write 0\.0\d GB more to .* 0\.00 GB are free\. Take .*out=DIR"
    ):
        copied()
    assert re.search(r"^  infer bs3 +(0\.0\d) +\1 +-0\.0\d$", capfd.readouterr().err, re.MULTILINE)


def test_a_full_disk_is_no_matter_where_nothing_is_to_be_written(copied, monkeypatch, capfd):
    monkeypatch.setattr("yolact_ascend.pipeline.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    assert copied() == []
    assert "writes" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (255, "atc failed with exit code 255. The command was: atc --model "),
        (0, "atc ended with exit code 0, but without its line 'ATC run success'. The command was: atc --model "),
    ],
)
def test_a_failed_atc_is_explained(copied, monkeypatch, tmp_path, code, said):
    fake = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", fake)
    message = "E19010: No parser is registered for Op [grid_sampler_3140, optype [ai.onnx::11::grid_sampler]]."
    (fake / "bin" / "atc").write_text(f"#!/bin/sh\necho 'ATC run failed'; echo '{message}'; exit {code}\n")
    monkeypatch.setattr("yolact_ascend.targets.ascend.tools.EMULATION", fake)
    with pytest.raises(ToolError) as caught:
        copied(force="compile")
    first, *lines = str(caught.value).splitlines()
    log = copied.folder.log("compile_bs3")
    assert first.startswith(said)
    assert lines[:-1] == ["Its last lines:", "  ATC run failed", f"  {message}", f"Its whole output: {log}"]
    assert lines[-1].startswith("E19010: this CANN has no ONNX parser") and "opset 11" in lines[-1]
    assert message in log.read_text()


def test_perf_mode_needs_no_data_set(copied, capfd):
    assert copied(mode="perf", bs="1,2", loop="2", coco="nowhere") == [
        *("compile bs1", "compile bs2", "benchmark bs1", "benchmark bs2")
    ]
    report = copied.report()
    assert report["mode"] == "perf" and report["dataset"] is None
    assert [(r["batch_size"], r["batches"], r["input"]) for r in report["results"]] == [
        (1, 2, "zeros"),
        (2, 2, "zeros"),
    ]
    assert report["results"][0]["box"] is None
    assert "zeros" in copied.folder.report_md.read_text()
    assert copied(mode="perf", bs="1", loop="2") == []
    assert copied(mode="perf", bs="1", loop="3") == ["benchmark bs1"]


def test_a_benchmark_of_random_values_or_images_leaves_only_its_timings(copied, monkeypatch, capfd):
    seen = []
    real = stages.run_tool

    def look(command, env, log=None, explain=None, pass_fds=()):
        if "--input" in command:
            batch = Path(command[command.index("--input") + 1])
            assert batch.stat().st_mode & 0o777 == 0o640 and batch.parent.stat().st_mode & 0o777 == 0o750
            first = np.fromfile(batch, np.float32, INPUT.size_bytes // 4).tobytes()
            seen.append((batch.stat().st_size / INPUT.size_bytes, first == before, "--batchsize=5" in command))
        return real(command, env, log, explain, pass_fds)

    monkeypatch.setattr(stages, "run_tool", look)
    before = (copied.folder.inputs / "bin_file" / "0.bin").read_bytes()
    words = {"mode": "perf", "bs": "5", "loop": "2"}
    assert copied(**words, input="random", coco="nowhere") == ["compile bs5", "benchmark bs5"]
    assert copied.report()["results"][0]["input"] == "random"
    assert copied(**words, input="dataset") == ["benchmark bs5"]
    (result,) = copied.report()["results"]
    assert (result["input"], result["batches"], result["batch_size"]) == ("dataset", 2, 5)
    assert copied(**words, input="dataset") == []
    # 4 images fill a batch of 5: the fifth is the first again.
    assert seen == [(5, False, True), (5, True, True)]
    assert "| 310P3 (emulated) | 5 | dataset |" in copied.folder.report_md.read_text()
    left = {path.name for path in (copied.out / "bs5").rglob("*")}
    assert left == {"perf", "perf_summary.json"}
    change_image(copied)
    assert copied(**words, input="dataset") == ["benchmark bs5"]


def test_a_benchmark_that_fails_leaves_no_batch(copied, monkeypatch):
    def fail(*_):
        assert copied.folder.benchmark_input(3).exists()
        raise ToolError("failed")

    monkeypatch.setattr(stages.Stages, "_run_tool", fail)
    with pytest.raises(ToolError):
        copied(mode="perf", input="random")
    assert not copied.folder.benchmark_input(3).parent.exists()


def test_a_benchmark_of_images_needs_those_of_its_batch(copied):
    (copied.coco / "val2017" / "000000000002.jpg").unlink()  # the third by the annotations' order
    with pytest.raises(DatasetError, match=r"1 of 3 images .* the first is 000000000002\.jpg"):
        copied(mode="perf", input="dataset")


def detections(run: Run, batch_size: int = 3) -> list[bytes]:
    return [run.folder.bbox_detections(batch_size).read_bytes(), run.folder.mask_detections(batch_size).read_bytes()]


@pytest.mark.parametrize(("npus", "limit"), [("1,0", 4), ("0,1,2", 2)])  # a device with less work, one without any
def test_devices_divide_the_images_and_the_detections_stay(copied, monkeypatch, capfd, npus, limit):
    """Images that do not go up in devices and batches, and fewer of them than devices."""
    monkeypatch.setenv("EMULATED_NPUS", "3")
    copied(limit=str(limit))
    expected = detections(copied)
    used = [int(npu) for npu in npus.split(",")][:limit]
    assert copied(limit=str(limit), npus=npus) == ["infer bs3", "postprocess bs3"]
    assert detections(copied) == expected
    outputs = copied.folder.outputs(3)
    assert len(list(outputs.iterdir())) == 6 * limit and all(path.is_file() for path in outputs.iterdir())
    report = copied.report()
    assert report["device"]["npus"] == [int(npu) for npu in npus.split(",")]
    (result,) = report["results"]
    assert (result["npus"], result["batches"]) == (used, len(used))  # each has fewer than a batch
    summary = json.loads(copied.folder.summary(3).read_text())
    if len(used) > 1:
        assert [entry["device"] for entry in summary["devices"]] == used
        total = sum(entry["throughput"] for entry in summary["devices"])
        assert result["throughput_images_per_s"] == pytest.approx(total, abs=1e-3)
    assert ("so few are the images" in capfd.readouterr().err) == (len(used) < len(report["device"]["npus"]))
    assert copied(limit=str(limit), npus=npus) == []


@pytest.mark.parametrize("batch", ["random"])
def test_perf_mode_runs_the_loop_on_every_device(copied, monkeypatch, batch):
    monkeypatch.setenv("EMULATED_NPUS", "2")
    assert copied(mode="perf", loop="2", npus="0,1", input=batch) == ["benchmark bs3"]
    (result,) = copied.report()["results"]
    assert (result["batches"], result["npus"]) == (4, [0, 1])
    assert list((copied.folder.run(3) / "perf").iterdir()) == []


def test_a_device_that_is_not_there_is_said_before_any_work(copied):
    with pytest.raises(UsageError, match="npus=0,1: npu-smi info shows no device 1"):
        copied(npus="0,1")


@pytest.mark.ais_bench
@pytest.mark.parametrize("package", real_packages())
def test_the_real_ais_bench_divides_the_images_as_well(copied, monkeypatch, tmp_path, package):
    """Each release in its own way, on the emulated runtime: 4 images as 2, 1, 1, or as 2, 2; none is left out."""
    real = real_tool_in(Path(package), tmp_path / "shim")
    fake = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", fake)
    shutil.rmtree(fake / "ais_bench")
    shutil.copytree(Path(package) / "ais_bench", fake / "ais_bench")
    shutil.copy(tmp_path / "shim" / "pkg_resources.py", fake)
    monkeypatch.setattr("yolact_ascend.targets.ascend.tools.EMULATION", fake)
    monkeypatch.setenv("EMULATED_ACLRUNTIME", real.year)
    monkeypatch.setenv("EMULATED_NPUS", "3")
    copied()
    expected = detections(copied)
    assert copied(npus="0,1,2") == ["infer bs3", "postprocess bs3"]
    assert detections(copied) == expected
    assert copied.report()["results"][0]["npus"] == ([0, 1] if real.year == "2023" else [0, 1, 2])
    assert copied(mode="perf", loop="2", npus="0,1", input="random")[-1] == "benchmark bs3"
    assert copied.report()["results"][0]["batches"] == 4


def git_apply_numstat() -> str:
    """Added lines, removed lines and name of each file that the patch changes."""
    command = ["git", "apply", "--numstat", str(CHECKOUT / "patches" / "yolact_edge.patch")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.upstream
def test_a_run_from_upstream_patches_it_first_and_records_it(small_weights, upstream_dir, tmp_path):
    """With a network that upstream has; our own export lies there already."""
    run = Run(tmp_path / "w", small_weights, write_coco(tmp_path / "w" / "coco"))
    run.words["config"] = SMALL_CONFIG.name
    run.run(run.command(to="export"))
    files = [line.split("\t")[2] for line in git_apply_numstat().splitlines()]
    subprocess.run(["git", "-C", upstream_dir, "checkout", "--quiet", "--force", "HEAD", "--", *files], check=True)
    redone = run(upstream=str(upstream_dir))
    assert redone[:2] == ["patch", "export"]
    assert run.report()["model"]["network"].startswith("upstream yolact_edge @ a9a0028")
    assert run(upstream=str(upstream_dir)) == []


def test_a_stream_ends_in_the_same_results_and_leaves_no_inputs_and_outputs(copied, finished, monkeypatch):
    shutil.rmtree(copied.folder.inputs)
    shutil.rmtree(copied.folder.run(3))
    assert copied(stream="1") == ["stream bs3"]
    names = {path.name for path in copied.folder.run(3).iterdir()}
    assert names == {"bbox_detections.json", "mask_detections.json", "scores.json", "stream_summary.json"}
    for name in ("bbox_detections.json", "mask_detections.json"):
        assert (copied.folder.run(3) / name).read_bytes() == (finished.folder.run(3) / name).read_bytes()
    assert not copied.folder.inputs.exists()
    (result,), (before,) = copied.report()["results"], finished.report()["results"]
    assert copied.report()["stream"] and not finished.report()["stream"]
    assert (result["mask"], result["images"], result["batches"]) == (before["mask"], 4, 2)
    assert set(before["way"]["core_ms_per_image"]) - set(result["way"]["core_ms_per_image"]) == {"write", "read"}
    assert copied(stream="1") == []
    monkeypatch.setenv("EMULATED_NPUS", "2")
    assert copied(stream="1", npus="0,1", workers="1") == ["stream bs3"]
    assert copied.report()["results"][0]["npus"] == [0, 1]
    for name in ("bbox_detections.json", "mask_detections.json"):
        assert (copied.folder.run(3) / name).read_bytes() == (finished.folder.run(3) / name).read_bytes()


def test_one_work_folder_goes_from_cut_to_stream_to_aipp(copied):
    """In float32, where who computes the heads makes no difference that a detection shows."""
    words = {"precision": "fp32"}
    assert copied(**words, stream="1") == ["compile bs3", "stream bs3"]
    expected = detections(copied)
    assert all(map(json.loads, expected))
    words["cut"] = "heads"
    assert copied(**words) == ["export", *PER_BATCH]
    sidecar = json.loads(copied.folder.sidecar(3).read_text())
    assert (sidecar["cut"], len(sidecar["outputs"])) == (copied.report()["model"]["cut"], 4) == ("heads", 4)
    assert detections(copied) == expected
    words["stream"] = "1"
    assert copied(**words) == ["stream bs3"]
    assert detections(copied) == expected
    words["aipp"] = "1"
    assert copied(**words) == ["compile bs3", "stream bs3"]
    sidecar = json.loads(copied.folder.sidecar(3).read_text())
    assert (sidecar["cut"], sidecar["input"]["dtype"]) == ("heads", "uint8")


def test_a_stream_goes_on_without_an_image_that_cannot_be_decoded(copied, capfd):
    (copied.coco / "val2017" / "000000000003.jpg").write_bytes(b"no photograph")
    assert copied(stream="1") == ["stream bs3"]
    (result,) = copied.report()["results"]
    assert (result["images"], result["failed"]) == (3, [3])
    assert copied.report()["overlays"] == [f"overlays/{image_id:012d}.jpg" for image_id in (1, 2, 4)]
    text = copied.folder.report_md.read_text()
    assert "**Not scored**, because they could not be decoded: image 3." in text
    assert "000000000003.jpg" in capfd.readouterr().err


def test_the_report_tells_the_way_of_an_image(finished):
    (result,) = finished.report()["results"]
    way = result["way"]
    steps = ["decode", "resize", "write", "read", "heads", "detect", "masks", "RLE", "eval"]
    assert list(way["core_ms_per_image"]) == steps and all(ms > 0 for ms in way["core_ms_per_image"].values())
    assert way["total_core_ms_per_image"] == pytest.approx(sum(way["core_ms_per_image"].values()), abs=1e-3)
    assert way["cores_for_one_card"] == pytest.approx(0.27 * way["total_core_ms_per_image"], abs=0.01)
    assert way["device_ms_per_image"] == pytest.approx(1000 / result["throughput_images_per_s"], rel=1e-3)
    passed = [stage for stage in finished.report()["stages"] if stage["name"] in ("preprocess", "infer", "postprocess")]
    seconds = sum(stage["seconds"] for stage in passed)
    assert way["end_to_end_images_per_s"] == pytest.approx(4 / seconds, rel=0.01)
    assert "## The way of an image" in finished.folder.report_md.read_text()
