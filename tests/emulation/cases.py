"""The behaviours of ais_bench that are compared: with the real packages, and in docs/ais_bench_behaviours.md.

A behaviour is a command line and what lies in its folder. What the other real releases do otherwise by design stands in
LINES (single lines) and DIFFERENCES (whole outcomes), each with its reason; `cases_2026` has those of the typer command
line, whose spellings and console are new.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from .cases_2026 import NEWEST, spelled, summary_in
from .conftest import EMULATION, Result, Run, sample, write_bytes, write_samples

LATEST = "2025"  # the release that ours is the stand-in of
LAYOUTS = {
    "2026": "infer/common/validators.py",
    "2025": "infer/common",
    "2024": "infer/benchmark_process.py",
    "2023": "infer/io_oprations.py",
}  # newest first


def year_of(folder: Path) -> str | None:
    """Which version of the real package lies in `folder`: all until 2025 call themselves 0.0.2, their files differ."""
    return next((year for year, path in LAYOUTS.items() if (folder / "ais_bench" / path).exists()), None)


# The real tool asks pkg_resources for aclruntime's version and leaves array mode where that module is missing.
PKG_RESOURCES = """
from importlib.metadata import distribution as get_distribution
"""


def nothing(folder: Path) -> None:
    """No inputs."""


@dataclass(frozen=True)
class Case:
    """The words behind `python3 -m ais_bench`, or lines of Python, and what lies in the folder before the run."""

    arguments: str
    prepare: Callable[[Path], None] = nothing
    code: int = 0
    same_bytes: bool = True
    npus: int = 1
    script: str = ""


@dataclass(frozen=True)
class RealTool:
    """A real package: its year, and the environment in which `python3 -m ais_bench` is it."""

    year: str
    env: dict[str, str]


def real_packages() -> list:
    """The folders of AIS_BENCH_DIR as parameters of a test, which skips where there is none."""
    names = [name for name in os.environ.get("AIS_BENCH_DIR", "").split(os.pathsep) if name]
    return names or [
        pytest.param(None, marks=pytest.mark.skip("AIS_BENCH_DIR names no folder with the real ais_bench"))
    ]


def real_tool_in(folder: Path, shim: Path) -> RealTool:
    """The package that lies in `folder`: found before ours, on our aclruntime as it was in that year."""
    year = year_of(folder)
    assert year is not None, folder
    shim.mkdir(exist_ok=True)
    (shim / "pkg_resources.py").write_text(PKG_RESOURCES)
    path = os.pathsep.join([str(folder), str(EMULATION), str(shim)])
    return RealTool(year, {"PYTHONPATH": path, "EMULATED_ACLRUNTIME": year})


def six_samples(folder: Path) -> None:
    write_samples(folder / "in", [f"{index}.bin" for index in range(6)])


def samples(count: int, output: bool = True) -> Callable[[Path], None]:
    """`count` images, and a folder for the results: real processes that make it at the same moment may fail."""

    def prepare(folder: Path) -> None:
        write_samples(folder / "in", [f"{index}.bin" for index in range(count)])
        if output:
            ready_output(folder)

    return prepare


def ready_output(folder: Path) -> None:
    """The folder for the results."""
    for name in ("run", "run/output"):
        (folder / name).mkdir()
        (folder / name).chmod(0o750)


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


def sized_images(count: int, sizes: int | None = None) -> Callable[[Path], None]:
    """`count` images and their sizes, or fewer `sizes`, in the two folders that R-CNN's inference names."""

    def prepare(folder: Path) -> None:
        ready_output(folder)
        write_samples(folder / "inputs" / "bin_file", [f"{index}.bin" for index in range(count)])
        for index in range(count if sizes is None else sizes):
            size = np.array([100 + index, 200], np.float32)
            write_bytes(folder / "inputs" / "image_size" / f"{index}.bin", size.tobytes())

    return prepare


