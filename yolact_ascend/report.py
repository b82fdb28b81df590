"""The `report` stage: report.json, whose keys are a contract, and report.md, made from it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yolact_ascend import __version__
from yolact_ascend.artifacts import UINT8_INPUT, WorkFolder, read_json, timings_file, write_bytes, write_json
from yolact_ascend.ascend import DeviceTimings, Tools, read_timings
from yolact_ascend.compiled import read_sidecar
from yolact_ascend.demo import NOTE
from yolact_ascend.overlays import OVERLAY_SCORE, remove_overlays, write_overlays
from yolact_ascend.process import format_command
from yolact_ascend.settings import RunSettings
from yolact_ascend.stages import LIBRARIES, Stages
from yolact_ascend.steps import Outcome
from yolact_ascend.waterfall import describe_way, waterfall_rows

SCHEMA_VERSION = 1
EMULATION_NOTE = "CPU emulation: throughput and latency are this CPU's under ONNX Runtime, not an NPU's."
NOTABLE_DRIFT_PERCENT = 5.0  # more than the stand-ins' and published cards' figures vary by themselves
WATERFALL_NOTE = (
    "Host steps count what the cores compute, not what they wait for; all of them together, at the speed that Ascend's "
    "guide gives for one Atlas 310P, need the cores in the last column. End to end is what this machine did, from the "
    "first stage with images to the scores, each stage with its start."
)
TABLE_COLUMNS = ("all", *(str(percent) for percent in range(50, 100, 5)))


def write_report(stages: Stages, outcomes: Sequence[Outcome], words: Sequence[str]) -> str:
    """Write report.json and report.md from what the stages left; return the short form for the terminal."""
    folder = WorkFolder(stages.settings.out)
    report = build_report(stages, outcomes, words)
    overlays = _draw_overlays(stages, folder, report["results"][0]["failed"])
    report["overlays"] = [path.relative_to(folder.root).as_posix() for path in overlays]
    write_json(folder.report_json, report)
    markdown = render_markdown(report)
    write_bytes(folder.report_md, markdown.encode())
    note = f"\nThis was {report['note']}" if report["note"] else ""
    return f"{markdown}\nReport: {folder.report_md} and {folder.report_json.name}{note}"


def remove_report(settings: RunSettings) -> None:
    """Remove the report of an earlier run, if there is one."""
    folder = WorkFolder(settings.out)
    for path in (folder.report_json, folder.report_md):
        path.unlink(missing_ok=True)
    remove_overlays(folder.overlays)


def build_report(stages: Stages, outcomes: Sequence[Outcome], words: Sequence[str]) -> dict[str, Any]:
    """Gather the report of a run as a JSON value; the keys are a contract (docs/report.md)."""
    settings = stages.settings
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": format_command(["bash", "scripts/run_all.sh", *words]),
        "mode": settings.mode,
        "stream": settings.stream,
        "note": NOTE if settings.is_demo else None,
        "device": _describe_device(stages.tools),
        "model": _describe_model(stages),
        "dataset": _describe_dataset(stages) if settings.mode == "full" else None,
        "versions": _describe_versions(stages),
        "results": [_result(stages, outcomes, batch_size) for batch_size in settings.batch_sizes],
        "stages": [_describe_outcome(outcome) for outcome in outcomes],
    }


def describe_world(tools: Tools) -> str:
    """Say in a line or two which world a run happens in and why."""
    if tools.is_emulated:
        return f"Device: CPU emulation of {tools.soc_version} ({tools.reason}). {EMULATION_NOTE}"
    return f"Device: {tools.soc_version}, npu-smi {tools.npu_smi}, CANN {tools.cann_version()} ({tools.reason})."


def render_markdown(report: dict[str, Any]) -> str:
    """Render a report for reading; every figure comes from the JSON."""
    device, model, dataset = report["device"], report["model"], report["dataset"]
    is_emulated = device["kind"] != "npu"
    data = (
        f"{dataset['name']}, {dataset['images']} of {dataset['of_images']} images "
        f"({dataset['annotated_images']} of them annotated)"
        if dataset
        else "not scored: throughput only"
    )
    lines = [
        "# yolact-ascend report",
        "",
        f"- Made: {report['created']} by `{report['command']}`",
        f"- Device: {'CPU emulation of ' if is_emulated else ''}{device['soc_version']}"
        f"{' on ' + device['host'] if is_emulated else ''}",
        *([f"- **{device['note']}**"] if is_emulated else []),
        f"- Model: {model['config']}, {model['network']}, cut {model['cut']}, "
        f"weights sha256 {model['weights_sha256'][:12]}",
        f"- Compiled: precision {model['precision']}, input {model['input_dtype']}"
        f"{', normalised on the device (AIPP)' if model['aipp'] else ''}",
        f"- Data set: {data}",
        *([f"- **This is {report['note']}**"] if report["note"] else []),
        "",
    ]
    if report["mode"] == "full":
        lines += _accuracy_tables(report["results"])
    lines += _throughput_table(report["results"], device["chip"], is_emulated)
    if report["mode"] == "full":
        lines += _waterfall_table(report["results"])
    lines += _stage_table(report["stages"])
    lines += _overlay_list(report["overlays"], report["results"])
    return "\n".join(lines) + "\n"


def _draw_overlays(stages: Stages, folder: WorkFolder, failed: Sequence[int]) -> list[Path]:
    """Draw the first images of a full run with the detections of its first batch size; a benchmark has none."""
    if stages.settings.mode != "full":
        remove_overlays(folder.overlays)
        return []
    batch_size = stages.settings.batch_sizes[0]
    files = folder.bbox_detections(batch_size), folder.mask_detections(batch_size)
    images = [image for image in stages.images if image.image_id not in failed]
    return write_overlays(folder.overlays, images, stages.dataset, stages.config, *files)


def _describe_device(tools: Tools) -> dict[str, Any]:
    return {
        "kind": tools.kind,
        "chip": tools.chip,
        "soc_version": tools.soc_version,
        "npu_smi": tools.npu_smi,
        "npus": list(tools.npus),
        "host": f"{_cpu_name()}, {os.cpu_count()} cores",
        "note": EMULATION_NOTE if tools.is_emulated else "Throughput is the device's compute time, without copies.",
    }


def _describe_model(stages: Stages) -> dict[str, Any]:
    properties = stages.onnx_metadata
    return {
        "config": stages.settings.config,
        "weights": stages.settings.weights.name,
        "weights_sha256": stages.weights_sha256,
        "network": properties["network"],
        "cut": properties["cut"],
        "precision": stages.settings.precision,
        "aipp": stages.settings.aipp,
        "input_dtype": stages.input.dtype,
    }


def _describe_dataset(stages: Stages) -> dict[str, Any]:
    annotated = {image.image_id for image in stages.dataset.select(annotated_only=True)}
    return {
        "name": "drawn scenes" if stages.settings.is_demo else stages.dataset.annotation_file.stem,
        "images": len(stages.images),
        "annotated_images": sum(image.image_id in annotated for image in stages.images),
        "of_images": len(stages.dataset.images),
    }


def _describe_versions(stages: Stages) -> dict[str, str]:
    return {
        "yolact_ascend": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
        "cann": stages.tools.cann,
    }


def _result(stages: Stages, outcomes: Sequence[Outcome], batch_size: int) -> dict[str, Any]:
    folder = WorkFolder(stages.settings.out)
    is_full = stages.settings.mode == "full"
    timings = _device_timings(stages.settings, folder, batch_size)
    scores = read_json(folder.scores(batch_size), "the scores") if is_full else {}
    model = read_sidecar(folder.om(batch_size), folder.sidecar(batch_size))
    return {
        "batch_size": batch_size,
        "images": scores.get("images"),
        "box": scores.get("box"),
        "mask": scores.get("mask"),
        "coco": scores.get("coco"),
        "failed": scores.get("failed", []),
        "throughput_images_per_s": round(timings.throughput_images_per_s, 4),
        "latency_ms": timings.latency_ms(),
        "h2d_ms": timings.h2d_ms,
        "d2h_ms": timings.d2h_ms,
        "drift_percent": timings.drift_percent(),
        "batches": len(timings.latencies_ms),
        "npus": list(timings.npus or stages.tools.npus[:1]),
        "input": stages.settings.input,
        "precision": model.precision,
        "aipp": model.input["dtype"] == UINT8_INPUT.dtype,
        "input_dtype": model.input["dtype"],
        "way": _describe_way(stages, scores, timings, outcomes, batch_size) if is_full else None,
    }


def _describe_way(
    stages: Stages,
    scores: dict[str, Any],
    timings: DeviceTimings,
    outcomes: Sequence[Outcome],
    batch_size: int,
) -> dict[str, Any]:
    host = [scores["host"]]
    if not stages.settings.stream:
        host.insert(0, read_json(timings_file(stages.folder.inputs), "what preprocess took"))
    return describe_way(host, timings.throughput_images_per_s, outcomes, batch_size)


def _device_timings(settings: RunSettings, folder: WorkFolder, batch_size: int) -> DeviceTimings:
    if settings.stream:
        return read_timings(folder.stream_summary(batch_size))
    if settings.mode == "full":
        return read_timings(folder.summary(batch_size), folder.log(f"infer_bs{batch_size}"))
    return read_timings(folder.benchmark_summary(batch_size), folder.log(f"benchmark_bs{batch_size}"))


def _describe_outcome(outcome: Outcome) -> dict[str, Any]:
    images_per_s = outcome.images / outcome.seconds if outcome.images and outcome.seconds else None
    return {
        "name": outcome.stage,
        "batch_size": outcome.batch_size,
        "seconds": round(outcome.seconds, 3),
        "images": outcome.images,
        "images_per_s": None if images_per_s is None else round(images_per_s, 3),
        "status": outcome.status,
    }


def _accuracy_tables(results: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["## Accuracy (mAP in percent, COCOeval)", ""]
    lines += _table_head(["bs", "", *(name if name == "all" else f".{name}" for name in TABLE_COLUMNS)])
    for result in results:
        for kind in ("box", "mask"):
            values = [_number(result[kind][name]) for name in TABLE_COLUMNS]
            lines.append(_row([result["batch_size"], kind, *values]))
    failed = {image_id: None for result in results for image_id in result["failed"]}
    if failed:
        lines += ["", f"**Not scored**, because they could not be decoded: image {', '.join(map(str, failed))}."]
    return [*lines, ""]


def _throughput_table(results: Sequence[dict[str, Any]], chip: str, is_emulated: bool) -> list[str]:
    title = "Throughput on the CPU emulation" if is_emulated else "Throughput of the device alone"
    lines = [f"## {title} (latency and copies of a batch in ms)", ""]
    chip = f"{chip} (emulated)" if is_emulated else chip
    names = ("mean", "median", "p90", "p95", "p99")
    lines += _table_head(["chip", "batch", "input", "images/s", *names, "H2D", "D2H", "batches"])
    for result in results:
        latency = [result["latency_ms"][name] for name in names]
        figures = (result["throughput_images_per_s"], *latency, result["h2d_ms"], result["d2h_ms"])
        several = f", {len(result['npus'])} devices" if len(result["npus"]) > 1 else ""
        lines.append(
            _row([chip + several, result["batch_size"], result["input"], *map(_number, figures), result["batches"]])
        )
    return [*lines, "", *_advice(results), ""]


def _advice(results: Sequence[dict[str, Any]]) -> list[str]:
    """Say what a reader of the throughput table should not miss."""
    lines = ["Throughput counts the compute time only; the copies to and from the device come on top."]
    if any(len(result["npus"]) > 1 for result in results):
        lines.append("That of several devices is their sum.")
    if len(results) > 1:
        lines.append(_advise_batch_size(results))
    for result in results:
        drift = result["drift_percent"]
        if drift is not None and abs(drift) > NOTABLE_DRIFT_PERCENT:
            lines.append(
                f"bs={result['batch_size']}: the last quarter of the batches took {drift:+.1f} % against the first, "
                "so the figures are not steady: run longer, on an idle and cooled machine."
            )
    return lines


def _advise_batch_size(results: Sequence[dict[str, Any]]) -> str:
    """Say which batch size to use: the fastest, or the smallest where the figures do not tell them apart."""
    best = max(results, key=lambda result: result["throughput_images_per_s"])
    smallest = min(results, key=lambda result: result["batch_size"])
    speed = _number(best["throughput_images_per_s"])
    if best is smallest:
        return f"Use bs={best['batch_size']}: the fastest here, {speed} images/s. Larger batches gain nothing."
    gain = 100 * (best["throughput_images_per_s"] / smallest["throughput_images_per_s"] - 1)
    drift = max(abs(result["drift_percent"] or 0) for result in (best, smallest))
    against = f"{gain:.1f} % more than bs={smallest['batch_size']}"
    if gain > max(drift, NOTABLE_DRIFT_PERCENT):
        return f"Use bs={best['batch_size']}: the fastest here, {speed} images/s, {against}."
    why = f"within the drift of these figures ({drift:.1f} %)" if gain <= drift else "little"
    return (
        f"Use bs={smallest['batch_size']}: the fastest here is bs={best['batch_size']}, {speed} images/s, but that is "
        f"{against}, which is {why}, and a smaller batch answers sooner."
    )


def _waterfall_table(results: Sequence[dict[str, Any]]) -> list[str]:
    heads, rows = waterfall_rows(results)
    lines = ["## The way of an image (ms of a core; infer: ms of the device)", "", *_table_head(heads)]
    return [*lines, *map(_row, rows), "", WATERFALL_NOTE, ""]


def _stage_table(stages: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["## Stages", "", *_table_head(["stage", "bs", "seconds", "images", "images/s", "status"])]
    for stage in stages:
        counts = [stage["images"] or "", "" if stage["images_per_s"] is None else _number(stage["images_per_s"])]
        lines.append(
            _row([stage["name"], stage["batch_size"] or "", _number(stage["seconds"]), *counts, stage["status"]])
        )
    return lines


def _overlay_list(overlays: Sequence[str], results: Sequence[dict[str, Any]]) -> list[str]:
    if not overlays:
        return []
    what = f"ground truth beside the detections of bs={results[0]['batch_size']} that score at least {OVERLAY_SCORE}"
    pictures = [f"![{Path(name).stem}]({quote(name)})" for name in overlays]
    return ["", f"## First images: {what}", "", *pictures]


def _table_head(names: Sequence[str]) -> list[str]:
    return [_row(names), "|" + "---|" * len(names)]


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()
