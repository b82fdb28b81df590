"""What a run found in each image, as its pictures and its mistakes need it: read once from the results files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.files import read_json
from yolact_ascend.images.coco import CocoDataset, CocoImage

SHOWN_SCORE = 0.3  # detections below it are neither drawn nor counted as false; the scores of a run count them


@dataclass
class Found:
    """One image: its annotations, and its detections that score at least `SHOWN_SCORE`, as entries of COCO's files."""

    image: CocoImage
    annotations: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)
    masks: list[dict[str, Any]] | None = None  # in the order of `boxes`; None where a network finds boxes only


def read_findings(images: Sequence[CocoImage], dataset: CocoDataset, files: Mapping[str, Path]) -> list[Found]:
    """Return what is annotated and what was found in each image; `files` are those of `postprocess`, by task."""
    found = {image.image_id: Found(image, masks=[] if MASK in files else None) for image in images}
    for annotation in dataset.annotations["annotations"]:
        if annotation["image_id"] in found:
            found[annotation["image_id"]].annotations.append(annotation)
    for task, path in files.items():
        for entry in read_json(path, "detections of postprocess"):
            if entry["score"] >= SHOWN_SCORE and entry["image_id"] in found:
                one = found[entry["image_id"]]
                entries = one.boxes if task == BOX else one.masks
                assert entries is not None
                entries.append(entry)
    return list(found.values())
