"""Commands and answers of CANN's tools, and the choice between the two worlds."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from factories import CHECKOUT

from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.targets.ascend import tools
from yolact_ascend.targets.ascend.ais_bench import (
    benchmark_command,
    infer_command,
    prepare_run_folder,
    require_usable_paths,
)
from yolact_ascend.targets.ascend.atc import atc_command
from yolact_ascend.targets.ascend.tools import Tools, find_tools, source_set_env
from yolact_ascend.targets.summary import DeviceTimings, read_timings


def test_soc_overrides_what_npu_smi_says(fake_cann):
    (fake_cann / "npu-smi.txt").write_text("| 0       Ascend910 | OK    | -    |\n")
    with pytest.raises(ToolError, match="no --soc_version"):
        find_tools("npu")
    assert find_tools("npu", soc="Ascend910_9391").soc_version == "Ascend910_9391"


@pytest.mark.parametrize(("help_text", "has_flag"), [("--device --divide_input", True), ("--device", False)])
def test_what_this_ais_bench_knows_is_asked_when_there_are_several_devices(fake_cann, help_text, has_flag):
    (fake_cann / "npu-smi.txt").write_text("".join(f"| {i}  310P3  | OK  | 15.8  |\n" for i in range(2)))
    main = next(Path(os.environ["PYTHONPATH"]).glob("ais_bench")) / "__main__.py"
    main.write_text("import sys; sys.exit('no help')")
    assert find_tools("npu", npus=(1,)).npus == (1,)  # and nothing was asked
    with pytest.raises(ToolError, match="-m ais_bench --help failed with exit code 1: no help"):
        find_tools("npu", npus=(0, 1))
    main.write_text(f"print({help_text!r})")
    assert find_tools("npu", npus=(0, 1)).has_divide_flag == has_flag


def test_a_device_that_is_not_there_is_said(fake_cann):
    with pytest.raises(UsageError, match=r"npus=1: npu-smi info shows no device 1; it shows 0 \(310P3\)"):
        find_tools("npu", npus=(1,))


def test_commands_for_several_devices():
    infer = [Path("a.om"), Path("bins"), Path("run"), (0, 1)]
    assert infer_command("python3", *infer)[-4:] == ["--device", "0,1", "--divide_input", "1"]
    assert infer_command("python3", *infer, has_divide_flag=False)[-2:] == ["--device", "0,1"]
    bench = ["python3", Path("a.om"), 8, 100, Path("run"), "perf", Path("in.bin"), (0, 1)]
    assert "--input in.bin --output run --output_dirname perf --device 0,1" in " ".join(benchmark_command(*bench))
    # One that always divides gets the batch once for each device.
    assert "--input in.bin,in.bin --output" in " ".join(benchmark_command(*bench, has_divide_flag=False))


def test_commands_are_the_guides():
    assert " ".join(atc_command(Path("yolact_edge.onnx"), Path("yolact_edge_bs8"), 8, "Ascend310P3")) == (
        "atc --model yolact_edge.onnx --framework 5 --output yolact_edge_bs8 --log error --soc_version Ascend310P3 "
        "--input_shape image:8,3,550,550"
    )
    assert " ".join(infer_command("python3", Path("a.om"), Path("inputs/bin_file"), Path("run"))) == (
        "python3 -m ais_bench --model a.om --input inputs/bin_file/ --output run --output_dirname output"
    )
    assert " ".join(benchmark_command("python3", Path("a.om"), 8, 100, Path("run"), "perf")).startswith(
        "python3 -m ais_bench --model=a.om --loop=100 --batchsize=8"
    )


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ({}, ""),
        ({"precision": "fp16"}, ""),
        ({"precision": "fp32"}, " --precision_mode must_keep_origin_dtype"),
        ({"aipp_config": Path("a.cfg")}, " --insert_op_conf a.cfg"),
        (
            {"precision": "fp32", "aipp_config": Path("a.cfg")},
            " --precision_mode must_keep_origin_dtype --insert_op_conf a.cfg",
        ),
    ],
    ids=["default", "fp16", "fp32", "aipp", "both"],
)
def test_what_is_not_the_guides_adds_a_flag(words, flags):
    command = " ".join(atc_command(Path("a.onnx"), Path("a"), 8, "Ascend310P3", **words))
    assert command == (
        "atc --model a.onnx --framework 5 --output a --log error --soc_version Ascend310P3 "
        f"--input_shape image:8,3,550,550{flags}"
    )


def test_a_benchmark_of_a_file_names_it_instead_of_random_bytes():
    command = benchmark_command("python3", Path("a.om"), 8, 100, Path("run"), "perf", Path("run/in/batch.bin"))
    assert " ".join(command) == (
        "python3 -m ais_bench --model=a.om --loop=100 --batchsize=8 --input run/in/batch.bin "
        "--output run --output_dirname perf"
    )


@pytest.mark.parametrize(
    "entries", [[2.0, 4.0, 9.0], [[10.0, 12.0], [20.0, 24.0], [30.0, 39.0]]], ids=["until 2023-06", "since 2023-10"]
)
def test_timings_of_old_and_new_summaries(tmp_path, entries):
    (tmp_path / "s.json").write_text(json.dumps({"throughput": 200.5, "npu_compute_time_list": entries}))
    timings = read_timings(tmp_path / "s.json")
    assert timings.throughput_images_per_s == 200.5
    latency = timings.latency_ms()
    assert list(latency) == ["mean", "median", "min", "max", "p90", "p95", "p99"]
    assert (latency["mean"], latency["median"], latency["min"], latency["max"]) == (5.0, 4.0, 2.0, 9.0)
    assert latency["p90"] == pytest.approx(8.0)


def test_copies_are_read_where_the_summary_has_them(tmp_path):
    data = {"throughput": 1, "npu_compute_time_list": [1.0]}
    (tmp_path / "s.json").write_text(json.dumps(data))
    assert (read_timings(tmp_path / "s.json").h2d_ms, read_timings(tmp_path / "s.json").d2h_ms) == (None, None)
    data.update(H2D_latency={"mean": 0.5, "max": 1}, D2H_latency={"mean": 2.5, "count": 3})
    (tmp_path / "s.json").write_text(json.dumps(data))
    assert (read_timings(tmp_path / "s.json").h2d_ms, read_timings(tmp_path / "s.json").d2h_ms) == (0.5, 2.5)


@pytest.mark.parametrize(
    ("latencies", "drift"),
    [([1.0] * 7, None), ([1.0] * 8, 0.0), ([2.0, 2.0, 9, 9, 9, 9, 3.0, 3.0], 50.0), ([2.0] * 4 + [1.0] * 4, -50.0)],
    ids=["too few", "steady", "slower", "faster"],
)
def test_drift_compares_the_last_quarter_with_the_first(latencies, drift):
    assert DeviceTimings(1.0, tuple(latencies)).drift_percent() == drift


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        '{"throughput": "x", "npu_compute_time_list": [1.0]}',
        '{"throughput": 1, "npu_compute_time_list": []}',
        "{",
    ],
)
def test_what_is_no_summary_is_refused(tmp_path, content):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"s\.json"):
        read_timings(tmp_path / "s.json")


@pytest.mark.parametrize("device", ["auto", "npu"])
def test_tools_on_path_are_taken(fake_cann, device):
    tools = find_tools(device)
    assert (tools.kind, tools.soc_version, tools.set_env) == ("npu", "Ascend310P3", None)


def test_cpu_puts_the_stand_ins_before_a_real_cann(fake_cann):
    tools = find_tools("cpu")
    assert tools.kind == "cpu-emulation"
    assert tools.set_env == CHECKOUT / "emulation" / "set_env.sh"
    assert tools.own_env["PATH"] == os.environ["PATH"]


def test_without_cann_auto_says_that_it_emulates(no_cann):
    tools = find_tools("auto")
    assert tools.is_emulated
    assert "no npu-smi or atc on PATH" in tools.reason


def test_without_cann_npu_is_refused(no_cann):
    with pytest.raises(ToolError, match="device=npu, but there is no npu-smi or atc on PATH"):
        find_tools("npu")


def test_an_installed_cann_is_sourced(fake_cann, monkeypatch):
    programs, packages = os.environ["PATH"].split(":")[0], os.environ["PYTHONPATH"]
    set_env = fake_cann / "set_env.sh"
    set_env.write_text(f"export PATH={programs}:$PATH PYTHONPATH={packages}\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setattr(tools, "CANN_SET_ENV", set_env)
    assert find_tools("auto").kind == "npu"


def test_the_stand_ins_are_no_npu(no_cann, monkeypatch):
    for name, value in source_set_env(CHECKOUT / "emulation" / "set_env.sh", os.environ).items():
        monkeypatch.setenv(name, value)
    assert find_tools("auto").is_emulated
    with pytest.raises(ToolError, match="is the stand-in"):
        find_tools("npu")


def test_mixed_worlds_are_refused(fake_cann, monkeypatch):
    (fake_cann / "cann" / "bin" / "npu-smi").unlink()
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{CHECKOUT / 'emulation' / 'bin'}")
    with pytest.raises(ToolError, match="PATH mixes"):
        find_tools("auto")


def test_half_an_installation_is_no_reason_to_fall_back(fake_cann):
    (fake_cann / "cann" / "bin" / "atc").unlink()
    with pytest.raises(ToolError, match="There is no atc on PATH"):
        find_tools("auto")


def test_a_card_that_does_not_show_is_no_reason_to_fall_back(fake_cann):
    (fake_cann / "npu-smi.txt").write_text("dcmi model initialized failed, because the device is used. ret is -8020\n")
    with pytest.raises(ToolError, match="shows no card .*dcmi model initialized failed"):
        find_tools("auto")


def test_a_python_without_ais_bench_is_named(fake_cann, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(ToolError, match="python3 cannot import ais_bench and aclruntime: .*ASCEND_PYTHON"):
        find_tools("auto")


def test_the_evaluator_of_the_same_name_is_told_apart(fake_cann):
    """AISBench/benchmark also owns a package ais_bench, without the inference tool in it."""
    (fake_cann / "cann" / "python" / "ais_bench" / "infer" / "interface.py").unlink()
    with pytest.raises(
        ToolError,
        match="another package called ais_bench.*AISBench.*No module named 'ais_bench.infer.interface'.*ASCEND_PYTHON",
    ):
        find_tools("auto")


def test_ascend_python_names_the_python(fake_cann, monkeypatch):
    monkeypatch.setenv("ASCEND_PYTHON", sys.executable)
    assert find_tools("auto").python == sys.executable
    monkeypatch.setenv("ASCEND_PYTHON", "/no/python")
    with pytest.raises(ToolError, match="Cannot start /no/python"):
        find_tools("auto")


def test_a_runtime_of_the_other_world_is_refused(fake_cann, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT / "emulation"))
    with pytest.raises(ToolError, match="of another world than atc"):
        find_tools("auto")


def test_a_driver_without_the_toolkit_on_path_sources_its_script(fake_cann, monkeypatch):
    """The driver puts npu-smi on PATH for everybody; atc comes with CANN's script."""
    programs, packages = os.environ["PATH"].split(":")[0], os.environ["PYTHONPATH"]
    toolkit = fake_cann / "toolkit"
    toolkit.mkdir()
    shutil.move(f"{programs}/atc", toolkit)
    with pytest.raises(ToolError, match="There is no atc on PATH"):
        find_tools("auto")
    set_env = fake_cann / "set_env.sh"
    set_env.write_text(f"export PATH={toolkit}:$PATH PYTHONPATH={packages}\n[ -f /no/such/file ]\n")
    monkeypatch.setattr(tools, "CANN_SET_ENV", set_env)
    found = find_tools("auto")
    assert (found.kind, found.set_env) == ("npu", set_env)


