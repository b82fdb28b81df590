"""`doctor --bundle`: made from the stand-ins and a work folder, and read back."""

import json
import os
import stat
import zipfile

import pytest

from yolact_ascend.analysis import bundle
from yolact_ascend.cli import main
from yolact_ascend.errors import UsageError
from yolact_ascend.targets.ascend import inspection, installation
from yolact_ascend.targets.ascend.inspection import inspect_tools

SECRET = "hf_abcdef123456"
TAKEN = {
    "report.json": '{"device": {}}',
    "yolact_edge_bs8.om.json": '{"soc_version": "Ascend310P3"}',
    "yolact_edge_aipp.cfg": "aipp_op {}",
    ".stages/compile_bs8.json": "{}",
    "bs8/output_summary.json": "{}",
    "verify/verify.json": '{"is_equal": false}',
    "verify/embed1/.stages/export.json": "{}",
    "verify/embed1/logs/compile_bs8.log": f"[ERROR] in HOME/model.onnx, token {SECRET}\n",
}
LEFT = (
    *("yolact_edge_bs8.om", "yolact_edge.onnx", "inputs/bin_file/0.bin", "inputs/ids.json", "inputs/recipe.json"),
    *("overlays/me.jpg", "demo_data/val2017/1.jpg", "weights.pth", "private.log", "other/logs/mine.log"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of the stand-ins and of a work folder: its path, the texts in it, and what was printed."""
    folder = tmp_path_factory.mktemp("bundle")
    home, out, path = folder / "home" / "maria", folder / "out", folder / "b.zip"
    for name, text in (*TAKEN.items(), *((name, "private") for name in LEFT)):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text.replace("HOME", str(home)))
    (out / "logs").mkdir()
    (out / "logs" / "a.log").symlink_to(out / "private.log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("HF_TOKEN", SECRET)
        patch.setenv("EMULATED_CANN", "7.0")
        patch.chdir(folder)
        code = main.main(["doctor", f"--bundle={path}", "device=emulation", f"out={out}"])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return path, {name: archive.read(name).decode() for name in archive.namelist()}, code


def test_it_holds_the_texts_of_the_tools(made):
    _, texts, _ = made
    assert "310P3" in texts["tools/npu-smi info.txt"] and "[exit code 0]" in texts["tools/npu-smi info.txt"]
    assert "--soc_version" in texts["tools/atc --help.txt"]
    assert "--outfmt" in texts["tools/ais_bench --help.txt"]
    assert "device=emulation was requested" in texts["tools/how the tools were found.txt"]
    assert "numpy" in texts["host.txt"] and "Python 3" in texts["host.txt"]
    assert "EMULATED_CANN=7.0" in texts["environment_of_tools.txt"]


def test_it_holds_checks_and_plan(made):
    _, texts, code = made
    checks = json.loads(texts["doctor.json"])
    assert [check["status"] for check in checks["checks"]].count("FAIL") == f"\n{texts['doctor.txt']}".count("\nFAIL")
    assert code == (0 if checks["is_ready"] else 1)
    assert texts["plan.txt"].startswith(("Device: CPU emulation", "No plan: "))


def test_it_holds_what_runs_wrote_and_nothing_of_others(made):
    _, texts, _ = made
    assert {name.removeprefix("work/") for name in texts if name.startswith("work/")} == set(TAKEN)
    assert texts["work/verify/verify.json"] == TAKEN["verify/verify.json"]


def test_secrets_and_homes_are_replaced(made):
    path, texts, _ = made
    assert texts["work/verify/embed1/logs/compile_bs8.log"] == "[ERROR] in ~/model.onnx, token <redacted>\n"
    assert not [name for name, text in texts.items() if SECRET in text or "private" in text or "/maria" in text]
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0


def test_the_list_comes_before_the_file(tmp_path):
    files = {"doctor.txt": b"OK", "work/report.json": b"{}"}
    said = bundle.describe_bundle(tmp_path / "b.zip", files)
    assert said.splitlines() == [
        f"{tmp_path}/b.zip will hold 2 texts, and no images, weights or models:",
        "          2 bytes  doctor.txt",
        "          2 bytes  work/report.json",
        "Secrets, home folders, user and host names are replaced. Look through the file before you send it.",
    ]
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize(("name", "said"), [("b.tar", "expected a name that ends in .zip"), ("old.zip", "exists")])
def test_a_bad_name_is_refused_before_any_check(tmp_path, capsys, name, said):
    (tmp_path / "old.zip").write_text("kept")
    assert main.main(["doctor", f"--bundle={tmp_path / name}"]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and printed.out == ""
    assert (tmp_path / "old.zip").read_text() == "kept"


def test_a_folder_that_cannot_be_written_is_refused_before_any_check(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is not a folder that this user may write to. Choose another"):
        bundle.require_bundle_path(tmp_path / "file" / "b.zip")
    bundle.require_bundle_path(tmp_path / "new" / "deep" / "b.zip")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UsageError, match=f"{tmp_path} is not a folder"):
        bundle.require_bundle_path(tmp_path / "b.zip")


def test_a_long_log_keeps_its_beginning_and_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "MOST_BYTES", 20)
    (tmp_path / ".stages").mkdir()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "infer_bs1.log").write_text("first" + "." * 100 + "the end")
    texts = bundle.read_work_folder(tmp_path)
    assert texts == {"logs/infer_bs1.log": "fi\n[... 92 bytes left out ...]\n" + "." * 11 + "the end"}


def test_a_tool_that_hangs_is_ended_and_that_is_said(fake_cann, monkeypatch):
    """npu-smi can hang for good, in pods that HAMi shares a card with (first_contact.md, Cards)."""
    (fake_cann / "cann" / "bin" / "npu-smi").write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(inspection, "NPU_SMI_LIMIT_S", 0.2)
    assert inspection._ask(("npu-smi", "info"), None, os.environ) == "$ npu-smi info\n\n[ended after 0.2 s]\n"


def test_what_tools_and_installers_say_is_taken_as_it_is(fake_cann, monkeypatch):
    """An atc whose Python has no shared library, and a driver's record (first_contact.md, Where CANN is)."""
    (fake_cann / "cann" / "bin" / "atc").write_text("#!/bin/sh\necho 'libpython3.9.so.1.0: no file' >&2; exit 127\n")
    version = installation.driver_folder() / "version.info"
    version.parent.mkdir(parents=True)
    version.write_text("Version=24.1.rc2\n")
    home = fake_cann / "toolkit"
    home.mkdir()
    (home / "version.cfg").write_text("toolkit_running_version=[7.6.0.1.220:8.0.0]\n")
    monkeypatch.setenv("ASCEND_HOME_PATH", str(home))
    texts, _ = inspect_tools("auto", dict(os.environ))
    assert texts["atc --help"] == "$ atc --help\nlibpython3.9.so.1.0: no file\n\n[exit code 127]\n"
    assert "310P3" in texts["npu-smi info"]
    assert texts[str(version)] == "Version=24.1.rc2\n"
    assert texts[str(home / "version.cfg")] == "toolkit_running_version=[7.6.0.1.220:8.0.0]\n"


def test_a_host_without_tools_gets_a_bundle_as_well(no_cann):
    texts, _ = inspect_tools("npu", {"PATH": "/nowhere"})
    assert texts["how the tools were found"].startswith("not found: ")
    assert "exit code 127" in texts["npu-smi info"] or "Cannot start" in texts["npu-smi info"]
