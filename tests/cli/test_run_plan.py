"""What a run refuses before any work, and what its plan says."""

import re
import shutil
from types import SimpleNamespace

import pytest
from factories import QUICK_CONFIG, write_coco
from runs import (
    change_image,
    change_weights,
    forget_classes,
    refuse_tools,
)

from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.errors import ArtifactError, DatasetError, ToolError, UsageError, WeightsError
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.targets.ascend import tools
from yolact_ascend.targets.folder import sidecar_file


def test_the_plan_follows_the_named_order(copied, tmp_path, capfd):
    with pytest.raises(UsageError, match="from=infer: compile bs2 must run first"):
        copied(**{"from": "infer"}, bs="3,2")
    plan = re.findall(r"^  ([a-z]+)(?: bs(\d))? ", capfd.readouterr().err, re.MULTILINE)
    assert plan == [
        *(("export", ""), ("compile", "3"), ("compile", "2"), ("preprocess", "")),
        *(("infer", "3"), ("infer", "2"), ("postprocess", "3"), ("postprocess", "2")),
    ]


def test_an_export_needs_no_data_set(copied, capfd):
    shutil.rmtree(copied.coco)
    assert run_stages(copied.command(to="compile")) == "Stopped after compile (to=compile)."
    assert re.findall(r"^  (\S+)", capfd.readouterr().err, re.MULTILINE) == ["export", "compile"]
    with pytest.raises(DatasetError, match="There is no COCO folder"):
        run_stages(copied.command(to="preprocess"))


def test_images_that_are_nowhere_are_asked_for(copied):
    annotations = copied.coco / "annotations" / "instances_val2017.json"
    with pytest.raises(DatasetError, match=r"There is no folder .*nowhere with the images that .*Pass images=DIR"):
        copied(coco=str(copied.coco / "nowhere"), annotations=str(annotations))


def test_another_target_is_the_reason_that_is_named(copied, capfd):
    with pytest.raises(UsageError, match=r"compile bs3 must run first \(changed: target\)"):
        copied(**{"from": "infer"}, target="onnxruntime", device="auto", precision="fp32")


def test_starting_later_needs_a_model_of_these_weights(copied):
    """Else the report would credit the old model's outputs to the new weights."""
    change_weights(copied)
    run_stages(copied.command(to="export"))
    for first in ("preprocess", "infer", "postprocess"):
        with pytest.raises(UsageError, match=rf"from={first}: compile bs3 must run first \(changed: onnx_sha256"):
            copied(**{"from": first})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"precision": "fp32"}, "precision is fp16, expected fp32"),
        ({"aipp": "1"}, r"input is image float32 NCHW .* expected image uint8 NHWC \[3, 138, 138, 3\]"),
    ],
    ids=["precision", "aipp"],
)
def test_starting_later_with_another_model_names_the_difference(copied, words, said):
    with pytest.raises(UsageError, match=rf"from=infer: compile bs3 .*changed: flags.*bs3\.om was .*: {said}"):
        copied(**words, **{"from": "infer"})


def test_starting_later_needs_every_batch_size(copied):
    with pytest.raises(UsageError, match="from=infer: compile bs2 must run first \\(no earlier result\\)"):
        copied(**{"from": "infer"}, bs="3,2")


def test_starting_later_needs_what_comes_before(copied):
    change_image(copied)
    with pytest.raises(UsageError, match="from=infer: preprocess must run first \\(changed: images"):
        copied(**{"from": "infer"})
    with pytest.raises(UsageError, match="from=compile: export must run first \\(no earlier result\\)"):
        copied(**{"from": "compile", "out": str(copied.out.parent / "empty")})


def test_a_range_without_a_stage_is_refused(copied):
    with pytest.raises(UsageError, match="There is nothing to run from patch to patch: the patch stage needs"):
        run_stages(copied.command(to="patch"))


