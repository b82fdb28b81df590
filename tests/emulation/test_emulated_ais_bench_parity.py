"""Ascend's own ais_bench and the stand-in, on the same aclruntime: same files, messages and exit codes.

AIS_BENCH_DIR names the folders (one, or several with ":" between) that contain a real `ais_bench` package:
- 2023: Ascend/tools @9d6da90, ais-bench_workload/tool/ais_bench
- 2024: Ascend/msit @6394cfe1d^, ait/components/benchmark
- 2025: Ascend's tools repository of December 2025, ais-bench_workload/tool/ais_bench, which ours is the stand-in of

Each runs on the aclruntime of its year. What 2023 and 2024 do otherwise by design stands in LINES and DIFFERENCES.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from .conftest import EMULATION, Result, Run, sample, write_bytes, write_samples

pytestmark = pytest.mark.ais_bench
LATEST = "2025"
LAYOUTS = {
    "2025": "infer/common",
    "2024": "infer/benchmark_process.py",
    "2023": "infer/io_oprations.py",
}  # newest first


def year_of(folder: Path) -> str | None:
    """Which version of the real package lies in `folder`: all call themselves 0.0.2, their files differ."""
    return next((year for year, path in LAYOUTS.items() if (folder / "ais_bench" / path).exists()), None)


def real_packages() -> list[ParameterSet]:
    """The folders of AIS_BENCH_DIR as parameters of tests; one that skips where there is none."""
    folders = [Path(name) for name in os.environ.get("AIS_BENCH_DIR", "").split(os.pathsep) if name]
    reason = "AIS_BENCH_DIR names no folder with the real ais_bench package"
    found = []
    for folder in folders:
        year = year_of(folder)
        marks = [] if year else [pytest.mark.skip(reason=f"{reason}: {folder}")]
        found.append(pytest.param((folder, year), id=year or "none", marks=marks))
    return found or [pytest.param(None, id="none", marks=[pytest.mark.skip(reason=reason)])]


# The real tool asks pkg_resources for aclruntime's version and leaves array mode where that module is missing.
PKG_RESOURCES = """
from importlib.metadata import distribution as get_distribution
"""


@dataclass(frozen=True)
class Case:
    """Arguments, and what lies in the work folder before the run."""

    arguments: str
    prepare: Callable[[Path], None] = lambda folder: None
    code: int = 0
    same_bytes: bool = True
    env: dict[str, str] = field(default_factory=dict)


def six_samples(folder: Path) -> None:
    write_samples(folder / "in", [f"{index}.bin" for index in range(6)])


def odd_names(folder: Path) -> None:
    write_samples(folder / "in", ["10.bin", "2.bin", "000000009.BIN", "a.b_c.bin", "1.bin", "B7.bin", "100.bin"])
    write_bytes(folder / "in" / "ids.json", b"{}")
    (folder / "in" / "folder.bin").mkdir(mode=0o750)


def colliding_stems(folder: Path) -> None:
    write_samples(folder / "in", ["img.0.bin", "img.1.bin"])


def stale_output(folder: Path) -> None:
    six_samples(folder)
    write_bytes(folder / "run" / "output" / "0_0.bin", b"old")
    write_bytes(folder / "run" / "output" / "stale_0.bin", b"stale")
    (folder / "run").chmod(0o750)
    (folder / "run" / "output").chmod(0o750)


def output_folder(mode: int, name: str = "run") -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        six_samples(folder)
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(mode)

    return prepare


def open_result_folder(folder: Path) -> None:
    output_folder(0o750)(folder)
    (folder / "run" / "output").mkdir()
    (folder / "run" / "output").chmod(0o770)


def output_file(folder: Path) -> None:
    six_samples(folder)
    write_bytes(folder / "run", b"")


def result_file(folder: Path) -> None:
    output_folder(0o750)(folder)
    write_bytes(folder / "run" / "output", b"")


def output_link(folder: Path) -> None:
    output_folder(0o750, "real")(folder)
    (folder / "run").symlink_to("real")


def result_links(folder: Path) -> None:
    stale_output(folder)
    (folder / "run" / "output" / "0_0.bin").unlink()
    (folder / "run" / "output" / "0_0.bin").symlink_to("stale_0.bin")


def full_batches(folder: Path) -> None:
    six_samples(folder)
    for index in range(2):
        content = b"".join(sample(4 * index + k).tobytes() for k in range(4))
        write_bytes(folder / "batches" / f"{index}.bin", content)


def half_precision(folder: Path) -> None:
    for index in range(3):
        write_bytes(folder / "in" / f"{index}.bin", sample(index).astype(np.float16).tobytes())


def second_file(size: int) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        six_samples(folder)
        write_bytes(folder / "in" / "1.bin", bytes(size))

    return prepare


def first_file(size: int) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        six_samples(folder)
        write_bytes(folder / "in" / "0.bin", bytes(size))

    return prepare


def npy_files(folder: Path) -> None:
    (folder / "in").mkdir(mode=0o750)
    for index in range(5):
        np.save(folder / "in" / f"{index}.npy", sample(index)[np.newaxis])
        (folder / "in" / f"{index}.npy").chmod(0o640)


def input_mode(file_mode: int, folder_mode: int = 0o750) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        six_samples(folder)
        (folder / "in" / "3.bin").chmod(file_mode)
        (folder / "in").chmod(folder_mode)

    return prepare


def input_link(folder: Path) -> None:
    six_samples(folder)
    (folder / "in" / "0.bin").rename(folder / "elsewhere.bin")
    (folder / "in" / "0.bin").symlink_to("../elsewhere.bin")


def linked_folder(folder: Path) -> None:
    write_samples(folder / "real", ["0.bin"])
    (folder / "in").symlink_to("real")


def empty_folder(folder: Path) -> None:
    write_bytes(folder / "in" / "ids.json", b"{}")


def pairs(folder: Path) -> None:
    for name, factor in (("left", 1), ("right", 100)):
        for index in range(3):
            write_bytes(folder / name / f"{index}.bin", np.array([index, factor], np.int32).tobytes())


def uneven_pairs(folder: Path) -> None:
    pairs(folder)
    for index in range(1, 3):
        (folder / "right" / f"{index}.bin").unlink()


def foreign_model(folder: Path) -> None:
    write_bytes(folder / "foreign.om", b"IMOD" + bytes(100))
    write_bytes(folder / "model.onnx", b"onnx")


def open_model(folder: Path) -> None:
    (folder / "small_bs1.om").chmod(0o660)


RUN = "--output ./run --output_dirname output"
IN = "--input in/ " + RUN
FOUR_FILES = "left/0.bin,left/1.bin,right/1.bin,right/2.bin"
CASES = {
    "guide_bs4": Case(f"--model small_bs4.om {IN}", six_samples),
    "guide_bs1": Case(f"--model small_bs1.om {IN}", six_samples),
    "padding": Case(f"--model mixing_bs4.om {IN}", six_samples),
    "equals_signs": Case("--model=small_bs4.om --input=in --output=run --output_dirname=output", six_samples),
    "short_flags": Case("-m small_bs4.om -i in -o run --output_dirname output -l 2 -d 0", six_samples),
    "abbreviated": Case("--model small_bs4.om --inp in --output run --output_d output", six_samples),
    "ambiguous": Case("--model small_bs4.om --out run", code=2),
    "natural_order": Case(f"--model small_bs1.om {IN}", odd_names),
    "natural_order_batched": Case(f"--model small_bs4.om {IN}", odd_names),
    "colliding_stems": Case(f"--model small_bs1.om {IN}", colliding_stems),
    "npy_inputs": Case(f"--model small_bs4.om {IN}", npy_files),
    "single_files": Case(f"--model small_bs4.om --input in/5.bin,in/0.bin,in/3.bin {RUN}", six_samples),
    "missing_single_file": Case(f"--model small_bs4.om --input in/5.bin,in/9.bin {RUN}", six_samples, 2),
    "file_then_folder": Case(f"--model small_bs4.om --input in/5.bin,in {RUN}", six_samples, 1),
    "npy_outputs": Case(f"--model small_bs4.om {IN} --outfmt NPY", six_samples),
    "txt_outputs": Case(f"--model small_bs4.om {IN} --outfmt TXT", six_samples),
    "half_outputs": Case(f"--model half_bs4.om {IN}", six_samples),
    "half_txt": Case(f"--model half_bs4.om {IN} --outfmt TXT", six_samples),
    "integer_txt": Case(f"--model sum_bs2.om --input left,right {RUN} --outfmt TXT", pairs),
    "dated_folder": Case("--model small_bs4.om --input in --output run", six_samples),
    "nested_output": Case("--model small_bs4.om --input in --output a/b --output_dirname c/d", six_samples),
    "stale_output": Case(f"--model small_bs4.om {IN}", stale_output),
    "result_links": Case(f"--model small_bs4.om {IN}", result_links, 1),
    "no_output": Case("--model small_bs4.om --input in", six_samples),
    "two_inputs": Case(f"--model sum_bs2.om --input left,right {RUN}", pairs),
    "two_inputs_as_files": Case(f"--model sum_bs2.om --input {FOUR_FILES} {RUN}", pairs),
    "three_files_two_inputs": Case(f"--model sum_bs2.om --input left/0.bin,left/1.bin,right/1.bin {RUN}", pairs, 1),
    "one_folder_two_inputs": Case(f"--model sum_bs2.om --input left {RUN}", pairs, 1),
    "pure": Case("--model=small_bs4.om --loop=3 --batchsize=8"),
    "pure_saved": Case(f"--model small_bs4.om {RUN}"),
    "pure_random": Case(f"--model small_bs4.om {RUN} --pure_data_type random", same_bytes=False),
    "pure_two_inputs": Case(f"--model sum_bs2.om {RUN}"),
    "loop_with_files": Case(f"--model small_bs4.om {IN} --loop 3", six_samples),
    "all_summaries": Case(f"--model small_bs4.om {IN} --display_all_summary 1", six_samples),
    "no_warmup": Case(f"--model small_bs4.om {IN} --warmup_count 0", six_samples),
    "three_warmups": Case(f"--model small_bs4.om {IN} --warmup_count 3", six_samples),
    "axis_unsplittable": Case(f"--model small_bs4.om {IN} --output_batchsize_axis 1", six_samples, 1),
    "axis_of_bs1": Case(f"--model small_bs1.om {IN} --output_batchsize_axis 1", six_samples),
    "axis_beyond_rank": Case(f"--model small_bs1.om {IN} --output_batchsize_axis 3", six_samples, 1),
    "full_batches": Case(f"--model small_bs4.om --input batches {RUN}", full_batches),
    "half_precision_pairs": Case(f"--model small_bs1.om {IN}", half_precision, 1),
    "half_precision_unsaved": Case("--model small_bs1.om --input in", half_precision, same_bytes=False),
    "first_file_odd": Case(f"--model small_bs4.om {IN}", first_file(100), 1),
    "first_file_empty": Case(f"--model small_bs4.om {IN}", first_file(0), 1),
    "first_file_larger": Case(f"--model small_bs1.om {IN}", first_file(384), 1),
    "later_file_smaller": Case(f"--model small_bs4.om {IN}", second_file(96), 1),
    "later_file_smaller_bs1": Case(f"--model small_bs1.om {IN}", second_file(96), 1),
    "later_file_larger_bs1": Case(f"--model small_bs1.om {IN}", second_file(384), 1),
    "empty_folder": Case(f"--model small_bs4.om {IN}", empty_folder, 1),
    "empty_input": Case("--model small_bs4.om --input=", code=1),
    "missing_input": Case(f"--model small_bs4.om {IN}", code=2),
    "missing_model": Case(f"--model gone.om {IN}", six_samples, 2),
    "no_model": Case(IN, six_samples, 2),
    "model_is_onnx": Case("--model model.onnx", foreign_model, 2),
    "model_is_folder": Case("--model in", six_samples, 2),
    "model_is_foreign": Case("--model foreign.om", foreign_model, 1),
    "model_of_other_soc": Case("--model other_soc.om", code=1),
    "model_group_writable": Case("--model small_bs1.om", open_model, 2),
    "model_with_space": Case("--model small_bs1.om --input in*", code=2),
    "output_0755": Case(f"--model small_bs4.om {IN}", output_folder(0o755), 2),
    "output_0770": Case(f"--model small_bs4.om {IN}", output_folder(0o770), 2),
    "output_0750": Case(f"--model small_bs4.om {IN}", output_folder(0o750)),
    "output_0700": Case(f"--model small_bs4.om {IN}", output_folder(0o700)),
    "output_is_file": Case(f"--model small_bs4.om {IN}", output_file, 2),
    "output_is_link": Case(f"--model small_bs4.om {IN}", output_link, 2),
    "output_here": Case("--model small_bs4.om --input in --output ./ --output_dirname o", output_folder(0o750, "x"), 2),
    "dirname_is_0755_here": Case(f"--model small_bs4.om {IN}", output_folder(0o755, "output"), 2),
    "result_folder_0770": Case(f"--model small_bs4.om {IN}", open_result_folder, 1),
    "result_folder_is_file": Case(f"--model small_bs4.om {IN}", result_file, 1),
    "input_0664": Case(f"--model small_bs4.om {IN}", input_mode(0o664), 1),
    "input_0646": Case(f"--model small_bs4.om {IN}", input_mode(0o646), 1),
    "input_0000": Case(f"--model small_bs4.om {IN}", input_mode(0o040), 1),
    "input_folder_0775": Case(f"--model small_bs4.om {IN}", input_mode(0o640, 0o775), 2),
    "input_link": Case(f"--model small_bs4.om {IN}", input_link, 1),
    "input_folder_link": Case(f"--model small_bs4.om {IN}", linked_folder, 2),
    "dirname_absolute": Case("--model small_bs4.om --output run --output_dirname /proc/nowhere/x", code=1),
    "dirname_alone": Case("--model small_bs4.om --output_dirname output", code=1),
    "path_characters": Case(f"--model small_bs4.om --input in,ä {RUN}", six_samples, 2),
    "path_name_too_long": Case(f"--model small_bs4.om --output {'x' * 300}", code=2),
    "path_too_long": Case(f"--model small_bs4.om --output {'/y' * 2100}", code=2),
    "loop_0": Case("--model small_bs4.om --loop 0", code=2),
    "loop_100001": Case("--model small_bs4.om --loop 100001", code=2),
    "loop_text": Case("--model small_bs4.om --loop 1.5", code=2),
    "batchsize_0": Case("--model small_bs4.om --batchsize 0", code=2),
    "batchsize_4096": Case("--model small_bs4.om --batchsize 4096"),
    "batchsize_4097": Case("--model small_bs4.om --batchsize 4097", code=1),
    "warmup_10001": Case("--model small_bs4.om --warmup_count 10001", code=1),
    "warmup_negative": Case("--model small_bs4.om --warmup_count=-1", code=2),
    "warmup_dashed": Case("--model small_bs4.om --warmup-count 1", code=2),
    "axis_9": Case("--model small_bs4.om --output_batchsize_axis 9", code=1),
    "threads_2": Case("--model small_bs4.om --threads 2"),
    "threads_65": Case("--model small_bs4.om --threads 65", code=1),
    "threads_0": Case("--model small_bs4.om --threads 0", code=2),
    "device_1": Case("--model small_bs4.om --device 1", code=1),
    "device_256": Case("--model small_bs4.om --device 256", code=2),
    "device_text": Case("--model small_bs4.om --device npu", code=2),
    "boolean_text": Case("--model small_bs4.om --display_all_summary maybe", code=2),
    "outfmt_unknown": Case("--model small_bs4.om --outfmt JSON", code=2),
    "without_effect": Case("--model small_bs4.om --npu_id 3 --profiler_rename 0 --dump_npy 1 --divide_input 1"),
}

FLOAT = r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?"
SUMMARY_NUMBERS = re.compile(rf"((?:min|max|mean|median|percentile\(99%\)) = |\.mean\(|\): ){FLOAT}")
PROGRESS = re.compile(r"\d+%\|.*?\| (?P<done>\d+)/(?P<all>\d+) \[[^]]*\]")
DATE = re.compile(r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d")


def normalised(text: str, folder: Path) -> str:
    """`text` without what differs from run to run: the work folder, times, dates."""
    lines = []
    for line in text.replace(str(folder), "FOLDER").splitlines():
        progress = PROGRESS.search(line)
        if progress and progress["done"] != progress["all"]:
            continue  # tqdm shows as many states as it has time for; only the last one is certain
        line = PROGRESS.sub(r"\g<done>/\g<all>", line)
        lines.append(SUMMARY_NUMBERS.sub(r"\g<1>N", line) if "_time" in line or "_latency" in line else line)
    return DATE.sub("DATE", "\n".join(lines))


def files_of(folder: Path, with_bytes: bool, with_modes: bool = True) -> dict[str, tuple[str, object]]:
    """Every path below `folder` with its mode (or its kind), and the content of the files; summaries apart."""
    found: dict[str, tuple[str, object]] = {}
    for path in sorted(folder.rglob("*")):
        content: object = None
        if path.is_file() and not path.name.endswith("_summary.json"):
            content = path.read_bytes() if with_bytes else path.stat().st_size
        name = DATE.sub("DATE", str(path.relative_to(folder)))
        mode = stat.filemode(path.lstat().st_mode)
        found[name] = (mode if with_modes else mode[0], content)
    return found


def summaries_of(folder: Path) -> list[dict[str, object]]:
    """The summary files without times: keys, lengths of lists, everything else as it is."""
    summaries = []
    for path in sorted(folder.rglob("*_summary.json")):
        content = json.loads(DATE.sub("DATE", path.read_text()))
        shape: dict[str, object] = {"keys": sorted(content), "args": content["args"][1:], "files": content["filesinfo"]}
        for key in ("NPU_compute_time", "H2D_latency", "D2H_latency"):
            shape[key] = [list(content[key]), content[key]["count"]]
        shape["times"] = len(content["npu_compute_time_list"])
        batch_ms = content["npu_compute_time_list"]
        shape["throughput_over_mean"] = round(content["throughput"] * sum(batch_ms) / len(batch_ms), 6)
        summaries.append(shape)
    return summaries


@dataclass(frozen=True)
class RealTool:
    """A real package: its year, and the environment in which `python3 -m ais_bench` is it."""

    year: str
    env: dict[str, str]


@pytest.fixture(scope="session", params=real_packages())
def real_tool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RealTool:
    """PYTHONPATH that finds the real ais_bench before ours, and our aclruntime as it was in that year."""
    folder, year = request.param
    shim = tmp_path_factory.mktemp("shim")
    (shim / "pkg_resources.py").write_text(PKG_RESOURCES)
    path = os.pathsep.join([str(folder), str(EMULATION), str(shim)])
    return RealTool(year, {"PYTHONPATH": path, "EMULATED_ACLRUNTIME": year})


def run_in_both(
    run: Run, tool: RealTool, compiled: Path, tmp_path: Path, case: Case, real_options: str = ""
) -> list[tuple[Result, Path]]:
    """The case once with the real tool (and `real_options`), once with ours, each in a work folder of its own."""
    results = []
    for world, env, options in (("real", tool.env, real_options), ("ours", {}, "")):
        folder = tmp_path / world
        folder.mkdir()
        folder.chmod(0o755)
        for om in compiled.glob("*.om"):
            write_bytes(folder / om.name, om.read_bytes())
        case.prepare(folder)
        words = f"{case.arguments}{options}".split()
        results.append((run("python3", "-m", "ais_bench", *words, cwd=folder, env=env), folder))
    return results


def last_line(text: str) -> str:
    """The sentence of an uncaught exception; the tools' own exception classes have other names."""
    line = text.strip().splitlines()[-1] if text.strip() else ""
    return re.sub(r"^ais_bench\.[\w.]+: ", "", line)


