"""Scores on annotations small enough to compute by hand, and the printed tables."""

from __future__ import annotations

import contextlib
import copy
import io
import json

import pytest
import referee
from factories import rectangle_rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolact_ascend.detection.evaluate import (
    CURVES,
    Evaluation,
    Score,
    evaluate,
    format_summary,
    format_table,
)
from yolact_ascend.detection.tasks import BOX, MASK

SIZE = 100  # pixels, both ways
THRESHOLDS = ("50", "55", "60", "65", "70", "75", "80", "85", "90", "95")


def annotation(image_id, category_id, box, annotation_id=1, iscrowd=0) -> dict:
    x, y, w, h = box
    polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": list(box),
        "area": w * h,
        "iscrowd": iscrowd,
        "segmentation": _rectangle(box) if iscrowd else polygon,
    }


def dataset(*annotations, images=(1, 2)) -> dict:
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": SIZE, "height": SIZE} for i in images],
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}],
    }


def results(*found) -> dict[str, list[dict]]:
    """Return, by task, box and mask entries of (image id, category id, xywh, score)."""
    boxes, masks = [], []
    for image_id, category_id, box, score in found:
        entry = {"image_id": image_id, "category_id": category_id, "score": score}
        boxes.append({**entry, "bbox": list(box)})
        masks.append({**entry, "segmentation": _rectangle(box)})
    return {BOX: boxes, MASK: masks}


def _rectangle(box) -> dict:
    x, y, w, h = box
    return rectangle_rle(x, y, x + w, y + h, SIZE, SIZE)


PERSON = annotation(1, 1, (10, 10, 50, 50))
CROWD = annotation(1, 1, (60, 0, 40, 100), annotation_id=2, iscrowd=1)
FOUND = (1, 1, (10, 10, 50, 50), 0.9)

# ground truth, detections, image ids, the value at every IoU up to .60 and from .65 on, in percent
CASES = [
    pytest.param([PERSON], [], (1, 2), 0, 0, id="nothing found"),
    pytest.param([], [], (1, 2), None, None, id="nothing there, nothing found"),
    pytest.param([], [FOUND], (1, 2), None, None, id="nothing there, something found"),
    pytest.param([PERSON], [FOUND], (1, 2), 100, 100, id="found"),
    # 31 of 50 columns: IoU 0.62
    pytest.param([PERSON], [(1, 1, (10, 10, 31, 50), 0.9)], (1, 2), 100, 0, id="found in part"),
    pytest.param([PERSON], [(1, 90, (10, 10, 50, 50), 0.9)], (1, 2), 0, 0, id="another class: no AP of its own"),
    # a better-scored false positive before the only true one: precision 1/2 at every recall
    pytest.param([PERSON], [FOUND, (1, 1, (70, 70, 9, 9), 0.95)], (1, 2), 50, 50, id="false positive"),
    pytest.param([PERSON], [FOUND, (2, 1, (70, 70, 9, 9), 0.95)], (1, 2), 50, 50, id="in an image without annotations"),
    pytest.param([PERSON], [FOUND, (2, 1, (70, 70, 9, 9), 0.95)], (1,), 100, 100, id="in an image that is not scored"),
    pytest.param([PERSON], [FOUND, (7, 1, (70, 70, 9, 9), 0.95)], (1, 2), 100, 100, id="in an image nobody knows"),
    pytest.param(
        [PERSON, annotation(2, 1, (0, 0, 9, 9), 2)], [FOUND], (1,), 100, 100, id="missed in an image that is not scored"
    ),
    pytest.param([PERSON, CROWD], [FOUND, (1, 1, (70, 70, 9, 9), 0.95)], (1, 2), 100, 100, id="in a crowd: ignored"),
    pytest.param([{**PERSON, "id": 0}], [FOUND], (1, 2), 100, 100, id="annotation id 0"),
    # one of two found: precision 1 up to recall 1/2, which are 51 of the 101 points
    pytest.param(
        [PERSON, annotation(2, 1, (0, 0, 9, 9), 2)], [FOUND], (1, 2), 100 * 51 / 101, 100 * 51 / 101, id="one missed"
    ),
]


