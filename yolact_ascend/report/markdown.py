"""report.md, rendered from report.json: every figure comes from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yolact_ascend.detection.evaluate import NOTHING_SCORED
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.models.inputs import NORMALISE, NOTHING, RESIZE
from yolact_ascend.pipeline.steps import FRESH
from yolact_ascend.report.overlays import OVERLAY_SCORE
from yolact_ascend.report.time_per_image import PUBLISHED_CONFIG, PUBLISHED_IMAGES_PER_S, time_rows
from yolact_ascend.tables import format_number, markdown_table

EMULATION_KIND = "cpu-emulation"  # of device.kind
NOTABLE_DRIFT_PERCENT = 5.0  # more than the stand-ins' and published cards' figures vary by themselves
LEAST_BATCHES = 8  # timed at a batch size, to say anything of it
WITHOUT_ADVICE = (
    "No batch size is advised: that takes figures of a real device, which change by at most "
    f"{NOTABLE_DRIFT_PERCENT:g} % during the run, over at least {LEAST_BATCHES} batches each."
)
TIME_NOTE = (
    "Host times are CPU time, without waiting. The last columns say how many host cores keep up with how many images/s "
    "of the device: as measured{}. End to end is measured on this machine, from the first stage that reads images to "
    "the scores, including the start-up of each stage."
)
PUBLISHED_NOTE = f", and on an Atlas 310P at least the {PUBLISHED_IMAGES_PER_S} of Ascend ModelZoo's guide"
EMBEDDED = {
    NOTHING: "",
    NORMALISE: ", normalised by the model (embed=1)",
    RESIZE: " of any size, resized and normalised by the model (embed=resize)",
}
TABLE_COLUMNS = ("all", *(str(percent) for percent in range(50, 100, 5)))


def render_markdown(report: dict[str, Any]) -> str:
    """Render a report for reading; every figure comes from the JSON."""
    device, model, dataset = report["device"], report["model"], report["dataset"]
    is_npu = device["kind"] == "npu"
    data = (
        f"{dataset['name']}, {dataset['images']} of {dataset['of_images']} images "
        f"({dataset['annotated_images']} of them annotated)"
        if dataset
        else "none: this run measures throughput only"
    )
    lines = [
        "# yolact-ascend report",
        "",
        f"- Created: {report['created']} by `{report['command']}`",
        f"- Device: {_name_device(device)}",
        *([] if is_npu else [f"- **{device['note']}**"]),
        f"- Model: {model['config']}, {model['network']}, cut {model['cut']}, "
        f"weights sha256 {model['weights_sha256'][:12]}",
        *_canvas_line(model),
        f"- Classes: {model['classes']}, from {model['classes_from']}",
        f"- Compiled: precision {model['precision']}, input {model['input_dtype']}{EMBEDDED[model['embed']]}",
        f"- Data set: {data}",
        *(f"- **Warning**: {warning}" for warning in (dataset["warnings"] if dataset else ())),
        *([f"- **This is {report['note']}**"] if report["note"] else []),
        "",
    ]
    if report["mode"] == "full":
        lines += _accuracy_tables(report["results"])
    lines += _int8_section(model.get("int8"))
    lines += _throughput_table(report["results"], device)
    if report["mode"] == "full":
        lines += _time_table(report["results"], model["config"])
    lines += _stage_table(report["stages"])
    lines += _overlay_list(report["overlays"], report["results"])
    return "\n".join(lines) + "\n"


def _int8_section(int8: dict[str, Any] | None) -> list[str]:
    """Say how an INT8 model was made, and what in it is not INT8, and why."""
    if int8 is None:
        return []
    recipe, left = int8["recipe"], int8["float32"]
    scores = ", ".join(f"{name} {value:.2f}" for name, value in int8["held_out_map"].items())
    smaller = int8["onnx_bytes"] / int8["int8_bytes"]
    return [
        "## INT8",
        "",
        f"- Recipe: {recipe['name']}, sha256 {recipe['sha256'][:12]}",
        f"- Ranges: {int8['method']}, of {int8['images']} images (drawn from {int8['of_images']})",
        *([f"- mAP on held-out training images, by which the method was chosen: {scores}"] if scores else []),
        f"- Size of the ONNX: {int8['int8_bytes']:,} bytes, {smaller:.2f} times smaller than float32",
        f"- Layers in INT8: {int8['layers'] - len(left)} of {int8['layers']}" + ("; in float32:" if left else ""),
        *(f"  - `{layer['name']}`: {layer['why']}" for layer in left),
        *(f"- **Warning**: {warning}" for warning in int8["warnings"]),
        "",
    ]


def _canvas_line(model: dict[str, Any]) -> list[str]:
    """Return what was chosen for a model that pads its pictures; others have nothing to choose."""
    if "canvas" not in model:
        return []
    height_px, width_px = model["canvas"]
    return [f"- Input: canvas {height_px}x{width_px}, fit={model['fit']}, operators={model['operators']}"]


def _name_device(device: dict[str, Any]) -> str:
    """Return what computed; where that was no NPU, with the host."""
    if device["kind"] == "npu":
        return str(device["soc_version"])
    names = {EMULATION_KIND: f"CPU emulation of {device['soc_version']}", "cpu": "CPU"}
    return f"{names.get(device['kind'], device['chip'])} on {device['host']}"


def _accuracy_tables(results: Sequence[dict[str, Any]]) -> list[str]:
    heads = ["bs", "", *(name if name == "all" else f".{name}" for name in TABLE_COLUMNS)]
    rows = [
        [result["batch_size"], task, *(format_number(result[task][name]) for name in TABLE_COLUMNS)]
        for result in results
        for task in (BOX, MASK)
        if result[task]
    ]
    lines = ["## Accuracy (mAP in percent, COCOeval)", "", markdown_table(heads, rows) if rows else NOTHING_SCORED]
    failed = {image_id: None for result in results for image_id in result["failed"]}
    if failed:
        lines += ["", f"**Not scored** (could not be decoded): image_id {', '.join(map(str, failed))}."]
    return [*lines, ""]


def _throughput_table(results: Sequence[dict[str, Any]], device: dict[str, Any]) -> list[str]:
    titles = {"cpu": "Throughput on the CPU", EMULATION_KIND: "Throughput on the CPU emulation"}
    title = titles.get(device["kind"], "Throughput of the device alone")
    chip = f"{device['chip']} (emulated)" if device["kind"] == EMULATION_KIND else device["chip"]
    names = ("mean", "median", "p90", "p95", "p99")
    heads = ["chip", "batch", "precision", "input", "images/s", *names, "H2D", "D2H", "batches"]
    rows = []
    for result in results:
        latency = [result["latency_ms"][name] for name in names]
        figures = (result["throughput_images_per_s"], *latency, result["h2d_ms"], result["d2h_ms"])
        several = f", {len(result['npus'])} devices" if len(result["npus"]) > 1 else ""
        numbers = map(format_number, figures)
        what = (chip + several, result["batch_size"], result["precision"], result["input"])
        rows.append([*what, *numbers, result["batches"]])
    table = markdown_table(heads, rows)
    return [f"## {title} (latency and copies in ms per batch)", "", table, "", *_advice(results, device), ""]


def _advice(results: Sequence[dict[str, Any]], device: dict[str, Any]) -> list[str]:
    """Say what a reader of the throughput table should not miss."""
    lines = ["Throughput counts compute time only, without the copies to and from the device (H2D, D2H)."]
    if any(len(result["npus"]) > 1 for result in results):
        lines.append("With several devices, it is the sum of theirs.")
    if len(results) > 1:
        lines.append(_advise_batch_size(results) if _supports_advice(results, device) else WITHOUT_ADVICE)
    busy = "That is usual on a CPU that does other work, too. " if device["kind"] != "npu" else ""
    remedy = f"{busy}Run longer, on an idle and cool machine."
    for result in results:
        drift = result["drift_percent"]
        if drift is not None and abs(drift) > NOTABLE_DRIFT_PERCENT:
            lines.append(
                f"bs={result['batch_size']}: the time per batch changed by {drift:+.1f} % from the first to the last "
                f"quarter of the batches, so these figures are not stable. {remedy}"
            )
    return lines


def _supports_advice(results: Sequence[dict[str, Any]], device: dict[str, Any]) -> bool:
    """Whether figures tell batch sizes apart: of a real device, steady, and over enough batches."""
    steady = all(abs(result["drift_percent"] or 0) <= NOTABLE_DRIFT_PERCENT for result in results)
    return device["kind"] != EMULATION_KIND and steady and all(r["batches"] >= LEAST_BATCHES for r in results)


def _advise_batch_size(results: Sequence[dict[str, Any]]) -> str:
    """Say which batch size to use: the fastest, or the smallest where the figures do not tell them apart."""
    best = max(results, key=lambda result: result["throughput_images_per_s"])
    smallest = min(results, key=lambda result: result["batch_size"])
    speed = format_number(best["throughput_images_per_s"])
    if best is smallest:
        return f"Use bs={best['batch_size']}: the fastest here, {speed} images/s. Larger batches gain nothing."
    gain = 100 * (best["throughput_images_per_s"] / smallest["throughput_images_per_s"] - 1)
    drift = max(abs(result["drift_percent"] or 0) for result in (best, smallest))
    against = f"{gain:.1f} % more than bs={smallest['batch_size']}"
    if gain > NOTABLE_DRIFT_PERCENT:
        return f"Use bs={best['batch_size']}: the fastest here, {speed} images/s, {against}."
    drifts = f", which is within the drift of these figures ({drift:.1f} %)" if gain <= drift else ""
    return (
        f"Use bs={smallest['batch_size']}: bs={best['batch_size']} is the fastest here, {speed} images/s, but only "
        f"{against}{drifts}, and a smaller batch has a lower latency."
    )


def _time_table(results: Sequence[dict[str, Any]], config: str) -> list[str]:
    title = "## Time per image (CPU-core ms; infer: device ms)"
    note = TIME_NOTE.format(PUBLISHED_NOTE if config == PUBLISHED_CONFIG else "")
    return [title, "", markdown_table(*time_rows(results)), "", note, ""]


def _stage_table(stages: Sequence[dict[str, Any]]) -> list[str]:
    rows = []
    for stage in stages:
        speed = "" if stage["images_per_s"] is None else format_number(stage["images_per_s"])
        seconds = format_number(stage["seconds"])
        batch_size, images = stage["batch_size"] or "", stage["images"] or ""
        status = {FRESH: "up to date: as an earlier run measured"}.get(stage["status"], stage["status"])
        rows.append([stage["name"], batch_size, seconds, images, speed, status])
    return ["## Stages", "", markdown_table(["stage", "bs", "seconds", "images", "images/s", "status"], rows)]


def _overlay_list(overlays: Sequence[str], results: Sequence[dict[str, Any]]) -> list[str]:
    if not overlays:
        return []
    what = f"ground truth and detections (bs={results[0]['batch_size']}, score >= {OVERLAY_SCORE})"
    pictures = [f"![{Path(name).stem}]({quote(name)})" for name in overlays]
    return ["", f"## First images: {what}", "", *pictures]
