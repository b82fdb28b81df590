"""The `report` stage: report.json, whose keys are a contract, and what is made from it."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolact_ascend import __version__
from yolact_ascend.cores import count_cores
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.extras import describe_missing, is_installed
from yolact_ascend.files import read_json, sha256_file, write_bytes, write_json
from yolact_ascend.models.family import ONNX
from yolact_ascend.models.inputs import NOTHING, takes_pixels
from yolact_ascend.models.onnx_metadata import own_operators
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.demo import NOTE
from yolact_ascend.pipeline.records import utc_now
from yolact_ascend.pipeline.settings import RunSettings
from yolact_ascend.pipeline.steps import Outcome
from yolact_ascend.process import run_line
from yolact_ascend.report.dataset_name import name_dataset
from yolact_ascend.report.findings import read_findings
from yolact_ascend.report.markdown import render_markdown
from yolact_ascend.report.mistakes import describe_mistakes
from yolact_ascend.report.overlays import OVERLAY_IMAGES, remove_overlays, write_overlays
from yolact_ascend.report.time_per_image import describe_time, rate_to_keep_up_with
from yolact_ascend.sources import library_versions
from yolact_ascend.tables import counted
from yolact_ascend.targets.compiled import read_sidecar
from yolact_ascend.targets.folder import WorkFolder, timings_file
from yolact_ascend.targets.summary import DeviceTimings, read_timings
from yolact_ascend.targets.target import INT8, Target
from yolact_ascend.tensors import TensorSpec

SCHEMA_VERSION = 1
LIBRARIES_OF_PAGE = ("jinja2", "leather")  # that report.html needs, and nothing else of a run


def write_report(run: RunContext, outcomes: Sequence[Outcome], words: Sequence[str]) -> str:
    """Write report.json and report.md from what the stages left; return the short form for the terminal."""
    folder = run.folder
    report = build_report(run, outcomes, words)
    run.records.ledger.claim(folder.reports, "out=DIR")
    report.update(_describe_images(run, report["results"][0]["failed"]))
    write_json(folder.report_json, report)
    markdown = render_markdown(report)
    write_bytes(folder.report_md, markdown.encode())
    note = f"\nThis was {report['note']}" if report["note"] else ""
    page = _write_page(run, report)
    return f"{markdown}\nReport: {folder.report_md} and {folder.report_json.name}{note}\n{page}"


def _write_page(run: RunContext, report: dict[str, Any]) -> str:
    """Write report.html; return the line that says where it is, or why there is none."""
    path = run.folder.report_html
    missing = [module for module in LIBRARIES_OF_PAGE if not is_installed(module)]
    if missing:
        run.records.ledger.remove([path])  # of an earlier run
        return f"There is no {path.name}: {describe_missing(missing[0])}"
    from yolact_ascend.report.html import render_html

    write_bytes(path, render_html(report, run.folder.root).encode())
    return f"Open in a browser: {path.absolute().as_uri()}"


def remove_report(run: RunContext) -> None:
    """Remove the report of an earlier run, if there is one."""
    run.records.ledger.remove(run.folder.reports)
    remove_overlays(run.folder.overlays, run.records.ledger)


def build_report(run: RunContext, outcomes: Sequence[Outcome], words: Sequence[str]) -> dict[str, Any]:
    """Gather the report of a run as a JSON value; the keys are a contract (docs/report.md)."""
    settings = run.settings
    return {
        "schema_version": SCHEMA_VERSION,
        "created": utc_now(),
        "command": run_line(*words),
        "mode": settings.mode,
        "stream": settings.stream,
        "note": NOTE if settings.is_demo else None,
        "device": _describe_device(run.target, settings.precision),
        "model": _describe_model(run),
        "dataset": _describe_dataset(run) if settings.mode == "full" else None,
        "versions": _describe_versions(run),
        "results": [_result(run, outcomes, batch_size) for batch_size in settings.batch_sizes],
        "stages": [_describe_outcome(outcome) for outcome in outcomes],
        "lang": settings.lang,
    }


def _describe_images(run: RunContext, failed: Sequence[int]) -> dict[str, Any]:
    """Draw the first and the worst images of a full run, by the detections of its first batch size, and count mistakes.

    A benchmark has none.
    """
    folder, ledger = run.folder, run.records.ledger
    if run.settings.mode != "full":
        remove_overlays(folder.overlays, ledger)
        return {"overlays": [], "mistakes": None, "worst": []}
    images = [image for image in run.images if image.image_id not in failed]
    found = read_findings(images, run.dataset, run.detections(run.settings.batch_sizes[0]))
    mistakes, worst = describe_mistakes(found) if any(one.annotations for one in found) else (None, [])
    pictures = write_overlays(folder.overlays, ledger, found, run.scored_config, [image for image, _ in worst])
    paths = {image_id: path.relative_to(folder.root).as_posix() for image_id, path in pictures.items()}
    return {
        "overlays": list(paths.values())[:OVERLAY_IMAGES],
        "mistakes": mistakes,
        "worst": [
            {
                "image_id": found.image.image_id,
                "file_name": found.image.path.name,
                **counted.to_json(),
                "overlay": paths[found.image.image_id],
            }
            for found, counted in worst
        ],
    }


def _describe_device(target: Target, precision: str) -> dict[str, Any]:
    facts = target.facts(precision)
    note = facts.pop("note")
    facts.pop("cann")  # versions.cann
    host = f"{_cpu_name()}, {counted(count_cores(), 'core')}"
    return {"target": target.name, **facts, "host": host, "note": note}


def _describe_model(run: RunContext) -> dict[str, Any]:
    exported = run.description
    return {
        "config": run.settings.config,
        "weights": run.weights_name,
        "weights_sha256": run.weights_sha256,
        "classes": len(run.config.class_names),
        "classes_from": run.class_choice.source,
        "network": exported.network,
        "cut": exported.cut,
        "precision": run.settings.precision,
        "aipp": run.settings.embed != NOTHING,
        "embed": run.settings.embed,
        "input_dtype": run.inputs[0].dtype,
        "onnx_sha256": sha256_file(run.folder.onnx),
        **_describe_canvas(run),
        **_describe_int8(run),
    }


def _describe_int8(run: RunContext) -> dict[str, Any]:
    """Return how an INT8 model was made, and which of its layers are not in INT8; nothing for another precision."""
    quantization = run.settings.quantization
    if quantization is None:
        return {}
    made = read_json(run.quantized.description, "how the model was quantised")
    is_ascend = run.compiled_from == run.quantized.ascend
    layers, key = made["layers"], "precision_on_ascend" if is_ascend else "precision"
    return {
        "int8": {
            "recipe": quantization.named,
            "method": made["method"],
            "images": made["images"]["used"],
            "of_images": made["images"]["found"],
            "held_out_map": made["map"],
            "layers": len(layers),
            "float32": [{"name": one["name"], "why": one["why"]} for one in layers if one[key] != INT8],
            "onnx_bytes": run.folder.onnx.stat().st_size,
            "int8_bytes": run.compiled_from.stat().st_size,
            "warnings": made["warnings"],
        }
    }


def _describe_canvas(run: RunContext) -> dict[str, Any]:
    """Return what was chosen for a model that pads its pictures: canvas, fit and the graph's operators."""
    own = run.config.preprocessing
    if own.is_stretched:
        return {}
    canvas = [own.height_px, own.width_px]
    return {"canvas": canvas, "fit": own.fit, "operators": own_operators(run.folder.onnx) or ONNX}


