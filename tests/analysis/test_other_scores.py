"""mAP by the rules of YOLACT's eval.py and of the guide's postprocess.py, on a few boxes; against the originals in
tests/detection/test_evaluate_upstream.py and benchmarks/compare_with_guide.py."""

import pytest

from yolact_ascend.analysis.other_scores import EVAL_PY, GUIDE, OtherRules, score_by_other_rules
from yolact_ascend.detection.tasks import BOX

BOX_A, BOX_B, THIN = [0, 0, 100, 100], [200, 200, 100, 100], [0, 300, 3, 100]


def truth(image_id, category_id, bbox, iscrowd=0):
    shape = {"size": [550, 550], "counts": [550 * 550]} if iscrowd else [[0, 0, 1, 0, 1, 1]]
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "iscrowd": iscrowd, "segmentation": shape}


def found(image_id, category_id, bbox, score=0.9):
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": score}


def score(objects, results, rules=GUIDE):
    annotations = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 550, "height": 550} for n in (1, 2, 3)],
        "categories": [{"id": 1, "name": "ball"}, {"id": 2, "name": "crate"}],
        "annotations": objects,
    }
    return score_by_other_rules(annotations, [1, 2, 3], results, BOX, rules)


EXACT_BALL = found(1, 1, BOX_A)
HALF = 100 * 51 / 101  # one of two objects found: 51 of 101 recalls


@pytest.mark.parametrize(
    ("objects", "results", "rules", "expected"),
    [
        ([], [], GUIDE, None),
        ([truth(1, 1, BOX_A)], [EXACT_BALL], GUIDE, 100),
        ([truth(1, 1, BOX_A)], [EXACT_BALL, found(3, 1, BOX_A, 0.99)], GUIDE, 100),
        ([truth(1, 1, BOX_A)], [EXACT_BALL, found(1, 2, BOX_B, 0.1)], GUIDE, 50),
        ([truth(1, 1, BOX_A)], [found(1, 1, [0, 0, 100, 50])], GUIDE, 0),
        ([truth(1, 1, BOX_A), truth(1, 1, THIN)], [EXACT_BALL], GUIDE, 100),
        ([truth(1, 1, BOX_A), truth(1, 1, THIN)], [EXACT_BALL], OtherRules(has_thin_objects=True), HALF),
        ([truth(1, 1, BOX_A), truth(2, 1, BOX_A)], [EXACT_BALL], GUIDE, HALF),
        ([truth(1, 1, BOX_A), truth(2, 1, BOX_A)], [EXACT_BALL], EVAL_PY, 100),
        ([truth(1, 1, BOX_A), truth(1, 1, BOX_B, 1)], [EXACT_BALL, found(1, 1, BOX_B, 0.99)], GUIDE, 50),
        (
            [truth(1, 1, BOX_A), truth(1, 1, BOX_B, 1)],
            [EXACT_BALL, found(1, 1, BOX_B, 0.99)],
            OtherRules(has_crowd_classes=True),
            100,
        ),
    ],
    ids=[
        *("nothing", "found", "an image without annotations does not count", "a class without objects counts as 0"),
        *("the threshold itself is no match", "a thin object is discarded", "or not", "an image with nothing found"),
        *("which eval.py leaves out", "a crowd has no class", "or has one"),
    ],
)
def test_rules(objects, results, rules, expected):
    assert score(objects, results, rules) == pytest.approx(expected)
