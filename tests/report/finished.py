"""A finished work folder that is written by hand, as far as the report reads it."""

import json
import re
from dataclasses import replace

from factories import describe_network, rectangle_rle, write_described_onnx
from formats import require_valid

from yolact_ascend.detection.evaluate import SUMMARY_NAMES
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.files import write_json
from yolact_ascend.pipeline.steps import DONE, FRESH, Outcome
from yolact_ascend.targets.compiled import describe_model, write_sidecar
from yolact_ascend.targets.folder import timings_file

BATCH_SIZE = 2
TABLE = {"all": 30.0, **{str(percent): float(percent) for percent in range(50, 100, 5)}}
OUTCOMES = [
    Outcome("export", None, FRESH, 4.0, None),
    Outcome("preprocess", None, DONE, 1.0, 4),
    Outcome("infer", BATCH_SIZE, DONE, 2.0, 4),
    Outcome("postprocess", BATCH_SIZE, DONE, 1.0, 4),
]


def write_outputs(run, tasks):
    """Write what the stages leave, as far as the report reads it."""
    folder = run.folder
    model = run.model(BATCH_SIZE)
    folder.root.mkdir()
    write_described_onnx(folder.onnx, replace(describe_network(run.settings.model_config), network="ours"))
    model.write_bytes(b"model")
    write_sidecar(model, describe_model(model, run.need(BATCH_SIZE), run.description, [], "compile"))
    summary = {"npu_compute_time_list": [[0, 10], [10, 30]], "throughput": 133.3333}
    for path in (folder.summary(BATCH_SIZE), folder.benchmark_summary(BATCH_SIZE)):
        write_json(path, summary)
    write_json(timings_file(folder.inputs), {"images": 4, "core_ms_per_image": {"decode": 1.0, "resize": 2.0}})
    scores = {task: TABLE if task in tasks else None for task in (BOX, MASK)}
    coco = {"bbox": [0.3] * 12, "segm": [0.3] * 12 if MASK in tasks else None}
    host = {"images": 4, "core_ms_per_image": {"read": 1.0, "detect": 3.0}}
    metrics = {task: scores[task] and dict.fromkeys(SUMMARY_NAMES, 30.0) for task in scores}
    classes = [
        {"category_id": number, **{task: scores[task] and {"all": 30.0, "50": 50.0, "75": None} for task in scores}}
        for number in run.config.category_ids
    ]
    curves = {task: scores[task] and dict.fromkeys(("all", "50", "75"), [90.0] * 101) for task in scores}
    more = {"metrics": metrics, "classes": classes, "curves": curves}
    write_json(folder.scores(BATCH_SIZE), {**scores, "coco": coco, **more, "images": 4, "host": host})
    common = {"image_id": 3, "category_id": run.config.category_ids[0], "score": 0.9}
    shape = {BOX: {"bbox": [5, 5, 60, 50]}, MASK: {"segmentation": rectangle_rle(5, 5, 65, 55, 80, 100)}}
    for task, path in run.detections(BATCH_SIZE).items():
        write_json(path, [{**common, **shape[task]}])


def written(run):
    """Return the report as JSON, and as Markdown without what aligns its tables."""
    folder = run.folder
    report = require_valid(json.loads(folder.report_json.read_text()), "report")
    return report, re.sub(" +", " ", folder.report_md.read_text())