@dataclass(frozen=True)
class Line:
    """A line of ours (a pattern over whole lines) and what an older version prints in its place."""

    ours: str
    theirs: str
    reason: str


NO_CONTEXTS = Line(r"^\[INFO\] create new context\n", "", "contexts are not announced before 2025")
BLANK_LINE = Line(r"^(loop inference exec: \(1/)", r"\n\1", "a blank line before every loop")
WORDING = [
    Line(r"^\[ACL ERROR\] ", "", "the device's own words have no label before 2025"),
    Line(r"^\[ERROR\] check (i:\d+)", r"[ERROR] Check \1", "worded anew in 2025"),
    Line(r"^\[ERROR\] check input vector failed", "[ERROR] Check InVector failed", "worded anew in 2025"),
]
LINES = {
    "2023": [
        NO_CONTEXTS,
        BLANK_LINE,
        *WORDING,
        Line(
            r"^\[INFO\] end to reset device (\d+)$",
            r"[INFO] end to destroy context\n[INFO] end to reset device is \1",
            "one context per device, closed with it",
        ),
        Line(r"^\[ERROR\] create context failed\.", "SetDevice failed.", "printed past the log"),
    ],
    "2024": [
        NO_CONTEXTS,
        BLANK_LINE,
        *WORDING,
        Line(r"^\[ERROR\] create context failed\.", "CreateContext failed.", "printed past the log"),
    ],
    LATEST: [],
}
WITH_MODES = {"2023": False, "2024": True, LATEST: True}  # 2023 leaves what it writes to the umask