def sized_image_per_file(folder: Path) -> None:
    """As many sizes as images, but the first file of the sizes holds two of them."""
    sized_images(3)(folder)
    write_bytes(folder / "inputs" / "image_size" / "0.bin", np.array([100, 200, 101, 200], np.float32).tobytes())


def pairs_with_output(folder: Path) -> None:
    pairs(folder)
    ready_output(folder)


def late_bad_file(folder: Path) -> None:
    """Six images, the fifth of them half as long."""
    samples(6)(folder)
    write_bytes(folder / "in" / "4.bin", bytes(96))


def uint8_images(folder: Path) -> None:
    """Six images as a model with AIPP takes them: uint8, [4,4,3], a quarter of the bytes."""
    for index in range(6):
        pixels = np.random.default_rng(index).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        write_bytes(folder / "in" / f"{index}.bin", pixels.tobytes())
    (folder / "in").chmod(0o750)


def foreign_model(folder: Path) -> None:
    write_bytes(folder / "foreign.om", b"IMOD" + bytes(100))
    write_bytes(folder / "model.onnx", b"onnx")


def open_model(folder: Path) -> None:
    (folder / "small_bs1.om").chmod(0o660)


RUN = "--output ./run --output_dirname output"
IN = "--input in/ " + RUN
SIZED = f"--model sized_bs1.om --input inputs/bin_file,inputs/image_size {RUN}"
FOUR_FILES = "left/0.bin,left/1.bin,right/1.bin,right/2.bin"
DIVIDED = "--device 0,1 --divide_input 1"
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
    "sized": Case(SIZED, sized_images(12)),  # 10 and 11 are behind 9 in both folders
    "sized_swapped": Case(f"--model sized_bs1.om --input inputs/image_size,inputs/bin_file {RUN}", sized_images(2), 1),
    "sized_two_in_a_file": Case(SIZED, sized_image_per_file, 1),
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
    "uint8_nhwc": Case(f"--model uint8_bs4.om {IN}", uint8_images),
    # Four uint8 images have the size of one in float32: the real tool takes one for a whole batch, without a word.
    "uint8_nhwc_float_files": Case(f"--model uint8_bs4.om {IN}", six_samples),
    "uint8_nhwc_pure": Case(f"--model uint8_bs4.om {RUN}"),
    "float_model_uint8_files": Case(f"--model small_bs4.om {IN}", uint8_images, 1),
    "device_1_of_2": Case(f"--model small_bs4.om {IN} --device 1", six_samples, npus=2),
    "devices": Case(f"--model small_bs4.om {IN} --device 0,1", samples(6), npus=2),
    "devices_divided": Case(f"--model small_bs1.om {IN} {DIVIDED}", samples(6), npus=2),
    "devices_divided_odd": Case(f"--model small_bs1.om {IN} {DIVIDED}", samples(7), npus=2),
    "devices_divided_padding": Case(f"--model mixing_bs4.om {IN} {DIVIDED}", samples(7), npus=2),
    "devices_divided_by_3": Case(f"--model small_bs1.om {IN} --device 2,0,1 --divide_input 1", samples(7), npus=3),
    "devices_divided_npy": Case(f"--model small_bs4.om {IN} {DIVIDED} --outfmt NPY --loop 2", samples(6), npus=2),
    "devices_divided_tensor": Case(f"--model small_bs4.om {IN} {DIVIDED} --run_mode tensor", samples(6), npus=2),
    "devices_divided_batchsize": Case(f"--model small_bs4.om {IN} {DIVIDED} --batchsize 2", samples(6), npus=2),
    "devices_divided_pairs": Case(f"--model sum_bs2.om --input left,right {RUN} {DIVIDED}", pairs_with_output, npus=2),
    "devices_divided_sized": Case(f"{SIZED} {DIVIDED}", sized_images(7), npus=2),
    "devices_sized": Case(f"{SIZED} --device 0,1", sized_images(3), npus=2),
    "devices_divided_sized_fewer": Case(f"{SIZED} {DIVIDED}", sized_images(1), 1, npus=2),
    "devices_divided_files": Case(
        f"--model small_bs1.om --input in/5.bin,in/0.bin,in/3.bin {RUN} {DIVIDED}", samples(6), npus=2
    ),
    "devices_divided_without_files": Case(f"--model small_bs4.om {RUN} {DIVIDED}", ready_output, npus=2),
    "devices_fewer_files": Case(f"--model small_bs1.om {IN} {DIVIDED}", samples(1), 1, npus=2),
    "devices_empty_input": Case(f"--model small_bs4.om --input= {DIVIDED}", code=1, npus=2),
    "devices_late_bad_file": Case(f"--model small_bs1.om {IN} {DIVIDED}", late_bad_file, 1, npus=2),
    "devices_pure": Case("--model small_bs4.om --loop 3 --batchsize 8 --device 0,1", npus=2),
    "devices_all_summaries": Case("--model small_bs4.om --device 0,1 --display_all_summary 1", npus=2),
    "devices_unsaved": Case("--model small_bs4.om --input in --device 0,1", six_samples, npus=2),
    "devices_twice_the_same": Case(f"--model small_bs4.om {IN} --device 0,0", samples(6)),
    "devices_one_missing": Case("--model small_bs4.om --device 0,1", code=1),
    "devices_256": Case("--model small_bs4.om --device 0,256", code=2),
    "devices_negative": Case("--model small_bs4.om --device=0,-1", code=2),
    "devices_comma_at_end": Case("--model small_bs4.om --device 0,", code=2),
    "devices_text": Case("--model small_bs4.om --device 0,npu", code=2),
    "without_effect": Case("--model small_bs4.om --npu_id 3 --profiler_rename 0 --dump_npy 1 --divide_input 1"),
}