@pytest.mark.parametrize(("truth", "found", "image_ids", "lower", "upper"), CASES)
def test_evaluate(truth, found, image_ids, lower, upper, capsys):
    annotations = dataset(*truth)
    before = copy.deepcopy(annotations)
    entries = results(*found)
    evaluation = evaluate(annotations, image_ids, entries)
    values = [lower] * 3 + [upper] * 7
    mean = None if lower is None else pytest.approx(sum(values) / 10)
    expected = {"all": mean, **{name: pytest.approx(value) for name, value in zip(THRESHOLDS, values)}}
    assert evaluation.images == len(image_ids)
    for score in evaluation.scores.values():
        assert score.table == expected
        assert list(score.table) == ["all", *THRESHOLDS]
        assert score.summary[:3] == (mean, expected["50"], expected["75"])
    assert annotations == before
    assert results(*found) == entries
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("most_found", [40, 400], ids=["few", "more than 100 of a class"])
def test_the_numbers_are_those_of_pycocotools(seed, most_found):
    annotations, boxes, masks = referee.random_dataset(seed, images=2 if most_found > 100 else 8, most_found=most_found)
    image_ids = [image["id"] for image in annotations["images"]]
    for chosen in (image_ids, image_ids[::2]):
        evaluation = evaluate(annotations, chosen, {BOX: iter(boxes), MASK: iter(masks)})
        referee.assert_agrees(evaluation, annotations, chosen, boxes, masks)


RENUMBERINGS = {
    "17 digits": lambda number: 20230411120000120 + number,
    "negative": lambda number: -1 - number,
    "64 bit": lambda number: 2**62 + number,
    "zero": lambda number: number - 1,
    "beyond 32 bit, turned": lambda number: 2**33 - number,
}


@pytest.mark.parametrize("renumber", RENUMBERINGS.values(), ids=RENUMBERINGS.keys())
def test_ids_of_any_size_are_scored_as_pycocotools_scores_them(renumber):
    """Ids made of time stamps or hashes: faster_coco_eval#78, cocoapi#330."""
    annotations, boxes, masks = referee.random_dataset(5)
    for image in annotations["images"]:
        image["id"] = renumber(image["id"])
    for category in annotations["categories"]:
        category["id"] = renumber(category["id"])
    for entry in (*annotations["annotations"], *boxes, *masks):
        entry["image_id"], entry["category_id"] = renumber(entry["image_id"]), renumber(entry["category_id"])
    image_ids = [image["id"] for image in annotations["images"]]
    evaluation = evaluate(annotations, image_ids, {BOX: boxes, MASK: masks})
    referee.assert_agrees(evaluation, annotations, image_ids, boxes, masks)
    assert evaluation.scores[BOX].table["all"] > 0


def test_results_of_a_class_that_the_file_does_not_list_do_not_count():
    found = results(FOUND, (1, 7, (10, 10, 50, 50), 0.99))
    evaluation = evaluate(dataset(PERSON), (1, 2), found)
    assert evaluation == evaluate(dataset(PERSON), (1, 2), results(FOUND))
    referee.assert_agrees(evaluation, dataset(PERSON), (1, 2), found[BOX], found[MASK])


def test_without_annotations_nothing_is_scored():
    evaluation = evaluate(None, (1, 2), results(FOUND))
    assert evaluation == Evaluation({}, 2)
    nothing = {"box": None, "mask": None}
    assert evaluation.to_json() == {
        **nothing,
        "coco": {"bbox": None, "segm": None},
        "metrics": nothing,
        "classes": [],
        "curves": nothing,
        "images": 2,
    }
    assert format_table(evaluation) == "Nothing is scored: the annotation file has no annotations."


@pytest.mark.parametrize(("truth", "found", "image_ids", "lower", "upper"), CASES)
def test_pycocotools_agrees_on_every_case(truth, found, image_ids, lower, upper):
    # It knows neither images that are not listed nor an annotation with id 0.
    found = [entry for entry in found if entry[0] in (1, 2)]
    annotations = dataset(*({**entry, "id": n} for n, entry in enumerate(truth, start=1)))
    entries = results(*found)
    referee.assert_agrees(evaluate(annotations, image_ids, entries), annotations, image_ids, *entries.values())


