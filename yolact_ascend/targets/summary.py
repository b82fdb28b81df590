"""The device's own timings of a run, read from the summary that ais_bench (or a target in its form) writes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any

from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import (
    read_json,
)

COPIES = ("H2D_latency", "D2H_latency")  # ais_bench's keys
STATED = "stated"  # ours, in place of npu_compute_time_list: the fields of `DeviceTimings` that a program states
MOST_POINTS = 500  # of the latency over a run
LATENCIES = ("mean", "median", "min", "max", "p90", "p95", "p99")


@dataclass(frozen=True)
class DeviceTimings:
    """What ais_bench measured: the device's compute time only, without copies, files and host work."""

    throughput_images_per_s: float
    latencies_ms: tuple[float, ...]  # one a batch
    h2d_ms: float | None = None  # mean copy of a batch to the device; None where the summary has none
    d2h_ms: float | None = None  # and of its outputs back
    npus: tuple[int, ...] = ()  # the devices, where there were several: the throughput is their sum
    stated_ms: Mapping[str, float] = field(default_factory=dict)  # what is known where no batch is listed
    stated_batches: int = 0

    @property
    def batches(self) -> int:
        """How many batches were timed."""
        return len(self.latencies_ms) or self.stated_batches

    def latency_ms(self) -> dict[str, float | None]:
        """Mean, median, extremes and percentiles of a batch's latency; None where a program states no such figure."""
        if not self.latencies_ms:
            return {**dict.fromkeys(LATENCIES), **self.stated_ms}
        import numpy as np

        values = np.array(self.latencies_ms)
        named = {"mean": values.mean(), "median": np.median(values), "min": values.min(), "max": values.max()}
        named.update({f"p{q}": np.percentile(values, q) for q in (90, 95, 99)})
        return {name: round(float(value), 4) for name, value in named.items()}

    def latency_over_run(self) -> dict[str, Any] | None:
        """Return the latency in ms over the run, as report.json holds it; None where no batch is listed.

        At most `MOST_POINTS` points, each of `batches_per_point` batches (the last of fewer): their mean and maximum.
        """
        values = self.latencies_ms
        if not values:
            return None
        size = math.ceil(len(values) / MOST_POINTS)
        parts = [values[start : start + size] for start in range(0, len(values), size)]
        return {
            "batches_per_point": size,
            "mean_ms": [round(fmean(part), 4) for part in parts],
            "max_ms": [round(max(part), 4) for part in parts],
        }

    def drift_percent(self) -> float | None:
        """How much slower the last quarter of the batches was than the first, in percent; None for fewer than 8."""
        quarter = len(self.latencies_ms) // 4
        if quarter < 2:
            return None
        first, last = fmean(self.latencies_ms[:quarter]), fmean(self.latencies_ms[-quarter:])
        return round(float(100 * (last / first - 1)), 2)


def read_timings(summary: Path, log: Path | None = None) -> DeviceTimings:
    """Read the summary that ais_bench writes beside its output folder, or the throughput from the `log` of its console.

    Versions until mid-2023 list durations, later ones (start, end) pairs; both in ms. Those of 2022 write the summary
    elsewhere. Raises ArtifactError when the summary is invalid, or when both are missing.
    """
    if log is not None and not summary.exists():
        throughput = read_console_throughput(log)
        if throughput is not None:
            return DeviceTimings(throughput, ())
    data = read_json(summary, "ais_bench's summary")
    try:
        if STATED in data:
            return DeviceTimings(float(data["throughput"]), (), **data[STATED])
        durations = tuple(_duration(entry) for entry in data["npu_compute_time_list"])
        if not durations:
            raise ValueError("an empty npu_compute_time_list")
        h2d, d2h = (data.get(key, {}).get("mean") for key in COPIES)
        npus = tuple(entry["device"] for entry in data.get("devices", ()))
        return DeviceTimings(float(data["throughput"]), durations, h2d, d2h, npus)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{summary} is not a summary of ais_bench: {type(error).__name__} {error}.") from error


def read_console_throughput(log: Path) -> float | None:
    """Return the number that ends the last line about throughput in ais_bench's output, in images/s; None without one.

    Releases word that line differently, but all end it with the number.
    """
    text = log.read_text(errors="replace") if log.is_file() else ""
    lines = [line for line in re.split(r"[\r\n]", text) if "throughput" in line.lower()]
    found = re.search(r"[:=]?\s*([0-9.]+(?:e[+-]?\d+)?)\s*$", lines[-1]) if lines else None
    return float(found.group(1)) if found else None


def _duration(entry: Any) -> float:
    if isinstance(entry, (list, tuple)):
        start, end = entry
        return float(end) - float(start)
    return float(entry)


def summarise(executions: Sequence[Sequence[tuple[float, float]]], batch_size: int, npus: Sequence[int]) -> dict:
    """Return a summary in ais_bench's form: `executions` are the begins and ends in ms, by device.

    A device's throughput counts the time in which it had a batch: where it computes several at once, their times
    overlap. A device that had no batch is left out.
    """
    used = [(times, npu) for times, npu in zip(executions, npus) if times]
    figures = [(times, 1000 * batch_size * len(times) / busy_ms(times)) for times, _ in used]
    return merge_figures(figures, [npu for _, npu in used])


def busy_ms(times: Iterable[tuple[float, float]]) -> float:
    """Return the milliseconds that are covered by at least one of the (begin, end) pairs."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(times):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def merge_figures(figures: Sequence[tuple[Sequence[Any], float]], npus: Sequence[int]) -> dict[str, Any]:
    """Merge the times and throughput of each device."""
    turns = zip_longest(*(times for times, _ in figures))
    return {
        "npu_compute_time_list": [time for turn in turns for time in turn if time is not None],
        "throughput": sum(throughput for _, throughput in figures),
        "devices": [
            {"device": npu, "throughput": throughput, "batches": len(times)}
            for npu, (times, throughput) in zip(npus, figures)
        ],
    }