WORDS_LENGTH_MAX = 240  # of an outcome

# Each is run in array mode and once more in these.
MODE_CASES = {
    "tensor": (
        *("guide_bs4", "guide_bs1", "padding", "natural_order_batched", "npy_inputs", "single_files", "npy_outputs"),
        *("txt_outputs", "half_outputs", "two_inputs", "two_inputs_as_files", "three_files_two_inputs", "no_output"),
        *("pure", "pure_saved", "pure_random", "pure_two_inputs", "loop_with_files", "all_summaries", "no_warmup"),
        *("batchsize_4096", "full_batches", "half_precision_pairs", "first_file_odd", "first_file_empty"),
        *("first_file_larger", "later_file_smaller", "later_file_smaller_bs1", "later_file_larger_bs1"),
        *("axis_unsplittable", "empty_folder", "uint8_nhwc", "uint8_nhwc_float_files", "sized"),
    ),
    "files": (
        "guide_bs4",
        "padding",
        "two_inputs",
        "sized",
        "npy_inputs",
        "pure",
        "loop_with_files",
        "later_file_smaller_bs1",
    ),
    "full": ("guide_bs4", "padding", "two_inputs", "npy_inputs", "pure", "loop_with_files", "later_file_smaller_bs1"),
}
REFUSED_BY_FILES_MODE = ("npy_inputs", "pure")  # it leaves reading to the runtime
for _mode, _names in MODE_CASES.items():
    for _name in _names:
        _code = 1 if _mode == "files" and _name in REFUSED_BY_FILES_MODE else CASES[_name].code
        _arguments = f"{CASES[_name].arguments} --run_mode {_mode}"
        CASES[f"{_mode}_{_name}"] = replace(CASES[_name], arguments=_arguments, code=_code)