def test_the_mean_is_over_classes_with_ground_truth():
    truth = dataset(PERSON, annotation(2, 90, (0, 0, 50, 50), 2))
    evaluation = evaluate(truth, (1, 2), results(FOUND))
    assert evaluation.scores[BOX].table["50"] == evaluation.scores[MASK].table["50"] == pytest.approx(50)


def test_areas_without_ground_truth_are_none():
    evaluation = evaluate(dataset(PERSON), (1, 2), results(FOUND))
    assert evaluation.scores[BOX].summary[3:6] == (None, pytest.approx(100), None)  # 2500 pixels are medium


def test_no_images_are_refused():
    # pycocotools takes an empty list for all images
    with pytest.raises(ValueError, match="no images"):
        evaluate(dataset(PERSON), [], {BOX: []})


def test_json_keeps_everything():
    evaluation = evaluate(dataset(PERSON), (1, 2), results(FOUND))
    data = json.loads(json.dumps(evaluation.to_json()))
    assert data["box"] == evaluation.scores[BOX].table and data["mask"] == evaluation.scores[MASK].table
    assert data["coco"] == {"bbox": list(evaluation.scores[BOX].summary), "segm": list(evaluation.scores[MASK].summary)}
    assert list(data) == ["box", "mask", "coco", "metrics", "classes", "curves", "images"]
    assert data["metrics"]["box"]["APm"] == data["coco"]["bbox"][4]
    assert data["classes"][0] == {"category_id": 1, **dict.fromkeys(("box", "mask"), dict.fromkeys(CURVES, 100))}
    assert data["classes"][1]["box"] == dict.fromkeys(CURVES)  # no ground truth
    assert data["coco"]["bbox"][3] is None and data["box"]["all"] == pytest.approx(100)


SHOWN = Evaluation(
    {
        BOX: Score({"all": 33.333, **dict.fromkeys(THRESHOLDS, 100.0)}, (33.333, *[50.0] * 10, None)),
        MASK: Score({"all": None, **dict.fromkeys(THRESHOLDS)}, (None,) * 12),
    },
    images=3,
)


def test_table_looks_like_the_guides():
    assert format_table(SHOWN).splitlines() == [
        "       |  all  |  .50  |  .55  |  .60  |  .65  |  .70  |  .75  |  .80  |  .85  |  .90  |  .95  |",
        "-------+-------+-------+-------+-------+-------+-------+-------+-------+-------+-------+-------+",
        "   box | 33.33 |" + " 100.00 |" * 10,
        "  mask |" + "  n.a. |" * 11,
        "-------+-------+-------+-------+-------+-------+-------+-------+-------+-------+-------+-------+",
    ]


def test_summary_without_ground_truth_says_so():
    lines = format_summary(SHOWN.scores[BOX]).splitlines()
    assert lines[0] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.333"
    assert lines[-1] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = n.a."


def test_summary_is_what_cocoeval_prints():
    truth = dataset(
        PERSON,
        annotation(1, 90, (60, 60, 20, 20), 2),
        annotation(2, 1, (0, 0, 100, 97), 3),
    )
    entries = results(FOUND, (1, 90, (62, 60, 20, 20), 0.5), (2, 1, (0, 0, 90, 90), 0.3), (2, 1, (0, 0, 9, 9), 0.4))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        scorer = COCOeval(coco, coco.loadRes(copy.deepcopy(entries[BOX])), "bbox")
        scorer.evaluate()
        scorer.accumulate()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        scorer.summarize()
    assert format_summary(evaluate(truth, (1, 2), entries).scores[BOX]) == printed.getvalue().rstrip("\n")


def test_a_network_of_boxes_has_no_scores_of_masks():
    evaluation = evaluate(dataset(PERSON), (1, 2), {BOX: results(FOUND)[BOX]})
    data = evaluation.to_json()
    assert data["box"]["all"] == data["coco"]["bbox"][0] == pytest.approx(100)
    assert data["mask"] is None and data["coco"]["segm"] is None
    lines = format_table(evaluation).splitlines()
    assert [line.split("|")[0].strip() for line in lines if "|" in line] == ["", "box"]
