"""`precision=int8` of a run, on each target that has it: one recipe, one table of ranges, and what is said of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from factories import QUICK_CONFIG, write_coco
from formats import require_valid
from runs import start_own_verbs_here

from yolact_ascend.cli.main import main
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.errors import ArtifactError, DatasetError, UsageError
from yolact_ascend.files import sha256_file
from yolact_ascend.targets.compiled import read_sidecar
from yolact_ascend.targets.folder import QuantizedFiles, WorkFolder, find_qdq_twin, sidecar_file
from yolact_ascend.targets.registry import TARGETS

RECIPE = "quantize:\n  method: minmax\n  images: 2\n  map_budget: null\n"
TARGET_WORDS = {"onnxruntime": [], "openvino": ["device=cpu"], "ascend": ["device=emulation"]}


@pytest.mark.parametrize("target", TARGET_WORDS)
def test_a_run_quantises_compiles_and_reports(target, quick_heads_onnx, tmp_path, capfd, monkeypatch):
    """The exported model stands in for weights, as on a host without PyTorch."""
    pytest.importorskip("onnx")
    pytest.importorskip(target if target != "ascend" else "onnxruntime")
    coco, folder = write_coco(tmp_path / "coco", QUICK_CONFIG), WorkFolder(tmp_path / "r")
    recipe = tmp_path / "own.yaml"
    recipe.write_text(RECIPE)
    folder.root.mkdir()
    shutil.copy(quick_heads_onnx, folder.onnx)
    words = [f"out={folder.root}", f"target={target}", *TARGET_WORDS[target], "precision=int8", f"recipe={recipe}"]
    words += [f"coco={coco}", f"calibration={coco / 'val2017'}", "stream=1", "workers=1"]
    start_own_verbs_here(monkeypatch)
    run_stages(words)

    model = folder.model(1, TARGETS[target].model_suffix)
    report = require_valid(json.loads(folder.report_json.read_text()), "report")
    require_valid(json.loads(sidecar_file(model).read_text()), "sidecar")
    int8, sidecar = report["model"]["int8"], read_sidecar(model)
    assert sidecar.recipe == int8["recipe"] and int8["recipe"]["name"] == "own"
    assert (report["model"]["precision"], sidecar.precision) == ("int8", "int8")
    assert (int8["method"], int8["images"], int8["of_images"]) == ("minmax", 2, 4)
    reasons = {layer["name"]: layer["why"] for layer in int8["float32"]}
    assert len(reasons) == (6 if target == "ascend" else 0)  # of at most 16 input channels: 6 of 61
    assert all("ATC computes it in float" in why for why in reasons.values())
    assert int8["onnx_bytes"] > 2 * int8["int8_bytes"]
    assert any("among the scored ones" in warning for warning in int8["warnings"])
    assert "## INT8" in folder.report_md.read_text() and all(name in folder.report_md.read_text() for name in reasons)

    capfd.readouterr()
    recipe.write_text(f"# the same\n{RECIPE}")
    run_stages(words)
    assert "[quantize] up to date" in capfd.readouterr().err
    recipe.write_text(RECIPE.replace("minmax", "percentile"))
    run_stages([*words, "to=compile"])
    assert "[quantize] running" in capfd.readouterr().err


def test_a_model_with_ascends_operators_is_measured_on_a_second_export(quick_heads_onnx, tmp_path, monkeypatch, capfd):
    """As an R-CNN's; both exported models stand in for weights."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    coco, folder = write_coco(tmp_path / "coco", QUICK_CONFIG), WorkFolder(tmp_path / "r")
    recipe = tmp_path / "own.yaml"
    recipe.write_text(RECIPE)
    folder.root.mkdir()
    model = onnx.load(quick_heads_onnx)
    model.metadata_props.add(key="operators", value="ascend")
    onnx.save(model, folder.onnx)
    words = [f"out={folder.root}", "target=ascend", "device=emulation", "precision=int8", f"recipe={recipe}"]
    calibration = shutil.copytree(coco / "val2017", tmp_path / "calibration")
    words += [f"coco={coco}", f"calibration={calibration}", "to=quantize"]
    start_own_verbs_here(monkeypatch)
    with pytest.raises(ArtifactError, match=r"operators=ascend.* put that beside it as yolact_edge_runnable\.onnx"):
        run_stages(words)
    shutil.copy(quick_heads_onnx, folder.runnable_onnx)
    run_stages(words)
    assert find_qdq_twin(QuantizedFiles(folder.onnx, folder.root).ascend) is not None

    shutil.rmtree(calibration)  # a card's host has the finished folder, and not the training images
    capfd.readouterr()
    run_stages(words)
    assert "[quantize] up to date" in capfd.readouterr().err
    with pytest.raises(DatasetError, match="calibration has none"):
        run_stages([*words, "force=quantize"])