@dataclass(frozen=True)
class Difference:
    """How an older version ends a case, where it does not end as ours does."""

    code: int
    says: str
    reason: str
    modes_only: bool = False  # all the rest is as ours


FINISHED = "[INFO] end to finalize acl"
UNLIMITED = Difference(0, FINISHED, "no upper bounds before 2025")
RESULTS_UNCHECKED = Difference(0, FINISHED, "what it writes into is not looked at")
CHMODS_OUTPUT = Difference(0, FINISHED, "sets --output to 0750 itself, even where it is the current folder")
INNER_FOLDERS = Difference(0, FINISHED, "folders above the last one get the umask's mode", modes_only=True)
OPENS_DEVICE_FIRST = "paths are not checked when the flags are read, only when they are used"
PERMISSION_CASES = (
    *("model_group_writable", "output_0755", "output_0770", "output_is_link", "output_here", "dirname_is_0755_here"),
    *("result_folder_0770", "result_links", "input_0", "input_folder", "input_link"),
)
DIFFERENCES: dict[str, dict[str, Difference]] = {
    "2023": {
        **dict.fromkeys(("loop_100001", "batchsize_4097", "warmup_10001", "axis_9"), UNLIMITED),
        **dict.fromkeys(
            [
                "model_group_writable",
                "output_0755",
                "output_0770",
                "output_is_link",
                "output_here",
                "dirname_is_0755_here",
                "result_folder_0770",
                "result_links",
                "input_0664",
                "input_0646",
                "input_0000",
                "input_folder_0775",
                "input_link",
                "input_folder_link",
            ],
            Difference(0, FINISHED, "neither permissions nor links are checked before 2024"),
        ),
        "dirname_absolute": Difference(1, "'/proc/nowhere'", "an absolute --output_dirname replaces --output"),
        **dict.fromkeys(
            ("natural_order", "natural_order_batched"),
            Difference(1, "IsADirectoryError: [Errno 21] Is a directory: 'in/folder.bin'", "takes folders for files"),
        ),
        "missing_single_file": Difference(1, "in/9.bin not exist", OPENS_DEVICE_FIRST),
        "missing_input": Difference(1, "Invalid args. in/  of --input is invalid", OPENS_DEVICE_FIRST),
        "missing_model": Difference(1, "load model from file failed, model file is gone.om", OPENS_DEVICE_FIRST),
        "model_is_onnx": Difference(1, "load model from file failed, model file is model.onnx", OPENS_DEVICE_FIRST),
        "model_is_folder": Difference(1, "load model from file failed, model file is in\n", OPENS_DEVICE_FIRST),
        "model_with_space": Difference(1, "Invalid args. in*  of --input is invalid", OPENS_DEVICE_FIRST),
        "path_characters": Difference(1, "input dir num:2 not equal to model inputs num:1", OPENS_DEVICE_FIRST),
        "path_name_too_long": Difference(1, "File name too long", OPENS_DEVICE_FIRST),
        "path_too_long": Difference(1, "", OPENS_DEVICE_FIRST),  # the sentence is that of Python's makedirs
        "output_is_file": Difference(1, "Not a directory: './run/output'", OPENS_DEVICE_FIRST),
        "result_folder_is_file": Difference(1, "Not a directory: './run/output/0_0.bin'", "found at the first file"),
        "loop_0": Difference(2, "--loop/-l: 0 is an invalid positive int value", "wording"),
        "loop_text": Difference(2, "--loop/-l: invalid check_positive_integer value: '1.5'", "wording"),
        "warmup_negative": Difference(2, "--warmup_count: -1 is an invalid nonnegative int value", "wording"),
        "device_text": Difference(2, "--device/-d: invalid check_device_range_valid value: 'npu'", "wording"),
        "threads_2": Difference(2, "unrecognized arguments: --threads 2", "a later flag"),
        "threads_65": Difference(2, "unrecognized arguments: --threads 65", "a later flag"),
        "threads_0": Difference(2, "unrecognized arguments: --threads 0", "a later flag"),
        "without_effect": Difference(2, "unrecognized arguments: --npu_id 3 --profiler_rename 0", "later flags"),
    },
    "2024": {
        **dict.fromkeys(("loop_100001", "batchsize_4097", "warmup_10001", "axis_9", "threads_65"), UNLIMITED),
        **dict.fromkeys(("output_0755", "output_here"), CHMODS_OUTPUT),
        "output_0700": replace(CHMODS_OUTPUT, modes_only=True),
        **dict.fromkeys(("dirname_is_0755_here", "result_folder_0770", "result_links"), RESULTS_UNCHECKED),
        "nested_output": INNER_FOLDERS,
        "input_folder_link": Difference(0, FINISHED, "a link with a slash behind it is not seen as one"),
        "output_0770": Difference(2, "The file ./run is group writable, or is others writable", "wording, allows 0755"),
        "output_is_link": Difference(2, "path :./run is a soft link, not supported", "names paths as they were given"),
        "output_is_file": Difference(1, "Not a directory: './run/output'", "--output may be a file at first"),
        "result_folder_is_file": Difference(1, "Not a directory: './run/output/0_0.bin'", "found at the first file"),
        "dirname_absolute": Difference(1, "ValueError: --output_dirname do not support abs path!", "wording"),
        "missing_single_file": Difference(2, "path: in/9.bin not exist", "names paths as they were given"),
        "missing_input": Difference(2, "path: in/ not exist", "names paths as they were given"),
        "missing_model": Difference(2, "path: gone.om not exist", "names paths as they were given"),
        "model_is_onnx": Difference(2, "path:model.onnx, file type not in ['om']", "names paths as they were given"),
        "model_is_folder": Difference(2, "path: in is not a file", "names paths as they were given"),
        "model_group_writable": Difference(2, "The file small_bs1.om is group writable", "names paths as given"),
        "model_with_space": Difference(2, "path:in* contains illegal char", "wording"),
        "path_characters": Difference(2, "path:ä contains illegal char", "wording"),
        "path_name_too_long": Difference(2, "[ERROR] file namexxx", "wording"),
        "path_too_long": Difference(2, "[ERROR] file total path/y/y", "wording"),
        "input_0664": Difference(1, "The file in/3.bin is group writable", "names paths as they were given"),
        "input_0646": Difference(
            1, "The file in/3.bin is group writable, or is others writable", "names paths as given"
        ),
        "input_0000": Difference(1, "doesn't have read permission to the file in/3.bin", "names paths as given"),
        "input_folder_0775": Difference(2, "The file in/ is group writable", "names paths as they were given"),
        "input_link": Difference(1, "path :in/0.bin is a soft link, not supported", "names paths as they were given"),
        "loop_0": Difference(2, "--loop/-l: 0 is an invalid positive int value", "wording"),
        "loop_text": Difference(2, "--loop/-l: invalid check_positive_integer value: '1.5'", "wording"),
        "warmup_negative": Difference(2, "-1 is an invalid nonnegative int value", "wording"),
        "warmup_dashed": Difference(0, FINISHED, "--warmup-count is a second name of --warmup_count"),
        "device_text": Difference(2, "--device/-d: Argument npu-id invalid input value: npu", "wording"),
    },
    LATEST: {},
}


