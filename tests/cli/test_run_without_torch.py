"""After the export: runs without PyTorch and without the weights, to the bytes of a run with both.

A host without PyTorch is played: a sitecustomize.py in every Python refuses to import it.
"""

import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from factories import QUICK_CONFIG, write_coco
from runs import Run, change_weights, read_detections

from yolact_ascend import sources
from yolact_ascend.analysis import doctor
from yolact_ascend.checks import FAIL, OK
from yolact_ascend.cli.main import main
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.errors import ArtifactError, NotInstalledError, UsageError, WeightsError
from yolact_ascend.models.config import DEFAULT_CONFIG
from yolact_ascend.models.host_part import heads_file
from yolact_ascend.pipeline import model_source
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.targets.described import read_description
from yolact_ascend.targets.folder import VERDICT, sidecar_file

BLOCKED = "torch is blocked"
BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnxsim"):
            raise ImportError("{BLOCKED}")
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def without_torch(monkeypatch, tmp_path):
    """A host without PyTorch: this process does not find it, and processes that it starts cannot import it."""
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker" / "sitecustomize.py").write_text(BLOCKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "blocker"))
    monkeypatch.setattr("yolact_ascend.process.has_own_packages", lambda: False)  # else -I leaves PYTHONPATH out
    monkeypatch.setattr(model_source, "has_torch", lambda: False)
    asked = subprocess.run([sys.executable, "-P", "-c", "import torch"], capture_output=True, text=True, check=False)
    assert BLOCKED in asked.stderr


def gone(run: Run) -> dict[str, str]:
    """Remove the weights, and return the words that leave weights= and config= to what is there."""
    run.weights.unlink()
    del run.words["weights"], run.words["config"]
    return run.words


def test_all_stages_after_the_export_run_without_it_to_the_same_bytes(copied, without_torch, capfd):
    before, report = read_detections(copied), copied.report()
    gone(copied)
    steps = copied(**{"from": "compile"}, force="compile,preprocess,infer,postprocess")
    assert steps == ["compile bs3", "preprocess", "infer bs3", "postprocess bs3"]
    assert read_detections(copied) == before
    after = copied.report()
    assert after["results"][0]["mask"] == report["results"][0]["mask"]
    classes_from = {"classes_from": "the exported model"}
    assert after["model"] == {**report["model"], **classes_from}  # the record knows the name of the weights
    assert re.search(
        r"Weights: yolact_edge_resnet50_54_800000\.pth is not there, so nothing is exported\. The model is "
        r".*yolact_edge\.onnx, which states config quick_config, cut fpn, 8 classes and weights with sha256",
        capfd.readouterr().err,
    )


def test_an_exported_model_that_was_copied_here_runs_to_the_report(quick_onnx, tmp_path):
    """On each Python, with PyTorch and without: no weights, no record of the export, no config."""
    run = Run(tmp_path, tmp_path / "none.pth", write_coco(tmp_path / "coco", QUICK_CONFIG))
    del run.words["weights"], run.words["config"]
    run.out.mkdir()
    for file in (quick_onnx, heads_file(quick_onnx)):
        shutil.copy(file, run.out)
    assert run() == ["compile bs3", "preprocess", "infer bs3", "postprocess bs3"]
    report = run.report()
    assert report["model"]["config"] == QUICK_CONFIG.name and report["model"]["weights"] == ""
    assert report["model"]["weights_sha256"] == read_description(quick_onnx).weights_sha256
    assert json.loads(run.detections(3)["mask"].read_text())
    assert run.sidecar(3)["command"].startswith("atc --model yolact_edge.onnx --framework 5 --output yolact_edge_bs3 ")
    assert run() == []


def test_a_stream_and_a_benchmark_run_without_it(copied, without_torch):
    before = read_detections(copied)
    gone(copied)
    assert copied(stream="1") == ["stream bs3"]
    assert read_detections(copied) == before
    assert copied(mode="perf", loop="2") == ["benchmark bs3"]


