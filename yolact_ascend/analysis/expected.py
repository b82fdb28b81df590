"""What a pack says that its model computes for one picture: samples of the outputs, and how far from them is allowed.

Outputs that list detections are compared on the detections that both lists have (`detection.sets`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from yolact_ascend.analysis.closeness import OutputDifference, difference_of
from yolact_ascend.analysis.golden import OUTPUT_SAMPLES, Float16Cost, sample
from yolact_ascend.analysis.verify import FLOAT32, LEAST_FOUND, difference_of_samples
from yolact_ascend.detection.output_names import COUNT, SCORES, WHOLE
from yolact_ascend.detection.sets import bare_name, count_rows, lists_detections, match_lists

# Allowed at least, for a model that computes in float16 or less.
FLOAT16 = Float16Cost(cosine_min=0.9998, relative=0.02)
# The same for INT8: two programs round other values at ties, and the next layers with them. Seen on the demo: ONNX
# Runtime and OpenVINO 0.9988 and 0.06 apart, ONNX Runtime and the emulated .om 0.990 and 0.18.
INT8 = Float16Cost(cosine_min=0.97, relative=0.35)
# Of the sure detections. Seen on the demo's 10: 9 by the emulated INT8 .om, and one that is at another place.
LEAST_FOUND_INT8 = 0.75
# Of a list of detections, this share may be in one list only, in any precision: a tie at a threshold is enough.
TIES = Float16Cost(cosine_min=-1.0, relative=1 - LEAST_FOUND)
ROW_SAMPLES = 16  # of each detection's row of an output


def describe_outputs(names: Sequence[str], outputs: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Return name, largest magnitude and samples of each output of one image, as `expected.json` holds them.

    Where the outputs list detections, there are samples of each detection's row, and "rows" says how many.
    """
    if lists_detections(names):
        return _describe_lists(names, outputs)
    return [_described(name, output, sample(output, OUTPUT_SAMPLES)) for name, output in zip(names, outputs)]


def _describe_lists(names: Sequence[str], outputs: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    rows = count_rows(_by_bare_name(names, outputs))
    described = []
    for name, output in zip(names, outputs):
        if bare_name(name) in WHOLE:
            described.append(_described(name, output, sample(output, min(output.size, OUTPUT_SAMPLES))))
        else:
            described.append({**_described(name, output[:rows], _sample_rows(output[:rows])), "rows": rows})
    return described


def _described(name: str, output: np.ndarray, samples: np.ndarray) -> dict[str, Any]:
    largest = float(np.abs(output).max(initial=0))
    return {"name": name, "largest": largest, "samples": samples.reshape(-1).tolist()}


def allowances(expected: Sequence[dict[str, Any]], precision: str) -> list[Float16Cost]:
    """Return how far each output may be off at least, in a precision."""
    is_list = lists_detections([output["name"] for output in expected])
    default = {"fp32": FLOAT32, "int8": INT8}.get(precision, FLOAT16)
    return [TIES if is_list and bare_name(output["name"]) == COUNT else default for output in expected]


def least_found(precision: str) -> float:
    """Return which share of the sure detections a model finds at least, in a precision."""
    return LEAST_FOUND_INT8 if precision == "int8" else LEAST_FOUND


def compare_outputs(expected: Sequence[dict[str, Any]], outputs: Sequence[np.ndarray]) -> list[OutputDifference]:
    """Return how far one image's outputs are from what `describe_outputs` returned."""
    names = [output["name"] for output in expected]
    if lists_detections(names):
        return _compare_lists(names, expected, outputs)
    return [_difference_of_whole(right, output) for right, output in zip(expected, outputs)]


def _compare_lists(
    names: Sequence[str], expected: Sequence[dict[str, Any]], outputs: Sequence[np.ndarray]
) -> list[OutputDifference]:
    bare_names, named = [bare_name(name) for name in names], _by_bare_name(names, outputs)
    count = count_rows(named)
    found = {name: _sample_rows(output[:count]) for name, output in named.items() if name not in WHOLE}
    right = {
        name: np.array(one["samples"]).reshape(one["rows"], found[name].shape[1])
        for name, one in zip(bare_names, expected)
        if name not in WHOLE
    }
    left, paired = match_lists(right, found)
    most = max(len(right[SCORES]), count)
    differences = []
    for name, one in zip(bare_names, expected):
        if name == COUNT:  # how many are in one list only
            apart = most - len(left)
            differences.append(OutputDifference(one["name"], 1.0, 1.0, apart, apart / max(most, 1), 0))
        elif name in WHOLE:
            differences.append(_difference_of_whole(one, named[name]))
        else:
            difference = difference_of(one["name"], [right[name][left]], [found[name][paired]])
            differences.append(replace(difference, relative=difference.max_abs / (one["largest"] or 1)))
    return differences


def _difference_of_whole(expected: dict[str, Any], output: np.ndarray) -> OutputDifference:
    return difference_of_samples(expected["name"], [np.array(expected["samples"])], expected["largest"], [output])


def _by_bare_name(names: Sequence[str], outputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {bare_name(name): output for name, output in zip(names, outputs)}


def _sample_rows(output: np.ndarray) -> np.ndarray:
    """Return at most ROW_SAMPLES values of each row [N,...], at the same positions of each."""
    rows = output.reshape(len(output), int(np.prod(output.shape[1:])))
    if rows.shape[1] <= ROW_SAMPLES:
        return rows
    return rows[:, sample(np.arange(rows.shape[1]), ROW_SAMPLES)]
