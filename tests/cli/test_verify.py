"""`verify`: a whole run on the stand-ins equals the golden values, and each spoiled file is found."""

from __future__ import annotations

import json
import platform
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import compile_model
from formats import require_valid
from runs import verb_words

from yolact_ascend import process
from yolact_ascend.analysis import verify as stages
from yolact_ascend.analysis.causes import CHANNELS, LAYOUT, OVERFLOW, ROWS, ZEROS
from yolact_ascend.analysis.golden import read_golden
from yolact_ascend.analysis.verdict import Verdict
from yolact_ascend.checks import FAIL, OK, WARN, Check
from yolact_ascend.cli.main import main
from yolact_ascend.environment import RUN_VARIABLE
from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import prepare_pixels
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.pipeline import model_source
from yolact_ascend.pipeline.demo import WEIGHTS
from yolact_ascend.targets.ascend.aipp import aipp_config
from yolact_ascend.targets.ascend.engine import DeviceEngine
from yolact_ascend.targets.compiled import read_sidecar
from yolact_ascend.targets.folder import VERDICT, WorkFolder, input_bin, output_bin
from yolact_ascend.tensors import TensorSpec, read_tensor

CONFIG = CONFIGS[DEMO_CONFIG]
BATCH_SIZE, EMBED = 8, "1"


@pytest.fixture(scope="module")
def verified(exported_elsewhere, tmp_path_factory):
    """A verification on the stand-ins with AIPP: its folder and exit code. Our own stages run in this process."""
    folder = tmp_path_factory.mktemp("verify") / "v"
    exported_elsewhere(folder / f"embed{EMBED}")
    words = ["verify", "--device=emulation", f"--bs={BATCH_SIZE}", f"--embed={EMBED}", f"--out={folder}"]
    run_tool = process.run_tool

    def run_here(command, env, *others, **options):
        if not any(Path(word).name == "yolact_ascend" for word in command):
            return run_tool(command, env, *others, **options)
        with pytest.MonkeyPatch.context() as stage:
            stage.setenv(RUN_VARIABLE, "1")
            assert main(verb_words(command)) == 0
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "run_tool", run_here)
        return folder, main(words)


@pytest.fixture(scope="module")
def golden():
    return read_golden()


@pytest.fixture(scope="module")
def scenes(verified, golden):
    return stages.load_scenes(golden, WorkFolder(verified[0] / "embed1"), CONFIG, EMBED)


@pytest.fixture
def copied(verified, tmp_path) -> WorkFolder:
    """A copy of the run, whose files may be spoiled."""
    return WorkFolder(Path(shutil.copytree(verified[0] / "embed1", tmp_path / "embed1")))


def sidecar_of(folder):
    return read_sidecar(folder.model(BATCH_SIZE, ".om"))


def read_outputs(folder):
    """Each output [N,...] of the run."""
    specs = [TensorSpec.of_sample(output) for output in sidecar_of(folder).outputs]
    outputs = folder.outputs(BATCH_SIZE)
    return [np.stack([read_tensor(output_bin(outputs, i, k), s) for i in range(16)]) for k, s in enumerate(specs)]


def write_outputs(folder, outputs):
    for k, values in enumerate(outputs):
        for i, one in enumerate(values):
            path = output_bin(folder.outputs(BATCH_SIZE), i, k)
            path.unlink()  # the run's own files stay mapped elsewhere
            np.ascontiguousarray(one, np.float32).tofile(path)


def test_the_stand_ins_compute_the_golden_values(verified):
    folder, code = verified
    assert code == 0
    record = require_valid(json.loads((folder / VERDICT).read_text()), "verify")
    assert record["is_equal"] and record["cause"] is None
    assert record["line"].startswith("EQUAL to the golden values within the precision, on CPU emulation of Ascend310P3")
    assert "not an NPU" in record["line"] and record["device"]["kind"] == "cpu-emulation"
    names = ["shipped files", "export embed=1", "inputs embed=1", "outputs bs=8 embed=1", "detections bs=8 embed=1"]
    assert [(check["name"], check["status"]) for check in record["checks"]] == [(name, OK) for name in names]
    (model,) = record["models"]
    assert model["batch_size"] == BATCH_SIZE and model["precision"] == "fp16" and model["embed"] == EMBED
    versions = record["versions"]  # all that docs/hosts.md lists of a host
    assert versions["numpy"] == np.__version__ and versions["machine"] == platform.machine()
    assert versions["aclruntime"] == "0.0.2" and "ais_bench" in versions and "Linux" in versions["system"]


