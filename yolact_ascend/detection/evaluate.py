"""Box and mask mAP of COCO, and the tables that show it. The tests hold its numbers to those of pycocotools."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from yolact_ascend.detection.accumulate import Accumulated, Numbers
from yolact_ascend.detection.image_matches import Matched, Scoring, Truth, match_entries, objects_of
from yolact_ascend.detection.matches import IOU_THRESHOLDS, ids_of_classes
from yolact_ascend.detection.tasks import BOX, MASK

Value = Optional[float]  # percent; None where there is nothing to score against

IOU_TYPES = {BOX: "bbox", MASK: "segm"}  # COCOeval's name of each task
# What the 12 numbers of COCOeval.summarize are: metric, IoU, area, most detections an image.
SUMMARY_LINES = (
    ("Average Precision  (AP)", "0.50:0.95", "all", 100),
    ("Average Precision  (AP)", "0.50", "all", 100),
    ("Average Precision  (AP)", "0.75", "all", 100),
    ("Average Precision  (AP)", "0.50:0.95", "small", 100),
    ("Average Precision  (AP)", "0.50:0.95", "medium", 100),
    ("Average Precision  (AP)", "0.50:0.95", "large", 100),
    ("Average Recall     (AR)", "0.50:0.95", "all", 1),
    ("Average Recall     (AR)", "0.50:0.95", "all", 10),
    ("Average Recall     (AR)", "0.50:0.95", "all", 100),
    ("Average Recall     (AR)", "0.50:0.95", "small", 100),
    ("Average Recall     (AR)", "0.50:0.95", "medium", 100),
    ("Average Recall     (AR)", "0.50:0.95", "large", 100),
)
# Their names in COCO's leaderboard (cocodataset.org, "Detection evaluation"); that of AR counts detections an image.
SUMMARY_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
CURVES = ("all", "50", "75")  # IoU thresholds of precision-recall curves and of the AP of each class
CURVE_DIGITS = 2  # of percents

NOTHING_SCORED = "Nothing is scored: the annotation file has no annotations."


@dataclass(frozen=True)
class Score:
    """One kind of result, boxes or masks: `table` by IoU ("all", "50" .. "95") and COCOeval's 12 numbers.

    All in percent. COCOeval's -1, no ground truth of that kind (such as no small objects), is None: `null` in JSON
    and `n.a.` in print. A class without ground truth is left out of every mean.
    """

    table: dict[str, Value]
    summary: tuple[Value, ...]
    by_class: dict[int, dict[str, Value]] = field(default_factory=dict)  # category_id -> AP by `CURVES`
    # By `CURVES`: the precision at COCO's 101 recalls, the mean of classes.
    curves: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The scores of one run over `images` images, by task; none when the annotation file has no annotations."""

    scores: dict[str, Score]
    images: int

    def to_json(self) -> dict[str, Any]:
        """Return the value as `report.json` holds it; a task that the network does not have is null."""
        found = {task: self.scores.get(task) for task in IOU_TYPES}
        return {
            **{task: score and score.table for task, score in found.items()},
            "coco": {IOU_TYPES[task]: score and list(score.summary) for task, score in found.items()},
            "metrics": {task: score and dict(zip(SUMMARY_NAMES, score.summary)) for task, score in found.items()},
            "classes": self._by_class(),
            "curves": {task: score and score.curves for task, score in found.items()},
            "images": self.images,
        }

    def _by_class(self) -> list[dict[str, Any]]:
        """Return an entry for each class of the annotation file, in the order of their ids."""
        category_ids = sorted({number for score in self.scores.values() for number in score.by_class})
        return [
            {
                "category_id": number,
                **{task: self.scores[task].by_class[number] if task in self.scores else None for task in IOU_TYPES},
            }
            for number in category_ids
        ]


def evaluate(
    annotations: dict[str, Any] | None, image_ids: Collection[int], found: Mapping[str, Iterable[dict[str, Any]]]
) -> Evaluation:
    """Score results against an annotation file's content, over the images of `image_ids`, found something or not.

    `found` maps each task to entries of COCO's results format; those of other images do not count. To score while
    images are processed, see `open_scorer`. `annotations` None: there is nothing to score against.
    """
    if not image_ids:
        raise ValueError("There are no images to score.")
    if annotations is None:
        return Evaluation({}, len(image_ids))
    scoring = scoring_of(annotations, found, ())
    truths_by_id = truths_of(scoring, annotations, image_ids)
    truths = list(truths_by_id.values())
    with open_scorer(scoring, [*truths_by_id]) as scorer:
        category_ids = ids_of_classes(annotations)
        matches = [match_entries(truths, results, category_ids, task) for task, results in found.items()]
        for truth, *own in zip(truths, *matches):
            scorer.add(truth.image_id, Matched(objects_of(truth), dict(zip(found, own))))
        return scorer.evaluation()


def scoring_of(annotations: Mapping[str, Any] | None, tasks: Iterable[str], class_ids: Sequence[int]) -> Scoring | None:
    """Return what is compared, if anything; `class_ids` [K] are those of the model's classes, in results."""
    return None if annotations is None else Scoring(tuple(tasks), tuple(class_ids), ids_of_classes(annotations))


