"""Mistakes in images small enough to count by hand."""

from pathlib import Path

import pytest
from factories import rectangle_rle

from yolact_ascend.images.coco import CocoImage
from yolact_ascend.report import mistakes
from yolact_ascend.report.findings import Found
from yolact_ascend.report.mistakes import Mistakes, count_mistakes, describe_mistakes

SIZE = 100
HERE, SHIFTED, ELSEWHERE = (10, 10, 40, 40), (14, 10, 40, 40), (60, 60, 30, 30)  # xywh; IoU of the first two: 0.82
LEFT_HALF = (10, 10, 15, 40)  # of HERE: IoU 0.375


def rle(box):
    x, y, w, h = box
    return rectangle_rle(x, y, x + w, y + h, SIZE, SIZE)


def truth(box, category_id=1, iscrowd=0):
    return {"category_id": category_id, "bbox": list(box), "segmentation": rle(box), "iscrowd": iscrowd}


def found_in(annotations, detections, image_id=1, has_masks=True):
    """Detections of class 1 are (box, score[, box of the mask])."""
    image = CocoImage(image_id, Path(f"{image_id}.jpg"), SIZE, SIZE)
    boxes = [{"category_id": 1, "score": score, "bbox": list(box)} for box, score, *_ in detections]
    masks = [
        {"category_id": 1, "score": score, "segmentation": rle((*mask, box)[0])} for box, score, *mask in detections
    ]
    return Found(image, list(annotations), boxes, masks if has_masks else None)


@pytest.mark.parametrize(
    ("annotations", "detections", "expected"),
    [
        ([], [], (0, 0, 0)),
        ([truth(HERE)], [], (1, 0, 0)),
        ([], [(HERE, 0.9)], (0, 1, 0)),
        ([truth(HERE)], [(SHIFTED, 0.9)], (0, 0, 0)),
        ([truth(HERE)], [(ELSEWHERE, 0.9)], (1, 1, 0)),
        ([truth(HERE)], [(HERE, 0.9), (SHIFTED, 0.8)], (0, 1, 0)),
        ([truth(HERE)], [(HERE, 0.9, LEFT_HALF)], (0, 0, 1)),
        ([truth(HERE, category_id=2)], [(HERE, 0.9)], (1, 1, 0)),
        ([truth(HERE, iscrowd=1)], [(HERE, 0.9), (LEFT_HALF, 0.8)], (0, 0, 0)),
        ([truth(HERE, iscrowd=1)], [], (0, 0, 0)),
        ([truth(HERE), truth(HERE, iscrowd=1)], [(HERE, 0.9)], (0, 0, 0)),
        # The better score takes the object, in whatever order they are listed; then the other one is false.
        ([truth(HERE)], [(SHIFTED, 0.5, LEFT_HALF), (HERE, 0.9)], (0, 1, 0)),
    ],
    ids=[
        *("empty", "missed", "false", "right", "elsewhere", "twice", "wrong mask", "wrong class", "on a crowd"),
        *("crowds are not missed", "an object before a crowd", "by score"),
    ],
)
def test_mistakes_are_counted(annotations, detections, expected):
    assert count_mistakes(found_in(annotations, detections)) == Mistakes(*expected)


def test_a_network_without_masks_has_no_wrong_ones():
    found = found_in([truth(HERE)], [(HERE, 0.9, LEFT_HALF)], has_masks=False)
    assert count_mistakes(found) == Mistakes()


def test_the_worst_images_come_first_and_those_without_a_mistake_not_at_all(monkeypatch):
    images = [
        found_in([truth(HERE)], [(HERE, 0.9)], 1),
        found_in([truth(HERE)], [], 2),
        found_in([truth(HERE), truth(ELSEWHERE)], [], 3),
        found_in([], [(HERE, 0.9)], 4),
    ]
    summary, worst = describe_mistakes(images)
    assert [found.image.image_id for found, _ in worst] == [3, 2, 4]
    assert summary == {
        **{"score": 0.3, "iou": 0.5, "annotations": 4, "detections": 2},
        **{"missed": 3, "false": 1, "wrong_mask": 0, "images_without_mistake": 1},
    }
    monkeypatch.setattr(mistakes, "WORST_IMAGES", 1)
    assert len(describe_mistakes(images)[1]) == 1
