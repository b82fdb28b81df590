"""OpenVINO's own benchmark_app: its command, and its report as a summary of ours."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.files import read_json
from yolact_ascend.loops import LoopClock, watch_output
from yolact_ascend.process import Watch
from yolact_ascend.targets.openvino.runtime import INSTALL, TYPES
from yolact_ascend.targets.summary import STATED
from yolact_ascend.targets.target import BenchmarkJob
from yolact_ascend.tensors import TensorSpec

REPORT = "benchmark_report.json"  # as benchmark_app names it
FREE_SIZE = (480, 640)  # height and width of the image that a model of any size is measured with
# Its JSON, with numbers as texts -> ours. Percentiles are not in it.
LATENCIES = {"median": "latency (ms)", "mean": "avg latency", "min": "min latency", "max": "max latency"}

# What benchmark_app (2026.4.1) prints before its loops: how many batches it computes at once, and how long one took
# alone.
_PROGRESS = r"(\d+) inference requests|First inference took ([\d.]+) ms"


def benchmark_app_command(
    model: Path,
    device: str,
    image: TensorSpec,
    batch_size: int,
    computes_in: str,
    loop: int,
    report_folder: Path,
    threads: int | None = None,
    arrays: Mapping[str, Path] | None = None,
) -> list[str]:
    """Return the command that runs a model `loop` times with random pixels, several batches at once.

    `computes_in` is the precision that the device computes the model in: fp32, bf16 or fp16. `arrays` are files (.npy)
    of a whole batch by the names of the inputs, in place of random values.

    Types of input and computation are named: benchmark_app's own defaults are uint8 for images, and bfloat16 on CPUs
    that have it (openvinotoolkit/openvino#28032, #4994).
    """
    height, width = FREE_SIZE
    return [
        *(sys.executable, "-I", str(find_benchmark_app())),  # not by its first line, which a moved .venv leaves wrong
        *("-m", str(model), "-d", device, "-niter", str(loop)),
        # With a number of threads, it refuses a hint; one thread a stream is what the hint comes to.
        *(("-hint", "throughput") if threads is None else ("-hint", "none", "-nthreads", str(threads))),
        *(() if threads is None else ("-nstreams", str(threads))),
        *("-infer_precision", TYPES[computes_in]),
        *("-ip", "u8" if image.dtype == "uint8" else "f32"),
        *(("-data_shape", f"[{batch_size},{height},{width},3]") if image.is_free else ()),
        *(("-i", *(f"{name}:{path}" for name, path in arrays.items())) if arrays else ()),
        *("-json_stats", "-report_type", "no_counters", "-report_folder", str(report_folder)),
    ]


@contextlib.contextmanager
def batch_arrays(job: BenchmarkJob, folder: Path) -> Iterator[dict[str, Path]]:
    """Give the batch of a benchmark as files (.npy) in a folder, by the names of the inputs; none where it has none.

    benchmark_app (2026.4.1) reads them as they are. Of a raw file, it repeats one value in inputs that it takes for
    images (inputs_filling.py, get_binary_tensors).
    """
    paths = {spec.name: folder / f"{spec.name}.npy" for spec, _ in zip(job.inputs, job.batch)}
    try:
        for spec, path, raw in zip(job.inputs, paths.values(), job.batch):
            np.save(path, np.fromfile(raw, spec.dtype).reshape(job.batch_size, *spec.shape))
        yield paths
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


def watch_first(loop: int) -> Watch:
    """Return what reads the first batch's time from benchmark_app's output, and says how long all will take.

    It prints no progress. The first batch has its part of the device, as each of those that are computed at once.
    """
    clock, at_once = LoopClock(loop), 1

    def note(found: re.Match[str]) -> None:
        nonlocal at_once
        if found.group(1):
            at_once = int(found.group(1))
        else:
            clock.say(float(found.group(2)) / 1000 * math.ceil(loop / at_once))

    return watch_output(note, _PROGRESS)


def find_benchmark_app() -> Path:
    """Return the script of this Python's benchmark_app; raises ToolError when there is none."""
    path = Path(sys.executable).with_name("benchmark_app")
    if not path.is_file():
        raise ToolError(f"There is no {path}, which comes with OpenVINO. {INSTALL}")
    return path


def read_report(report_folder: Path) -> dict[str, Any]:
    """Return the report of benchmark_app as a summary; raises ArtifactError when it is missing or says nothing."""
    path = report_folder / REPORT
    report = read_json(path, "the report of benchmark_app")
    try:
        results = report["execution_results"]
        return {
            "throughput": float(results["throughput"]),
            STATED: {
                "stated_ms": {name: float(results[key]) for name, key in LATENCIES.items()},
                "stated_batches": int(results["total number of iterations"]),
            },
            "benchmark_app": report,
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a report of benchmark_app: {type(error).__name__} {error}. Run the benchmark again."
        ) from error