API_START = """
import sys
import numpy as np
import aclruntime
from ais_bench.infer.interface import InferSession, MemorySummary

def attempt(what):
    try:
        print(what())
    except Exception as error:
        print(type(error).__name__, error)

def values(arrays):
    return [(str(array.dtype), array.shape, array.tolist()) for array in arrays]

class TorchLike:
    def __init__(self, array): self.array = array
    def type(self): return "torch.FloatTensor"
    def numpy(self): return self.array
    def is_contiguous(self): return self.array.flags.c_contiguous

model = "small_bs4.om"
session = InferSession(0, model)
image = np.random.default_rng(3).normal(size=(4, 3, 4, 4)).astype(np.float32)
turned = np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
"""
API_END = """
session.free_resource() if hasattr(session, "free_resource") else None
session.finalize()
"""
API = {
    "descriptions": """
for tensor in (*session.get_inputs(), *session.get_outputs()):
    print(tensor.name, int(tensor.datatype), tensor.format, list(tensor.shape), tensor.size, tensor.realsize)
""",
    "array": "attempt(lambda: values(session.infer([image])))",
    "array_not_contiguous": "attempt(lambda: values(session.infer([turned])))",
    "torch_tensor": "attempt(lambda: values(session.infer([TorchLike(image)])))",
    "torch_not_contiguous": "attempt(lambda: values(session.infer([TorchLike(turned)])))",
    "device_tensor": "attempt(lambda: values(session.infer([aclruntime.Tensor(image)])))",
    "bytes_of_other_type": "attempt(lambda: values(session.infer([image.view(np.uint8)])))",
    "uint8_nhwc": """
aipp = InferSession(0, "uint8_bs4.om")
for tensor in aipp.get_inputs():
    print(tensor.name, int(tensor.datatype), tensor.format, list(tensor.shape), tensor.size, tensor.realsize)
pixels = np.random.default_rng(4).integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)
attempt(lambda: values(aipp.infer([pixels])))
attempt(lambda: values(aipp.infer([pixels.astype(np.float32)])))
""",
    "several_calls": """
for factor in 1, 2, 3:
    attempt(lambda: values(session.infer([factor * image], mode="static")))
""",
    "out_array_false": """
attempt(lambda: [type(tensor).__name__ for tensor in session.infer([image], out_array=False)])
attempt(lambda: np.array(session.infer([image], out_array=False)[0]))
outputs = session.infer([image], out_array=False)
session.convert_tensors_to_host(outputs)
attempt(lambda: values(session.convert_tensors_to_arrays(outputs)))
""",
    "out_array_no_bool": "attempt(lambda: len(session.infer([image], out_array=1)))",
    "wrong_sizes": """
for feed in image.astype(np.float64), image[:1], image[:0], np.float32(1):
    attempt(lambda: len(session.infer([feed])))
""",
    "wrong_counts": """
for feeds in [], [image, image]:
    attempt(lambda: len(session.infer(feeds)))
""",
    "wrong_types": """
for feed in "image", None, 1.5, b"bytes":
    attempt(lambda: len(session.infer([feed])))
attempt(lambda: len(session.infer(image)))
attempt(lambda: len(session.infer((image,))))
""",
    "after_an_error": """
attempt(lambda: len(session.infer([image[:1]])))
attempt(lambda: values(session.infer([image])))
""",
    "unknown_mode": "attempt(lambda: session.infer([image], mode='dynamic'))",
    "loop": """
summary = getattr(session, "summary", None) or session.sumary
reset = getattr(session, "reset_summaryinfo", None) or session.reset_sumaryinfo
session.set_loop_count(3)
attempt(lambda: values(session.infer([image])))
attempt(lambda: len(summary().exec_time_list))
reset()
attempt(lambda: len(summary().exec_time_list))
""",
    "run": """
attempt(lambda: values(session.run([image], out_array=True)))
attempt(lambda: [type(tensor).__name__ for tensor in session.run([image])])
""",
    "summary": """
attempt(lambda: len(session.summary().exec_time_list))
for _ in range(3): session.infer([image])
attempt(lambda: [len(entry) for entry in session.summary().exec_time_list])
attempt(lambda: all(start <= end for start, end in session.summary().exec_time_list))
""",
    "reset_summaryinfo": """
session.infer([image])
session.reset_summaryinfo()
attempt(lambda: len(session.summary().exec_time_list))
session.infer([image])
attempt(lambda: len(session.summary().exec_time_list))
""",
    "memory_summary": """
session.infer([image])
attempt(lambda: [len(MemorySummary.get_h2d_time_list()), len(MemorySummary.get_d2h_time_list())])
MemorySummary.reset()
attempt(lambda: [len(MemorySummary.get_h2d_time_list()), len(MemorySummary.get_d2h_time_list())])
""",
    "two_sessions": """
second = InferSession(0, model, loop=2)
attempt(lambda: values(second.infer([image])))
second.free_resource()
attempt(lambda: values(session.infer([image])))
""",
    "freed_twice": """
session.free_resource()
session.free_resource()
""",
    "finalized_twice": """
session.free_resource()
InferSession.finalize()
InferSession.finalize()
""",
    "device_no_integer": "attempt(lambda: InferSession('0', model))",
    "device_256": "attempt(lambda: InferSession(256, model))",
    "device_missing": "attempt(lambda: InferSession(7, model))",
    "model_empty": "attempt(lambda: InferSession(0, ''))",
    "model_missing": "attempt(lambda: InferSession(0, 'gone.om'))",
    "model_no_om": "attempt(lambda: InferSession(0, 'script.py'))",
    "loop_0": "attempt(lambda: InferSession(0, model, loop=0))",
    "loop_no_integer": "attempt(lambda: InferSession(0, model, loop=1.5))",
}
CASES.update(
    {
        f"infersession_{name}": Case("", script=API_START + lines.rstrip() + "\n" + API_END)
        for name, lines in API.items()
    }
)
CASES["infersession_device_1_of_2"] = Case(
    "", script=API_START + "attempt(lambda: len(InferSession(1, model).infer([image])))\n" + API_END, npus=2
)

