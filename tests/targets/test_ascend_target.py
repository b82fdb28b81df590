"""The Ascend target: what it states about itself, and the commands and files around atc and ais_bench."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from factories import TINY_CONFIG, describe_network, write_described_onnx

from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.process import Runner as ProcessRunner
from yolact_ascend.targets.ascend.ais_bench import AisBenchFlags
from yolact_ascend.targets.ascend.atc import ATC_SUCCESS
from yolact_ascend.targets.ascend.target import EMULATION_NOTE, NPU_NOTE, AscendTarget
from yolact_ascend.targets.ascend.tools import Tools
from yolact_ascend.targets.target import BenchmarkJob, CompileJob, DeviceRequest, InferJob

FLOAT32, UINT8 = (input_tensor(TINY_CONFIG, dtype) for dtype in ("float32", "uint8"))
ON_CARD = Tools("npu", "it is there", {"A": "1"}, {}, "python3.9", Path("/set_env.sh"), "310P3", "Ascend310P3", "23.0")
ON_CARD = replace(ON_CARD, known_flags=AisBenchFlags())
EMULATED = replace(ON_CARD, kind="cpu-emulation", set_env=None)


def write_file(path):
    """Make an empty file as ais_bench takes it."""
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o640)
    return path


class Runner:
    """Starts nothing: `work` writes what the program would, and returns its output."""

    def __init__(self, work):
        self.work = work
        self.commands = []

    def run(self, command, env, log=None, explain=None, watch=None):
        self.env = env
        assert {**ON_CARD.env, **env} == env
        self.commands.append(command)
        return self.work()


@pytest.mark.parametrize(("precision", "is_kept"), [("fp16", True), ("fp32", False)])
def test_operators_that_the_onnx_names_stay_float32(tmp_path, precision, is_kept):
    """`atc --keep_dtype` has no effect with must_keep_origin_dtype (CANN 8.5, atlasatcparam_16_0074)."""
    write_described_onnx(tmp_path / "m.onnx", describe_network(), float32_operators="/Exp\n/Mul")
    inputs = (FLOAT32,)
    model = tmp_path / "m_bs1.om"
    job = CompileJob(tmp_path / "m.onnx", model, 1, precision, inputs, inputs, TINY_CONFIG.preprocessing)
    runner = Runner(lambda: write_file(model) and ATC_SUCCESS)
    AscendTarget(ON_CARD).compile(job, runner, tmp_path / "log")
    (file,) = [*tmp_path.glob("*keep_dtype*")] or [None]
    assert (file and file.read_text()) == ("/Exp\n/Mul\n" if is_kept else None)
    assert ("--keep_dtype" in runner.commands[0]) == is_kept
    assert not is_kept or file in AscendTarget(ON_CARD).compile_files(job)
    job.onnx.unlink()  # a run claims its files before the export, and must find its own in the next one
    assert any("keep_dtype" in path.name for path in AscendTarget(ON_CARD).compile_files(job))


@pytest.mark.parametrize(
    ("tools", "said", "short", "note", "cann", "paste"),
    [
        (
            *(ON_CARD, "Device: Ascend310P3, npu-smi 23.0, CANN unknown (it is there).", "Ascend310P3, device 1"),
            *(NPU_NOTE, "unknown", "source /set_env.sh"),
        ),
        (
            *(EMULATED, f"Device: CPU emulation of Ascend310P3 (it is there). {EMULATION_NOTE}"),
            *("CPU emulation of Ascend310P3, not an NPU, device 1", EMULATION_NOTE, "none, CPU emulation", None),
        ),
    ],
    ids=["a card", "the emulation"],
)
def test_it_states_whether_a_card_or_the_emulation_computes(tools, said, short, note, cann, paste):
    target = AscendTarget(replace(tools, npus=(0, 1)))
    assert (target.describe(), target.describe_device(1), target.how_to_paste()) == (said, short, paste)
    assert target.facts("fp16") == {
        **{"kind": tools.kind, "chip": "310P3", "soc_version": "Ascend310P3", "npu_smi": "23.0"},
        **{"npus": [0, 1], "cann": cann, "note": note},
    }
    assert target.made_for() == {"soc_version": "Ascend310P3", "cann": cann}
    assert target.identity() == tools.identity()


def compile_job(folder, image=FLOAT32):
    return CompileJob(folder / "a.onnx", folder / "m.om", 2, "fp32", (FLOAT32,), (image,), TINY_CONFIG.preprocessing)


@pytest.mark.parametrize("image", [FLOAT32, UINT8], ids=lambda spec: spec.dtype)
def test_compile_runs_atc_and_closes_the_model_to_others(tmp_path, image):
    def atc():
        (tmp_path / "m.om").write_bytes(b"compiled")
        (tmp_path / "m.om").chmod(0o666)
        return "...\nATC run success, welcome to the next use.\n"

    runner, target, job = Runner(atc), AscendTarget(ON_CARD), compile_job(tmp_path, image)
    assert target.compile(job, runner, tmp_path / "log") == runner.commands[0]
    command = " ".join(runner.commands[0])
    assert command.startswith(f"atc --model {tmp_path}/a.onnx --framework 5 --output {tmp_path}/m --log")
    assert (tmp_path / "m.om").stat().st_mode & 0o777 == 0o640
    aipp = tmp_path / "yolact_edge_aipp.cfg"
    assert (f"--insert_op_conf {aipp}" in command) == aipp.exists() == (image == UINT8)

    # What the model depends on names no path, and has the AIPP file's text.
    inputs = target.compile_inputs(job)
    assert " ".join(inputs["flags"]) == command.replace(str(aipp), "aipp").replace(f"{tmp_path}/m", "om").replace(
        f"{tmp_path}/a.onnx", "onnx"
    )
    assert inputs["aipp"] == (aipp.read_text() if aipp.exists() else None)


def test_atc_leaves_nothing_in_the_users_folder(tmp_path, monkeypatch):
    """kernel_meta/ and fusion_result.json go where ASCEND_WORK_PATH says; CANN's logs would go there, too.

    Source: CANN's page on ASCEND_WORK_PATH ("--debug_dir > ASCEND_WORK_PATH > the current folder").
    """
    monkeypatch.chdir(tmp_path)

    def atc():
        (Path(runner.env.get("ASCEND_WORK_PATH", ".")) / "kernel_meta").mkdir()
        (tmp_path / "m.om").write_bytes(b"compiled")
        return "ATC run success"

    runner = Runner(atc)
    tools = replace(ON_CARD, env={"A": "1", "HOME": "/home/me"})
    AscendTarget(tools).compile(compile_job(tmp_path), runner, tmp_path / "log")
    assert not Path(runner.env["ASCEND_WORK_PATH"]).exists()
    assert runner.env["ASCEND_PROCESS_LOG_PATH"] == "/home/me/ascend/log"
    assert {path.name for path in tmp_path.iterdir()} == {"m.om"}
    own = tmp_path / "own"
    own.mkdir()
    tools = replace(ON_CARD, env={"A": "1", "ASCEND_WORK_PATH": str(own)})
    AscendTarget(tools).compile(compile_job(tmp_path), runner, tmp_path / "log")
    assert [path.name for path in own.iterdir()] == ["kernel_meta"]  # the user's own choice holds


def test_a_chip_whose_soc_version_is_not_known_is_named_all_the_same(tmp_path):
    """A run of a compiled model: nothing is expected of the model's soc_version then."""
    target = AscendTarget(replace(ON_CARD, chip="Ascend910", soc_version="unknown"))
    assert target.describe().startswith("Device: Ascend910, npu-smi 23.0,")
    assert target.describe_device(0) == "Ascend910, device 0"
    assert target.made_for() == {"cann": "unknown"}
    assert AscendTarget(replace(target.tools, chip="unknown")).describe_device(2) == "NPU, device 2"


