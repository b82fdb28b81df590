"""What a second run redoes, what it keeps, and what a kill leaves."""

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from factories import CHECKOUT, QUICK_CONFIG
from runs import (
    ALL,
    PER_BATCH,
    change_annotations,
    change_image,
    change_weights,
    kill_in,
    verb_words,
)

from yolact_ascend import sources
from yolact_ascend.cli import main
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ToolError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.process import Runner


def test_a_second_run_redoes_nothing_and_says_so(copied, capfd):
    before = {path: path.stat().st_mtime_ns for path in copied.out.rglob("*.bin")}
    assert copied() == []
    said = capfd.readouterr().err
    assert "Every stage is up to date; nothing was run." in said and "%|" not in said  # no bar: it is no terminal
    assert {path: path.stat().st_mtime_ns for path in copied.out.rglob("*.bin")} == before
    assert [stage["status"] for stage in copied.report()["stages"]] == ["fresh"] * 5
    assert copied(lang="zh") == [] and copied.report()["lang"] == "zh"
    assert copied.markdown().startswith("# yolact-ascend 推理报告\n")


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        # Only the head's bias changes, which is not in the graph: the ONNX is another (its metadata), and all after.
        (change_weights, ["export", *PER_BATCH]),
        (change_image, ["preprocess", "infer bs3", "postprocess bs3"]),
        (change_annotations, ["postprocess bs3"]),
        # The .om names the paths that it was compiled from, so that it is another one in the copied folder.
        (lambda run: run.om(3).unlink(), list(PER_BATCH)),
        (lambda run: (run.folder.outputs(3) / "2_4.bin").unlink(), ["infer bs3", "postprocess bs3"]),
        (lambda run: run.folder.scores(3).unlink(), ["postprocess bs3"]),
    ],
    ids=["weights", "an image", "annotations", "om lost", "an output lost", "scores lost"],
)
def test_a_change_redoes_exactly_what_depends_on_it(copied, change, redone):
    change(copied)
    assert copied() == redone
    assert copied() == []


def test_flags_redo_exactly_what_depends_on_them(copied, capfd):
    assert copied(bs="2") == ["compile bs2", "infer bs2", "postprocess bs2"]
    assert copied(bs="3,2") == []
    capfd.readouterr()
    assert copied(limit="2", bs="2") == ["preprocess", "infer bs2", "postprocess bs2"]
    log = (copied.out / "logs" / "run.log").read_text()
    said = capfd.readouterr().err
    for pattern in (
        r"\[preprocess\] done in .* s; next: infer bs2$",
        r"\[postprocess bs2\] done in .* s; next: report$",
    ):
        assert re.search(pattern, said, re.MULTILINE) and re.search(pattern, log, re.MULTILINE)
    stages = {stage["name"]: stage for stage in copied.report()["stages"]}
    (command,) = stages["infer"]["commands"]
    assert "ais_bench" in command and f" $ {command}\n" in log and stages["infer"]["finished"]
    assert len(list((copied.out / "bs2" / "output").iterdir())) == 2 * 6
    assert copied(limit="2", bs="2", force="postprocess") == ["postprocess bs2"]
    assert copied.report()["dataset"]["images"] == 2


