"""Runs with other models: precision, AIPP, cut, upstream; and streams."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from factories import CHECKOUT, QUICK_CONFIG, SMALL_CONFIG, random_state_dict, write_coco
from runs import (
    PER_BATCH,
    Run,
    cosine,
    read_detections,
    read_outputs,
)

from yolact_ascend.analysis.compare import compare_runs
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.inputs import UINT8, input_tensor


def test_fp32_compiles_without_float16(copied):
    """Only what follows from the model is stale; its outputs differ by what float16 costs (printed with -s)."""
    before = read_outputs(copied, 3)
    run_stages(copied.command(precision="fp32", to="infer"))
    for k, (one, other) in enumerate(zip(before, read_outputs(copied, 3))):
        print(f"fp32 against fp16, output{k}: cosine {cosine(one, other):.7f}, max-abs {np.abs(one - other).max():.4f}")
        assert cosine(one, other) > 0.999 and not np.array_equal(one, other)  # seen: 0.9997
    sidecar = copied.sidecar(3)
    assert sidecar["command"].endswith(" --precision_mode must_keep_origin_dtype") and sidecar["precision"] == "fp32"
    assert copied(precision="fp32") == ["postprocess bs3"]
    (result,) = copied.report()["results"]
    assert result["precision"] == copied.report()["model"]["precision"] == "fp32"


def test_aipp_takes_a_quarter_of_the_bytes_and_normalises_alike(copied, monkeypatch):
    """Its outputs are those of the ONNX on the same pixels, normalised here in float32; float16 is the difference.

    The config is one that is in no list, as an own one: the inputs are those that the compiled model states.
    """
    monkeypatch.delitem(CONFIGS, QUICK_CONFIG.name)
    assert copied(aipp="1") == ["compile bs3", "preprocess", "infer bs3", "postprocess bs3"]
    bins = [copied.folder.inputs / "bin_file" / f"{index}.bin" for index in range(4)]
    pixels = np.stack([np.fromfile(path, np.uint8) for path in bins]).reshape(
        4, *input_tensor(QUICK_CONFIG, UINT8).shape
    )
    images = (
        (pixels - np.float32(QUICK_CONFIG.preprocessing.mean_rgb)) / np.float32(QUICK_CONFIG.preprocessing.std_rgb)
    ).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(str(copied.folder.onnx), providers=["CPUExecutionProvider"])
    expected = [output.ravel() for output in session.run(None, {"image": images})]
    for k, (one, other) in enumerate(zip(expected, read_outputs(copied, 3))):
        print(f"aipp, output{k}: cosine {cosine(one, other):.7f}, max-abs {np.abs(one - other).max():.4f}")
        # Seen: 0.9989. With means that are one level off it is 0.945 or less, with the deviations in BGR order 0.990.
        assert cosine(one, other) > 0.998
    assert {path.stat().st_size for path in (copied.folder.inputs / "bin_file").iterdir()} == {57_132}
    sidecar = copied.sidecar(3)
    assert sidecar["input"] == {"name": "image", "shape": [3, 138, 138, 3], "dtype": "uint8", "layout": "NHWC"}
    assert sidecar["command"].endswith(f" --insert_op_conf {copied.folder.aipp_config.name}")
    as_compiled = {"precision": "fp16", "aipp": True, "input_dtype": "uint8"}
    report = copied.report()
    assert as_compiled.items() <= report["model"].items() and as_compiled.items() <= report["results"][0].items()
    assert copied(aipp="1") == []


def test_float32_inputs_for_a_model_with_aipp_are_found_afterwards_by_hand(copied, tmp_path):
    """At batch size 4 ais_bench takes each for a whole batch, without a word."""
    run_stages(copied.command(limit="1", to="preprocess"))
    run_stages(copied.command(bs="4", aipp="1", to="compile"))
    (tmp_path / "run").mkdir(mode=0o750)
    commands = f"""
        set -e
        source {CHECKOUT}/emulation/set_env.sh
        python3 -m ais_bench --model {copied.om(4)} --input {copied.folder.inputs}/bin_file/ \\
            --output ./run --output_dirname output
        python3 {CHECKOUT}/postprocess.py --file_path run/output --trained_model {copied.weights} \\
            --config {QUICK_CONFIG.name} --image_path {copied.coco}/val2017 \\
            --json_file {copied.coco}/annotations/instances_val2017.json --ids_path {copied.folder.inputs}/ids.json
    """
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False, env=env
    )
    assert "filesperbatch:1 runcount:1" in result.stdout
    assert result.returncode == 1
    assert re.search(
        r"error: .*_0\.bin holds 331776 bytes, expected 82944 .* That is the size of 4 images: "
        r"were float32 inputs passed to a model with AIPP, .*Run the inference again\.\n$",
        result.stderr,
    )


def test_compare_sees_that_the_model_is_another_than_that_of_the_outputs(copied):
    assert compare_runs(copied.folder.run(3), copied.folder.run(3)).images == 4
    run_stages(copied.command(precision="fp32", to="compile"))
    with pytest.raises(ArtifactError, match=r"made by another model than .*_bs3\.om, .* without stream=1"):
        compare_runs(copied.folder.run(3), copied.folder.run(3))


def take_patch_back(checkout: Path, patch: str) -> None:
    command = ["git", "apply", "--reverse", str(CHECKOUT / "patches" / patch)]
    subprocess.run(command, cwd=checkout, check=True)


@pytest.mark.upstream
def test_a_run_from_upstream_patches_it_first_and_records_it(small_weights, upstream_dir, tmp_path):
    """With a network that upstream has; our own export lies there already."""
    run = Run(tmp_path / "w", small_weights, write_coco(tmp_path / "w" / "coco"))
    run.words["config"] = SMALL_CONFIG.name
    run_stages(run.command(to="export"))
    take_patch_back(upstream_dir, "yolact_edge.patch")
    redone = run(upstream=str(upstream_dir))
    assert redone[:2] == ["patch", "export"]
    assert run.report()["model"]["network"].startswith("upstream yolact_edge @ a9a0028")
    assert run(upstream=str(upstream_dir)) == []


@pytest.mark.yolact
def test_a_run_from_yolact_patches_it_first_and_refuses_it_for_a_config_of_yolact_edge(yolact_dir, tmp_path, capfd):

    config = CONFIGS["yolact_resnet50_config"]
    torch.save(random_state_dict(config), tmp_path / "a.pth")
    run = Run(tmp_path / "w", tmp_path / "a.pth", tmp_path / "coco")
    run.words.update(upstream=str(yolact_dir), to="export")
    take_patch_back(yolact_dir, "yolact.patch")
    with pytest.raises(ToolError, match="its own message is above"):
        run_stages(run.command(config=SMALL_CONFIG.name))
    assert re.search("is a checkout of yolact at 57b8f2d.*, expected yolact_edge at a9a0028", capfd.readouterr().err)
    run_stages(run.command(config=config.name))
    metadata = {entry.key: entry.value for entry in onnx.load(run.folder.onnx).metadata_props}
    assert metadata["network"].startswith("upstream yolact @ 57b8f2d")
    assert "Patched: " in capfd.readouterr().out


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
    expected = read_detections(copied)
    assert all(map(json.loads, expected))
    words["cut"] = "heads"
    assert copied(**words) == ["export", *PER_BATCH]
    sidecar = copied.sidecar(3)
    assert (sidecar["cut"], len(sidecar["outputs"])) == (copied.report()["model"]["cut"], 4) == ("heads", 4)
    assert read_detections(copied) == expected
    words["stream"] = "1"
    assert copied(**words) == ["stream bs3"]
    assert read_detections(copied) == expected
    words["aipp"] = "1"
    assert copied(**words) == ["compile bs3", "stream bs3"]
    sidecar = copied.sidecar(3)
    assert (sidecar["cut"], sidecar["input"]["dtype"]) == ("heads", "uint8")


def require_alike(found, expected):
    """Scores may differ by their last bits; else all is the same."""
    for one, other in zip(map(json.loads, found), map(json.loads, expected)):
        scores, others = ([entry.pop("score") for entry in entries] for entries in (one, other))
        np.testing.assert_allclose(scores, others, rtol=1e-6)
        assert one == other and len(one) > 100


def test_the_graph_chooses_what_the_host_chooses(copied, capfd):
    """Staged and streamed, with a last part batch; more than 1000 anchors of one of the images pass."""
    words = {"precision": "fp32"}
    copied(**words, stream="1")
    expected = read_detections(copied)
    for cut, overfull in (("candidates", 1), ("detections", 0)):
        words["cut"] = cut
        capfd.readouterr()
        assert copied(**words) == ["export", *PER_BATCH]
        require_alike(read_detections(copied), expected)
        (result,) = copied.report()["results"]
        assert (copied.sidecar(3)["cut"], result["overfull_images"]) == (cut, overfull)
        assert ("1 of 4 images had more anchors" in capfd.readouterr().err) == bool(overfull)
    staged = read_detections(copied)
    assert copied(**words, stream="1") == ["stream bs3"]
    assert read_detections(copied) == staged


def test_a_stream_goes_on_without_an_image_that_cannot_be_decoded(copied, capfd):
    (copied.coco / "val2017" / "000000000003.jpg").write_bytes(b"no photograph")
    assert copied(stream="1") == ["stream bs3"]
    (result,) = copied.report()["results"]
    assert (result["images"], result["failed"]) == (3, [3])
    assert copied.report()["overlays"] == [f"overlays/{image_id:012d}.jpg" for image_id in (1, 2, 4)]
    text = copied.folder.report_md.read_text()
    assert "**Not scored**: image_id 3 (could not be decoded)" in text
    assert "000000000003.jpg" in capfd.readouterr().err


@pytest.mark.parametrize("words", [{}, {"cut": "heads"}], ids=["fpn", "heads"])
def test_onnxruntime_finds_what_the_emulation_finds_in_float32(copied, words):
    """The second target, staged and streamed: all four ways end in the same bytes."""
    copied(**words, precision="fp32")
    expected = read_detections(copied)
    assert all(map(json.loads, expected))
    mine = {**words, "target": "onnxruntime", "device": "cpu"}
    assert [label for label in copied(**mine) if label != "export"] == [*PER_BATCH]
    assert read_detections(copied) == expected
    report = copied.report()
    assert (report["device"]["target"], report["device"]["kind"]) == ("onnxruntime", "cpu")
    assert (report["model"]["precision"], report["results"][0]["batches"]) == ("fp32", 2)
    assert copied(**mine) == []
    assert copied(**mine, stream="1") == ["stream bs3"]
    assert read_detections(copied) == expected


def test_onnxruntime_with_the_preprocessing_inside_is_the_same_staged_and_streamed(copied, monkeypatch):
    monkeypatch.delitem(CONFIGS, QUICK_CONFIG.name)  # the inputs are those that the compiled model states
    words = {"target": "onnxruntime", "device": "auto"}
    copied(**words)
    expected = read_detections(copied)
    words["aipp"] = "1"
    assert copied(**words) == ["compile bs3", "preprocess", "infer bs3", "postprocess bs3"]
    assert {path.stat().st_size for path in (copied.folder.inputs / "bin_file").iterdir()} == {57_132}
    # The operations inside are those of the host's transform on whole pixels; resizing rounds to them.
    inside = read_detections(copied)
    assert len(json.loads(inside[0])) == pytest.approx(len(json.loads(expected[0])), rel=0.2)
    assert copied(**words, stream="1") == ["stream bs3"]
    assert read_detections(copied) == inside
    assert copied.report()["model"]["aipp"] is True


def require_what_onnxruntime_finds(copied, words, require_own_report):
    """Staged and streamed, byte for byte the same; of another engine, to the order of float32 sums."""
    copied(target="onnxruntime", device="cpu")
    expected = read_outputs(copied, 3)
    before = {score: copied.report()["results"][0][score]["all"] for score in ("box", "mask")}
    assert copied(**words) == [*PER_BATCH]
    for one, other in zip(read_outputs(copied, 3), expected):
        assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max()
    report = copied.report()
    require_own_report(report)
    for score, value in before.items():
        assert report["results"][0][score]["all"] == pytest.approx(value, abs=0.05)
    staged = read_detections(copied)
    assert copied(**words) == []
    assert copied(**words, stream="1") == ["stream bs3"]
    assert read_detections(copied) == staged


def test_openvino_finds_what_onnxruntime_finds(copied):
    def require_own_report(report):
        assert (report["device"]["target"], report["device"]["computes_in"]) == ("openvino", "fp32")
        assert "precision=fp32 (float32)" in copied.folder.report_md.read_text()

    words = {"target": "openvino", "device": "auto", "threads": "1"}
    require_what_onnxruntime_finds(copied, words, require_own_report)


def test_the_network_itself_finds_what_its_onnx_finds(copied):
    """`target=torch` scores what the export would have changed: nothing beyond the order of float32 sums."""

    def require_own_report(report):
        assert (report["device"]["target"], report["device"]["kind"]) == ("torch", "cpu")

    words = {"target": "torch", "device": "cpu", "threads": "1"}
    require_what_onnxruntime_finds(copied, words, require_own_report)
    assert copied(**words, mode="perf", loop="2") == ["benchmark bs3"]
    assert copied.report()["results"][0]["throughput_images_per_s"] > 0


def is_alike(one, other):
    keys = ("image_id", "category_id")
    is_same = all(one[key] == other[key] for key in keys)
    return is_same and np.abs(np.subtract(one["bbox"], other["bbox"])).max() < 0.5


def test_openvino_takes_whole_images(copied):
    """embed=resize against the host's resize and normalisation: the same objects."""
    words = {"target": "openvino", "device": "cpu", "bs": "1", "stream": "1"}
    assert copied(**words) == ["compile bs1", "stream bs1"]
    expected = json.loads(read_detections(copied, 1)[0])
    assert copied(**words, embed="resize") == ["compile bs1", "stream bs1"]
    found = json.loads(read_detections(copied, 1)[0])
    alike = [any(is_alike(one, other) for other in expected) for one in found]
    # Random weights have many scores that are nearly equal, and at most 100 detections are kept.
    assert len(found) == len(expected) and np.mean(alike) > 0.97
    report = copied.report()
    assert (report["model"]["embed"], report["model"]["aipp"]) == ("resize", True)