def test_what_was_added_to_the_environment_is_pasted_too():
    tools = replace(ON_CARD, libraries=("/driver/lib64", "/driver/lib64/common"), remark="Device 0 is npu-smi's 1.")
    target = AscendTarget(tools)
    added = "export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:/driver/lib64:/driver/lib64/common"
    assert target.how_to_paste() == f"source /set_env.sh && {added}"
    assert AscendTarget(replace(tools, set_env=None)).how_to_paste() == added
    emulated = replace(EMULATED, set_env=Path("/set_env.sh"), env={"EMULATED_SOC": "Ascend310B4"})
    assert AscendTarget(emulated).how_to_paste() == "source /set_env.sh && export EMULATED_SOC=Ascend310B4"
    assert AscendTarget(replace(emulated, own_env=emulated.env)).how_to_paste() == "source /set_env.sh"
    assert target.describe().endswith("(it is there). Device 0 is npu-smi's 1.")


def test_float32_is_warned_of_where_a_chip_convolves_in_float16(capsys):
    AscendTarget(ON_CARD).require_precision("fp16")
    assert capsys.readouterr().err == ""
    AscendTarget(ON_CARD).require_precision("fp32")
    assert capsys.readouterr().err.startswith("warning: precision=fp32: Ascend310P3 convolves in float16")


