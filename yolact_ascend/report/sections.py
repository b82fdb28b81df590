"""What report.md and report.html both show: facts and tables, as values, from report.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from yolact_ascend.detection.evaluate import SUMMARY_NAMES
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.models.inputs import NORMALISE, NOTHING, RESIZE
from yolact_ascend.pipeline.steps import DONE, FRESH
from yolact_ascend.report.dataset_name import name_in_words
from yolact_ascend.report.texts import Texts
from yolact_ascend.tables import NOT_AVAILABLE, format_number

EMULATION_KIND = "cpu-emulation"  # of device.kind
TASKS = (BOX, MASK)
MISTAKES = ("missed", "false", "wrong_mask")
TABLE_COLUMNS = ("all", *(str(percent) for percent in range(50, 100, 5)))
LATENCY_COLUMNS = ("mean", "median", "p90", "p95", "p99")
FEW_IMAGES = 1000  # with fewer, the report warns: compare the mAP only with runs on the same images
SHORT_SHA256 = 12  # characters


class Table(NamedTuple):
    """Heads and rows, of text."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def facts(report: dict[str, Any], say: Texts) -> list[tuple[str, str]]:
    """Return what a run is: pairs of a label and a line."""
    device, model, dataset = report["device"], report["model"], report["dataset"]
    weights = model["weights"] or say("unnamed_weights")
    sha256 = model["weights_sha256"][:SHORT_SHA256]
    names = {key: model[key] for key in ("config", "network", "cut")}
    embed = {NOTHING: "", NORMALISE: say("embed_normalise"), RESIZE: say("embed_resize")}[model["embed"]]
    classes = say("classes_line", count=model["classes"], source=say.word(model["classes_from"]))
    compiled = say("compiled_line", precision=model["precision"], dtype=model["input_dtype"], embed=embed)
    found = [
        (say("device"), name_device(device, say)),
        (say("model"), say("model_line", **names, weights=weights, sha256=sha256)),
    ]
    if "canvas" in model:  # others have nothing to choose
        height, width = model["canvas"]
        canvas = say("canvas_line", height=height, width=width, fit=model["fit"], operators=model["operators"])
        found.append((say("input"), canvas))
    return [
        *found,
        (say("classes"), classes),
        (say("compiled"), compiled),
        (say("dataset"), _name_dataset(dataset, say)),
    ]


def overfull_line(results: Sequence[dict[str, Any]], say: Texts) -> str:
    """Return in how many images the graph left out anchors above the threshold; "" where there were none."""
    images = max((result.get("overfull_images") or 0 for result in results), default=0)
    return say("overfull_line", images=images) if images else ""


def _name_dataset(dataset: dict[str, Any] | None, say: Texts) -> str:
    if dataset is None:
        return say("dataset_none")
    counts = {"images": dataset["images"], "of_images": dataset["of_images"], "annotated": dataset["annotated_images"]}
    return say("dataset_line", name=name_in_words(dataset["name"], say), **counts)


def cautions(report: dict[str, Any], say: Texts) -> list[str]:
    """Return what a reader must know before any figure: what computed, what the demo is, few images."""
    device, dataset = report["device"], report["dataset"]
    found = [] if device["kind"] == "npu" else [_device_note(device, say)]
    if report["note"]:
        found.append(say("demo_note", note=report["note"]))
    if dataset and dataset["images"] < FEW_IMAGES and scored_task(report["results"]):
        found.append(say("few_images", images=dataset["images"]))
    return found


def _device_note(device: dict[str, Any], say: Texts) -> str:
    if device["kind"] == EMULATION_KIND:
        return say("emulation_note", note=device["note"])
    return say("other_note", note=device["note"], target=device["target"], chip=device["chip"])


def name_device(device: dict[str, Any], say: Texts) -> str:
    """Return what computed; where that was no NPU, with the host."""
    if device["kind"] == "npu":
        return str(device["soc_version"])
    emulation = say("cpu_emulation_of", soc=device["soc_version"])
    what = {EMULATION_KIND: emulation, "cpu": "CPU"}.get(device["kind"], device["chip"])
    return say("on_host", what=what, host=device["host"])


def name_chip(result: dict[str, Any], device: dict[str, Any], say: Texts) -> str:
    """Return what a row's figures are of: the chip, and how many of them."""
    chip = say("emulated", chip=device["chip"]) if device["kind"] == EMULATION_KIND else str(device["chip"])
    count = len(result["npus"])
    return chip + (say("several_devices", count=count) if count > 1 else "")


def scored_task(results: Sequence[dict[str, Any]]) -> str | None:
    """Return the task whose mAP stands for a run: masks, else boxes; None where nothing is scored."""
    return next((task for task in (MASK, BOX) if any(is_scored(result, task) for result in results)), None)


def is_scored(result: dict[str, Any], task: str) -> bool:
    """Whether there is an mAP of a task; none where no image has annotations."""
    return bool(result[task]) and result[task]["all"] is not None