FLOAT = r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?"
FILES = Path(__file__).with_name("behaviours.json")  # what each case writes: by scripts/behaviours.py
DIGEST_LENGTH = 12  # hexadecimal digits: enough to see a change
SUMMARY_NUMBERS = re.compile(rf"((?:min|max|mean|median|percentile\(99%\)) = |\.mean\(|\): ){FLOAT}")
LOGGED = re.compile(r"\[(INFO|WARN|WARNING|ERROR|ACL ERROR)\] |(\x1b\[2K)?loop inference")
PROGRESS = re.compile(r"\d+%\|.*?\| (?P<done>\d+)/(?P<all>\d+) \[[^]]*\]")
DATE = re.compile(r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d")
# Several processes share a console: lines come in any order.
PROCESSES_BEGIN = "[INFO] multidevice:"
PROCESS_NUMBERS = re.compile(rf"(throughput:|start_time:|end_time:|(?<=subprocess_)\d+ qsize:){FLOAT}")


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
        Line(r"^\[INFO\] (i:\d+ device_\d+ \S+) +", r"\1 ", "printed past the log"),
        Line(r"^(\[ERROR\] save out files .* ndata\.shape) +", r"\1", "without the blanks of a broken source line"),
    ],
    "2024": [
        NO_CONTEXTS,
        BLANK_LINE,
        *WORDING,
        Line(r"^\[ERROR\] create context failed\.", "CreateContext failed.", "printed past the log"),
    ],
    LATEST: [],
    NEWEST: [],
}
WITH_MODES = {"2023": False, "2024": True, LATEST: True, NEWEST: True}  # 2023 leaves what it writes to the umask


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
API_UNCHECKED = {
    f"infersession_{name}": Difference(0, says, "arguments of Python are not checked before 2025")
    for name, says in {
        "out_array_no_bool": "2",
        "wrong_counts": "intensors in:0 need:1 not match",
        "wrong_types": "in size:192 needsize:768 not match",
        "unknown_mode": "RuntimeError wrong infer_mode:dynamic",
        "device_no_integer": "TypeError '>=' not supported between instances of 'str' and 'int'",
        "device_256": "device 256 does not exist",
        "model_empty": "Is a directory: '.'",
        "model_missing": "No such file or directory: 'gone.om'",
        "model_no_om": "script.py was not written by the emulated atc",
        "loop_0": "load model small_bs4.om success",
        "loop_no_integer": "load model small_bs4.om success",
    }.items()
}
BAD_ARGUMENTS = (
    *("missing_single_file", "missing_input", "missing_model", "model_is_onnx", "model_is_folder"),
    *("model_group_writable", "model_with_space", "output_0755", "output_0770", "output_is_file", "output_is_link"),
    *("output_here", "dirname_is_0755_here", "input_folder_0775", "input_folder_link", "path_characters"),
    *("path_name_too_long", "path_too_long", "loop_0", "loop_100001", "loop_text", "batchsize_0", "warmup_negative"),
    *("threads_0", "device_256", "device_text", "devices_256", "devices_negative", "devices_comma_at_end"),
    "devices_text",
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
        **dict.fromkeys(
            ("devices", "devices_unsaved", "devices_twice_the_same", "devices_sized"),
            Difference(0, "summary throughput:N", "the files are always divided, the folders are called device<d>"),
        ),
        **dict.fromkeys(
            (
                *("devices_divided", "devices_divided_odd", "devices_divided_padding", "devices_divided_by_3"),
                *("devices_divided_npy", "devices_divided_tensor", "devices_divided_batchsize"),
                *("devices_divided_pairs", "devices_divided_files", "devices_divided_without_files"),
                *("devices_divided_sized", "devices_divided_sized_fewer"),
                *("devices_fewer_files", "devices_empty_input", "devices_late_bad_file"),
            ),
            Difference(2, "unrecognized arguments: --divide_input 1", "a later flag; the files are always divided"),
        ),
        "devices_comma_at_end": Difference(2, "invalid check_device_range_valid value: '0,'", "wording"),
        "devices_text": Difference(2, "invalid check_device_range_valid value: '0,npu'", "wording"),
        **API_UNCHECKED,
        **{
            f"infersession_{name}": Difference(1, "has no attribute 'free_resource'", "finalize does it")
            for name in ("two_sessions", "freed_twice", "finalized_twice")
        },
        "infersession_array_not_contiguous": Difference(0, "float32", "its memory is read as if it were contiguous"),
        "infersession_out_array_false": Difference(1, "keyword argument 'out_array'", "infer always gives arrays"),
        "infersession_out_array_no_bool": Difference(0, "keyword argument 'out_array'", "infer always gives arrays"),
        "infersession_unknown_mode": Difference(0, "array([[[[", "all modes of other names are taken for static"),
        "infersession_summary": Difference(0, "no attribute 'summary'", "spelled sumary, with durations alone"),
        "infersession_reset_summaryinfo": Difference(1, "no attribute 'reset_summaryinfo'", "spelled reset_sumaryinfo"),
        "infersession_memory_summary": Difference(0, "no attribute 'get_h2d_time_list'", "spelled get_H2D_time_list"),
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
        **dict.fromkeys(
            ("devices_fewer_files", "devices_divided_sized_fewer"),
            Difference(1, "Invalid args.   of --input is invalid", "one process gets no file"),
        ),
        **API_UNCHECKED,
    },
    LATEST: {},
    NEWEST: {
        **dict.fromkeys(
            ("batchsize_4097", "warmup_10001", "axis_9", "threads_65"), replace(UNLIMITED, reason="no bounds")
        ),
        **dict.fromkeys(BAD_ARGUMENTS, Difference(1, "ArgumentTypeError", "a bad argument ends in a traceback")),
        "abbreviated": Difference(2, "No such option: --inp", "flags are spelled out"),
        "warmup_dashed": Difference(0, FINISHED, "its own spelling"),
        "infersession_device_tensor": Difference(0, "'memory_type' object is not callable", "takes arrays only"),
        "infersession_wrong_counts": Difference(0, "[-1][ACL: general failure]", "the runtime counts tensors later"),
        "infersession_finalized_twice": Difference(1, "has no attribute 'finalize'", "the end of Python finalizes"),
    },
}