@pytest.mark.parametrize(
    ("output", "writes", "said"),
    [
        ("ATC run success", False, r"atc ended with exit code 0, but without m\.om\."),
        ("E10001: bad", True, r"(?s)but without its line 'ATC run success'\..*E10001: a flag has a value"),
        (None, True, "it was killed"),
    ],
    ids=["no model", "no success", "it fails"],
)
def test_a_failed_compilation_leaves_no_model(tmp_path, output, writes, said):
    (tmp_path / "m.om").write_bytes(b"of an earlier run")

    def atc():
        assert not (tmp_path / "m.om").exists()
        if writes:
            (tmp_path / "m.om").write_bytes(b"half")
        if output is None:
            raise ToolError("it was killed")
        return output

    with pytest.raises(ToolError, match=said):
        AscendTarget(ON_CARD).compile(compile_job(tmp_path), Runner(atc), tmp_path / "log")
    assert not (tmp_path / "m.om").exists()


@pytest.mark.parametrize(
    ("count", "used", "words"),
    [(3, (0, 1), ["--device", "0,1", "--divide_input", "1"]), (1, (0,), [])],
    ids=["two devices", "one image"],
)
def test_a_folder_is_divided_among_devices(tmp_path, capsys, count, used, words):
    folder = tmp_path / "bs2"
    output = folder / "output"

    def ais_bench():
        parts = [output / f"device{npu}_{npu}" for npu in used] if len(used) > 1 else [output]
        for index in range(count):
            part = parts[index % len(parts)]
            part.mkdir(parents=True, exist_ok=True)
            (part / f"{index}_0.bin").touch()
        for part in parts:
            summary = {"npu_compute_time_list": [[1.0, 2.0]], "throughput": 100}
            part.with_name(f"{part.name}_summary.json").write_text(json.dumps(summary))

    runner, target = Runner(ais_bench), AscendTarget(replace(ON_CARD, npus=(0, 1)))
    job = InferJob(write_file(tmp_path / "m.om"), (tmp_path / "bins",), count, folder)
    for index in range(count):
        write_file(job.bin_folders[0] / f"{index}.bin")
    target.infer(job, runner, tmp_path / "log")
    begin = ["python3.9", "-m", "ais_bench", "--model", f"{tmp_path}/m.om", "--input", f"{tmp_path}/bins/"]
    assert runner.commands == [[*begin, "--output", str(folder), "--output_dirname", "output", *words]]
    begin = ["python3", "-m", "ais_bench", "--model", "om", "--input", "bins/"]
    assert target.infer_inputs(job) == {"flags": [*begin, "--output", "run", "--output_dirname", "output", *words]}
    assert sorted(path.name for path in output.iterdir()) == [f"{index}_0.bin" for index in range(count)]
    assert json.loads((folder / "output_summary.json").read_text())["throughput"] == 100 * len(used)
    assert ("Only device 0 of npus=" in capsys.readouterr().err) == (len(used) == 1)