def test_a_recipe_that_needs_annotations_is_refused_before_the_export(quick_heads_onnx, tmp_path):
    coco, folder = write_coco(tmp_path / "coco", QUICK_CONFIG), WorkFolder(tmp_path / "r")
    folder.root.mkdir()
    shutil.copy(quick_heads_onnx, folder.onnx)
    own = tmp_path / "own" / "train"
    shutil.copytree(coco / "val2017", own)
    words = [f"out={folder.root}", "target=onnxruntime", "precision=int8", f"coco={coco}", f"calibration={own}"]
    with pytest.raises(UsageError, match=r"method: best.* one of these places: .*own/train\.json"):
        run_stages(words)
    assert not folder.log("quantize").exists()


@pytest.mark.parametrize("flag", ["--sensitivity", "--map_budget=1", "--held_out=5"])
def test_what_measures_the_map_by_hand_needs_annotations(flag, quick_heads_onnx, tmp_path, capfd):
    write_coco(tmp_path / "coco", QUICK_CONFIG)
    words = [f"--model={quick_heads_onnx}", f"--image_path={tmp_path / 'coco' / 'val2017'}", "--method=minmax", flag]
    assert main(["quantize", *words]) == 2
    assert f"{flag.split('=')[0]} is for measuring the mAP" in capfd.readouterr().err


def test_by_hand_others_files_are_kept_and_one_program_at_a_time_works_in_a_folder(quick_heads_onnx, tmp_path, capfd):
    coco, out = write_coco(tmp_path / "coco", QUICK_CONFIG), tmp_path / "out"
    command = ["quantize", f"--model={quick_heads_onnx}", f"--image_path={coco / 'val2017'}", f"--save_path={out}"]
    files = QuantizedFiles(quick_heads_onnx, out)
    out.mkdir()
    files.record.write_text("mine")
    assert main([*command, "--method=minmax"]) == 2
    assert f"{files.record} was not made by an earlier run in this folder" in capfd.readouterr().err
    files.record.unlink()
    holder = "from yolact_ascend.folders import *\nwith lock_folder(Path(sys.argv[1])): print(flush=True), input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", holder, out], **pipes) as other:
        other.stdout.readline()
        assert main([*command, "--method=minmax"]) == 2
        other.communicate(b"\n")
    assert f"is still using {out}" in capfd.readouterr().err


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["--map_budget=1"], 1)])
def test_annotations_that_nothing_needs_may_be_too_few(flags, code, quick_heads_onnx, tmp_path, capfd):
    """A run finds them by itself; all four images are calibrated on, and none is left to score."""
    coco, recipe = write_coco(tmp_path / "coco", QUICK_CONFIG), tmp_path / "r.yaml"
    recipe.write_text("quantize: {method: minmax, map_budget: null}\n")
    words = [f"--model={quick_heads_onnx}", f"--image_path={coco / 'val2017'}", f"--recipe={recipe}"]
    words += [f"--json_file={coco / 'annotations' / 'instances_val2017.json'}", f"--save_path={tmp_path / 'o'}", *flags]
    assert main(["quantize", *words]) == code
    assert "has no annotated image beside the 4 that are calibrated on" in capfd.readouterr().err


def test_annotations_of_other_images_are_named(quick_heads_onnx, tmp_path, capfd):
    coco = write_coco(tmp_path / "coco", QUICK_CONFIG)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(next((coco / "val2017").glob("*.jpg")), other / "x.jpg")
    annotations = coco / "annotations" / "instances_val2017.json"
    assert main(["quantize", f"--model={quick_heads_onnx}", f"--image_path={other}", f"--json_file={annotations}"]) == 1
    assert f"{other} has none of the 4 images that {annotations} lists" in capfd.readouterr().err


def test_compile_by_hand_knows_which_file_it_has(quick_heads_onnx, tmp_path):
    pytest.importorskip("onnxruntime")
    import onnx

    from yolact_ascend.cli.compile import choose_precision
    from yolact_ascend.compression.qdq import qdq_model

    onnx.save(qdq_model(onnx.load(quick_heads_onnx), []), tmp_path / "q.onnx")
    target = TARGETS["onnxruntime"]
    assert choose_precision(tmp_path / "q.onnx", "", target) == choose_precision(tmp_path / "q.onnx", "int8", target)
    assert choose_precision(quick_heads_onnx, "", target) == "fp32"
    with pytest.raises(UsageError, match="is INT8, expected --precision=int8, found fp32"):
        choose_precision(tmp_path / "q.onnx", "fp32", target)
    with pytest.raises(UsageError, match="is not INT8, .* Make one with `quantize`"):
        choose_precision(quick_heads_onnx, "int8", target)


def test_the_qdq_file_of_the_same_integers_is_known_by_the_hashes(tmp_path):
    """What a packed INT8 model of Ascend's is expected to compute comes from it."""
    ascend, qdq = tmp_path / "m_int8_ascend.onnx", tmp_path / "m_int8_qdq.onnx"
    ascend.write_bytes(b"a")
    assert find_qdq_twin(ascend) is None
    qdq.write_bytes(b"q")
    files = {
        name: {"file": path.name, "sha256": sha256_file(path)} for name, path in (("ascend", ascend), ("qdq", qdq))
    }
    (tmp_path / "m_int8.json").write_text(json.dumps({"files": files}))
    assert find_qdq_twin(ascend) == qdq
    qdq.write_bytes(b"another")
    assert find_qdq_twin(ascend) is None