def test_a_path_that_ais_bench_refuses_is_said_before_any_work(copied, tmp_path):
    with pytest.raises(UsageError, match="the work folder is .*out put"):
        copied(out=str(tmp_path / "out put"))
    assert not (tmp_path / "out put").exists()


@pytest.mark.parametrize("words", [{}, {"mode": "perf"}], ids=["acc", "perf"])
def test_an_ais_bench_of_another_command_line_is_said_before_any_work(copied, tmp_path, monkeypatch, words):
    """Not after the export, the compiler and the preprocessing."""

    def refuse(*_):
        raise ToolError("does not list --model")

    monkeypatch.setattr(tools, "ask_flags", refuse)
    monkeypatch.setattr(tools, "_has_our_ais_bench", lambda: False)
    refuse_tools(monkeypatch)
    with pytest.raises(ToolError, match="does not list --model"):
        copied(out=str(tmp_path / "new"), **words)


def test_a_work_folder_that_is_a_file_or_closed_is_said(copied, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="Cannot create the folder"):
        copied(out=str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (
            {"weights": "none.pth"},
            WeightsError,
            f"There is no weights file none.pth. The weights of {QUICK_CONFIG.name} come",
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


def test_unknown_categories_are_said_before_any_work(copied, tmp_path):
    path = copied.coco / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace('"category_id": 108', '"category_id": 109'))
    with pytest.raises(DatasetError, match="category_id 109"):
        copied(out=str(tmp_path / "new"))
    assert not (tmp_path / "new" / "yolact_edge.onnx").exists()


@pytest.mark.parametrize("words", [{"from": "infer"}, {"mode": "perf", "from": "benchmark"}], ids=["full", "perf"])
def test_a_model_that_was_compiled_by_hand_is_told_what_to_do(copied, words):
    sidecar_file(copied.om(3)).unlink()
    (copied.folder.records / "compile_bs3.json").unlink()
    with pytest.raises(UsageError) as caught:
        copied(**words)
    said = str(caught.value)
    assert said.startswith(f"from={words['from']}: compile bs3 must run first (no earlier result). Set from=compile")
    assert re.search(
        r"There is no .*_bs3\.om\.json, which states what yolact_edge_bs3\.om was .* from=compile force=compile\.$",
        said,
    )


def test_a_disk_that_is_too_small_is_said_before_any_work(copied, monkeypatch, capfd):
    monkeypatch.setattr("yolact_ascend.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=10**5))
    monkeypatch.setattr("yolact_ascend.disk.GB", 10**8)  # the images are small ones
    refuse_tools(monkeypatch)
    shutil.rmtree(copied.folder.outputs(3))
    (copied.folder.records / "infer_bs3.json").unlink()
    with pytest.raises(
        UsageError, match=r"^This run would write 0\.0\d GB more to .* 0\.00 GB are free\. Use .*out=DIR"
    ):
        copied()
    assert re.search(r"^  infer bs3 +(0\.0\d) +\1 +-0\.0\d$", capfd.readouterr().err, re.MULTILINE)


def test_a_full_disk_is_no_matter_where_nothing_is_to_be_written(copied, monkeypatch, capfd):
    monkeypatch.setattr("yolact_ascend.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    assert copied() == []
    assert "writes" not in capfd.readouterr().err


def test_weights_of_another_config_end_the_run(copied, tmp_path, capfd, monkeypatch):
    """Before any work where the number of classes shows it, else at the export."""
    monkeypatch.delitem(CONFIGS, QUICK_CONFIG.name)
    forget_classes(copied)
    words = {"config": "yolact_edge_resnet50_config", "coco": str(write_coco(tmp_path / "coco"))}
    with pytest.raises(WeightsError, match="has 8 classes, but .* has 80. Are they weights of yolact_edge_resnet50_c"):
        copied(**words)
    with pytest.raises(ToolError, match="its own message is above"):
        copied(**words, mode="perf")
    assert f"use --config={DEMO_CONFIG}" in capfd.readouterr().err