def guide_table(report: dict[str, Any], say: Texts) -> Table:
    """Return the table that ends the README of each model in Ascend's ModelZoo, with this run's figures."""
    results, dataset = report["results"], report["dataset"]
    task = scored_task(results) or MASK
    heads = [
        *(say("guide_chip"), say("guide_batch"), say("guide_dataset")),
        *(say("guide_map", task=say(task)), say("guide_speed")),
    ]
    rows = [
        [
            name_chip(result, report["device"], say),
            str(result["batch_size"]),
            name_in_words(dataset["name"], say) if dataset else NOT_AVAILABLE,
            format_number(result[task]["all"]) if result[task] else NOT_AVAILABLE,
            format_number(result["throughput_images_per_s"]),
        ]
        for result in results
    ]
    return Table(heads, rows)


def accuracy_table(results: Sequence[dict[str, Any]], say: Texts) -> Table:
    """Return mAP by IoU threshold, a row for each batch size and task."""
    heads = ["bs", "", *(name if name == "all" else f".{name}" for name in TABLE_COLUMNS)]
    rows = [
        [str(result["batch_size"]), say(task), *(format_number(result[task][name]) for name in TABLE_COLUMNS)]
        for result in results
        for task in TASKS
        if is_scored(result, task)
    ]
    return Table(heads, rows)


def metrics_table(results: Sequence[dict[str, Any]], say: Texts) -> Table:
    """Return COCO's twelve numbers by name, a row for each batch size and task."""
    rows = [
        [str(result["batch_size"]), say(task), *(format_number(numbers[name]) for name in SUMMARY_NAMES)]
        for result in results
        for task, numbers in (result["metrics"] or {}).items()
        if numbers
    ]
    return Table(["bs", "", *SUMMARY_NAMES], rows)


def class_table(result: dict[str, Any], say: Texts) -> Table:
    """Return the AP of each class at one batch size, the most often annotated class first."""
    tasks = [task for task in TASKS if result[task]]
    names = ("all", "50", "75")
    heads = [
        *(say("class"), say("annotated")),
        *(say(task) + ("" if name == "all" else f" .{name}") for task in tasks for name in names),
    ]
    classes = sorted(result["classes"] or (), key=lambda entry: -entry["annotations"])
    rows = [
        [
            entry["name"],
            str(entry["annotations"]),
            *(format_number(entry[task][name]) for task in tasks for name in names),
        ]
        for entry in classes
    ]
    return Table(heads, rows)


def mistakes_line(report: dict[str, Any], say: Texts) -> str:
    """Return the sentence that sums the mistakes of a run up."""
    mistakes, images = dict(report["mistakes"]), report["results"][0]["images"]
    good = mistakes.pop("images_without_mistake")
    return say("mistakes_line", good=good, images=images, **mistakes)


def throughput_title(device: dict[str, Any], say: Texts) -> str:
    """Return what the throughput is of."""
    if device["kind"] == EMULATION_KIND:
        return say("speed_emulation")
    return say("speed_cpu") if device["kind"] == "cpu" else say("speed_npu")


def throughput_table(results: Sequence[dict[str, Any]], device: dict[str, Any], say: Texts) -> Table:
    """Return throughput, latency and copies, a row for each batch size."""
    heads = [
        *(say("chip"), say("batch"), say("precision_mode"), say("input_head"), "images/s", say("mean"), say("median")),
        *("p90", "p95", "p99", "H2D", "D2H", say("batches")),
    ]
    rows = []
    for result in results:
        latency = [result["latency_ms"][name] for name in LATENCY_COLUMNS]
        figures = (result["throughput_images_per_s"], *latency, result["h2d_ms"], result["d2h_ms"])
        chip, read = name_chip(result, device, say), say.word(result["input"])
        what = (chip, str(result["batch_size"]), result["precision"], read)
        rows.append([*what, *map(format_number, figures), str(result["batches"])])
    return Table(heads, rows)


def stage_table(stages: Sequence[dict[str, Any]], say: Texts) -> Table:
    """Return what each stage took."""
    heads = [say("stage"), "bs", say("seconds"), say("images"), "images/s", say("status")]
    rows = []
    for stage in stages:
        speed = "" if stage["images_per_s"] is None else format_number(stage["images_per_s"])
        batch_size, images = str(stage["batch_size"] or ""), str(stage["images"] or "")
        status = {FRESH: say("fresh"), DONE: say("done")}[stage["status"]]
        rows.append([say.name(stage["name"]), batch_size, format_number(stage["seconds"]), images, speed, status])
    return Table(heads, rows)


def int8_lines(int8: dict[str, Any], say: Texts) -> list[tuple[str, str]]:
    """Return how an INT8 model was made: pairs of a label and a line."""
    recipe, left = int8["recipe"], int8["float32"]
    scores = ", ".join(f"{name} {value:.2f}" for name, value in int8["held_out_map"].items())
    ranges = say("ranges_line", method=int8["method"], images=int8["images"], of_images=int8["of_images"])
    size = say("onnx_size_line", size=int8["int8_bytes"], smaller=int8["onnx_bytes"] / int8["int8_bytes"])
    layers = say("int8_layers_line", count=int8["layers"] - len(left), layers=int8["layers"])
    return [
        (say("recipe"), f"{recipe['name']}, sha256 {recipe['sha256'][:SHORT_SHA256]}"),
        (say("ranges"), ranges),
        *([(say("held_out"), scores)] if scores else []),
        (say("onnx_size"), size),
        (say("int8_layers"), layers + (say("in_float32") if left else "")),
    ]
