"""What two runs differ in beside their mAP: settings, versions and speeds, and which of these may be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yolact_ascend.analysis.finished_run import FinishedRun
from yolact_ascend.analysis.gate_words import DEVICE, END_TO_END
from yolact_ascend.targets.compiled import SideCar

# Parts of report.json that say what was run; the rest are results.
COMPARED = ("command", "stream", "device", "model", "dataset", "versions")
COMPARED_OF_RESULT = ("batch_size", "precision", "input_dtype", "npus", "failed")
STAGES = ("preprocess", "infer", "postprocess", "stream")  # of report.json's `stages`: what an image passes
EMULATION = "cpu-emulation"


@dataclass(frozen=True)
class Speed:
    """One speed or time of two runs; `factor` is second / first, None where the two must not be compared."""

    key: str
    what: str
    unit: str
    first: float | None
    second: float | None
    factor: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            **{"key": self.key, "what": self.what, "unit": self.unit},
            **{"first": self.first, "second": self.second, "factor": self.factor},
        }


def differing_settings(first: FinishedRun, second: FinishedRun) -> dict[str, tuple[Any, Any]]:
    """Return what differs in settings, versions, device, model and data set, by the key in report.json.

    Where a run has no report, by what the models' side-cars state.
    """
    if first.report is not None and second.report is not None:
        described = [_describe_by_report(run.report, run.result) for run in (first, second) if run.report is not None]
    else:
        described = [_describe_by_sidecar(run.sidecar) for run in (first, second)]
    one, other = described
    keys = [*one, *(key for key in other if key not in one)]
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


def _describe_by_report(report: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    flat = _flatten({name: report.get(name) for name in COMPARED})
    flat.pop("device.note", None)  # a sentence on what follows from the rest
    return {**flat, **{name: result.get(name) for name in COMPARED_OF_RESULT}}


def _describe_by_sidecar(sidecar: SideCar) -> dict[str, Any]:
    fields = {
        **{"target": sidecar.target, "made_for": sidecar.made_for, "config": sidecar.config, "cut": sidecar.cut},
        **{"precision": sidecar.precision, "batch_size": sidecar.batch_size, "recipe": sidecar.recipe},
        **{"weights_sha256": sidecar.weights_sha256, "input_dtype": sidecar.input["dtype"]},
    }
    return _flatten(fields)


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            flat.update(_flatten(entry, f"{prefix}{key}."))
        else:
            flat[prefix + key] = entry
    return flat


def compare_speeds(first: FinishedRun, second: FinishedRun) -> tuple[Speed, ...]:
    """Return the speeds and times that either run states; like is compared with like only."""
    is_comparable = first.kind == second.kind
    rows = [_speeds(run) for run in (first, second)]
    keys = [*rows[0], *(key for key in rows[1] if key not in rows[0])]
    found = []
    for key in keys:
        what, unit = (rows[0].get(key) or rows[1][key])[:2]
        one, other = (row[key][2] if key in row else None for row in rows)
        factor = other / one if is_comparable and one and other is not None else None
        found.append(Speed(key, what, unit, one, other, factor))
    return tuple(found)


def _speeds(run: FinishedRun) -> dict[str, tuple[str, str, float | None]]:
    """Return what is measured, its unit and its value, by key."""
    device = ("device alone", "images/s", run.timings.throughput_images_per_s)
    way = run.result.get("way") or {}
    passed = () if run.report is None else run.report["stages"]
    return {
        DEVICE: device,
        **({END_TO_END: ("end to end", "images/s", way.get("end_to_end_images_per_s"))} if way else {}),
        **{
            f"stage.{entry['name']}": (f"stage {entry['name']}", "images/s", entry["images_per_s"])
            for entry in passed
            if entry["name"] in STAGES and entry["batch_size"] in (None, run.batch_size)
        },
        **{
            f"host.{step}": (f"host step {step}", "core ms/image", value)
            for step, value in way.get("core_ms_per_image", {}).items()
        },
    }


def describe_limits(first: FinishedRun, second: FinishedRun, names: tuple[str, str]) -> list[str]:
    """Return a sentence for each thing that a reader of the comparison must know."""
    runs, notes = (first, second), []
    if first.kind != second.kind:
        kinds = [f"{name} on {_say_kind(run)}" for name, run in zip(names, runs)]
        notes.append(f"The models ran on different kinds of device ({', '.join(kinds)}): speeds are not compared.")
    elif first.kind == EMULATION:
        notes.append("Both ran on the CPU emulation: the speeds are this CPU's and say nothing about an NPU.")
    for what, values in (
        ("Target", [run.sidecar.target for run in runs]),
        ("Precision", [run.sidecar.precision for run in runs]),
        ("Batch size", [run.batch_size for run in runs]),
        ("Weights", [run.sidecar.weights_sha256[:12] for run in runs]),
    ):
        if values[0] != values[1]:
            notes.append(f"{what}: {values[0]} and {values[1]}. Every figure compares these two.")
    if first.is_streamed != second.is_streamed:
        streamed = names[0] if first.is_streamed else names[1]
        notes.append(
            f"{streamed} was streamed: its stages overlap, so its end-to-end speed, and its device's, are those of "
            "stages that run at the same time. The other run's stages ran one after another."
        )
    if first.path.resolve() == second.path.resolve():
        notes.append("Both are the same folder, so nothing can differ: a folder holds its last run only (out=DIR).")
    data = [run.record.inputs.get("annotations_sha256") for run in runs]
    if data[0] != data[1]:
        notes.append("The annotation files differ: a difference of mAP may come from the data alone.")
    counts = [run.scores.get("images") for run in runs]
    if counts[0] != counts[1]:
        notes.append(f"Images: {counts[0]} and {counts[1]}. Intervals are of the images that both have.")
    hosts = [None if run.report is None else run.report["device"].get("host") for run in runs]
    if hosts[0] != hosts[1] and None not in hosts:
        notes.append(f"The hosts differ ({hosts[0]}; {hosts[1]}): the times of host steps compare these, too.")
    for name, run in zip(names, runs):
        if run.scores.get("failed"):
            notes.append(f"{name} left out {len(run.scores['failed'])} images that could not be decoded.")
        if run.report is None:
            notes.append(f"{name} has no report.json of this run: its settings are those that its model states.")
    return notes


def _say_kind(run: FinishedRun) -> str:
    known = {None: "an unknown device", EMULATION: "the CPU emulation", "npu": "an NPU", "cpu": "a CPU"}
    return known.get(run.kind, str(run.kind))
