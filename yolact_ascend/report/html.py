"""report.html, rendered from report.json and the run's pictures: one file that needs no other and no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from yolact_ascend.detection.draw import split_panels
from yolact_ascend.detection.evaluate import CURVES
from yolact_ascend.images.decode import decode_image
from yolact_ascend.report import sections
from yolact_ascend.report.advice import advice
from yolact_ascend.report.figures import Line, draw_lines
from yolact_ascend.report.findings import SHOWN_SCORE
from yolact_ascend.report.texts import Texts
from yolact_ascend.report.time_per_image import step_times, time_note, time_table
from yolact_ascend.tables import NOT_AVAILABLE, format_number

TEMPLATE = "page.html.jinja"
PANEL_PX = 560  # the longer side of an embedded picture
PANEL_BYTES = 60_000  # of a picture at most, so that two dozen images with their annotations stay below 4 MB
QUALITIES = (75, 60, 45, 30, 15)  # of JPEG: the first that keeps to that
DOCUMENT_LANGUAGE = {"en": "en", "zh": "zh-CN"}


class Picture(NamedTuple):
    """Annotations and detections of one image, as data URIs, with what was wrong with it."""

    name: str
    truth: str
    found: str
    mistakes: str


class Bar(NamedTuple):
    """A bar of a waterfall: where it begins and how wide it is, in percent of the whole."""

    name: str
    begin: float
    width: float
    value: str
    is_device: bool = False


def render_html(report: dict[str, Any], folder: Path) -> str:
    """Return the page of a report, in its language; `folder` is where its pictures lie.

    Raises ArtifactError when a picture is missing.
    """
    say = Texts(report["lang"])
    results, device = report["results"], report["device"]
    is_full = report["mode"] == "full"
    worst = {one["overlay"] for one in report["worst"]}
    first = [{"overlay": name} for name in report["overlays"] if name not in worst]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(TEMPLATE).render(
        report=report,
        say=say,
        document_language=DOCUMENT_LANGUAGE[report["lang"]],
        sections=sections,
        cards=_cards(report, say),
        is_full=is_full,
        is_scored=is_full and sections.scored_task(results) is not None,
        advice=advice(results, device, say),
        by_iou=_by_iou(results[0], say),
        curves=_curves(results[0], say) if is_full else [],
        by_batch=_by_batch(results, say),
        latency=[figure for result in results for figure in _latency(result, say)],
        times=time_table(results, say) if is_full else None,
        time_note=time_note(report["model"]["config"], say),
        waterfalls=[(result["batch_size"], _waterfall(result, say)) for result in results] if is_full else [],
        stages=_stage_bars(report["stages"], say),
        worst=[_picture(one, folder, say) for one in report["worst"]],
        first=[_picture(one, folder, say) for one in first],
        shown_score=SHOWN_SCORE,
        not_available=NOT_AVAILABLE,
    )


def _cards(report: dict[str, Any], say: Texts) -> list[tuple[str, str, str]]:
    """Return the figures that stand first: label, figure, and what it is of."""
    results = report["results"]
    best = max(results, key=lambda result: result["throughput_images_per_s"])
    batch = f"bs={results[0]['batch_size']}"
    cards = [
        (f"{say(task)} mAP", format_number(results[0][task]["all"]) + " %", f"{batch}, IoU .50–.95")
        for task in reversed(sections.TASKS)
        if sections.is_scored(results[0], task)
    ]
    of_device = f"bs={best['batch_size']}, {sections.name_chip(best, report['device'], say)}, {best['precision']}"
    cards.append((say("device_speed"), format_number(best["throughput_images_per_s"]), of_device))
    latency = best["latency_ms"]
    both = " / ".join(NOT_AVAILABLE if latency[name] is None else f"{latency[name]:.4g}" for name in ("median", "p99"))
    cards.append((say("latency_card"), both, f"bs={best['batch_size']}, ms/batch"))
    whole = [way["end_to_end_images_per_s"] for way in (result["way"] for result in results) if way]
    if any(whole):
        cards.append((say("end_to_end"), format_number(whole[0]), batch))
    return cards


def _by_iou(result: dict[str, Any], say: Texts) -> Markup | None:
    columns = sections.TABLE_COLUMNS[1:]
    lines = [
        Line(say(task), [(int(name), result[task][name]) for name in columns])
        for task in sections.TASKS
        if sections.is_scored(result, task)
    ]
    if not lines:
        return None
    return Markup(draw_lines(lines, say("iou"), "AP, %", say("by_iou"), y_most=100))


def _curves(result: dict[str, Any], say: Texts) -> list[tuple[str, Markup]]:
    """Return the precision-recall curves of each task: its name, and the figure."""
    found = []
    for task in reversed(sections.TASKS):
        curves = result["curves"][task]
        if curves:
            named = [(name, "mAP" if name == "all" else f"IoU .{name}") for name in CURVES]
            lines = [Line(label, list(enumerate(curves[name]))) for name, label in named]
            alt = f"{say('curves')}: {say(task)}"
            found.append((say(task), Markup(draw_lines(lines, say("recall"), say("precision"), alt, y_most=100))))
    return found


def _by_batch(results: Sequence[dict[str, Any]], say: Texts) -> Markup | None:
    """Return the throughput over the batch size, where there are several."""
    points = sorted((result["batch_size"], result["throughput_images_per_s"]) for result in results)
    if len(points) < 2:
        return None
    return Markup(
        draw_lines([Line("images/s", points)], "bs", None, say("by_batch"), x_ticks=[size for size, _ in points])
    )


def _latency(result: dict[str, Any], say: Texts) -> list[tuple[str, Markup]]:
    """Return the latency over the run at one batch size: caption and figure; nothing where it is not known."""
    over_run = result["latency_over_run"]
    if over_run is None or len(over_run["mean_ms"]) < 2:
        return []
    size = over_run["batches_per_point"]
    named = {"batch_size": result["batch_size"], "batches": result["batches"]}
    lines = [Line(say("mean"), [(n * size, ms) for n, ms in enumerate(over_run["mean_ms"])])]
    if size > 1:
        lines.append(Line(say("longest"), [(n * size, ms) for n, ms in enumerate(over_run["max_ms"])], is_dashed=True))
    caption = say("latency_caption", **named)
    if size > 1:
        caption += say("latency_points", size=size)
    return [(caption, Markup(draw_lines(lines, say("batch"), None, caption)))]


def _waterfall(result: dict[str, Any], say: Texts) -> list[Bar]:
    """Return the steps of an image, one after the other: the host's in ms of a core, the device's of it."""
    times = step_times(result)
    values = [(say.name(step), ms, f"{ms:.2f} ms", step == "infer") for step, ms in times.items()]
    return _bars(values)


def _stage_bars(stages: Sequence[dict[str, Any]], say: Texts) -> list[Bar]:
    values = []
    for stage in stages:
        batch = f" bs={stage['batch_size']}" if stage["batch_size"] else ""
        values.append((say.name(stage["name"]) + batch, stage["seconds"], f"{stage['seconds']:.1f} s", False))
    return _bars(values)


def _bars(values: Sequence[tuple[str, float, str, bool]]) -> list[Bar]:
    ends = list(accumulate(value for _, value, *_ in values))
    whole = max(ends[-1:], default=0) or 1
    return [
        Bar(name, 100 * (end - value) / whole, 100 * value / whole, text, is_device)
        for (name, value, text, is_device), end in zip(values, ends)
    ]


def _picture(one: dict[str, Any], folder: Path, say: Texts) -> Picture:
    pixels = decode_image(folder / one["overlay"])
    truth, found = (picture_as_uri(panel) for panel in split_panels(pixels))
    counts = [f"{say(kind)} {one[kind]}" for kind in sections.MISTAKES if one.get(kind)]
    return Picture(Path(one["overlay"]).stem, truth, found, say("comma").join(counts))


def picture_as_uri(picture: np.ndarray) -> str:
    """Return a picture as JPEG, no larger than a page can have two dozen of."""
    scale = PANEL_PX / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for quality in QUALITIES:
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(encoded) <= PANEL_BYTES:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"