def test_nothing_is_stale_where_the_weights_are_there_and_torch_is_not(copied, without_torch, capfd):
    assert copied() == []
    assert "Weights: PyTorch is not installed, so nothing is exported" in capfd.readouterr().err


def test_other_weights_are_not_taken_for_those_of_the_exported_model(copied, monkeypatch):
    change_weights(copied)
    monkeypatch.setattr(model_source, "has_torch", lambda: False)
    assert model_source.find_exported(copied.weights, True, copied.out) is None


def test_weights_that_need_an_export_end_the_run_before_any_work(tmp_path, monkeypatch, capfd):
    """The demo draws its scenes for ten seconds, and `verify` asks for a report where something fails on the way."""
    monkeypatch.setattr(model_source, "has_torch", lambda: False)
    monkeypatch.chdir(tmp_path)
    said = r"yolact_edge_demo\.pth must be exported, and torch is not installed for .*\. Or export on another host"
    with pytest.raises(NotInstalledError, match=said):
        run_stages(["device=emulation", "bs=1"])
    assert not list(tmp_path.iterdir())
    assert main(["verify", "--device=emulation", "--bs=1"]) == 1
    out, err = capfd.readouterr()
    assert re.search(said, err) and err.endswith("A packed model is checked without it: verify PACK.\n")
    assert "NOT VERIFIED" not in out + err and not (tmp_path / "results" / "verify" / VERDICT).exists()


def test_weights_that_are_not_there_may_be_named_by_the_name_they_had(copied):
    """The command that ran on another host runs here; another name may be a slip of the pen."""
    copied.weights.unlink()
    assert copied() == []
    named = copied.weights.with_name("yolact_edge_qiuck.pth")
    with pytest.raises(WeightsError, match=r"There is no weights file .*qiuck\.pth.* Or leave out weights=, "):
        copied(weights=str(named))


def test_a_model_of_the_demo_points_to_the_weights_that_come_with_this_program(copied, monkeypatch):
    """To leave out weights= would not help: such a model never stands in for them."""
    monkeypatch.setattr(model_source, "_is_of_shipped_weights", lambda found: True)
    gone(copied)
    with pytest.raises(WeightsError, match=r"Or pass weights=.*edge_demo\.pth, of which .*edge\.onnx is\.$"):
        copied()


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ({"config": DEFAULT_CONFIG}, UsageError, f"the exported model is one of {QUICK_CONFIG.name}"),
        ({"cut": "heads"}, UsageError, "cut=heads: the exported model ends at fpn"),
        ({"classes": "a,b,c,d,e,f,g,h"}, UsageError, "the exported model names other classes"),
        ({"force": "export"}, WeightsError, r"no weights file .* Or leave out .*export in from= and force=, to go on"),
        ({"to": "export"}, WeightsError, "There is no weights file"),
    ],
    ids=["config", "cut", "classes", "export forced", "export alone"],
)
def test_what_the_exported_model_does_not_have_is_refused(copied, words, error, said):
    gone(copied)
    with pytest.raises(error, match=said):
        copied(**words)


def test_all_that_can_be_redone_is_by_force(copied, monkeypatch):
    gone(copied)
    assert model_source.find_exported(copied.weights, False, copied.out) is not None
    monkeypatch.setattr("yolact_ascend.cli.orchestration.run_step", lambda step, run, _: pytest.fail(step.label))
    with pytest.raises(pytest.fail.Exception, match="compile bs3"):
        run_stages(copied.command(force="1"))


def test_doctor_says_that_no_weights_are_needed(copied, monkeypatch):
    gone(copied)
    found = dict.fromkeys(("torch", "onnx", "onnxsim"))
    monkeypatch.setattr(doctor, "library_versions", lambda: {**sources.library_versions(), **found})
    checks = {check.name: check for check in doctor.examine(parse_words(copied.command()))}
    assert (checks["weights"].status, checks["libraries"].status) == (OK, OK)
    assert "not needed: a run takes " in checks["weights"].text
    assert doctor.check_libraries().status == FAIL


