"""The same detections scored as YOLACT's own `eval.py`, and the guide's `postprocess.py`, score them.

Source: dbolya/yolact @ 57b8f2d and haotian-liu/yolact_edge @ a9a0028, eval.py (`prep_metrics`, `APDataObject`,
`calc_map`), data/coco.py and utils/augmentations.py (`Resize`); Ascend/ModelZoo-PyTorch @ 6a2804a3, postprocess.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolact_ascend.detection.average_precision import AveragePrecision, mean_precision
from yolact_ascend.detection.matches import match_results

PERCENT = np.array([n / 100 for n in range(101)])  # its recalls; numpy.linspace differs in the last bit
# "More than the threshold": the least float64 that is.
ABOVE = np.array([np.nextafter(n / 100, 1) for n in range(50, 100, 5)])
LEAST_SIDE = 4 / 550  # of an object, as a share of the image; narrower ones are discarded with the training's transform


@dataclass(frozen=True)
class OtherRules:
    """What such a program does beside the AP itself. Its images are those with annotations."""

    scores_empty: bool = True  # images in which nothing was found; eval.py leaves them out, the guide's program crashes
    has_crowd_classes: bool = False  # crowds have the class -1, so detections in them are wrong
    has_thin_objects: bool = False


EVAL_PY = OtherRules(scores_empty=False)
GUIDE = OtherRules()


def score_by_other_rules(
    annotations: Mapping[str, Any],
    image_ids: Sequence[int],
    results: Sequence[Mapping[str, Any]],
    task: str,
    rules: OtherRules,
) -> float | None:
    """Return mAP over all overlaps in percent, as that program computes it; None where it has no class to score.

    A class counts as soon as there is an object or a detection of it, with an AP of 0 where there is no object; an
    overlap of just the threshold is no match.
    """
    images = {image["id"]: image for image in annotations["images"]}
    truth = [entry for entry in annotations["annotations"] if _counts(entry, images[entry["image_id"]], rules)]
    chosen = {entry["image_id"] for entry in annotations["annotations"]} & set(image_ids)
    if not rules.scores_empty:
        chosen &= {entry["image_id"] for entry in results}
    matches = match_results({**annotations, "annotations": truth}, chosen, results, task, ABOVE)
    if not chosen:
        return None
    precision = AveragePrecision(matches, PERCENT).of_classes(np.ones((1, len(matches.image_ids)), np.int64))[0]
    counted = ~matches.is_ignored.all(axis=0)
    detected = np.bincount(matches.classes[counted], minlength=precision.shape[1]) > 0
    precision = np.where(np.isnan(precision) & detected, 0, precision)
    value = 100 * mean_precision(precision).mean()
    return None if np.isnan(value) else float(value)


def _counts(entry: Mapping[str, Any], image: Mapping[str, Any], rules: OtherRules) -> bool:
    """Whether an object takes part."""
    if entry.get("iscrowd"):
        return rules.has_crowd_classes
    if rules.has_thin_objects:
        return True
    _, _, width, height = entry["bbox"]
    return width / image["width"] > LEAST_SIDE and height / image["height"] > LEAST_SIDE
