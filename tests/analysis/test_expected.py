"""What a pack expects of its model's outputs, for tensors and for lists of detections."""

from __future__ import annotations

import numpy as np
import pytest

from yolact_ascend.analysis.expected import (
    FLOAT16,
    TIES,
    allowances,
    compare_outputs,
    describe_outputs,
    least_found,
)
from yolact_ascend.analysis.self_test import Computed, _check_detections, describe_expected
from yolact_ascend.analysis.verify import FLOAT32, is_close
from yolact_ascend.checks import OK
from yolact_ascend.errors import ToolError

NAMES = ("boxes", "scores", "classes", "count", "masks")


def lists(count, seed=0, rows=30):
    """Return outputs of one image: boxes that do not overlap, in falling order of their scores."""
    rng = np.random.default_rng(seed)
    boxes, scores, classes = np.zeros((rows, 4), np.float32), np.zeros(rows, np.float32), np.zeros(rows, np.int32)
    masks = np.zeros((rows, 28, 28), np.float32)
    left = np.arange(count, dtype=np.float32) * 10
    boxes[:count] = np.stack([left, left, left + 9, left + 5], axis=1)
    scores[:count] = np.linspace(0.9, 0.1, count)
    classes[:count] = rng.integers(0, 3, count)
    masks[:count] = rng.random((count, 28, 28))
    return [boxes, scores, classes, np.array([count], np.int32), masks]


def verdicts(expected, outputs, precision="fp32"):
    pairs = zip(compare_outputs(expected, outputs), allowances(expected, precision))
    return [is_close(difference, allowed) for difference, allowed in pairs]


def reordered(outputs, order):
    boxes, scores, classes, count, masks = outputs
    return [boxes[order], scores[order], classes[order], count, masks[order]]


@pytest.mark.parametrize("count", [0, 1, 20, 30])
def test_a_list_is_itself_in_any_order(count):
    outputs = lists(count)
    expected = describe_outputs(NAMES, outputs)
    assert [one.get("rows") for one in expected] == [count, count, count, None, count]
    order = np.concatenate([np.arange(count)[::-1], np.arange(count, 30)])
    for found in (outputs, reordered(outputs, order)):
        differences = compare_outputs(expected, found)
        assert [one.max_abs for one in differences] == [0] * 5
        assert verdicts(expected, found) == [True] * 5


def test_one_of_twenty_may_be_in_one_list_only():
    outputs, expected = lists(20), describe_outputs(NAMES, lists(20))
    fewer = reordered(outputs, np.r_[0:19, 20:30, 19])
    fewer[3] = np.array([19], np.int32)
    assert verdicts(expected, fewer) == [True] * 5
    assert compare_outputs(expected, fewer)[3].relative == pytest.approx(1 / 20)
    few = [*outputs[:3], np.array([17], np.int32), outputs[4]]
    assert verdicts(expected, few) == [True, True, True, False, True]


@pytest.mark.parametrize(
    ("k", "change", "expected"),
    [
        pytest.param(0, 0.5, [False, True, True, True, True], id="boxes half a pixel off"),
        pytest.param(1, 0.01, [True, False, True, True, True], id="scores"),
        pytest.param(2, 1, [True, True, True, False, True], id="classes: nothing is found again"),
        pytest.param(4, 0.1, [True, True, True, True, False], id="masks"),
    ],
)
def test_another_value_is_seen(k, change, expected):
    outputs = lists(20)
    described = describe_outputs(NAMES, outputs)
    outputs[k] = (outputs[k] + change).astype(outputs[k].dtype)
    assert verdicts(described, outputs) == expected


def candidates(count, rows=30):
    """Return outputs of a cut of candidates whose prototypes have as many cells along a side as there are rows."""
    rng = np.random.default_rng(0)
    boxes, scores, coeffs = (rng.random((rows, n)).astype(np.float32) for n in (4, 9, 24))
    return [boxes, scores, np.array([count], np.int32), coeffs, rng.random((rows, rows, 24), np.float32)]


