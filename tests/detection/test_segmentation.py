"""Masks of annotations, whatever form they have."""

import re

import numpy as np
import pytest
from factories import decode_mask
from pycocotools import mask as coco_mask

from yolact_ascend.detection.segmentation import decode_annotation, encode_annotation, sum_run_lengths
from yolact_ascend.errors import DatasetError

SQUARE = np.zeros((6, 8), np.uint8)
SQUARE[1:4, 2:5] = 1
RUNS = [13, 3, 3, 3, 3, 3, 20]  # column by column, zeros first


@pytest.mark.parametrize(
    "segmentation",
    [
        [[2, 1, 5, 1, 5, 4, 2, 4]],
        [[2, 1, 5, 1, 5, 2, 2, 2], [2, 2, 5, 2, 5, 4, 2, 4]],
        {"size": [6, 8], "counts": RUNS},
        coco_mask.frPyObjects({"size": [6, 8], "counts": RUNS}, 6, 8),
    ],
    ids=["polygon", "two polygons", "run lengths", "packed run lengths"],
)
def test_every_form_gives_its_pixels(segmentation):
    annotation = {"id": 7, "segmentation": segmentation}
    assert np.array_equal(decode_annotation(annotation, 6, 8), SQUARE)
    assert np.array_equal(decode_mask(encode_annotation(annotation, 6, 8)), SQUARE)


@pytest.mark.parametrize("counts", [[48], "\\P1"], ids=["run lengths", "packed run lengths"])
def test_a_mask_of_another_size_is_refused(counts):
    wrong = {"id": 7, "segmentation": {"size": [8, 6], "counts": counts}}
    with pytest.raises(DatasetError, match="annotation 7 has 6×8 pixels, but its image is listed with 8×6. Fix"):
        decode_annotation(wrong, 6, 8)


def as_text(numbers):
    """Return numbers as rleToString of pycocotools' common/maskApi.c writes them, differences left to the caller."""
    text = ""
    for number in numbers:
        more = True
        while more:
            code, number = number & 31, number >> 5
            more = number != (-1 if code & 16 else 0)
            text += chr(48 + code + 32 * more)
    return text


def test_the_sum_of_packed_run_lengths_is_the_pictures_pixels():
    rng = np.random.default_rng(0)
    shapes = [*rng.integers(1, 40, (200, 2)).tolist(), (1, 1), (1000, 1200)]
    masks = [rng.random(shape) > rng.random() for shape in shapes]
    encoded = [coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode() for mask in masks]
    assert sum_run_lengths(encoded) == [height * width for height, width in shapes]


# Numbers as they are written, from the fourth on differences to the run before the last, and their sum.
PACKED = {
    "one": ([7], 7),
    "empty runs": ([0, 0, 0, 0], 0),
    "a difference": ([1, 2, 3, 4], 1 + 2 + 3 + 6),
    "differences": ([100, 5, 70, -5, -69, 3], 100 + 5 + 70 + 0 + 1 + 3),
    "the longest": ([2**32 - 1], 2**32 - 1),
    "too long": ([2**32], None),
    "too long by differences": ([0, 2**31, 0, 2**31], None),
    "negative": ([20, -1, 30], None),
    "negative by a difference": ([20, 5, 30, -6], None),
    "negative first": ([-1, 201], None),
}


@pytest.mark.parametrize(("numbers", "total"), PACKED.values(), ids=PACKED.keys())
def test_packed_run_lengths_are_added(numbers, total):
    text = as_text(numbers)
    assert sum_run_lengths([text]) == [total]
    assert sum_run_lengths(["1", text, "22", text, "0"]) == [1, total, 4, total, 0]


@pytest.mark.parametrize("text", ["", "P", "1P", "ooooooo0", "1 ", " 1", "/", "p", "1\n", "\0", "é", "\ud800", "1é"])
def test_damaged_text_has_no_sum(text):
    assert sum_run_lengths([text]) == [None]
    assert sum_run_lengths(["1", text, "22"]) == [1, None, 4]


def test_any_text_is_read_as_by_hand():
    """The form is as simple as this expression; what it says is added one by one."""
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, rng.integers(46, 113, rng.integers(1, 9)))) for _ in range(2000)]
    assert sum_run_lengths(texts) == [_sum_by_hand(text) for text in texts]


def _sum_by_hand(text):
    if not re.fullmatch("([P-o]{0,6}[0-O])+", text):
        return None
    runs = []
    for number in re.findall("[P-o]*[0-O]", text):
        digits = [ord(letter) - 48 & 31 for letter in number]
        value = sum(digit << 5 * place for place, digit in enumerate(digits))
        value -= (digits[-1] & 16) << 5 * len(digits) - 4
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return sum(runs) if min(runs) >= 0 and max(runs) < 2**32 else None


def test_no_text_at_all_has_no_sums():
    assert sum_run_lengths([]) == []
