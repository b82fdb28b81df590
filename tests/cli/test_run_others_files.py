"""What a run does about files that are not its own, and about another program in its folder."""

import subprocess
import sys

import pytest
from runs import refuse_tools

from yolact_ascend.cli.main import main
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.errors import UsageError

FIRST = "000000000001.jpg"
HOLD = """
import sys
from pathlib import Path
from yolact_ascend.folders import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


def test_pictures_of_others_stay_also_behind_a_link_and_under_a_name_of_ours(copied, tmp_path):
    """`overlays` becomes a link to a folder with a picture that is called as one of the run's was."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name in (FIRST, "mine.jpg"):
        (photographs / name).write_text("precious")
    for path in copied.folder.overlays.iterdir():
        path.unlink()
    copied.folder.overlays.rmdir()
    copied.folder.overlays.symlink_to(photographs)
    for _ in range(2):
        assert copied(force="postprocess") == ["postprocess bs3"]
        assert "overlays/000000000001_2.jpg" in copied.report()["overlays"]
        assert {path.name for path in photographs.glob("*1*.jpg")} == {FIRST, "000000000001_2.jpg"}
    assert [(photographs / name).read_text() for name in (FIRST, "mine.jpg")] == ["precious", "precious"]


@pytest.mark.parametrize(
    "name",
    [
        *("yolact_edge.onnx", "yolact_edge_bs3.om", "yolact_edge_bs3_linux_aarch64.om", "yolact_edge_bs3.om.json"),
        *("inputs/bin_file/0.bin", "bs3/output/0_0.bin", "bs3/mask_detections.json", "bs3/scores.json", "report.md"),
    ],
)
def test_a_file_of_others_in_the_place_of_a_result_is_refused_before_any_work(copied, tmp_path, monkeypatch, name):
    refuse_tools(monkeypatch)
    path = tmp_path / "new" / name
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(UsageError, match=r"was not made by an earlier run in this folder.*: out=DIR"):
        run_stages(copied.command(out=str(tmp_path / "new")))
    assert path.read_text() == "precious"
    assert {found.name for found in path.parents[name.count("/")].iterdir()} <= {name.split("/")[0], ".lock"}


def test_a_lock_that_is_a_link_is_refused_and_its_target_stays(copied, tmp_path):
    foreign = tmp_path / "thesis.txt"
    foreign.write_text("precious")
    (copied.out / ".lock").unlink()
    (copied.out / ".lock").symlink_to(foreign)
    with pytest.raises(UsageError, match=r"\.lock is a link to .*thesis\.txt"):
        copied()
    assert foreign.read_text() == "precious"


def test_a_work_folder_and_a_folder_in_it_may_be_links_to_another_disk(copied, tmp_path):
    disk = tmp_path / "disk"
    copied.folder.run(3).rename(disk)
    copied.folder.run(3).symlink_to(disk)
    linked = tmp_path / "linked"
    copied.out.rename(tmp_path / "moved")
    linked.symlink_to(tmp_path / "moved")
    copied.words["out"] = str(linked)
    run_stages(copied.command(to="infer"))
    assert len(list((disk / "output").iterdir())) == 4 * 6


@pytest.mark.parametrize("verb", ["preprocess", "postprocess", "export"])
def test_a_verb_by_hand_waits_for_no_run_and_harms_none(copied, capsys, verb):
    data = [f"--image_path={copied.coco}/val2017", f"--json_file={copied.coco}/annotations/instances_val2017.json"]
    model = [f"--config={copied.words['config']}", f"--weights={copied.weights}"]
    words = {
        "preprocess": [*data, model[0], f"--save_path={copied.folder.inputs}", "--limit=3"],
        "postprocess": [*data, *model, f"--file_path={copied.folder.outputs(3)}"],
        "export": [*model, f"--output={copied.folder.onnx}"],
    }[verb]
    before = {path: path.stat().st_mtime_ns for path in copied.out.rglob("*.*")}
    run = subprocess.Popen(
        [sys.executable, "-c", HOLD, copied.out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert run.stdout.readline() == "held\n"
        assert main([verb, *words]) == 2
    finally:
        run.communicate("\n")
    assert f"still using {copied.out}" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in copied.out.rglob("*.*")} == before