def test_openvino_measures_with_its_own_benchmark_app(copied):
    words = {"target": "openvino", "device": "cpu", "mode": "perf", "loop": "4"}
    assert copied(**words) == ["compile bs3", "benchmark bs3"]
    (result,) = copied.report()["results"]
    assert (result["input"], result["precision"]) == ("random", "fp32") and result["batches"] >= 4
    assert result["throughput_images_per_s"] > 0 and result["latency_ms"]["median"] > 0
    assert list(copied.folder.benchmark_outputs(3).iterdir()) == []
    assert copied(**words) == []
    assert copied(**words, threads="1") == ["benchmark bs3"]


def test_onnxruntime_measures_throughput(copied):
    words = {"target": "onnxruntime", "device": "cpu", "mode": "perf", "loop": "3"}
    assert copied(**words) == ["compile bs3", "benchmark bs3"]
    (result,) = copied.report()["results"]
    assert (result["batches"], result["input"]) == (3, "zeros") and result["throughput_images_per_s"] > 0
    assert {path.name for path in copied.folder.run(3).iterdir()} >= {"perf_summary.json"}
    assert copied(**words, input="dataset") == ["benchmark bs3"]
    assert not copied.folder.benchmark_input(3).exists()


def test_a_model_of_another_target_is_not_taken(copied):
    with pytest.raises(UsageError, match=r"from=infer: compile bs3 must run first \(.*\)\. Set from=compile"):
        copied(target="onnxruntime", **{"from": "infer"}, device="cpu")


def test_an_ir_without_its_side_car_is_compiled_again(copied):
    words = {"target": "openvino", "device": "cpu", "to": "compile"}
    run_stages(copied.command(**words))
    model = copied.folder.model(3, ".xml")
    model.with_name(f"{model.name}.json").unlink()
    with pytest.raises(UsageError, match=r"compile bs3 must run first .*There is no .*\.xml\.json, which states what"):
        run_stages(copied.command(target="openvino", device="cpu", **{"from": "infer"}))