@pytest.mark.parametrize("count", [0, 12, 30, 400])
def test_candidates_are_themselves_in_any_order(count):
    """Behind the count, rows do not matter; it may be larger than their number."""
    names, outputs = ("boxes", "scores", "count", "coeffs", "protos"), candidates(count)
    described = describe_outputs(names, outputs)
    assert [one.get("rows") for one in described] == [min(count, 30), min(count, 30), None, min(count, 30), None]
    order = np.concatenate([np.arange(min(count, 30))[::-1], np.arange(count, 30)])
    boxes, scores, passing, coeffs, protos = outputs
    found = [boxes[order], scores[order], passing, coeffs[order], protos]
    assert [one.max_abs for one in compare_outputs(described, found)] == [0] * 5
    assert verdicts(described, [*found[:4], protos * 1.1])[4] is False
    assert verdicts(described, [*found[:3], coeffs[order] * 1.1, protos])[3] is (count == 0)


def test_a_list_is_expected_where_nothing_is_found():
    assert verdicts(describe_outputs(NAMES, lists(20)), lists(0))[3] is False
    assert verdicts(describe_outputs(NAMES, lists(0)), lists(20))[3] is False
    assert verdicts(describe_outputs(NAMES[:4], lists(0)[:4]), lists(0)[:4]) == [True] * 4


def test_tensors_are_compared_on_their_samples():
    outputs = [np.linspace(-2, 1, 1000, dtype=np.float32), np.zeros(3, np.float32)]
    expected = describe_outputs(["loc", "protos"], outputs)
    assert [one["largest"] for one in expected] == [2, 0] and len(expected[0]["samples"]) == 256
    assert verdicts(expected, outputs) == [True, True]
    assert verdicts(expected, [outputs[0] * 1.1, outputs[1]]) == [False, True]


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", FLOAT32), ("fp16", FLOAT16), ("bf16", FLOAT16)])
def test_ties_are_allowed_in_any_precision(precision, allowed):
    assert allowances(describe_outputs(NAMES, lists(2)), precision) == [allowed, allowed, allowed, TIES, allowed]
    assert allowances(describe_outputs(["loc"], [np.ones(3)]), precision) == [allowed]


def test_a_model_is_packed_when_it_is_as_close_as_its_precision_allows():
    """An emulated INT8 .om of the demo with embed=1 is 0.989 from ONNX Runtime: it was refused with float16's limit."""
    rng = np.random.default_rng(0)
    right = rng.normal(0, 1, (8, 8)).astype(np.float32)
    own = (right + rng.normal(0, 0.16, right.shape)).astype(np.float32)
    computed, found = (Computed(("protos",), (values,), "a device") for values in (right, own))
    assert (
        0.97 < compare_outputs(describe_outputs(computed.names, computed.outputs), found.outputs)[0].cosine_min < 0.99
    )
    assert describe_expected(computed, (), found, "int8", "a.png")["outputs"][0]["name"] == "protos"
    with pytest.raises(ToolError, match="the model does not compute what a device does: lowest cosine 0.98"):
        describe_expected(computed, (), found, "fp16", "a.png")


@pytest.mark.parametrize(("moved", "is_ok"), [(1, {"int8": True, "fp16": False}), (3, {"int8": False, "fp16": False})])
def test_of_an_int8_model_a_detection_may_be_at_another_place(moved, is_ok):
    """As the emulated INT8 .om of the demo has it, 1 of 10, beside the QDQ file of the same integers."""
    places = [{"score": 0.9, "category_id": 1, "bbox": [20.0 * index, 0.0, 10.0, 10.0]} for index in range(10)]
    found = [{**entry, "bbox": [0.0, 500.0 + index, 10.0, 10.0]} for index, entry in enumerate(places[:moved])]
    found += places[moved:]
    for precision, expected in is_ok.items():
        check = _check_detections({"detections": places}, found, least_found(precision))
        assert (check.status == OK) is expected, check.text
