"""emulation/aclruntime: what the real C++ module checks, prints and measures."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from .conftest import EMULATION, Result, Run, sample, write_bytes

Script = Callable[..., Result]

SETUP = """
import sys
import numpy as np
import aclruntime as acl
def base(array):
    return acl.BaseTensor(array.__array_interface__["data"][0], array.nbytes)
options = acl.session_options()
image = np.load("image.npy")
"""


@pytest.fixture
def script(run: Run, tmp_path: Path) -> Script:
    """Run lines of Python with `acl`, `options`, `base()` and a batch of four images."""
    np.save(tmp_path / "image.npy", np.stack([sample(index) for index in range(4)]))

    def run_script(lines: str, model: Path, year: str = "") -> Result:
        return run("python3", "-c", SETUP + lines, model, env={"EMULATED_ACLRUNTIME": year})

    return run_script


def test_distribution_is_found_as_the_real_one() -> None:
    found = [
        dist
        for dist in importlib.metadata.distributions(path=[str(EMULATION)])
        if dist.metadata["Name"] == "aclruntime"
    ]
    assert [dist.version for dist in found] == ["0.0.2"]


def test_descriptions(script: Script, compiled: Path) -> None:
    result = script(
        "session = acl.InferenceSession(sys.argv[1], 0, options)\n"
        "for d in session.get_inputs() + session.get_outputs():\n"
        "    print(d.name, d.datatype == acl.dtype.float32, d.format, d.shape, d.size, d.realsize)\n"
        "print(session)",
        compiled / "small_bs4.om",
    )
    assert result.stdout.splitlines()[5:] == [
        "image True 0 [4, 3, 4, 4] 768 768",
        "up True 2 [4, 2, 8, 8] 2048 2048",
        "mean True 2 [4, 2] 32 32",
        "<Model>",
        "device:\t0",
        "input:",
        "  #0    image  (4, 3, 4, 4)  float32  768  768",
        "output:",
        "  #0    up  (4, 2, 8, 8)  float32  2048  2048",
        "  #1    mean  (4, 2)  float32  32  32",
        "",
    ]


def test_lines_from_opening_to_closing(script: Script, compiled: Path) -> None:
    model = compiled / "small_bs4.om"
    result = script(
        "first = acl.InferenceSession(sys.argv[1], 0, options)\n"
        "second = acl.InferenceSession(sys.argv[1], 0, options)\n"
        "for s in (second, first, first): s.free_resource()\n"
        "acl.InferenceSession.finalize(); acl.InferenceSession.finalize()",
        model,
    )
    assert result.stdout.splitlines() == [
        "[INFO] acl init success",
        "[INFO] open device 0 success",
        "[INFO] create new context",
        f"[INFO] load model {model} success",
        "[INFO] create model description success",
        "[INFO] create new context",
        f"[INFO] load model {model} success",
        "[INFO] create model description success",
        "[INFO] unload model success, model Id is 2",
        "[INFO] unload model success, model Id is 1",
        "[INFO] end to reset device 0",
        "[INFO] end to finalize acl",
    ]


def test_log_level_silences(script: Script, compiled: Path) -> None:
    lines = "options.log_level = 4\nacl.InferenceSession(sys.argv[1], 0, options)"
    assert script(lines, compiled / "small_bs4.om").stdout == ""


def test_times_and_loop(script: Script, compiled: Path) -> None:
    result = script(
        "session = acl.InferenceSession(sys.argv[1], 0, options)\n"
        "session.options().loop = 3\n"
        "out = session.run(['up', 'mean'], [base(image)])\n"
        "[t.to_host() for t in out]\n"
        "times = session.sumary().exec_time_list\n"
        "print(len(times), all(0 <= a <= b for a, b in times), times == sorted(times))\n"
        "memory = acl.MemorySummary()\n"
        "print(len(memory.H2D_time_list), len(memory.D2H_time_list))\n"
        "session.reset_sumaryinfo(); memory.reset()\n"
        "print(len(session.sumary().exec_time_list), acl.MemorySummary().H2D_time_list)",
        compiled / "small_bs4.om",
    )
    steps = "".join(f"\rloop inference exec: ({count}/3)" for count in (1, 2, 3))
    # text mode turns the carriage returns into line ends
    assert steps.replace("\r", "\n") + "\n" in result.stdout
    assert result.stdout.splitlines()[-3:] == ["3 True True", "1 2", "0 []"]


@pytest.mark.parametrize(("year", "pairs"), [("2023", False), ("2024", True), ("2025", True)])
def test_a_time_is_within_the_time_around_it(script: Script, compiled: Path, year: str, pairs: bool) -> None:
    result = script(
        "import time\n"
        "session = acl.InferenceSession(sys.argv[1], 0, options)\n"
        "begin = time.perf_counter()\n"
        "session.run(['up'], [base(image)])\n"
        "around_ms = 1000 * (time.perf_counter() - begin)\n"
        "(found,) = session.sumary().exec_time_list\n"
        "spent_ms = found[1] - found[0] if isinstance(found, tuple) else found\n"
        "print(isinstance(found, tuple), 0 < spent_ms <= around_ms)",
        compiled / "small_bs4.om",
        year,
    )
    assert result.stdout.splitlines()[-1] == f"{pairs} True"


def test_files_make_a_tensor_of_the_models_type(script: Script, compiled: Path, tmp_path: Path) -> None:
    """uint8 bytes stay what they are; a wrong number of bytes is refused with both numbers."""
    pixels = np.arange(4 * 4 * 4 * 3, dtype=np.uint8)
    for index, part in enumerate(np.split(pixels, 2)):
        (tmp_path / f"{index}.bin").write_bytes(part.tobytes())
    result = script(
        "session = acl.InferenceSession(sys.argv[1], 0, options)\n"
        "(desc,) = session.get_inputs()\n"
        "tensor = session.create_tensor_from_fileslist(desc, ['0.bin', '1.bin'])\n"
        "print(tensor.device, tensor.dtype == acl.dtype.uint8, tensor.shape)\n"
        "tensor.to_host(); print(np.array(tensor).ravel().tolist() == list(range(192)))\n"
        "try:\n    session.create_tensor_from_fileslist(desc, ['0.bin'])\n"
        "except RuntimeError as error:\n    print(error)",
        compiled / "uint8_bs4.om",
    )
    assert result.stdout.splitlines()[-4:] == [
        "0 True [4, 4, 4, 3]",
        "True",
        "[ERROR] files of 96 bytes for image, which has 192",
        "[1][ACL: invalid parameter] ",
    ]


@pytest.mark.parametrize("year", ["2023", "2024", "2025"])
def test_calls_return_0(script: Script, compiled: Path, year: str) -> None:
    later = "session.get_dym_aipp_input_exist(), session.free_resource(), " if year != "2023" else ""
    result = script(
        "session = acl.InferenceSession(sys.argv[1], 0, options)\n"
        f"print([session.set_staticbatch(), session.reset_sumaryinfo(), {later}session.finalize()])",
        compiled / "small_bs4.om",
        year,
    )
    assert result.stdout.splitlines()[-1] == str([0] * (5 if later else 3))


@pytest.mark.parametrize(("loop", "code"), [(100000, 0), (100001, 1)])
def test_the_most_loops(script: Script, compiled: Path, loop: int, code: int) -> None:
    assert script(f"options.loop = {loop}; " + OPEN, compiled / "small_bs4.om").code == code


def test_tensors_change_sides(script: Script, compiled: Path) -> None:
    result = script(
        "session = acl.InferenceSession(sys.argv[1], 0, options)\n"
        "t = acl.Tensor(image); t.to_device(0)\n"
        "out = session.run(['mean'], [t])[0]\n"
        "print(t.device, t.type == acl.type.memory_device, t.shape, t.dtype == acl.dtype.float32)\n"
        "try:\n    np.array(out)\nexcept RuntimeError as error:\n    print(error)\n"
        "out.to_host()\n"
        "print(out.device, np.array(out).shape, np.array(out, dtype=np.float64).dtype)",
        compiled / "small_bs4.om",
    )
    assert result.stdout.splitlines()[5:] == [
        "0 True [4, 3, 4, 4] True",
        "tensor is in npu. can't convert to numpy array",
        "-1 (4, 2) float64",
    ]


REFUSALS = {
    "input_too_small": (
        "session.run(['up'], [base(image[:1])])",
        ["[ERROR] check i:0 name:image in size:192 needsize:768 not match", "[ERROR] check input vector failed ret:-1"],
        "RuntimeError: [-1][ACL: general failure] ",
    ),
    "too_many_inputs": (
        "session.run(['up'], [base(image), base(image)])",
        ["[ERROR] feeds size: 2 not equal to model tensor desc size: 1", "[ERROR] check input vector failed ret:3"],
        "RuntimeError: [3][ACL: runtime failure] ",
    ),
    "unknown_output": (
        "session.run(['down'], [base(image)])",
        ["[ERROR] outnames down not valid"],
        "RuntimeError: [-1][ACL: general failure] ",
    ),
    "dynamic_batch": (
        "session.set_dynamic_batchsize(2)",
        [],
        "has no InferenceSession.set_dynamic_batchsize: it has fixed shapes only",
    ),
    "pipeline": (
        "session.run_pipeline([], None, [])",
        [],
        "AttributeError: the emulated aclruntime has no InferenceSession.run_pipeline: it has fixed shapes only",
    ),
}


@pytest.mark.parametrize(("line", "messages", "error"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(script: Script, compiled: Path, line: str, messages: list[str], error: str) -> None:
    result = script("session = acl.InferenceSession(sys.argv[1], 0, options)\n" + line, compiled / "small_bs4.om")
    assert result.code == 1
    assert result.stdout.splitlines()[5:] == messages
    assert result.stderr.rstrip("\n").endswith(error)


def damaged(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def with_header(**changes: object) -> Callable[[bytes], bytes]:
    """What replaces fields of the header, with the digest of the model that follows."""

    def change(content: bytes) -> bytes:
        magic, line, model = content.split(b"\n", 2)
        fields = json.loads(line)
        return b"\n".join([magic, json.dumps({**fields, **changes}).encode(), model])

    return change


def another_model(content: bytes) -> bytes:
    """The digest in the header fits, but what follows is no graph."""
    magic, line, _ = content.split(b"\n", 2)
    fields = {**json.loads(line), "model_sha256": hashlib.sha256(b"none").hexdigest()}
    return b"\n".join([magic, json.dumps(fields).encode(), b"none"])


TENSOR = {"name": "image", "dtype": "float32", "shape": [1], "format": "ND"}
MODELS = {
    "real_om": (lambda content: b"IMOD" + bytes(200), "was not written by the emulated atc (version 2)"),
    "empty": (lambda content: b"", "was not written by the emulated atc"),
    "later_version": (
        lambda content: content.replace(b"version 2", b"version 3"),
        "was not written by the emulated atc",
    ),
    "damaged": (damaged, "is damaged"),
    "cut": (lambda content: content[:-20], "is damaged"),
    "header_cut": (lambda content: content[:100], "the header of"),
    "nested_header": (lambda content: content[:56] + b"[" * 100_000 + b"\n", "the header of"),
    "no_graph": (another_model, "the graph cannot be loaded: "),
    "other_inputs": (with_header(inputs=[TENSOR]), "the header does not describe the graph, which has [('"),
    "no_outputs": (with_header(outputs=[]), "the header does not describe the graph"),
    "type_of_none": (with_header(inputs=[{**TENSOR, "dtype": "O"}]), "is no tensor"),
    "type_in_a_list": (with_header(inputs=[{**TENSOR, "dtype": ["float32"]}]), "is no tensor"),
    "format_of_none": (with_header(inputs=[{**TENSOR, "format": None}]), "is no tensor"),
    "size_of_none": (with_header(inputs=[{**TENSOR, "shape": [None]}]), "is no tensor"),
    "size_in_a_list": (with_header(inputs=[{**TENSOR, "shape": [[1]]}]), "is no tensor"),
}


@pytest.mark.parametrize(("change", "reason"), MODELS.values(), ids=MODELS.keys())
def test_models_that_do_not_load(
    script: Script, compiled: Path, tmp_path: Path, change: Callable[[bytes], bytes], reason: str
) -> None:
    model = tmp_path / "changed.om"
    write_bytes(model, change((compiled / "small_bs4.om").read_bytes()))
    result = script("acl.InferenceSession(sys.argv[1], 0, options)", model)
    lines = result.stdout.splitlines()
    assert result.code == 1
    assert lines[3].startswith("[ACL ERROR] ")
    assert reason in lines[3]
    assert lines[4] == f"[ERROR] load model from file failed, model file is {model}"


def test_model_of_another_soc_does_not_load(script: Script, compiled: Path) -> None:
    result = script("acl.InferenceSession(sys.argv[1], 0, options)", compiled / "other_soc.om")
    assert "supported socVersion=Ascend310P3, but the model socVersion=Ascend910B3" in result.stdout


OPEN = "acl.InferenceSession(sys.argv[1], 0, options)"
SESSIONS = {
    "no_file": ("acl.InferenceSession('gone.om', 0, options)", "path is not regular file", "please check model path"),
    "loop": ("options.loop = 0; " + OPEN, "loop size out of range", "loop num out of range"),
    "log_level": ("options.log_level = 0; " + OPEN, "", "log level out of range"),
    "device_256": (
        "acl.InferenceSession(sys.argv[1], 256, options)",
        "device id should not be out of",
        "device id is out of range",
    ),
    "device_1": ("acl.InferenceSession(sys.argv[1], 1, options)", "acl open device 1 failed", "[507033]"),
    "acl_json": ("options.acl_json_path = 'a.json'; " + OPEN, "", "no profiling"),
}


@pytest.mark.parametrize(("lines", "message", "error"), SESSIONS.values(), ids=SESSIONS.keys())
def test_sessions_that_do_not_open(script: Script, compiled: Path, lines: str, message: str, error: str) -> None:
    result = script(lines, compiled / "small_bs4.om")
    assert result.code == 1
    assert message in result.stdout
    assert error in result.stderr


def test_as_many_devices_as_the_machine_has_cards(run: Run, compiled: Path) -> None:
    lines = (
        "import sys, aclruntime as acl\n"
        "for device in 1, 0, 2:\n"
        "    acl.InferenceSession(sys.argv[1], device, acl.session_options())"
    )
    result = run("python3", "-c", lines, compiled / "small_bs4.om", env={"EMULATED_NPUS": "2"})
    assert result.code == 1
    assert [line for line in result.stdout.splitlines() if "device" in line] == [
        "[INFO] open device 1 success",
        "[INFO] open device 0 success",
        "[ACL ERROR] device 2 does not exist, the emulated machine has 2",
        "[ERROR] acl open device 2 failed",
    ]


def test_a_count_of_cards_that_is_none_is_refused(run: Run, compiled: Path) -> None:
    lines = "import sys, aclruntime as acl\nacl.InferenceSession(sys.argv[1], 0, acl.session_options())"
    result = run("python3", "-c", lines, compiled / "small_bs4.om", env={"EMULATED_NPUS": "none"})
    assert result.stderr.splitlines()[-1].startswith("ValueError: EMULATED_NPUS=none is no number of cards")


@pytest.mark.parametrize(("mode", "message"), [(0o660, "0o755"), (0o040, "0o400")], ids=["too_open", "unreadable"])
def test_model_permissions(script: Script, compiled: Path, tmp_path: Path, mode: int, message: str) -> None:
    write_bytes(tmp_path / "m.om", (compiled / "small_bs1.om").read_bytes(), mode)
    result = script("acl.InferenceSession(sys.argv[1], 0, options)", tmp_path / "m.om")
    assert message in result.stdout
    assert "please check model path" in result.stderr


# Each release's own words, from the C++ sources of its time.
RELEASES = {
    "2023": (
        ["<class 'float'>", "no", "no", "no", "no"],
        ["[ERROR] Check i:0 name:image in size:192 needsize:768 not match", "[ERROR] Check InVector failed ret:-1"],
        ["[WARN] intensors in:0 need:1 not match", "[ERROR] Set InputsData failed ret:-1"],
        [
            "[INFO] unload model success, model Id is 1",
            "[INFO] end to destroy context",
            "[INFO] end to reset device is 0",
            "[INFO] end to finalize acl",
        ],
    ),
    "2024": (
        ["<class 'tuple'>", "free_resource", "get_dym_aipp_input_exist", "no", "infer_options"],
        ["[ERROR] Check i:0 name:image in size:192 needsize:768 not match", "[ERROR] Check InVector failed ret:-1"],
        ["[WARN] intensors in:0 need:1 not match", "[ERROR] Set InputsData failed ret:-1"],
        ["[INFO] end to reset device 0", "[INFO] end to finalize acl"],
    ),
    "2025": (
        ["<class 'tuple'>", "free_resource", "get_dym_aipp_input_exist", "set_context", "infer_options"],
        ["[ERROR] check i:0 name:image in size:192 needsize:768 not match", "[ERROR] check input vector failed ret:-1"],
        [
            "[ERROR] feeds size: 0 not equal to model tensor desc size: 1",
            "[ERROR] check input vector failed ret:3",
        ],
        ["[INFO] end to reset device 0", "[INFO] end to finalize acl"],
    ),
}


@pytest.mark.parametrize("year", RELEASES)
def test_releases_differ_in_names_times_and_words(script: Script, compiled: Path, year: str) -> None:
    names, wrong_size, no_feeds, closing = RELEASES[year]
    result = script(
        "session = acl.InferenceSession(sys.argv[1], 0, options)\n"
        "def attempt(feeds):\n"
        "    print('--')\n"
        "    try:\n        session.run(['up'], feeds)\n    except RuntimeError:\n        pass\n"
        "attempt([base(image[:1])]); attempt([]); attempt([base(image)])\n"
        "print(type(session.sumary().exec_time_list[0]))\n"
        "names = ['free_resource', 'get_dym_aipp_input_exist', 'set_context']\n"
        "print(*[name if hasattr(session, name) else 'no' for name in names], sep='\\n')\n"
        "print('infer_options' if hasattr(acl, 'infer_options') else 'no')\n"
        "print('--')\n"
        "session.finalize()",
        compiled / "small_bs4.om",
        year,
    )
    assert result.code == 0, result.stderr
    opening, *parts = [part.strip().splitlines() for part in result.stdout.split("--\n")]
    assert ("[INFO] create new context" in opening) == (year == "2025")
    assert parts == [wrong_size, no_feeds, names, closing]


@pytest.mark.parametrize(("year", "lines"), [("2023", 1), ("2024", 1), ("2025", 0)])
def test_a_blank_line_before_a_loop_until_2024(script: Script, compiled: Path, year: str, lines: int) -> None:
    run_once = "acl.InferenceSession(sys.argv[1], 0, options).run(['up'], [base(image)])"
    text = script(f"options.loop = 2\nprint('>', end=''); {run_once}", compiled / "small_bs4.om", year).stdout
    before = text[: text.index("loop inference exec")]
    assert len(before) - len(before.rstrip("\n")) == 2 + lines  # a line's end, these, and the carriage return


@pytest.mark.parametrize(("year", "code"), [("2023", 0), ("2024", 0), ("2025", 1)])
def test_permissions_count_since_2025(script: Script, compiled: Path, tmp_path: Path, year: str, code: int) -> None:
    write_bytes(tmp_path / "m.om", (compiled / "small_bs1.om").read_bytes(), 0o660)
    assert script(OPEN, tmp_path / "m.om", year).code == code


@pytest.mark.parametrize("year", ["2023", "2024"])
def test_a_missing_model_is_the_devices_error_until_2024(script: Script, compiled: Path, year: str) -> None:
    result = script("acl.InferenceSession('gone.om', 0, options)", compiled, year)
    assert "[ERROR] load model from file failed, model file is gone.om" in result.stdout
    assert result.stderr.rstrip("\n").endswith("RuntimeError: [1][ACL: invalid parameter] ")


def test_unknown_release_is_refused(script: Script, compiled: Path) -> None:
    result = script("", compiled / "small_bs4.om", "2022")
    assert result.stderr.splitlines()[-1] == (
        "ImportError: EMULATED_ACLRUNTIME=2022 names no release of aclruntime, expected one of 2023, 2024, 2025, 2026"
    )


def test_the_module_of_2026(script: Script, compiled: Path) -> None:
    """Yanguan619/aclruntime @df1f9a44: PyInterface.cpp (names), Log.h (labels), model_process.cpp (words at load)."""
    result = script(
        "options.without_graph = True\n"
        "session = acl.InferenceSession(sys.argv[1], 0, options)\n"
        "names = [acl.PURE_INFER_DATA, acl.PURE_INFER_DATA_ZERO, acl.PURE_INFER_DATA_RANDOM]\n"
        "print(*names, acl.get_run_mode(), options.weight_dir == '')\n"
        "outputs = [output.name for output in session.get_outputs()]\n"
        "on_device = acl.Tensor(image, 0)\n"
        "print(on_device.device, len(acl.MemorySummary.H2D_time_list))\n"
        "found = session.run_from_tensors(outputs, [on_device])\n"
        "found[0].to_host()\n"
        "print(np.array(found[0]).shape, [len(times) for times in session.summary().exec_time_list])\n"
        "acl.log_warning('to Python'); acl.set_log_level(acl.LOG_ERROR); acl.log_info('no'); acl.log_error('yes')\n"
        "for feeds in [], [on_device, on_device]:\n"
        "    try: session.run_from_tensors(outputs, feeds)\n"
        "    except RuntimeError as error: print(error)\n",
        compiled / "small_bs4.om",
        "2026",
    )
    assert result.code == 0, result.stderr
    lines = [re.sub(r" : [\d.]+ \(ms\)", " : N (ms)", line) for line in result.stdout.splitlines()]
    assert lines[3:] == [
        "[INFO] ACL_MDL_WITHOUT_GRAPH_INT32 enabled",
        "[INFO] ACL_MDL_WORKSPACE_MEM_OPTIMIZE enabled",
        "[INFO] aclmdlLoadWithConfig success cost : N (ms)",
        "[INFO] Loaded model successfully",
        "[INFO] create model description success",
        "pure_infer_data pure_infer_data_zero pure_infer_data_random 1 True",
        "0 1",
        "(4, 2, 8, 8) [2]",
        "[WARNING] to Python",
        "[ERROR] yes",
        "[ERROR] feeds size: 0 not equal to model tensor desc size: 1",
        "[ERROR] check input vector failed ret:3",
        "[3][ACL: runtime failure] ",
        "[ERROR] feeds size: 2 not equal to model tensor desc size: 1",
        "[ERROR] check input vector failed ret:3",
        "[3][ACL: runtime failure] ",
    ]


def test_a_model_that_the_module_of_2026_cannot_load(script: Script, tmp_path: Path) -> None:
    write_bytes(tmp_path / "foreign.om", b"IMOD")
    result = script("acl.InferenceSession(sys.argv[1], 0, options)", tmp_path / "foreign.om", "2026")
    lines = result.stdout.splitlines()
    assert lines[3].startswith("[ERROR] [ACL ERROR] ")
    assert lines[4] == f"[ERROR] Load model from file failed, model file is {tmp_path / 'foreign.om'}"
    call = "processModel->LoadModelFromFile( modelPath, options->weightDir, options)"
    assert lines[5] == f"[WARNING] Check failed:{call}, ret:1"