def truths_of(
    scoring: Scoring | None, annotations: Mapping[str, Any] | None, image_ids: Collection[int]
) -> dict[int, Truth]:
    """Return what an annotation file says of images, in the order of their ids; nothing where nothing is compared."""
    if scoring is None or annotations is None:
        return {}
    entries: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in sorted(image_ids)}
    for entry in annotations["annotations"]:
        if entry["image_id"] in entries:
            entries[entry["image_id"]].append(entry)
    sizes = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    return {image_id: Truth(scoring, image_id, sizes[image_id], own) for image_id, own in entries.items()}


class Scorer:
    """Scores images as they come, or counts them where there is nothing to score against; `open_scorer` makes it."""

    def __init__(self, scoring: Scoring | None, image_ids: Sequence[int] | np.ndarray, folder: Path) -> None:
        self._ids = np.sort(np.asarray(image_ids))
        self._images = 0
        self._category_ids = () if scoring is None else scoring.category_ids
        self._by_task: dict[str, Accumulated] = {}
        for task in () if scoring is None else scoring.tasks:
            (folder / task).mkdir()
            self._by_task[task] = Accumulated(folder / task, len(self._category_ids))

    def add(self, image_id: int, matched: Matched | None) -> None:
        """Take an image."""
        self._images += 1
        if not self._by_task:
            return
        assert matched is not None, "its truth was not sent along"
        place = int(np.searchsorted(self._ids, image_id))
        for task, accumulated in self._by_task.items():
            accumulated.add(place, matched.objects, matched.matches[task])

    def evaluation(self) -> Evaluation:
        """Return the scores of the images so far."""
        found = {task: accumulated.numbers() for task, accumulated in self._by_task.items()}
        return Evaluation(
            {task: score_of(numbers, self._category_ids) for task, numbers in found.items()}, self._images
        )


@contextlib.contextmanager
def open_scorer(scoring: Scoring | None, image_ids: Sequence[int] | np.ndarray) -> Iterator[Scorer]:
    """Give what scores images of these ids, with a temporary folder for very many detections."""
    with tempfile.TemporaryDirectory(prefix="yolact-ascend-") as folder:
        yield Scorer(scoring, image_ids, Path(folder))


def score_of(numbers: Numbers, category_ids: Sequence[int]) -> Score:
    """Return the score of COCOeval's numbers; `category_ids` [K] are those of the classes."""
    return Score(
        _table(numbers.precision),
        tuple(_percent(value) for value in numbers.summary),
        _by_class(numbers.precision, category_ids),
        _curves(numbers.precision),
    )


def _table(precision: np.ndarray) -> dict[str, Value]:
    """Return the guide's row: mAP over all IoU thresholds and at each, in percent."""
    with_truth = _with_truth(precision)
    names = ("all", *(str(round(100 * threshold)) for threshold in IOU_THRESHOLDS))
    if not with_truth.size:
        return dict.fromkeys(names)
    means = with_truth.mean(axis=(1, 2))  # [IoU]
    return {name: _percent(value) for name, value in zip(names, (means.mean(), *means))}


def _with_truth(precision: np.ndarray) -> np.ndarray:
    """Return the classes [IoU,recall,class] that have ground truth."""
    return precision[:, :, (precision > -1).all(axis=(0, 1))]


def _thresholds(precision: np.ndarray, name: str) -> np.ndarray:
    """Return the part [IoU,recall,class] that one of `CURVES` is the mean of; thresholds are .50, .55, … .95."""
    return precision if name == "all" else precision[[(int(name) - 50) // 5]]


def _by_class(precision: np.ndarray, category_ids: Sequence[int]) -> dict[int, dict[str, Value]]:
    """Return each class's AP in percent; `category_ids` [K] are in the order of the last axis."""
    means = {name: _thresholds(precision, name).mean(axis=(0, 1)) for name in CURVES}  # [class]; -1: no ground truth
    return {
        category_id: {name: _percent(means[name][column]) for name in CURVES}
        for column, category_id in enumerate(category_ids)
    }


def _curves(precision: np.ndarray) -> dict[str, list[float]]:
    with_truth = _with_truth(precision)
    if not with_truth.size:
        return {}
    means = {name: 100 * _thresholds(with_truth, name).mean(axis=(0, 2)) for name in CURVES}  # [recall]
    return {name: [round(float(value), CURVE_DIGITS) for value in mean] for name, mean in means.items()}


def _percent(fraction: float) -> Value:
    return None if fraction == -1 else 100 * float(fraction)


def format_table(evaluation: Evaluation) -> str:
    """Return the guide's table, a row for each task, in percent."""
    if not evaluation.scores:
        return NOTHING_SCORED
    names = next(iter(evaluation.scores.values())).table
    header = ["", *("all " if name == "all" else f".{name} " for name in names)]
    rows = [
        [kind, *(_format(score.table[name], "{:.2f}") for name in names)] for kind, score in evaluation.scores.items()
    ]
    rule = "-------+" * len(header)
    return "\n".join([_format_row(header), rule, *map(_format_row, rows), rule])


def _format_row(cells: list[str]) -> str:
    return "".join(f" {cell:>5} |" for cell in cells)


def format_summary(score: Score) -> str:
    """Return COCOeval's 12 lines, as fractions like the original."""
    return "\n".join(
        f" {metric} @[ IoU={iou:<9} | area={area:>6} | maxDets={most:>3} ] = "
        + _format(None if value is None else value / 100, "{:.3f}")
        for (metric, iou, area, most), value in zip(SUMMARY_LINES, score.summary)
    )


def _format(value: Value, pattern: str) -> str:
    return "n.a." if value is None else pattern.format(value)
