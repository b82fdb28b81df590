"""Time per image, step by step: the host's in CPU-core milliseconds, the device's, and end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yolact_ascend.pipeline.steps import Outcome
from yolact_ascend.report.sections import Table
from yolact_ascend.report.texts import Texts
from yolact_ascend.tables import format_number

# In the order in which an image passes them; `infer` is the device's, the others are the host's.
IMAGE_STEPS = ("decode", "resize", "write", "infer", "read", "heads", "detect", "masks", "RLE", "eval")
# One Atlas 310P at batch 1 in Ascend ModelZoo's YolactEdge guide, with this config.
PUBLISHED_CHIP, PUBLISHED_CONFIG, PUBLISHED_IMAGES_PER_S = "310P", "yolact_edge_resnet50_config", 270
STAGES = ("preprocess", "infer", "postprocess", "stream")  # what an image passes


def rate_to_keep_up_with(kind: str, chip: str, config: str, measured_images_per_s: float) -> float:
    """Return the images/s that the host's cores are counted for: as measured; published for its card and model."""
    is_published = kind == "npu" and chip.startswith(PUBLISHED_CHIP) and config == PUBLISHED_CONFIG
    return max(PUBLISHED_IMAGES_PER_S, measured_images_per_s) if is_published else measured_images_per_s


def describe_time(
    host: Sequence[Mapping[str, Any]],
    device_images_per_s: float,
    outcomes: Sequence[Outcome],
    batch_size: int,
    rate_images_per_s: float,
) -> dict[str, Any]:
    """Return the time per image at one batch size, as report.json has it under "way".

    `rate_images_per_s` is what the host should keep up with: how many cores that takes is stated.
    `host` are what the stages wrote of their work (`timings.Timings.to_json`). What a stage did without any image, as
    preprocess does where all inputs are kept, is not known, and then neither is what it is a part of: None.
    """
    core_ms = {step: ms for part in host for step, ms in part["core_ms_per_image"].items()}
    total = sum(core_ms.values()) if all(part["images"] for part in host) else None
    passed = [o for o in outcomes if o.stage in STAGES and o.batch_size in (None, batch_size)]
    seconds = [outcome.seconds / outcome.images for outcome in passed if outcome.images]
    is_whole = passed and len(seconds) == len(passed)
    return {
        "core_ms_per_image": {step: round(core_ms[step], 4) for step in IMAGE_STEPS if step in core_ms},
        "total_core_ms_per_image": None if total is None else round(total, 4),
        "device_ms_per_image": round(1000 / device_images_per_s, 4),
        "end_to_end_images_per_s": round(1 / sum(seconds), 3) if is_whole else None,
        "cores_for_one_card": None if total is None else round(total * rate_images_per_s / 1000, 2),
        "cores_for_images_per_s": round(rate_images_per_s, 4),  # as throughput_images_per_s is
    }


def time_table(results: Sequence[Mapping[str, Any]], say: Texts) -> Table:
    """Return the table of times, a row for each batch size."""
    heads = [
        "bs",
        *map(say.name, IMAGE_STEPS),
        *(say("host_total"), say("end_to_end"), say("device_speed"), say("cores"), say("cores_at")),
    ]
    rows = []
    for result in results:
        way = result["way"]
        ms = step_times(result)
        rows.append(
            [
                str(result["batch_size"]),
                *(f"{ms[step]:.2f}" if step in ms else "–" for step in IMAGE_STEPS),
                format_number(way["total_core_ms_per_image"], 1),
                format_number(way["end_to_end_images_per_s"], 2),
                format_number(result["throughput_images_per_s"], 2),
                format_number(way["cores_for_one_card"], 1),
                format_number(way["cores_for_images_per_s"], 2),
            ]
        )
    return Table(heads, rows)


def step_times(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the milliseconds of each step of an image, in their order: the host's of a core, the device's of it."""
    way = result["way"]
    ms = {**way["core_ms_per_image"], "infer": way["device_ms_per_image"]}
    return {step: ms[step] for step in IMAGE_STEPS if step in ms}


def time_note(config: str, say: Texts) -> str:
    """Return what the table of times counts; with the published speed, where a run of this config is held to it."""
    published = say("published", speed=PUBLISHED_IMAGES_PER_S) if config == PUBLISHED_CONFIG else ""
    return say("time_note", published=published)
