"""Masks of annotations, whatever form they have."""

import numpy as np
import pytest
from factories import decode_mask

from yolact_ascend.detection.masks import compress_runs
from yolact_ascend.detection.segmentation import decode_annotation, encode_annotation
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
        compress_runs([np.array(RUNS)], 6, 8)[0],
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
    with pytest.raises(DatasetError, match="annotation 7 has 6×8 pixels, but its image is listed with 8×6. Mend"):
        decode_annotation(wrong, 6, 8)
