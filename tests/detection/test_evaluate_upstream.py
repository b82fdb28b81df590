"""The same detections scored by YOLACT's own `eval.py` and by us: why its figures are not COCO's.

dbolya/yolact's issues 361 and 22: figures of its eval.py differ from COCOeval's by about half a point. Upstream keeps
its config in globals, so it runs in a process of its own: this file as a script.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import referee
from factories import CHECKOUT, decode_mask
from pycocotools.coco import COCO
from upstreams import import_yolact

from yolact_ascend.analysis.other_scores import EVAL_PY, score_by_other_rules
from yolact_ascend.detection.evaluate import evaluate
from yolact_ascend.detection.tasks import BOX, MASK

IMAGES = 30
RULES = dataclasses.replace(EVAL_PY, has_crowd_classes=True, has_thin_objects=True)  # of what it is given here


@pytest.mark.yolact
def test_upstreams_ap_is_ours_but_for_what_it_leaves_out(yolact_dir, tmp_path):
    """Left out: images without annotations or without detections. A class without annotations counts as 0.

    What is then left is how it finds a recall on the curve, and that an overlap of just the threshold is none.
    """
    annotations, boxes, masks = referee.random_dataset(3, images=IMAGES)
    truth = [entry for entry in annotations["annotations"] if not entry["iscrowd"]]
    classes = {entry["category_id"] for entry in truth}
    with_objects, rest = {entry["image_id"] for entry in truth}, []
    counted = with_objects & {entry["image_id"] for entry in boxes}
    every = {BOX: boxes, MASK: masks}
    known = {task: [entry for entry in found if entry["category_id"] in classes] for task, found in every.items()}
    assert len(counted) < IMAGES and len(known[BOX]) < len(boxes)
    image_ids = [image["id"] for image in annotations["images"]]
    cases = {"as it is": (every, image_ids), "of the same": (known, counted)}
    for name, (found, scored) in cases.items():
        ours = evaluate(annotations, scored, found).scores
        theirs = score_by_upstream(yolact_dir, tmp_path, annotations, found)
        differences = [abs(theirs[task] - ours[task].table["all"]) for task in (BOX, MASK)]
        print(f"parity: AP by yolact's eval.py differs from COCOeval's by {max(differences):.2f} points, {name}")
        assert max(differences) < 0.1 if name == "of the same" else min(differences) > 1, differences
        for task, results in found.items():  # images of crowds alone are left out on both sides
            imitated = score_by_other_rules(annotations, sorted(with_objects), results, task, RULES)
            rest.append(abs(theirs[task] - imitated))
    print(f"parity: AP by yolact's eval.py differs from explain_map's of its rules by {max(rest):.4f} points")
    assert max(rest) < 0.01  # the last digit that it prints; it computes overlaps in float32


def score_by_upstream(yolact_dir, folder, annotations, found):
    """Return upstream's AP over all thresholds, in percent, by task."""
    (folder / "given.json").write_text(json.dumps({"annotations": annotations, **found}))
    path = os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "tests")))
    words = [sys.executable, __file__, yolact_dir, folder / "given.json", folder / "scores.json"]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": path}, cwd=folder)
    scores = json.loads((folder / "scores.json").read_text())
    return {BOX: scores["box"]["all"], MASK: scores["mask"]["all"]}


def main(checkout: Path, given: Path, output: Path) -> None:
    """Score with upstream's `prep_metrics` and `calc_map`, in its own order: images with annotations, crowds last."""
    import torch

    import_yolact(checkout)
    sys.argv = ["eval.py"]
    import eval as upstream

    torch.Tensor.cuda = lambda tensor: tensor  # type: ignore[method-assign]
    upstream.parse_args([])
    data = json.loads(given.read_text())
    coco = COCO()
    coco.dataset = data["annotations"]
    coco.createIndex()
    names = [category["name"] for category in data["annotations"]["categories"]]
    upstream.cfg.dataset.class_names = names
    scores = {
        kind: [[upstream.APDataObject() for _ in names] for _ in upstream.iou_thresholds] for kind in ("box", "mask")
    }
    for image_id in list(coco.imgToAnns):  # its COCODetection.ids
        image = coco.imgs[image_id]
        height, width = image["height"], image["width"]
        truth = sorted(coco.imgToAnns[image_id], key=lambda entry: entry["iscrowd"])
        crowds = sum(entry["iscrowd"] for entry in truth)
        if crowds == len(truth):  # it fails on these
            continue
        rows = [[*_corners(entry["bbox"], width, height), entry["category_id"] - 1] for entry in truth]
        shapes = np.stack([coco.annToMask(entry) for entry in truth]).astype(np.float32, "C")
        upstream.postprocess = lambda *_, **__: _found(data, image_id, height, width)  # noqa: B023
        upstream.prep_metrics(scores, None, None, np.array(rows), shapes, height, width, crowds, image_id)
    output.write_text(json.dumps(upstream.calc_map(scores)))


def _corners(bbox, width: int, height: int) -> list[float]:
    x, y, w, h = bbox
    return [x / width, y / height, (x + w) / width, (y + h) / height]


def _found(data: dict, image_id: int, height: int, width: int) -> tuple:
    """Return what upstream's `postprocess` would: classes, scores, boxes [N,4], masks [N,H,W]."""
    import torch

    boxes, masks = ([e for e in data[task] if e["image_id"] == image_id] for task in (BOX, MASK))
    if not boxes:
        return (torch.zeros(0),) * 4
    corners = [[x, y, x + w, y + h] for x, y, w, h in (entry["bbox"] for entry in boxes)]
    shapes = np.stack([decode_mask(entry["segmentation"]) for entry in masks]).astype(np.float32, "C")
    classes, scores = ([entry[key] for entry in boxes] for key in ("category_id", "score"))
    return torch.tensor(classes) - 1, torch.tensor(scores), torch.tensor(corners), torch.from_numpy(shapes)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
