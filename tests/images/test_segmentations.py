"""Masks of annotation files: which can be used, against what pycocotools does with them."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import referee
from annotation_files import HEIGHT, TRIANGLE, WIDTH, annotation, image
from pycocotools import mask as coco_mask

from yolact_ascend.detection.evaluate import evaluate
from yolact_ascend.detection.tasks import MASK
from yolact_ascend.images import segmentations
from yolact_ascend.images.annotations import read_annotations

PIXELS = HEIGHT * WIDTH
RUNS = [20, 30, 150]  # zeros first, column by column
TOO_LONG = 10**400  # no float is so large


def only(found):
    (entry,) = found.data["annotations"]
    return entry


def rle_of(pixels):
    rle = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def runs(counts, size=(HEIGHT, WIDTH)):
    return {"size": list(size), "counts": counts}


COMPRESSED = coco_mask.frPyObjects(runs(RUNS), HEIGHT, WIDTH)["counts"].decode()


def test_slivers_beside_good_pieces_are_left_out_and_counted(read):
    """coco-annotator#452, fiftyone#1523."""
    found = read(annotation(segmentation=[TRIANGLE, [1, 1, 2, 2], [], [3, 3]]), annotation())
    assert [entry["segmentation"] for entry in found.data["annotations"]] == [[TRIANGLE]] * 2
    assert found.warnings == ("a.json: pieces of masks with fewer than three points are left out: 3.",)
    assert found.mask_fault is None


