"""What the figures of a benchmark say about batch sizes, and when they say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yolact_ascend.report.sections import EMULATION_KIND
from yolact_ascend.report.texts import Texts
from yolact_ascend.tables import format_number

NOTABLE_DRIFT_PERCENT = 5.0  # more than the stand-ins' and published cards' figures vary by themselves
LEAST_BATCHES = 8  # timed at a batch size, to say anything of it


def advice(results: Sequence[dict[str, Any]], device: dict[str, Any], say: Texts) -> list[str]:
    """Say what a reader of the throughput table should not miss."""
    lines = [say("compute_only")]
    if any(len(result["npus"]) > 1 for result in results):
        lines.append(say("sum_of_devices"))
    if len(results) > 1:
        without = say("no_advice", drift=NOTABLE_DRIFT_PERCENT, batches=LEAST_BATCHES)
        lines.append(_advise_batch_size(results, say) if _supports_advice(results, device) else without)
    busy = "" if device["kind"] == "npu" else say("busy_cpu")
    for result in results:
        drift = result["drift_percent"]
        if drift is not None and abs(drift) > NOTABLE_DRIFT_PERCENT:
            lines.append(say("unsteady", batch_size=result["batch_size"], drift=drift, busy=busy))
    return lines


def _supports_advice(results: Sequence[dict[str, Any]], device: dict[str, Any]) -> bool:
    """Whether figures tell batch sizes apart: of a real device, steady, and over enough batches."""
    steady = all(abs(result["drift_percent"] or 0) <= NOTABLE_DRIFT_PERCENT for result in results)
    return device["kind"] != EMULATION_KIND and steady and all(r["batches"] >= LEAST_BATCHES for r in results)


def _advise_batch_size(results: Sequence[dict[str, Any]], say: Texts) -> str:
    """Say which batch size to use: the fastest, or the smallest where the figures do not tell them apart."""
    best = max(results, key=lambda result: result["throughput_images_per_s"])
    smallest = min(results, key=lambda result: result["batch_size"])
    named = {"best": best["batch_size"], "smallest": smallest["batch_size"]}
    speed = format_number(best["throughput_images_per_s"])
    if best is smallest:
        return say("use_smallest", **named, speed=speed)
    gain = 100 * (best["throughput_images_per_s"] / smallest["throughput_images_per_s"] - 1)
    drift = max(abs(result["drift_percent"] or 0) for result in (best, smallest))
    if gain > NOTABLE_DRIFT_PERCENT:
        return say("use_fastest", **named, speed=speed, gain=gain)
    drifts = say("within_drift", drift=drift) if gain <= drift else ""
    return say("use_smaller", **named, speed=speed, gain=gain, drifts=drifts)