@pytest.mark.parametrize(
    ("spoil", "kind", "said", "images"),
    [
        (lambda outputs: [np.roll(o, 1, axis=0) for o in outputs], ROWS, "0 has those of 15, 1 has those of 0", 16),
        (lambda outputs: [np.repeat(o[::8], 8, axis=0) for o in outputs], ROWS, "1 has those of 0", 14),
        (lambda outputs: [o * (np.arange(16) < 8).reshape(-1, 1, 1, 1) for o in outputs], ZEROS, "image 8, 9, 10", 8),
        (
            lambda outputs: [outputs[0].transpose(0, 2, 3, 1), *outputs[1:]],
            LAYOUT,
            "with axes in the order (1, 2, 0): output0",
            16,
        ),
        (
            lambda outputs: [*outputs[:5], np.where(outputs[5] > 3, np.inf, outputs[5])],
            OVERFLOW,
            "values of output5 are not finite",
            16,
        ),
    ],
    ids=["shifted rows", "the batch's first row", "zeros", "channels last", "overflow"],
)
def test_spoiled_outputs_are_found_and_explained(copied, scenes, spoil, kind, said, images):
    """The outputs of a real run of the stand-ins, spoiled as the fault would."""
    spoiled = spoil(read_outputs(copied))
    write_outputs(copied, [np.ascontiguousarray(o).reshape(16, *r.shape[1:]) for o, r in zip(spoiled, scenes.outputs)])
    check = stages.check_outputs(copied, BATCH_SIZE, sidecar_of(copied), scenes)
    assert check.status == FAIL and check.facts["cause"]["kind"] == kind
    assert said in check.facts["cause"]["text"] and f"Likely cause: {kind} (" in check.text
    assert len(check.facts["wrong_images"]) == images


def test_an_aipp_that_exchanges_channels_is_found(verified, scenes, emulation, tmp_path):
    """The stand-ins compile and compute the fault: rbuv_swap_switch, AIPP's own switch for such pixels."""
    onnx = Path(shutil.copy(verified[0] / "embed1" / "yolact_edge.onnx", tmp_path))
    aipp = tmp_path / "aipp.cfg"
    aipp.write_text(aipp_config(CONFIG.preprocessing).replace("rbuv_swap_switch: false", "rbuv_swap_switch: true"))
    with DeviceEngine(compile_model(onnx, emulation, "swapped", 2, "fp16", aipp), emulation) as engine:
        found = engine.infer([scenes.bins[:2]])
    two = replace(scenes, inputs=scenes.inputs[:2], outputs=tuple(output[:2] for output in scenes.outputs))
    cause = stages.find_cause(stages._evidence(two, found, [0, 1]), scenes.network)
    assert (cause.kind, cause.text) == (f"AIPP: {CHANNELS}", "red and blue are exchanged")


def test_other_inputs_are_found_and_explained(copied, scenes):
    spec = input_tensor(CONFIG, "uint8")
    path = input_bin(copied.inputs, 3)
    right = read_tensor(path, spec).copy()

    def check_with(values):
        path.unlink()
        values.tofile(path)
        return stages.check_inputs(copied, scenes)

    check = check_with(np.ascontiguousarray(right[..., ::-1]))
    assert check.status == FAIL and check.facts["different"] == [3] and check.facts["cause"]["kind"] == CHANNELS
    assert "1 of 16 files are not the golden ones, first 3.bin" in check.text
    check = check_with(np.ascontiguousarray(right.transpose(2, 0, 1)))
    assert check.facts["cause"]["kind"] == LAYOUT
    check = check_with(np.where(right == 255, right, right + 1).astype(np.uint8))  # as another OpenCV may round
    assert check.status == WARN and "at most one level of 255: another build of OpenCV" in check.text
    check = check_with(np.zeros_like(right))
    assert check.status == FAIL and check.facts["cause"]["kind"] == "not known"


@pytest.mark.parametrize(
    ("spoil", "status", "kind"),
    [
        (lambda x: x, OK, None),
        (lambda x: x + np.float32(0.01), WARN, None),  # 0.6 levels: another build of OpenCV
        (lambda x: x[::-1], FAIL, CHANNELS),
        (lambda x: x.transpose(0, 2, 1), FAIL, LAYOUT),
        (lambda x: x * np.float32(0.5), FAIL, "not known"),
    ],
    ids=["right", "rounded otherwise", "channels", "rows and columns", "half"],
)
def test_normalised_inputs_are_compared_and_explained(verified, golden, tmp_path, spoil, status, kind):
    """Inputs of embed=0, made here: the golden ones, and each fault in one of them."""
    onnx = WorkFolder(verified[0] / "embed1").onnx
    pictures = [decode_image(golden.image_folder / name) for name in golden.images]
    normalised = [prepare_pixels(picture, CONFIG.preprocessing, "float32") for picture in pictures]
    scenes = stages.Scenes(CONFIG, golden.variants["0"], "0", np.stack(normalised), np.stack(normalised), (), onnx)
    folder = WorkFolder(tmp_path)
    input_bin(folder.inputs, 0).parent.mkdir(parents=True)
    for i, one in enumerate(normalised):
        np.ascontiguousarray(spoil(one) if i == 5 else one).tofile(input_bin(folder.inputs, i))
    check = stages.check_inputs(folder, scenes)
    assert check.status == status and check.facts["different"] == ([] if status == OK else [5])
    assert check.facts.get("cause", {}).get("kind") == kind