def as_in(year: str, text: str) -> str:
    """Our output with the lines of an older version."""
    for line in LINES[year]:
        text = re.sub(line.ours, line.theirs, text, flags=re.MULTILINE)
    return text


def difference_of(year: str, name: str) -> Difference | None:
    """What `year` does otherwise in a case; in another mode it is what it is in array mode, unless it says so."""
    table = DIFFERENCES[year]
    mode, _, base = name.partition("_")
    return table.get(name) or (table.get(base) if base in MODE_CASES.get(mode, ()) else None)


def normalised(text: str, folder: Path, year: str = LATEST) -> str:
    """`text` without what differs from run to run: the work folder, times, dates, the order of processes.

    `year` gives a text of ours the lines of that version.
    """
    several = PROCESSES_BEGIN in text
    text = text.replace(str(folder), "FOLDER")
    text = re.sub(r"(?<=[^\n])(?=\[(INFO|WARN|WARNING|ERROR)\] )", "\n", text)  # behind a bar that has not ended
    lines = []
    for line in text.splitlines():
        progress = PROGRESS.search(line)
        if progress and progress["done"] != progress["all"]:
            continue  # tqdm shows as many states as it has time for; only the last one is certain
        line = PROGRESS.sub(r"\g<done>/\g<all>", line)
        if progress and line in (lines if several else lines[-1:]):
            continue  # where the last step took long, it shows the last state twice
        line = SUMMARY_NUMBERS.sub(r"\g<1>N", line) if "_time" in line or "_latency" in line else line
        lines.append(PROCESS_NUMBERS.sub(r"\g<1>N", line) if several else line)
    text = as_in(year, DATE.sub("DATE", "\n".join(lines)))
    return "\n".join(sorted(filter(None, text.splitlines()))) if several else text