def as_in(year: str, text: str) -> str:
    """Our output with the lines of an older version."""
    for line in LINES[year]:
        text = re.sub(line.ours, line.theirs, text, flags=re.MULTILINE)
    return text


def test_tables_name_cases_that_exist() -> None:
    named = {name for table in DIFFERENCES.values() for name in table} | {name for _, name in OTHER_MODES.values()}
    assert named <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_same_files_messages_and_codes(
    name: str, run: Run, real_tool: RealTool, compiled: Path, tmp_path: Path
) -> None:
    case, year = CASES[name], real_tool.year
    (real, real_folder), (ours, our_folder) = run_in_both(run, real_tool, compiled, tmp_path, case)
    assert ours.code == case.code, ours.stdout + ours.stderr
    difference = DIFFERENCES[year].get(name)
    if difference:
        assert real.code == difference.code, real.stdout + real.stderr
        assert difference.says in normalised(real.stdout + real.stderr, real_folder)
        if not difference.modes_only:
            return
    assert real.code == case.code, real.stdout + real.stderr
    assert as_in(year, normalised(ours.stdout, our_folder)) == normalised(real.stdout, real_folder)
    assert normalised(last_line(ours.stderr), our_folder) == normalised(last_line(real.stderr), real_folder)
    if case.code == 2 and year == LATEST:  # the usage of older versions has fewer flags
        assert normalised(ours.stderr, our_folder) == normalised(real.stderr, real_folder)
    compared = (case.same_bytes, WITH_MODES[year] and not difference)
    assert files_of(our_folder, *compared) == files_of(real_folder, *compared)
    assert summaries_of(our_folder) == summaries_of(real_folder)