def test_the_emulation_computes_in_our_python(no_cann, monkeypatch):
    monkeypatch.setenv("ASCEND_PYTHON", "/no/python")
    tools = find_tools("cpu")
    assert tools.python == "python3"
    assert shutil.which("python3", path=tools.env["PATH"]) == str(Path(sys.executable).parent / "python3")


def test_identity_tells_worlds_cards_and_versions_apart(no_cann, monkeypatch, tmp_path):
    emulated = find_tools("cpu").identity()
    assert emulated == find_tools("cpu").identity()
    monkeypatch.setenv("EMULATED_NPUS", "2")
    assert find_tools("cpu").identity() == emulated  # how many cards there are changes no model
    monkeypatch.setenv("EMULATED_CANN", "6.0")
    assert find_tools("cpu").identity() != emulated
    assert find_tools("cpu").cann == "none, CPU emulation of CANN 6.0"
    monkeypatch.delenv("EMULATED_CANN")
    changed = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", changed)
    with (changed / "aclruntime" / "_session.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr(tools, "EMULATION", changed)
    assert find_tools("cpu").identity() != emulated
    real = Tools("npu", "", {}, {}, "python3", None, "310P3", "Ascend310P3", "23.0.0")
    others = [
        replace(real, soc_version="Ascend310P1"),
        replace(real, npu_smi="24.1"),
        replace(real, env={"ASCEND_TOOLKIT_HOME": str(tmp_path)}),
    ]
    (tmp_path / "version.cfg").write_text("version=8.0.RC2\n")
    assert all(other != real.identity() for other in [emulated, *(other.identity() for other in others)])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("[INFO] throughput 1000*batchsize.mean(4)/NPU_compute_time.mean(1.5): 2666.6666666666665", 2666.6666666666665),
        ("[INFO] throughput 1000*batchsize(4)/NPU_compute_time.mean(1.5): 2666.5", 2666.5),
        ("[INFO] throughput (1000*batchsize/NPU_compute_time): 12", 12),
        ("[INFO] i:0 device_1 throughput:1.5 start_time:1 end_time:2\nsummary throughput:3.5", 3.5),
        (
            "bar 100%|#| 2/2\r[INFO] throughput 1000*batchsize.mean(4)/NPU_compute_time.mean(1.5): 7.25\n[INFO] end",
            7.25,
        ),
        ("[INFO] throughput unknown", None),
        ("[INFO] end to finalize acl", None),
    ],
    ids=["2023 and later", "2022-11", "2022-07", "several devices", "behind a bar", "no number", "no line"],
)
def test_the_console_tells_the_throughput_where_no_summary_is(tmp_path, line, found):
    (tmp_path / "infer.log").write_text(f"[INFO] load model\n{line}\n")
    if found is None:
        with pytest.raises(ArtifactError, match="There is no .*output_summary.json"):
            read_timings(tmp_path / "output_summary.json", tmp_path / "infer.log")
        return
    timings = read_timings(tmp_path / "output_summary.json", tmp_path / "infer.log")
    assert timings.throughput_images_per_s == found
    assert set(timings.latency_ms().values()) == {None}
    assert timings.drift_percent() is None