EITHER = "expected polygons or a run-length encoding, found "
LISTS = r"expected \[\[x, y, x, y, \.\.\.\], \.\.\.\], found "
NOT_ALL = "have run lengths that do not add up to the picture; .*expected 200 pixels, found "
DAMAGED = "have a damaged string of run lengths; .*expected COCO's compressed form, found "
LARGE = "have a polygon with coordinates that are too large or not finite; .*expected at most 1048576 pixels, found "
NO_LENGTHS = "have run lengths that are no whole numbers; .*found "
NO_PIXELS = "have run lengths that are negative or too large; .*found "
# The mask, and what is said of it.
FAULTS = {
    "null": (None, f"have no mask; .*{EITHER}null"),
    "missing": (..., f"have no mask; .*{EITHER}nothing"),
    "empty": ([], r"have a mask that is empty, or has fewer than three points; .*found \[\]"),
    "only slivers": ([[1, 2]], r"have a mask that is empty, or has fewer than three points; .*found \[\[1, 2\]\]"),
    "flat": (TRIANGLE, rf"have a mask that is no list of polygons; .*{LISTS}\[1\.0, 2\.0"),
    "text": ("foo", f"have a mask that is neither polygons nor a run-length encoding; .*{EITHER}'foo'"),
    "text within": ([TRIANGLE, ["a"] * 6], "have a polygon with something else than numbers; .*found 'a'"),
    "true within": ([[1, 2, True, 2, 5, 9]], "have a polygon with something else than numbers; .*found True"),
    "nested deeper": ([[TRIANGLE] * 6], r"have a polygon with something else than numbers; .*found \[1\.0"),
    "odd": ([[1, 2, 3, 4, 5, 6, 7]], "have a polygon with an odd number of coordinates; .*found 7 numbers"),
    "odd and short": (
        [TRIANGLE, [1, 2, 3, 4, 5]],
        "have a polygon with an odd number .*x and y of each.*found 5 n",
    ),
    "outside": (
        [[20, 2, 29, 2, 25, 9]],
        "have a mask outside of the picture; .*20×10 .*x from 20 to 29, y from 2",
    ),
    "above": ([[1, -9, 9, -9, 5, 0]], "have a mask outside of the picture; .*y from -9 to 0"),
    "1e300": ([[1, 2, 1e300, 2, 5, 9]], rf"{LARGE}1e\+300"),
    "-1e9": ([[1, 2, -1e9, 2, 5, 9]], rf"{LARGE}-1000000000"),
    "not a number first": ([[float("nan"), 2, 3, 4, 5, 6]], f"{LARGE}nan"),
    "not a number last": ([[1, 2, 3, 4, 5, float("nan")]], f"{LARGE}nan"),
    "not a number in between": ([[1, 2, float("nan"), 4, 5, 6]], f"{LARGE}nan"),
    "infinite": ([[1, 2, 3, float("-inf"), 5, 6]], f"{LARGE}-inf"),
    "400 digits": ([[1, 2, 3, TOO_LONG, 5, 6]], f"{LARGE}10+"),
    "400 digits behind no number": ([[float("nan"), 2, TOO_LONG, 4, 5, 6]], f"{LARGE}nan"),
    "no size": ({"counts": [1]}, "have a mask that is neither polygons"),
    "size of text": (runs(RUNS, "10"), "have run lengths for a picture of another size; .*found \\['1', '0'\\]"),
    "no counts": ({"size": [10, 20], "counts": None}, "have a mask that is neither polygons"),
    "half size": (
        rle_of(np.ones((5, 10))),
        r"have run lengths for a picture of another size; .*\[10, 20\], found \[5,",
    ),
    "sides exchanged": (rle_of(np.ones((20, 10))), r"have run lengths for a picture of another .*found \[20, 10\]"),
    "counts of text": (runs(["x"]), f"{NO_LENGTHS}'x'"),
    "counts of true": (runs([20, True, 179]), f"{NO_LENGTHS}True"),
    "half a pixel": (runs([20.5, 30.5, 149]), f"{NO_LENGTHS}20.5"),
    "infinite counts": (runs([20, float("inf")]), f"{NO_LENGTHS}inf"),
    "no number of pixels": (runs([20, float("nan")]), f"{NO_LENGTHS}nan"),
    "negative": (runs([20, -30, 210]), f"{NO_PIXELS}-30"),
    "huge": (runs([20, 2**33, 150]), f"{NO_PIXELS}8589934592"),
    "digits": (runs([10**4000, 10**4000]), f"{NO_PIXELS}10+"),
    "wrapped": (runs([20, 30, 2**32 - 1, 151]), f"{NOT_ALL}4294967496"),
    "too few": (runs([3, 196]), f"{NOT_ALL}199"),
    "too many": (runs([20, 30, 250]), f"{NOT_ALL}300"),
    "none": (runs([]), f"{NOT_ALL}0"),
    "text of nothing": (runs(""), f"{DAMAGED}''"),
    "text of too few": (runs("d0n0T3"), f"{NOT_ALL}150"),
    "text of too many": (runs("d0\\9f4"), f"{NOT_ALL}470"),
    "text of a negative": (runs("d0ROb6"), f"{DAMAGED}'d0ROb6'"),
    "text that goes on": (runs(COMPRESSED + "P"), f"{DAMAGED}"),
    "text cut short": (runs(COMPRESSED[:-1]), f"{DAMAGED}"),
    "text without end": (runs("o" * 40), f"{DAMAGED}'ooo"),
    "text beyond 32 bits": (runs("d0" + "o" * 6 + "?"), f"{DAMAGED}"),
    "text with a line break": (runs(COMPRESSED + "\n"), f"{DAMAGED}"),
    "text with a zero byte": (runs(COMPRESSED + "\0zzz"), f"{DAMAGED}"),
    "another text": (runs("hello world!"), f"{DAMAGED}'hello world!'"),
    "text beyond ASCII": (runs("äöü"), f"{DAMAGED}"),
    "half a surrogate": (runs("\ud800"), rf"{DAMAGED}'\\ud800'"),
}