def without_arguments(summaries: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: value for key, value in summary.items() if key != "args"} for summary in summaries]


MODE_TITLES = {
    "array": "Inference array Processing",
    "tensor": "Inference tensor Processing",
    "files": "Inference files Processing",
    "full": "Inference Processing full",
}
TENSOR_CASES = (
    *("guide_bs4", "guide_bs1", "padding", "natural_order_batched", "npy_inputs", "npy_outputs", "half_outputs"),
    *("two_inputs", "loop_with_files", "all_summaries", "pure", "pure_saved", "pure_random", "pure_two_inputs"),
    *("batchsize_4096", "no_output", "full_batches", "first_file_odd", "later_file_smaller", "later_file_smaller_bs1"),
)
OTHER_MODES = {
    **{f"{mode}_guide_bs4": (mode, "guide_bs4") for mode in ("files", "full")},
    **{f"tensor_{name}": ("tensor", name) for name in TENSOR_CASES},
}


@pytest.mark.parametrize(("mode", "name"), OTHER_MODES.values(), ids=OTHER_MODES.keys())
def test_other_modes_of_the_real_tool_give_what_array_mode_gives(
    mode: str, name: str, run: Run, real_tool: RealTool, compiled: Path, tmp_path: Path
) -> None:
    """aclruntime carries the modes that our ais_bench refuses; files, summary, messages and code are the same."""
    difference = DIFFERENCES[real_tool.year].get(name)
    case, options = CASES[name], f" --run_mode {mode}"
    (real, real_folder), (ours, our_folder) = run_in_both(run, real_tool, compiled, tmp_path, case, options)
    assert ours.code == case.code
    if difference:
        assert real.code == difference.code, real.stdout + real.stderr
        assert difference.says in normalised(real.stdout + real.stderr, real_folder)
        return
    assert real.code == case.code, real.stdout + real.stderr
    messages = normalised(real.stdout, real_folder).replace(MODE_TITLES[mode], MODE_TITLES["array"])
    assert as_in(real_tool.year, normalised(ours.stdout, our_folder)) == messages
    compared = (case.same_bytes, WITH_MODES[real_tool.year])
    assert files_of(our_folder, *compared) == files_of(real_folder, *compared)
    assert without_arguments(summaries_of(our_folder)) == without_arguments(summaries_of(real_folder))