@pytest.mark.parametrize("name", ["m.om", "bins/1.bin", "in.bin"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: (path.rename(f"{path}.real"), path.symlink_to(f"{path}.real")), "is a link, which ais_bench"),
        (lambda path: path.chmod(0o664), r"has mode 0664, .*chmod 640"),
    ],
    ids=["link", "writable by the group"],
)
def test_files_that_ais_bench_would_refuse_late_are_refused_now(tmp_path, name, spoil, said):
    model, batch = write_file(tmp_path / "m.om"), write_file(tmp_path / "in.bin")
    for index in range(2):
        write_file(tmp_path / "bins" / f"{index}.bin")
    spoil(tmp_path / name)
    runner, target = Runner(None), AscendTarget(ON_CARD)
    job = BenchmarkJob(model, 2, 7, tmp_path, (batch,), "fp16", (FLOAT32,))
    calls = {
        "m.om": lambda: target.open(model, 0),
        "bins/1.bin": lambda: target.infer(
            InferJob(model, (tmp_path / "bins",), 2, tmp_path), runner, tmp_path / "log"
        ),
        "in.bin": lambda: target.benchmark(job, runner, tmp_path / "log"),
    }
    with pytest.raises(ArtifactError, match=f"{re.escape(name)} {said}"):
        calls[name]()
    assert runner.commands == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_benchmark_leaves_its_timings_and_what_a_user_put_there(tmp_path, fails):
    folder = tmp_path / "bs2" / "perf"

    def ais_bench():
        folder.mkdir()
        for name in ("pure_infer_data_0.bin", "batch_0.bin", "notes.bin"):
            (folder / name).touch()
        (folder / "device0").mkdir()
        folder.with_name("perf_summary.json").touch()
        if fails:
            raise ToolError("no card")

    job = BenchmarkJob(
        write_file(tmp_path / "m.om"), 2, 7, folder.parent, (write_file(tmp_path / "in.bin"),), "fp16", (FLOAT32,)
    )
    runner, target = Runner(ais_bench), AscendTarget(ON_CARD)
    if fails:
        with pytest.raises(ToolError, match="no card"):
            target.benchmark(job, runner, tmp_path / "log")
    else:
        target.benchmark(job, runner, tmp_path / "log")
    assert [path.name for path in folder.iterdir()] == ["notes.bin"]
    assert folder.with_name("perf_summary.json").exists()
    assert " ".join(target.benchmark_inputs(job)["flags"]) == (
        "python3 -m ais_bench --model=om --loop=7 --batchsize=2 --input in --output run --output_dirname perf"
    )
    assert "--input" not in target.benchmark_inputs(replace(job, batch=None))["flags"]


@pytest.mark.parametrize("stage", ["infer", "benchmark"])
def test_what_the_device_says_to_ais_bench_is_explained(tmp_path, stage):
    """A capture of CANN 8.0: the runtime's words, ais_bench's, and a traceback behind them."""
    python = tmp_path / "python3"
    said = "[ACL ERROR] EL0004: [PID: 106] 2025-10-30-08:21:08.817.477 Failed to allocate memory."
    python.write_text(f"#!/bin/bash\necho '{said}'\nfor i in {{1..20}}; do echo '  File x'; done\nexit 1\n")
    python.chmod(0o700)
    model = write_file(tmp_path / "m.om")
    write_file(tmp_path / "bins" / "0.bin")
    target = AscendTarget(replace(ON_CARD, python=str(python), env={}))
    with (tmp_path / "lock").open("w") as lock, pytest.raises(ToolError) as caught:
        runner = ProcessRunner(lock.fileno(), {})
        if stage == "infer":
            target.infer(InferJob(model, (tmp_path / "bins",), 1, tmp_path / "run"), runner, tmp_path / "log")
        else:
            job = BenchmarkJob(model, 2, 7, tmp_path / "run", (), "fp16", (FLOAT32,))
            target.benchmark(job, runner, tmp_path / "log")
    lines = str(caught.value).splitlines()
    assert lines[1:3] == ["Its errors:", f"  {said}"]
    assert lines[-1].startswith("EL0004: the device has too little free memory")


def test_threads_and_the_verb_compile_are_for_other_targets(tmp_path):
    with pytest.raises(UsageError, match="threads=2: target=ascend computes on the device. Leave out threads="):
        AscendTarget.find(DeviceRequest(threads=2))
    with pytest.raises(
        UsageError, match=r"m\.om: atc compiles for Ascend\. Run it: bash scripts/run_all\.sh to=compile"
    ):
        AscendTarget.compile_here(compile_job(tmp_path))