def test_heads_that_are_not_there_end_the_run_before_any_work(copied):
    gone(copied)
    heads_file(copied.folder.onnx).unlink()
    with pytest.raises(ArtifactError, match=r"There is no .*yolact_edge_heads\.onnx, the heads of yolact_edge\.onnx"):
        copied()


def test_a_damaged_description_is_said_where_it_is_needed(copied):
    description = json.loads(sidecar_file(copied.om(3)).read_text())["description"]
    content = copied.folder.onnx.read_bytes()
    text = json.dumps(description).encode()
    assert text in content
    copied.folder.onnx.write_bytes(content.replace(text, text.replace(b'"schema": 1', b'"schema": 9')))
    gone(copied)
    with pytest.raises(ArtifactError, match="There are no weights to export, and: .* has schema 9, expected 1"):
        copied()


@pytest.fixture
def postprocess(copied, tmp_path, capsys):
    """Return what calls the verb on the run's outputs, and gives its exit code, its files and what it said."""

    def postprocess(*words):
        files = [tmp_path / "box.json", tmp_path / "mask.json"]
        data = [f"--image_path={copied.coco}/val2017", f"--json_file={copied.coco}/annotations/instances_val2017.json"]
        places = [f"--file_path={copied.folder.outputs(3)}", f"--ids_path={copied.folder.inputs}/ids.json"]
        results = [f"--bbox_det_file={files[0]}", f"--mask_det_file={files[1]}"]
        code = main(["postprocess", *words, *data, *places, *results, "--workers=1"])
        found = [file.read_bytes() for file in files] if code == 0 else None
        return SimpleNamespace(code=code, found=found, err=capsys.readouterr().err)

    return postprocess


@pytest.mark.parametrize("name", ["om", "onnx", "both"])
def test_postprocess_takes_the_model_or_the_weights_as_the_guide_types(copied, postprocess, name):
    guide = [f"--trained_model={copied.weights}", f"--config={QUICK_CONFIG.name}"]
    words = {"om": [f"--model={copied.om(3)}"], "onnx": [f"--model={copied.folder.onnx}"]}
    words["both"] = [*words["om"], *guide]
    assert postprocess(*words[name]).found == postprocess(*guide).found == read_detections(copied)


def test_postprocess_writes_the_ids_that_the_data_set_gives_the_classes(copied, postprocess):
    path = copied.coco / "annotations" / "instances_val2017.json"
    data = json.loads(path.read_text())
    for category in data["categories"]:
        category["id"] += 1000
    for annotation in data["annotations"]:
        annotation["category_id"] += 1000
    path.write_text(json.dumps(data))
    found = postprocess(f"--model={copied.om(3)}").found
    assert min(entry["category_id"] for entry in json.loads(found[0])) > 1000
    assert found == postprocess(f"--trained_model={copied.weights}", f"--config={QUICK_CONFIG.name}").found


def test_postprocess_checks_its_flags_against_the_model(copied, postprocess):
    model = f"--model={copied.om(3)}"
    for word, said in (
        (f"--config={DEFAULT_CONFIG}", f"was exported for {QUICK_CONFIG.name}, not for {DEFAULT_CONFIG}"),
        ("--cut=heads", "ends at fpn. Leave out --cut"),
        ("--classes=a,b", "has 8 classes, but the list of names has 2"),
    ):
        done = postprocess(model, word)
        assert done.code != 0 and said in done.err
    change_weights(copied)
    done = postprocess(model, f"--trained_model={copied.weights}")
    assert done.code == 1 and "was made from other weights than" in done.err


def test_the_guides_postprocess_says_what_it_needs_without_torch(copied, postprocess, monkeypatch):
    monkeypatch.setitem(sys.modules, "yolact_ascend.models.weights", None)
    done = postprocess(f"--trained_model={copied.weights}", f"--config={QUICK_CONFIG.name}")
    assert done.code == 1
    assert "are made by PyTorch, which cannot be imported" in done.err and "--model=FILE" in done.err
