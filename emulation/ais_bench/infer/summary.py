"""Statistics of the times: on the console, and as JSON beside the folder of the results."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ais_bench.infer import log
from ais_bench.infer.paths import open_for_writing

PERCENTILE = 99

# Number of the sample -> {"infiles": [...], "outfiles": [...]}
FilesInfo = dict[int, dict[str, list[str]]]


@dataclass(frozen=True)
class TimeStatistics:
    """Milliseconds; all zero where nothing was measured."""

    min: float
    max: float
    mean: float
    median: float
    percentile: float
    count: int

    @classmethod
    def of(cls, times_ms: Sequence[float]) -> TimeStatistics:
        """Statistics of a list, which may be empty."""
        if not times_ms:
            return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0)
        return cls(
            min=float(np.min(times_ms)),
            max=float(np.max(times_ms)),
            mean=float(np.mean(times_ms)),
            median=float(np.median(times_ms)),
            percentile=float(np.percentile(times_ms, PERCENTILE)),
            count=len(times_ms),
        )

    def as_json(self) -> dict[str, float]:
        """The keys of the summary file."""
        return {
            "min": self.min,
            "max": self.max,
            "mean": self.mean,
            "median": self.median,
            f"percentile({PERCENTILE}%)": self.percentile,
            "count": self.count,
        }

    def as_line(self, name: str) -> str:
        """The line on the console."""
        return (
            f"{name} (ms): min = {self.min}, max = {self.max}, mean = {self.mean}, median = {self.median}, "
            f"percentile({PERCENTILE}%) = {self.percentile}"
        )


@dataclass(frozen=True)
class RunTimes:
    """What was measured, in milliseconds."""

    compute: Sequence[float]
    h2d: Sequence[float]
    d2h: Sequence[float]


def report(
    times: RunTimes,
    batchsize: int,
    files: FilesInfo,
    arguments: Sequence[str],
    folder: str | None,
    display_all: bool,
) -> float:
    """Print the summary and return the throughput; write `<folder>_summary.json` where there is a folder."""
    compute, h2d, d2h = (TimeStatistics.of(values) for values in (times.compute, times.h2d, times.d2h))
    throughput = 1000 * batchsize / compute.mean if compute.mean else 0
    log.info("-----------------Performance Summary------------------")
    if display_all:
        log.info(h2d.as_line("H2D_latency"))
    log.info(compute.as_line("NPU_compute_time"))
    if display_all:
        log.info(d2h.as_line("D2H_latency"))
    log.info(f"throughput 1000*batchsize.mean({batchsize})/NPU_compute_time.mean({compute.mean}): {throughput}")
    log.info("------------------------------------------------------")
    if folder is None:
        return throughput
    content = {
        "filesinfo": files,
        "args": list(arguments),
        "NPU_compute_time": compute.as_json(),
        "H2D_latency": h2d.as_json(),
        "D2H_latency": d2h.as_json(),
        "npu_compute_time_list": list(times.compute),
        "throughput": throughput,
        "pid": os.getpid(),
    }
    with open_for_writing(folder + "_summary.json", "w") as file:
        json.dump(content, file)
    return throughput