def test_the_summary_comes_before_the_console(tmp_path):
    (tmp_path / "infer.log").write_text("[INFO] throughput: 99\n")
    summary = {"npu_compute_time_list": [2.0], "throughput": 500}
    (tmp_path / "output_summary.json").write_text(json.dumps(summary))
    assert read_timings(tmp_path / "output_summary.json", tmp_path / "infer.log").throughput_images_per_s == 500


@pytest.mark.parametrize(("folder", "work"), [("a b", "out"), ("ab", "o+t"), ("ab", "ö")])
def test_paths_that_ais_bench_refuses_are_said_first(tmp_path, monkeypatch, folder, work):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    with pytest.raises(UsageError, match="ais_bench takes only letters, digits and"):
        require_usable_paths(Path(work))


@pytest.mark.parametrize("name", ["output", "perf"])
def test_a_folder_of_the_output_folders_name_is_said_first(tmp_path, monkeypatch, name):
    """ais_bench since 2024 looks for --output_dirname in the current folder."""
    monkeypatch.chdir(tmp_path)
    require_usable_paths(Path("results"))
    Path(name).mkdir(mode=0o755)
    with pytest.raises(UsageError, match=f"chmod 750 .*{name}"):
        require_usable_paths(Path("results"))
    Path(name).chmod(0o750)
    require_usable_paths(Path("results"))