def _describe_dataset(run: RunContext) -> dict[str, Any]:
    return {
        "name": "drawn scenes" if run.settings.is_demo else name_dataset(run.whole_dataset),
        "images": len(run.images),
        "annotated_images": run.dataset.annotated_count,
        "of_images": len(run.whole_dataset.images),
        "warnings": list(run.dataset.warnings),
        "annotations_sha256": sha256_file(run.dataset.annotation_file),
    }


def _describe_versions(run: RunContext) -> dict[str, str | None]:
    return {
        "yolact_ascend": __version__,
        "python": platform.python_version(),
        **library_versions(),
        "cann": run.target.facts(run.settings.precision)["cann"],
    }


def _result(run: RunContext, outcomes: Sequence[Outcome], batch_size: int) -> dict[str, Any]:
    folder = run.folder
    is_full = run.settings.mode == "full"
    timings = _device_timings(run.settings, folder, batch_size)
    scores = read_json(folder.scores(batch_size), "the scores") if is_full else {}
    model = read_sidecar(run.model(batch_size))
    return {
        "batch_size": batch_size,
        "images": scores.get("images"),
        **{task: scores.get(task) for task in (BOX, MASK)},
        "coco": scores.get("coco"),
        "failed": scores.get("failed", []),
        "overfull_images": scores["host"].get("overfull_images", 0) if is_full else None,
        "throughput_images_per_s": round(timings.throughput_images_per_s, 4),
        "latency_ms": timings.latency_ms(),
        "h2d_ms": timings.h2d_ms,
        "d2h_ms": timings.d2h_ms,
        "drift_percent": timings.drift_percent(),
        "batches": timings.batches,
        "npus": list(timings.npus or run.target.npus[:1]),
        "input": run.settings.input,
        "precision": model.precision,
        "aipp": takes_pixels(TensorSpec.of_sample(model.input)),
        "input_dtype": model.input["dtype"],
        "way": _describe_time(run, scores, timings, outcomes, batch_size) if is_full else None,
        "metrics": scores.get("metrics"),
        "classes": _describe_classes(run, scores["classes"]) if is_full else None,
        "curves": scores.get("curves"),
        "latency_over_run": timings.latency_over_run(),
        "model_sha256": model.model_sha256,
    }


def _describe_classes(run: RunContext, scored: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the AP of each class with its name, and how many objects are annotated; crowds do not count."""
    image_ids = {image.image_id for image in run.images}
    objects = Counter(
        entry["category_id"]
        for entry in run.dataset.annotations["annotations"]
        if entry["image_id"] in image_ids and not entry.get("iscrowd")
    )
    names = dict(run.dataset.categories)
    return [
        {
            "category_id": entry["category_id"],
            "name": names[entry["category_id"]] or str(entry["category_id"]),
            "annotations": objects[entry["category_id"]],
            **{task: entry[task] for task in (BOX, MASK)},
        }
        for entry in scored
    ]


def _describe_time(
    run: RunContext,
    scores: dict[str, Any],
    timings: DeviceTimings,
    outcomes: Sequence[Outcome],
    batch_size: int,
) -> dict[str, Any]:
    host = [scores["host"]]
    if not run.settings.stream:
        host.insert(0, read_json(timings_file(run.folder.inputs), "the times of preprocess"))
    facts = run.target.facts(run.settings.precision)
    speed = timings.throughput_images_per_s
    rate = rate_to_keep_up_with(facts["kind"], facts["chip"], run.settings.config, speed)
    return describe_time(host, speed, outcomes, batch_size, rate)


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
        "commands": list(outcome.commands),
        "finished": outcome.finished or None,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()