def test_uneven_inputs_end_both_tools(run: Run, real_tool: RealTool, compiled: Path, tmp_path: Path) -> None:
    """The real tool ends with a bare IndexError; ours says which counts."""
    case = Case(f"--model sum_bs2.om --input left,right {RUN}", uneven_pairs)
    (real, _), (ours, _) = run_in_both(run, real_tool, compiled, tmp_path, case)
    assert (real.code, ours.code) == (1, 1)
    assert "IndexError" in last_line(real.stderr)
    assert last_line(ours.stderr) == "IndexError: the inputs have different numbers of files: 3, 1"


API_SCRIPT = """
import sys
import numpy as np
import aclruntime
from ais_bench.infer.interface import InferSession, MemorySummary

def attempt(what):
    try:
        print(what())
    except Exception as error:
        print(type(error).__name__, error)

class TorchLike:
    def __init__(self, array): self.array = array
    def type(self): return "torch.FloatTensor"
    def numpy(self): return self.array
    def is_contiguous(self): return self.array.flags.c_contiguous

session = InferSession(0, sys.argv[1], loop=2)
for tensor in (*session.get_inputs(), *session.get_outputs()):
    print(tensor.name, int(tensor.datatype), tensor.format, list(tensor.shape), tensor.size, tensor.realsize)
image = np.random.default_rng(3).normal(size=(4, 3, 4, 4)).astype(np.float32)
turned = np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
feeds = {
    "array": [image], "turned": [turned], "torch": [TorchLike(image)], "turned torch": [TorchLike(turned)],
    "as bytes": [image.view(np.uint8)], "tensor": [aclruntime.Tensor(image)],
    "double": [image.astype(np.float64)], "no feeds": [], "no list": image, "too many": [image, image],
    "text": ["image"], "none": [None], "scalar": [np.float32(1)],
}
for name, feed in feeds.items():
    print(name)
    attempt(lambda: [(a.dtype, a.shape, a.tolist()) for a in session.infer(feed, mode="static")])
attempt(lambda: session.infer([image], out_array=1))
attempt(lambda: session.infer([image], mode="dynamic"))
attempt(lambda: [type(t).__name__ for t in session.infer([image], out_array=False)])
attempt(lambda: np.array(session.infer([image], out_array=False)[0]))
attempt(lambda: [len(session.summary().exec_time_list), {len(t) for t in session.summary().exec_time_list}])
attempt(lambda: all(end >= start for start, end in session.summary().exec_time_list))
session.reset_summaryinfo()
MemorySummary.reset()
attempt(lambda: len(session.infer([image])))
attempt(lambda: len(session.summary().exec_time_list))
attempt(lambda: [len(MemorySummary.get_h2d_time_list()), len(MemorySummary.get_d2h_time_list())])
second = InferSession(0, sys.argv[1])
second.free_resource()
model = sys.argv[1]
for arguments in [("0", model), (256, model), (0, ""), (0, "gone.om"), (0, __file__), (7, model),
                  (0, model, None, False, 0), (0, model, None, False, 1.5)]:
    attempt(lambda: InferSession(*arguments))
session.free_resource()
InferSession.finalize()
"""


