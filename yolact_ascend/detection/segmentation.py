"""The masks of COCO's annotations: polygons or run lengths, as one encoding or as pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.detection.run_lengths import Rle
from yolact_ascend.errors import DatasetError

# Compressed run lengths: six bits a character, of which one is that more follow. Seven make up to 2^34.
FIRST_CHARACTER, ALL_CODES, MORE_FOLLOW, MOST_CHARACTERS = ord("0"), 64, 32, 7
LONGEST_RUN = 2**32 - 1  # pycocotools has 32 bits


def encode_annotation(annotation: Mapping[str, Any], height: int, width: int) -> Rle:
    """Return an annotation's polygons, or run lengths compressed or not, as one compressed encoding.

    Raises DatasetError when it is encoded at another size than its image's.
    """
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if list(segmentation["size"]) != [height, width]:
        raise DatasetError(
            f"The mask of annotation {annotation['id']} has {segmentation['size'][1]}×{segmentation['size'][0]} "
            f"pixels, but its image is listed with {width}×{height}. Fix that annotation."
        )
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return dict(segmentation)


def decode_annotation(annotation: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """Return an annotation's mask [H,W] of 0 and 1; raises DatasetError like `encode_annotation`."""
    return coco_mask.decode(encode_annotation(annotation, height, width))


def sum_run_lengths(strings: Sequence[str]) -> list[int | None]:
    """Return the sum of the run lengths in each compressed encoding; None for one that is damaged.

    Source: rleFrString in common/maskApi.c of pycocotools, which reads beyond the end of a damaged one. A character has
    five bits of a number, the lowest first, and whether more follow; the last one's highest bit is the sign. From the
    fourth on, numbers are differences to the run before the last.
    """
    if not strings:
        return []
    numbers = _read_numbers(strings)
    if numbers is not None:
        return _add_differences(*numbers)
    return [None] if len(strings) == 1 else [sum_run_lengths([string])[0] for string in strings]


def _read_numbers(strings: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the numbers in all strings, and where those of each end; None when one of the strings is damaged."""
    joined = "".join(strings)
    if not joined.isascii() or "" in strings:
        return None
    codes = np.frombuffer(joined.encode("ascii"), np.uint8) - np.uint8(FIRST_CHARACTER)
    ends = np.cumsum([len(string) for string in strings])
    last = np.flatnonzero(codes < MORE_FOLLOW)  # characters of numbers
    lengths = np.diff(last, prepend=-1)
    is_each_ended = (codes[ends - 1] < MORE_FOLLOW).all()
    if not (is_each_ended and codes.max() < ALL_CODES and lengths.max() <= MOST_CHARACTERS):
        return None
    values = (codes[last] & 31).astype(np.int64)
    values -= (values & 16) << 1
    longer = np.arange(len(last))
    for place in range(1, int(lengths.max())):
        longer = longer[lengths[longer] > place]
        values[longer] = (values[longer] << 5) + (codes[last[longer] - place] & 31)
    return values, np.searchsorted(last, ends)


def _add_differences(values: np.ndarray, ends: np.ndarray) -> list[int | None]:
    """Return the sum of the runs of each string, whose numbers end at `ends`; None where a run is negative or huge."""
    starts = np.concatenate([[0], ends[:-1]])
    sums = values[starts]
    least, most = sums.copy(), sums.copy()
    values[starts] = 0  # no difference is to a string's first
    for parity in (0, 1):
        runs = np.cumsum(values[parity::2])  # beginning with those of the strings before
        begin, end = (starts + 1 - parity) // 2, (ends + 1 - parity) // 2  # of each string in `runs`
        has_some = end > begin
        begin, count = begin[has_some], (end - begin)[has_some]
        before = np.where(begin > 0, runs[begin - 1], 0)
        sums[has_some] += np.add.reduceat(runs, begin) - before * count
        least[has_some] = np.minimum(least[has_some], np.minimum.reduceat(runs, begin) - before)
        most[has_some] = np.maximum(most[has_some], np.maximum.reduceat(runs, begin) - before)
    is_right = (least >= 0) & (most <= LONGEST_RUN)
    return [total if right else None for total, right in zip(sums.tolist(), is_right.tolist())]