def last_line(text: str) -> str:
    """The sentence of an uncaught exception; the tools' own exception classes have other names."""
    line = text.strip().splitlines()[-1] if text.strip() else ""
    return re.sub(r"^ais_bench\.[\w.]+: ", "", line)


@dataclass(frozen=True)
class Outcome:
    """What a run left: the process, and its work folder."""

    result: Result
    folder: Path
    written: list[Path]  # new files, and files that changed


def _states(folder: Path) -> dict[Path, tuple[int, int, int]]:
    stats = {path: path.lstat() for path in folder.rglob("*") if not path.is_dir()}
    return {path: (status.st_ino, status.st_mtime_ns, status.st_size) for path, status in stats.items()}


def run_case(run: Run, case: Case, compiled: Path, folder: Path, env: dict[str, str]) -> Outcome:
    """The case in a new work folder, with the tool that `env` makes."""
    folder.mkdir()
    folder.chmod(0o755)
    for om in compiled.glob("*.om"):
        write_bytes(folder / om.name, om.read_bytes())
    case.prepare(folder)
    words = ["-m", "ais_bench", *spelled(env.get("EMULATED_ACLRUNTIME", LATEST), case.arguments).split()]
    if case.script:
        write_bytes(folder / "script.py", case.script.encode())
        words = ["script.py"]
    before = _states(folder)
    result = run("python3", *words, cwd=folder, env={**env, "EMULATED_NPUS": str(case.npus)})
    written = [path for path, state in _states(folder).items() if before.get(path) != state]
    return Outcome(result, folder, written)


