"""A comparison as Markdown: what `compare` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yolact_ascend.analysis.bootstrap import LEVEL_PERCENT, Difference
from yolact_ascend.analysis.compare import MAP_COLUMNS, Comparison
from yolact_ascend.analysis.paired import PairedTask
from yolact_ascend.detection.sets import SAME_IOU, Matched
from yolact_ascend.tables import counted, format_change, format_number, markdown_table

MOST_CLASSES = 10  # rows of a table; --json has all
MOST_IMAGES = 3  # at either end
MOST_LETTERS = 40  # of a setting's value


def format_comparison(comparison: Comparison, names: Sequence[str]) -> str:
    """Return the tables as Markdown; `names` are what to call the two runs."""
    sides = [
        ["target", *(side.target for side in comparison.sides)],
        ["compiled for", *(side.made_for for side in comparison.sides)],
        ["precision", *(side.precision for side in comparison.sides)],
        ["stages", *(side.way for side in comparison.sides)],
        ["device images/s", *(format_number(side.images_per_s) for side in comparison.sides)],
    ]
    parts = [
        f"{names[1]} against {names[0]}, {comparison.images} images",
        markdown_table(["", *names], sides),
        *_bullets("What to know about these figures:", comparison.notes),
        *_format_settings(comparison, names),
        *_format_outputs(comparison, names),
        *_format_scores(comparison, names),
        *_format_speeds(comparison, names),
        f"Bytes of one input: {comparison.input_bytes[0]} and {comparison.input_bytes[1]}",
    ]
    return "\n\n".join(parts)


def _bullets(title: str, sentences: Sequence[str]) -> list[str]:
    return ["\n".join([title, *(f"- {sentence}" for sentence in sentences)])] if sentences else []


def _format_settings(comparison: Comparison, names: Sequence[str]) -> list[str]:
    if not comparison.settings:
        return ["Settings and versions are the same."]
    rows = [[key, *map(_shorten, values)] for key, values in comparison.settings.items()]
    return [markdown_table(["differs", *names], rows)]


def _shorten(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 3]}..."


def _format_outputs(comparison: Comparison, names: Sequence[str]) -> list[str]:
    if comparison.apart:
        return [f"The outputs are not compared: {comparison.apart}."]
    heads = ["output", "lowest cosine", "mean cosine", "max-abs", "of largest", "not finite"]
    rows = [
        [d.output, f"{d.cosine_min:.7f}", f"{d.cosine_mean:.7f}", f"{d.max_abs:.3g}", f"{d.relative:.2e}", d.not_finite]
        for d in comparison.outputs
    ]
    return [markdown_table(heads, rows), *_describe_matched(comparison.detections, names)]


def _describe_matched(matched: Matched | None, names: Sequence[str]) -> list[str]:
    if matched is None:
        return []
    return [
        f"Detections: {matched.first} of {names[0]}, {matched.second} of {names[1]}; {matched.both} are in both (same "
        f"class, IoU of {SAME_IOU:g} or more). The outputs are compared on these, whatever their order."
    ]


def _format_scores(comparison: Comparison, names: Sequence[str]) -> list[str]:
    if not comparison.paired:
        rows = [
            [f"{task} {_column(column)}", *map(format_number, pair), format_change(*pair)]
            for task, columns in comparison.scores.items()
            for column, pair in columns.items()
        ]
        reason = comparison.unpaired or "The runs have no task in common."
        return [
            markdown_table(["mAP in percent", *names, "difference"], rows),
            f"There are no intervals, and no differences by class and image. {reason}",
        ]
    heads = [*names, "difference", f"{LEVEL_PERCENT} % interval"]
    tables = [
        [f"{task} {_column(column)}", *_difference_cells(paired.columns[column])]
        for task, paired in comparison.paired.items()
        for column in MAP_COLUMNS
    ]
    verdicts = [_judge(task, paired.columns["all"], comparison.images) for task, paired in comparison.paired.items()]
    parts = [markdown_table(["mAP in percent", *heads], tables), *_bullets("The differences of mAP:", verdicts)]
    for task, paired in comparison.paired.items():
        if any(image.points for image in paired.images):
            parts += [*_format_classes(task, paired, heads), *_format_images(task, paired, names)]
    return parts


def _column(name: str) -> str:
    return name if name == "all" else f".{name}"


def _difference_cells(difference: Difference) -> list[str]:
    pair = (difference.first, difference.second)
    known = difference.low is not None and difference.high is not None
    ends = f"{difference.low:+.2f} to {difference.high:+.2f}" if known else format_number(None)
    return [*map(format_number, pair), format_change(*pair), ends]


def _judge(task: str, difference: Difference, images: int) -> str:
    """Return in words whether a difference can be told from chance."""
    low, high, points = difference.low, difference.high, difference.points
    on = f"on these {counted(images, 'image')}"
    if low is None or high is None or points is None:
        return f"{task}: there is nothing to score {on}."
    if low == high == 0:
        return f"{task}: there is no difference {on}."
    if low <= 0 <= high:
        return f"{task}: {points:+.2f} points cannot be told from chance {on}; it may be {low:+.2f} to {high:+.2f}."
    return f"{task}: {'better' if points > 0 else 'worse'} by {abs(points):.2f} points, more than chance {on}."


def _format_classes(task: str, paired: PairedTask, heads: Sequence[str]) -> list[str]:
    known = [(name, each) for name, each in paired.classes.items() if each.points is not None]
    known.sort(key=lambda each: -abs(each[1].points or 0))
    shown = [[name, *_difference_cells(difference)] for name, difference in known[:MOST_CLASSES]]
    count = f"{len(shown)} of {len(known)} classes, " if len(shown) < len(known) else "Classes, "
    title = f"{count}largest difference of {task} AP first:"
    return [f"{title}\n\n{markdown_table(['AP in percent', *heads], shown)}"] if shown else []


def _format_images(task: str, paired: PairedTask, names: Sequence[str]) -> list[str]:
    changed = [image for image in paired.images if image.points]
    changed.sort(key=lambda image: image.points or 0)
    worse = [image for image in changed[:MOST_IMAGES] if (image.points or 0) < 0]
    better = [image for image in changed[-MOST_IMAGES:] if (image.points or 0) > 0]
    rows = [
        [image.file_name, image.image_id, *map(format_number, pair), format_change(*pair)]
        for image in (*worse, *better)
        for pair in [(image.first, image.second)]
    ]
    heads = ["image", "id", *names, "difference"]
    title = f"Images whose own {task} mAP fell and rose most ({len(changed)} of {len(paired.images)} changed):"
    return [f"{title}\n\n{markdown_table(heads, rows)}"] if rows else []


def _format_speeds(comparison: Comparison, names: Sequence[str]) -> list[str]:
    rows = [
        [speed.what, speed.unit, *map(format_number, (speed.first, speed.second)), _factor(speed.factor)]
        for speed in comparison.speeds
    ]
    return [markdown_table(["speed", "unit", *names, "second / first"], rows)]


def _factor(value: float | None) -> str:
    return "not compared" if value is None else f"{value:.2f}"