# What every version has; 2023 spells sumary, and its finalize unloads the model, too.
COMMON_API_SCRIPT = """
import sys
import numpy as np
import aclruntime
from ais_bench.infer.interface import InferSession

def attempt(what):
    try:
        print(what())
    except Exception as error:
        print(type(error).__name__, error)

session = InferSession(0, sys.argv[1], loop=2)
for tensor in (*session.get_inputs(), *session.get_outputs()):
    print(tensor.name, int(tensor.datatype), tensor.format, list(tensor.shape), tensor.size, tensor.realsize)
image = np.random.default_rng(3).normal(size=(4, 3, 4, 4)).astype(np.float32)
for feeds in [image], [image.view(np.uint8)], [aclruntime.Tensor(image)], [image.astype(np.float64)], ["image"]:
    attempt(lambda: [(a.dtype, a.shape, a.tolist()) for a in session.infer(feeds, mode="static")])
session.set_loop_count(3)
attempt(lambda: [a.tolist() for a in session.run([image], out_array=True)])
attempt(lambda: [type(t).__name__ for t in session.run([image], out_array=False)])
attempt(lambda: np.array(session.run([image], out_array=False)[0]))
summary = getattr(session, "summary", None) or session.sumary
reset = getattr(session, "reset_summaryinfo", None) or session.reset_sumaryinfo
attempt(lambda: len(summary().exec_time_list))
reset()
attempt(lambda: len(summary().exec_time_list))
if hasattr(session, "free_resource"):
    session.free_resource()
session.finalize()
"""


