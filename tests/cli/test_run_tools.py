"""What a run makes of atc, ais_bench and several devices."""

import json
import os
import shutil
from pathlib import Path

import pytest
from emulation.cases import real_packages, real_tool_in
from factories import CHECKOUT
from runs import (
    read_detections,
    refuse_tools,
    verb_words,
)

from yolact_ascend import process
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.files import sha256_file
from yolact_ascend.process import Runner
from yolact_ascend.targets.folder import sidecar_file


def test_the_programs_of_a_run_hold_its_folder(copied, monkeypatch):
    """A killed run's ais_bench may live on; it must keep the next run out."""
    seen = {}
    real = process.run_tool

    def look(command, env, log=None, explain=None, pass_fds=(), watch=None):
        seen["atc" if command[0] == "atc" else verb_words(command)[0]] = (len(pass_fds), "emulation/bin" in env["PATH"])
        return real(command, env, log, explain, pass_fds, watch)

    monkeypatch.setattr(process, "run_tool", look)
    run_stages(copied.command(to="compile", force="export,compile"))
    assert seen == {"export": (1, False), "atc": (1, True)}  # and the stand-ins are only before CANN's tools


def test_an_ais_bench_that_writes_too_little_is_not_believed(copied, monkeypatch):
    monkeypatch.setattr(Runner, "run", lambda *_: "")
    with pytest.raises(ArtifactError, match="0_0.bin is missing"):
        copied(force="infer")
    assert not (copied.folder.records / "infer_bs3.json").exists()


def test_an_atc_that_claims_success_without_an_om_is_not_believed(copied, monkeypatch, tmp_path):
    fake = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", fake)
    (fake / "bin" / "atc").write_text("#!/bin/sh\necho 'ATC run success, welcome to the next use.'\n")
    monkeypatch.setattr("yolact_ascend.targets.ascend.tools.EMULATION", fake)
    with pytest.raises(ToolError, match="exit code 0, but without yolact_edge_bs3.om"):
        copied(force="compile")
    assert not copied.om(3).exists() and not sidecar_file(copied.om(3)).exists()


@pytest.mark.parametrize(("suffix", "is_fresh"), [("_linux_aarch64", True), ("_linux_x86_64", True), ("", False)])
def test_an_atc_for_another_system_names_its_file_otherwise(copied, monkeypatch, tmp_path, capfd, suffix, is_fresh):
    """It appends the system to the prefix; a file of that name from before is not taken for its result."""
    fake = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", fake)
    prefix = copied.om(3).with_suffix("")
    made = f"touch {prefix}{suffix}.om" if is_fresh else "true"
    (fake / "bin" / "atc").write_text(f"#!/bin/sh\n{made}\necho 'ATC run success, welcome to the next use.'\n")
    monkeypatch.setattr("yolact_ascend.targets.ascend.tools.EMULATION", fake)
    for name in ("_linux_aarch64", "_linux_x86_64"):
        (copied.out / f"{prefix.name}{name}.om").write_text("stale")
    if is_fresh:
        run_stages(copied.command(to="compile"))
        assert copied.om(3).stat().st_size == 0
        assert f"{prefix.name}{suffix}.om renamed to {prefix.name}.om" in capfd.readouterr().err
        assert copied.sidecar(3)["model_sha256"] == sha256_file(copied.om(3))
    else:
        with pytest.raises(ToolError, match=r"exit code 0, but without yolact_edge_bs3\.om"):
            run_stages(copied.command(to="compile"))
        assert not copied.om(3).exists()
    assert not list(copied.out.glob("*_linux_*"))


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


@pytest.mark.parametrize("mode", ["full", "perf"])
def test_a_model_that_was_replaced_does_not_reach_the_device(copied, monkeypatch, mode):
    """Its size and time are as before, so that no stage is stale."""
    om = copied.om(3)
    status = om.stat()
    om.write_bytes(bytes(status.st_size))
    os.utime(om, ns=(status.st_atime_ns, status.st_mtime_ns))
    refuse_tools(monkeypatch)
    with pytest.raises(ArtifactError, match=r"bs3\.om is not the file that .* its sha256 is .*from=compile force=comp"):
        copied(mode=mode)


def test_inputs_that_were_replaced_do_not_reach_the_device(copied, monkeypatch):
    """ais_bench takes the batch's files by the size of the first."""
    recipe = copied.folder.inputs / "recipe.json"
    recipe.write_text(recipe.read_text().replace("float32", "uint8"))
    refuse_tools(monkeypatch)
    with pytest.raises(ArtifactError, match=r"'uint8'\], expected float32 NCHW \[3, 138, 138\].*force=preprocess"):
        copied(force="infer")


@pytest.mark.parametrize(("npus", "limit"), [("1,0", 4), ("0,1,2", 2)])  # a device with less work, one without any
def test_devices_divide_the_images_and_the_detections_stay(copied, monkeypatch, capfd, npus, limit):
    """Images that do not go up in devices and batches, and fewer of them than devices."""
    monkeypatch.setenv("EMULATED_NPUS", "3")
    copied(limit=str(limit))
    expected = read_detections(copied)
    used = [int(npu) for npu in npus.split(",")][:limit]
    assert copied(limit=str(limit), npus=npus) == ["infer bs3", "postprocess bs3"]
    assert read_detections(copied) == expected
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
    expected = read_detections(copied)
    assert copied(npus="0,1,2") == ["infer bs3", "postprocess bs3"]
    assert read_detections(copied) == expected
    assert copied.report()["results"][0]["npus"] == ([0, 1] if real.year == "2023" else [0, 1, 2])
    assert copied(mode="perf", loop="2", npus="0,1", input="random")[-1] == "benchmark bs3"
    assert copied.report()["results"][0]["batches"] == 4