def outcome_in_words(outcome: Outcome) -> str:
    """Exit code, number of files written, and what was said of errors."""
    out, err = (normalised(text, outcome.folder) for text in (outcome.result.stdout, outcome.result.stderr))
    said = [line for line in out.splitlines() if re.match(r"(\[ERROR\]|\w+Error) ", line)]
    if outcome.result.code:
        usage = err.split("error: ")[-1].replace("'", "")  # Python's versions quote choices differently
        usage = re.sub("[╭╮╰╯─│]", "", usage.split("─ Error ─")[-1])  # typer's box around its sentence
        said.append(usage if outcome.result.code == 2 else last_line(err))
    words = [f"exit {outcome.result.code}"]
    if outcome.written:
        words.append(f"{len(outcome.written)} files")
    errors = (re.sub(r"^\[ERROR\] | \(version \d+\)", "", " ".join(line.split())) for line in said if line.strip())
    text = ": ".join(filter(None, [", ".join(words), "; ".join(dict.fromkeys(errors))]))
    return text if len(text) <= WORDS_LENGTH_MAX else text[: WORDS_LENGTH_MAX - 1] + "…"


def files_in_words(case: Case, outcome: Outcome) -> dict[str, str]:
    """Every file written: mode, and a digest of its content; of random data and of summaries what does not change."""
    files = files_of(outcome.folder, case.same_bytes)
    summaries = hashlib.sha256(json.dumps(summaries_of(outcome.folder)).encode()).hexdigest()[:DIGEST_LENGTH]
    words = {}
    for name in sorted(DATE.sub("DATE", str(path.relative_to(outcome.folder))) for path in outcome.written):
        mode, content = files[name]
        if content is None:
            content = f"summaries {summaries}" if name.endswith("_summary.json") else ""
        elif isinstance(content, bytes):
            content = hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]
        words[name] = f"{mode} {content}"
    return words


def first_difference(year: str, case: Case, ours: Outcome, real: Outcome, with_modes: bool = True) -> str | None:
    """The first thing in which the real release of `year` differs from ours, beyond LINES; None where there is none."""
    if real.result.code != ours.result.code:
        return f"exit code {real.result.code}, ours {ours.result.code}"
    said = _difference_in_words(year, case, ours, real) if year != NEWEST else _difference_in_results(case, ours, real)
    if said is not None:
        return said
    compared = (case.same_bytes, WITH_MODES[year] and with_modes)
    files, own_files = files_of(real.folder, *compared), files_of(ours.folder, *compared)
    if files != own_files:
        names = sorted(name for name in files.keys() | own_files if files.get(name) != own_files.get(name))
        return f"differs in {', '.join(names)}"
    summaries = summaries_of(real.folder), [summary_in(year, summary) for summary in summaries_of(ours.folder)]
    if summaries[0] != summaries[1]:
        return f"sums up {summaries[0]}, ours {summaries[1]}"
    return None


def _difference_in_results(case: Case, ours: Outcome, real: Outcome) -> str | None:
    """The first difference in what lines of Python print, beside the lines of the tool and its runtime."""
    if not case.script:
        return None
    theirs, own = (
        [line for line in normalised(outcome.result.stdout, outcome.folder).splitlines() if not LOGGED.match(line)]
        for outcome in (real, ours)
    )
    return None if theirs == own else f"prints {theirs}, ours {own}"


def _difference_in_words(year: str, case: Case, ours: Outcome, real: Outcome) -> str | None:
    """The first difference on the console."""
    theirs = normalised(real.result.stdout, real.folder).splitlines()
    own = normalised(ours.result.stdout, ours.folder, year).splitlines()
    if theirs != own:
        changed = next(pair for pair in zip_longest(theirs, own, fillvalue="nothing") if pair[0] != pair[1])
        return f"says {changed[0]!r}, ours {changed[1]!r}"
    usage = case.code == 2 and year == LATEST  # the usage of older versions has fewer flags
    last_words = [
        normalised(outcome.result.stderr if usage else last_line(outcome.result.stderr), outcome.folder)
        for outcome in (real, ours)
    ]
    return None if last_words[0] == last_words[1] else f"ends with {last_words[0]!r}, ours with {last_words[1]!r}"