def test_fewer_detections_with_right_outputs_are_the_hosts(copied, scenes, golden):
    path = copied.detections(BATCH_SIZE, CONFIG.tasks)["box"]
    entries = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps([{**entry, "category_id": 1} for entry in entries]))
    check = stages.check_detections(copied, BATCH_SIZE, golden, scenes)
    assert check.status == FAIL and check.facts["cause"]["kind"] == "postprocess"
    assert check.facts["found"] < check.facts["sure"]


def test_another_map_is_found(copied, scenes, golden):
    path = copied.scores(BATCH_SIZE)
    scores = json.loads(path.read_text())
    scores["mask"]["all"] -= 5
    path.unlink()
    path.write_text(json.dumps(scores))
    assert stages.check_detections(copied, BATCH_SIZE, golden, scenes).status == FAIL


def test_another_network_in_the_onnx_is_the_exports_fault(scenes):
    wrong = replace(scenes, outputs=tuple(output * np.float32(1.01) for output in scenes.outputs))
    check = stages.check_export(wrong)
    assert check.status == FAIL and check.facts["cause"]["kind"] == "export"
    assert stages.check_export(scenes).status == OK


def test_other_weights_and_damaged_scenes_are_no_fault_of_the_device(golden, tmp_path):
    assert stages.check_shipped(golden, WEIGHTS).status == OK
    other = tmp_path / "other.pth"
    other.write_bytes(b"x")
    check = stages.check_shipped(golden, other)
    assert check.status == FAIL and "Restore it: git checkout weights" in check.text
    assert check.facts["cause"] == {
        "kind": "shipped files",
        "text": "other weights; git checkout weights restores them",
    }
    shutil.copytree(golden.folder, tmp_path / "golden")
    (tmp_path / "golden" / "images" / golden.images[1]).unlink()
    shutil.copy(golden.image_folder / golden.images[0], tmp_path / "golden" / "images" / golden.images[1])
    check = stages.check_shipped(replace(golden, folder=tmp_path / "golden"), WEIGHTS)
    assert (
        check.status == FAIL
        and f"1 of 16 scenes are not decoded to the golden pixels, first {golden.images[1]}" in check.text
    )
    (tmp_path / "golden" / "images" / golden.images[1]).unlink()
    (tmp_path / "golden" / "images" / golden.images[2]).write_text("x")
    check = stages.check_shipped(replace(golden, folder=tmp_path / "golden"), WEIGHTS)
    assert check.status == FAIL and check.text.startswith("2 of 16 scenes")
    assert stages.check_shipped(golden, tmp_path / "missing.pth").status == FAIL


def test_the_first_cause_is_named_and_a_failed_stage_is_one():
    cause = {"kind": ROWS, "text": "0 has those of 1"}
    failed = Check("outputs bs=8 embed=1", FAIL, "lowest cosine 0.2", {"cause": cause})
    later = Check("detections bs=8 embed=1", FAIL, "", {"cause": {"kind": "postprocess", "text": ""}})
    verdict = Verdict((Check("shipped files", OK, ""), failed, later), "Ascend310P3, device 0", {}, {}, ())
    assert verdict.line() == (
        "NOT EQUAL to the golden values on Ascend310P3, device 0, from 'outputs bs=8 embed=1' on. Likely cause: "
        "another image's rows (0 has those of 1)."
    )
    verdict = Verdict(
        (Check("run embed=0", FAIL, "atc failed with exit code 3."),), "Ascend310P3, device 0", {}, {}, ()
    )
    assert verdict.line() == "NOT VERIFIED on Ascend310P3, device 0: 'run embed=0' failed. atc failed with exit code 3."
    assert verdict.to_json()["is_equal"] is False and verdict.cause is None
    said = "atc failed with exit code 1. The command was: atc --model m\nIts last lines:\n  E1\nE1: an internal error."
    verdict = Verdict((Check("run embed=0", FAIL, said),), "a card", {}, {}, ())
    assert verdict.line().endswith("'run embed=0' failed. atc failed with exit code 1. E1: an internal error.")