def test_same_python_interface(run: Run, real_tool: RealTool, compiled: Path, tmp_path: Path) -> None:
    """The older versions have fewer names and checks than ours, and are held to what they share."""
    model = compiled / "small_bs4.om"
    for script in (COMMON_API_SCRIPT, API_SCRIPT)[: 2 if real_tool.year == LATEST else 1]:
        write_bytes(tmp_path / "script.py", script.encode())
        real = run("python3", "script.py", model, env=real_tool.env)
        ours = run("python3", "script.py", model)
        assert (real.code, ours.code) == (0, 0), real.stderr + ours.stderr
        assert as_in(real_tool.year, normalised(ours.stdout, tmp_path)) == normalised(real.stdout, tmp_path)
        assert "float32 (4, 2, 8, 8)" in ours.stdout.replace("dtype('float32'),", "float32")


def test_packages_of_different_years_do_not_fit(run: Run, real_tool: RealTool, compiled: Path, tmp_path: Path) -> None:
    """Both call themselves 0.0.2, so pip is content.

    A later ais_bench ends on the aclruntime of 2023. That of 2023 takes the pairs of a later one for twice as many
    times, without a word: its mean and its throughput have nothing to do with the executions.
    """
    words = f"-m ais_bench --model {compiled / 'small_bs4.om'} --output run --output_dirname output --loop 3".split()
    if real_tool.year == "2023":
        result = run("python3", *words, env={**real_tool.env, "EMULATED_ACLRUNTIME": "2024"})
        assert result.code == 0, result.stdout + result.stderr
        summary = json.loads((tmp_path / "run" / "output_summary.json").read_text())
        assert [len(times) for times in summary["npu_compute_time_list"]] == [2, 2, 2]
        assert summary["NPU_compute_time"]["mean"] == np.mean(summary["npu_compute_time_list"])
    else:
        result = run("python3", *words, env={**real_tool.env, "EMULATED_ACLRUNTIME": "2023"})
        assert result.code == 1, result.stdout
        assert last_line(result.stderr).startswith("AttributeError: 'aclruntime.InferenceSession' object has no")
