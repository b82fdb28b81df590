"""Box and mask mAP of COCO, and the tables that show it.

Computed by faster-coco-eval, a COCOeval in C++; the tests hold its numbers to those of pycocotools.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from pycocotools import mask as coco_mask

from yolact_ascend.detection.matches import IOU_THRESHOLDS
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

    `found` maps each task to entries of COCO's results format; those of other images do not count. They are taken one
    by one, task after task. `annotations` None: there is nothing to score against.
    """
    if not image_ids:
        raise ValueError("There are no images to score.")
    if annotations is None:
        return Evaluation({}, len(image_ids))
    scores = {task: _score(annotations, image_ids, results, IOU_TYPES[task]) for task, results in found.items()}
    return Evaluation(scores, len(image_ids))


def _score(
    annotations: dict[str, Any], image_ids: Collection[int], results: Iterable[dict[str, Any]], iou_type: str
) -> Score:
    numbers = _Numbers(annotations)
    entries = [numbers.of(entry, n) for n, entry in enumerate(annotations["annotations"], start=1)]
    truth = _index({**numbers.listed, "annotations": entries})
    found_entries = list(_found_entries(annotations, set(image_ids), results, iou_type, numbers))
    found = _index({**numbers.listed, "annotations": found_entries})
    scorer = COCOeval_faster(truth, found, iou_type)
    scorer.rle_iou_max_workers = 1  # its threads cost more than they bring
    scorer.params.imgIds = sorted(numbers.images[image_id] for image_id in set(image_ids))
    scorer.run()
    precision = scorer.eval["precision"][:, :, :, 0, -1]  # [IoU,recall,class] for all areas, 100 detections
    return score_of(precision, scorer.stats, list(numbers.categories))


def score_of(precision: np.ndarray, summary: Iterable[float], category_ids: Sequence[int]) -> Score:
    """Return the score of COCOeval's precision [IoU,recall,class] for all areas, and of its 12 numbers.

    Both are fractions, -1 where there is no ground truth; `category_ids` [K] are in the order of the last axis.
    """
    return Score(
        _table(precision),
        tuple(_percent(value) for value in summary),
        _by_class(precision, category_ids),
        _curves(precision),
    )


class _Numbers:
    """Small numbers for the ids of images and categories, in their order, which decides between equal scores.

    The library takes neither negative ids nor those beyond 32 bit, and may take a match with id 0 for none.
    """

    def __init__(self, annotations: dict[str, Any]) -> None:
        self.images, self.categories = (
            {number: n for n, number in enumerate(sorted(entry["id"] for entry in annotations[section]), start=1)}
            for section in ("images", "categories")
        )
        self.listed = {
            "images": [{**entry, "id": self.images[entry["id"]]} for entry in annotations["images"]],
            "categories": [{**entry, "id": self.categories[entry["id"]]} for entry in annotations["categories"]],
        }

    def of(self, entry: dict[str, Any], number: int) -> dict[str, Any]:
        """Return a copy of an entry, as the library writes into it, with small numbers for its ids."""
        image_id, category_id = self.images[entry["image_id"]], self.categories[entry["category_id"]]
        return {**entry, "id": number, "image_id": image_id, "category_id": category_id}


def _found_entries(
    annotations: dict[str, Any],
    image_ids: Collection[int],
    results: Iterable[dict[str, Any]],
    iou_type: str,
    numbers: _Numbers,
) -> Iterator[dict[str, Any]]:
    """Give the library's form of results of these images, with no more in it than it needs.

    Where an image has no annotation of its class, a detection has nothing to overlap with, and only its area counts:
    most of them, and their boxes and masks would take the most memory and time.
    """
    annotated = {(entry["image_id"], entry["category_id"]) for entry in annotations["annotations"]}
    key, nowhere = {"bbox": ("bbox", [0, 0, 0, 0]), "segm": ("segmentation", {"size": [1, 1], "counts": "1"})}[iou_type]
    # As pycocotools does: results of a class that the file does not list do not count.
    wanted = (e for e in results if e["image_id"] in image_ids and e["category_id"] in numbers.categories)
    for n, entry in enumerate(wanted, start=1):
        image_id, category_id, shape = entry["image_id"], entry["category_id"], entry[key]
        area = shape[2] * shape[3] if key == "bbox" else int(coco_mask.area(shape))
        found = {
            "image_id": image_id,
            "category_id": category_id,
            key: shape if (image_id, category_id) in annotated else nowhere,
            "area": area,
            "score": entry["score"],
        }
        yield numbers.of(found, n)


def _index(dataset: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


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