def test_another_stand_in_redoes_what_it_computed(copied, monkeypatch, tmp_path):
    changed = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", changed)
    with (changed / "aclruntime" / "_session.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr("yolact_ascend.targets.ascend.tools.EMULATION", changed)
    assert copied() == ["compile bs3", "infer bs3", "postprocess bs3"]


def test_a_model_with_a_side_car_of_an_earlier_version_is_compiled_again(copied, capfd):
    path = copied.folder.records / "compile_bs3.json"
    record = json.loads(path.read_text())
    del record["inputs"]["sidecar_schema"]
    path.write_text(json.dumps(record))
    run_stages(copied.command(to="compile"))
    assert "[compile bs3] running: changed: sidecar_schema" in capfd.readouterr().err


def test_force_makes_the_inputs_again(copied):
    before = (copied.folder.inputs / "bin_file" / "0.bin").stat().st_mtime_ns
    run_stages(copied.command(to="preprocess", force="preprocess"))
    assert (copied.folder.inputs / "bin_file" / "0.bin").stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("stage", "sign", "lost"),
    [("export", None, ALL), ("infer", "bs3/output/0_0.bin", ALL[ALL.index("preprocess") :])],
    ids=["export", "infer"],
)
def test_a_killed_run_continues(copied, stage, sign, lost):
    shutil.rmtree(copied.folder.inputs)
    for label in lost:
        (copied.folder.records / f"{label.replace(' ', '_')}.json").unlink()
    shutil.rmtree(copied.folder.outputs(3))
    if "export" in lost:
        copied.folder.onnx.unlink()
    assert copied.folder.report_json.exists()
    kill_in(copied.command(), stage, sign and copied.out / sign)
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
    while b"[export" not in (line := process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted: finished work is kept; rerun the same command to resume." in stderr
    assert not (copied.folder.records / "export.json").exists()
    assert not list(copied.out.glob(".*.part"))


def test_old_results_go_before_new_ones_are_made(copied, monkeypatch):
    def fail(*_):
        raise ToolError("failed")

    monkeypatch.setattr(Runner, "run_own", fail)
    with pytest.raises(ToolError):
        copied(force="postprocess")
    assert not copied.detections(3)[BOX].exists() and not copied.detections(3)[MASK].exists()
    assert not copied.folder.report_json.exists()


def test_a_report_goes_when_the_folder_no_longer_holds_what_it_says(copied):
    copied(**{"from": "report"})
    assert copied.folder.report_json.exists()
    copied.weights.write_bytes(b"broken")
    with pytest.raises(ToolError):
        copied()
    assert not copied.folder.report_json.exists() and not copied.folder.report_md.exists()
    assert not (copied.out / "overlays").exists()


@pytest.mark.parametrize(
    ("modules", "redone"),
    [
        (["training/train.py", "cli/orchestration.py", "report/markdown.py"], []),
        # The model and the host's heads are the same to the byte: what depends on them is fresh.
        (["models/exporter.py"], ["export"]),
        (["images/transforms.py"], ["preprocess"]),
        (["detection/evaluate.py"], ["postprocess bs3"]),
    ],
    ids=["of no stage", "export", "preprocess", "postprocess"],
)
def test_a_comment_in_a_module_redoes_only_the_stages_that_import_it(copied, monkeypatch, tmp_path, modules, redone):
    """Each stage's record hashes the modules that it imports, recursively, and no others."""
    package = tmp_path / "yolact_ascend"
    shutil.copytree(sources.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for module in modules:
        with (package / module).open("a") as file:
            file.write("# a comment\n")
    monkeypatch.setattr(sources, "PACKAGE", package)
    sources.sources_of.cache_clear()
    try:
        run_stages(copied.command(to="report"))
        done = [stage for stage in copied.report()["stages"] if stage["status"] == "done"]
    finally:
        monkeypatch.undo()
        sources.sources_of.cache_clear()
    assert [f"{stage['name']} bs3" if stage["batch_size"] else stage["name"] for stage in done] == redone


def test_two_configs_with_other_means_do_not_share_inputs(copied, monkeypatch):
    """The recipe of the inputs holds the preprocessing: a wrong mAP would be the price."""
    before = (copied.folder.inputs / "bin_file" / "0.bin").read_bytes()
    other = replace(QUICK_CONFIG, preprocessing=replace(QUICK_CONFIG.preprocessing, mean_rgb=(100.0, 100.0, 100.0)))
    monkeypatch.setitem(CONFIGS, QUICK_CONFIG.name, other)
    monkeypatch.setattr(Runner, "run_own", run_in_this_process)
    run_stages(copied.command(to="preprocess"))
    shape = input_tensor(QUICK_CONFIG).shape
    after = np.fromfile(copied.folder.inputs / "bin_file" / "0.bin", np.float32).reshape(shape)
    were = np.frombuffer(before, np.float32).reshape(shape)
    means, std = np.float32(QUICK_CONFIG.preprocessing.mean_rgb), np.float32(QUICK_CONFIG.preprocessing.std_rgb)
    expected = ((means - 100) / std)[:, None, None]
    np.testing.assert_allclose(after - were, np.broadcast_to(expected, shape), atol=1e-5)


def run_in_this_process(runner, command, log=None):
    """A verb, started in this process, whose config was changed."""
    arguments = main.parse_arguments(verb_words(command))
    main.VERBS[arguments.verb].run(arguments)