def test_the_run_folder_is_closed_to_others(tmp_path):
    (tmp_path / "bs8").mkdir(mode=0o775)
    (tmp_path / "bs8").chmod(0o775)
    prepare_run_folder(tmp_path / "bs8")
    assert (tmp_path / "bs8").stat().st_mode & 0o777 == 0o750


def test_a_set_env_that_ends_the_shell_is_named(tmp_path):
    (tmp_path / "set_env.sh").write_text("echo broken >&2; exit 3\n")
    with pytest.raises(ToolError, match="exit code 3: broken"):
        source_set_env(tmp_path / "set_env.sh", os.environ)
    with pytest.raises(ToolError, match="There is no .*none"):
        source_set_env(tmp_path / "none", os.environ)


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("version.cfg", "runtime_running_version=[6.3.0:CANN-6.3]\n", "6.3.0:CANN-6.3"),
        ("x86_64-linux/ascend_toolkit_install.info", "package_name=Ascend-cann-toolkit\nversion=8.0.RC2\n", "8.0.RC2"),
        ("other", "", "unknown"),
    ],
)
def test_cann_version_is_read_from_the_toolkit(tmp_path, name, text, version):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    tools = Tools("npu", "", {"ASCEND_TOOLKIT_HOME": str(tmp_path)}, {}, "python3", None, "310P3", "Ascend310P3", "")
    assert tools.cann_version() == version