def test_a_stage_that_fails_is_recorded_and_ends_with_code_1(tmp_path, monkeypatch, capsys):
    def fail(words):
        raise ToolError("atc failed with exit code 3 in /home/maria/v. Is the disk full (out=DIR)?")

    monkeypatch.setattr("yolact_ascend.cli.orchestration.run_stages", fail)
    assert main(["verify", "--device=emulation", f"--out={tmp_path / 'v'}"]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "error: NOT VERIFIED on CPU emulation" in said.err
    assert f"verify.json and the file of `doctor --bundle=report.zip out={tmp_path / 'v'}`" in said.err
    assert "(--out=DIR)" in said.err
    checks = json.loads((tmp_path / "v" / VERDICT).read_text())["checks"]
    assert [check["name"] for check in checks] == ["shipped files", "run embed=0", "run embed=1"]
    assert "in /home/<user>/v" in checks[1]["text"]  # the record is pasted into an issue
    assert stat.S_IMODE((tmp_path / "v" / VERDICT).stat().st_mode) & 0o022 == 0


def test_without_pytorch_a_pack_is_what_can_be_verified(tmp_path, monkeypatch, capsys):
    """Until the demo's exported model is in the folder."""
    monkeypatch.setattr(model_source, "has_torch", lambda: False)
    assert main(["verify", "--device=emulation", f"--out={tmp_path / 'v'}"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "yolact_edge_demo.pth must be exported, and torch is not installed for " in said
    assert said.endswith(" A packed model is checked without it: verify PACK.")
    assert "report" not in said and not (tmp_path / "v" / VERDICT).exists()


@pytest.mark.needs("torch")
def test_a_folder_that_no_run_takes_is_nothing_to_report(tmp_path, capsys):
    folder = tmp_path / "v" / "embed0"
    folder.mkdir(parents=True)
    (folder / "yolact_edge.onnx").write_text("mine")
    assert main(["verify", "--target=onnxruntime", "--bs=1", "--embed=0", f"--out={tmp_path / 'v'}"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("choose another folder: --out=DIR.") and "EQUAL" not in said and "report" not in said
    assert (folder / "yolact_edge.onnx").read_text() == "mine"
    assert not (tmp_path / "v" / VERDICT).exists()


def test_damaged_scenes_are_restored_and_not_reported(golden, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("yolact_ascend.cli.orchestration.run_stages", lambda words: None)
    monkeypatch.setattr("yolact_ascend.cli.verify._verify_variant", lambda *_: ([], []))
    damaged = replace(golden, pixels_sha256=("0" * 64, *golden.pixels_sha256[1:]))
    monkeypatch.setattr("yolact_ascend.analysis.golden.read_golden", lambda: damaged)
    assert main(["verify", "--target=onnxruntime", "--bs=1", "--embed=0", f"--out={tmp_path / 'v'}"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "Likely cause: shipped files (scenes are damaged; git checkout golden restores them)." in said
    assert "report" not in said


def test_outputs_that_postprocess_refuses_are_compared_all_the_same(verified, tmp_path, monkeypatch):
    """Values that are not finite end `postprocess`, and the outputs have the cause."""

    def play(words):
        if "to=infer" in words:
            shutil.copytree(verified[0] / "embed1", tmp_path / "v" / "embed1")
        else:
            raise ArtifactError("0_0.bin to 0_5.bin give values that are not finite numbers.")

    monkeypatch.setattr("yolact_ascend.cli.orchestration.run_stages", play)
    assert main(["verify", "--device=emulation", "--bs=8", "--embed=1", f"--out={tmp_path / 'v'}"]) == 1
    checks = json.loads((tmp_path / "v" / VERDICT).read_text())["checks"]
    assert [check["name"] for check in checks][-2:] == ["outputs bs=8 embed=1", "postprocess embed=1"]
    assert checks[-1]["status"] == FAIL and "not finite" in checks[-1]["text"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target=onnxruntime", "--embed=resize"], "--embed=resize: expected one of 0, 1, or all."),
        (["--target=onnxruntime", "--device=npu"], "device=npu: expected one of auto, cpu"),
        (["--device=emulation", "--soc=Ascend310P3", "--npu=7"], "7"),
    ],
    ids=["embed", "device", "npu"],
)
def test_bad_flags_are_refused_before_any_work(tmp_path, capsys, words, said):
    assert main(["verify", *words, f"--out={tmp_path / 'v'}"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "v" / VERDICT).exists()