@pytest.mark.parametrize(("mask", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_masks_that_are_not_usable_are_one_sentence_with_a_count(read, mask, said):
    """cvat#1277, darwin-py#1178. Reading goes on: not every verb needs masks."""
    found = read(annotation(), annotation(id=7, segmentation=mask), annotation(segmentation=mask), annotation())
    assert [entry["segmentation"] is None for entry in found.data["annotations"]] == [False, True, True, False]
    assert re.search(f"a.json: 2 of 4 annotations {said}", found.mask_fault)
    assert "the first is annotation 7 of image 1 (a.jpg): expected" in found.mask_fault
    assert found.mask_fault.endswith("can be made without masks (to=infer).")
    assert found.mask_fault.encode()


def test_every_kind_of_fault_is_a_sentence(read):
    fault = read(*(annotation(segmentation=mask) for mask in (None, runs(""), [], TRIANGLE, runs([]), []))).mask_fault
    counts = re.findall(r"(\d) of 6 annotations (have .*?);", fault)
    assert counts == [
        ("1", "have no mask"),
        ("1", "have a damaged string of run lengths"),
        ("2", "have a mask that is empty, or has fewer than three points"),
        ("1", "have a mask that is no list of polygons"),
        ("1", "have run lengths that do not add up to the picture"),
    ]


# What pycocotools 2.0.11 does with some of them: the signal that ends it when it may use 1 s and 4 GB, or the IoU with
# the mask that was meant. common/maskApi.c: rleIou goes on until both masks end at once; rleFrPoly turns coordinates
# into 32 bits and takes memory for each point of a polygon's edge.
WITHOUT_CHECK = {
    "too few": (runs([3, 196]), -signal.SIGXCPU),
    "text of nothing": (runs(""), "0.0"),
    "text of a negative": (runs("d0ROf4"), "0.0"),
    "1e300": ([[1, 2, 1e300, 2, 5, 9]], -signal.SIGSEGV),
}
COMPARE = """
import json, resource, sys
from pycocotools import mask
for limit, most in ((resource.RLIMIT_CPU, 1), (resource.RLIMIT_AS, 4 << 30), (resource.RLIMIT_CORE, 0)):
    resource.setrlimit(limit, (most, resource.getrlimit(limit)[1]))
found, right = json.loads(sys.argv[1])
if isinstance(found, list) or isinstance(found["counts"], list):
    found = mask.frPyObjects(found, 10, 20)
print(mask.iou(found if isinstance(found, list) else [found], [right], [0])[0, 0])
"""


@pytest.mark.parametrize(("mask", "outcome"), WITHOUT_CHECK.values(), ids=WITHOUT_CHECK.keys())
def test_pycocotools_hangs_crashes_or_is_wrong_without_the_check(mask, outcome):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread would take address space
    command = [sys.executable, "-c", COMPARE, json.dumps([mask, runs(COMPRESSED)])]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (result.stdout.strip() or result.returncode) == outcome


RECTANGLE = [[2, 0, 5, 0, 5, 10, 2, 10]]  # the pixels of RUNS
# Masks that pycocotools scores as they look, and what they become.
ODD_BUT_RIGHT = {
    "polygon": (RECTANGLE, RECTANGLE),
    "twice the same point": ([[*RECTANGLE[0], 2, 10]], [[*RECTANGLE[0], 2, 10]]),
    "far beyond the border": ([[2, -999, 5, -999, 5, 99999, 2, 99999]], [[2, -999, 5, -999, 5, 99999, 2, 99999]]),
    "run lengths": (runs(RUNS), runs(RUNS)),
    "empty runs at the end": (runs([*RUNS, 0, 0]), runs([*RUNS, 0, 0])),
    "an empty run within": (runs([20, 10, 0, 20, 150]), runs([20, 10, 0, 20, 150])),
    "run lengths as floats": (runs([20.0, 30.0, 150]), runs(RUNS)),
    "size as floats": (runs(RUNS, (10.0, 20.0)), runs(RUNS)),
    "text": (runs(COMPRESSED), runs(COMPRESSED)),
    "text with zeros to spare": (runs("dPP0" + COMPRESSED[2:]), runs("dPP0" + COMPRESSED[2:])),
}


@pytest.mark.parametrize(("mask", "becomes"), ODD_BUT_RIGHT.values(), ids=ODD_BUT_RIGHT.keys())
def test_what_is_odd_but_right_is_taken_and_scored_as_pycocotools_does(read, mask, becomes):
    found = read(annotation(segmentation=mask, bbox=..., area=...))
    assert (only(found)["segmentation"], found.mask_fault, found.warnings) == (becomes, None, ())
    assert (only(found)["bbox"], only(found)["area"]) == ([2, 0, 3, 10], 30)
    results = [{"image_id": 1, "category_id": 1, "segmentation": runs(COMPRESSED), "score": 0.9}]
    score = evaluate(found.data, [1], {MASK: results}).scores[MASK]
    as_written = {**found.data, "annotations": [{**only(found), "segmentation": mask}]}
    assert score.table["all"] == pytest.approx(100)
    assert referee.score_by_pycocotools(as_written, [1], results, "segm").table["all"] == pytest.approx(100)


@pytest.mark.parametrize("counts", [[PIXELS], [PIXELS, 0]], ids=["one run", "an empty run at the end"])
def test_a_mask_without_pixels_has_a_box_without_size(read, counts):
    """pycocotools gives the second one a box of 2^32 pixels."""
    entry = only(read(annotation(segmentation=runs(counts), bbox=..., area=...)))
    assert (entry["bbox"], entry["area"]) == ([0, 0, 0, 0], 0)


@pytest.mark.parametrize("together", [0, 1, 9, 10**6])
def test_compressed_masks_are_checked_however_many_are_read_at_once(read, monkeypatch, together):
    monkeypatch.setattr(segmentations, "TOGETHER", together)
    texts = [COMPRESSED, "", COMPRESSED, "d0n0T3", "é", COMPRESSED, "T6", COMPRESSED + "P"]
    found = read(*(annotation(id=n, segmentation=runs(text)) for n, text in enumerate(texts)))
    is_usable = [entry["segmentation"] is not None for entry in found.data["annotations"]]
    assert is_usable == [True, False, True, False, False, True, False, False]
    assert "3 of 8 annotations have a damaged string of run lengths; the first is annotation 1 " in found.mask_fault
    assert "2 of 8 annotations have run lengths that do not add up to the picture; the first is annotation 3 " in (
        found.mask_fault
    )


def test_annotations_of_coco_are_taken(coco_mini):
    """Crowds as run lengths, polygons, boxes and areas as COCO's files have them."""
    for split in ("train", "val"):
        found = read_annotations(coco_mini / "annotations" / f"instances_{split}2017.json")
        assert (found.mask_fault, found.warnings) == (None, ())


@pytest.mark.parametrize(
    "mask",
    [[[1, 2, 5, 2, 3, 9]], [[-3, -3, 30, 2, 3, 40]], rle_of(np.eye(10, 20)), runs([3, 197])],
    ids=["a triangle", "over the border", "compressed", "run lengths"],
)
def test_good_masks_are_kept(read, mask):
    found = read(annotation(segmentation=mask))
    assert (only(found)["segmentation"], found.mask_fault, found.warnings) == (mask, None, ())


def polygons_of(scale, side=400, count=12):
    shape = [[x * scale for x in (0.1, 0.2, 0.9, 0.2, 0.5, 1.0)]]
    return [annotation(segmentation=shape) for _ in range(count)], [image(width=side, height=side)]


@pytest.mark.parametrize(("scale", "said"), [(1, "shares of the picture"), (100, "look like percent")])
def test_relative_coordinates_are_recognised(read, scale, said):
    """yolact_edge#237."""
    annotations, images = polygons_of(scale)
    assert said in read(*annotations, images=images).mask_fault
    assert read(*annotations, annotation(segmentation=[[0, 0, 300, 0, 300, 300]]), images=images).mask_fault is None


def test_small_objects_are_not_taken_for_relative(read):
    assert read(*polygons_of(100, side=150)[0], images=polygons_of(100, side=150)[1]).mask_fault is None
    few, images = polygons_of(100, count=9)
    assert read(*few, images=images).mask_fault is None
