"""Each fault that `verify` names, made on purpose, is found; what no fault explains is not guessed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from yolact_ascend.analysis.causes import (
    CHANNELS,
    FLOAT16_MAX,
    LAYOUT,
    NORMALISATION,
    OVERFLOW,
    ROWS,
    UNKNOWN,
    ZEROS,
    Evidence,
    find_cause,
    find_input_fault,
    input_faults,
)
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG

PREPROCESSING = CONFIGS[DEMO_CONFIG].preprocessing
NAMES = ("small", "large")
COUNT, SIDE = 8, 24
KINDS = {cause.text: cause.kind for cause in input_faults(PREPROCESSING)}


def network(inputs: np.ndarray) -> list[np.ndarray]:
    """A network that sees channels, places and levels: two layers of random weights with a limit between."""
    weights = np.random.default_rng(1).standard_normal((32, 3, 3, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(inputs, (3, 3), axis=(2, 3))
    layer = np.clip(np.einsum("bchwij,ocij->bohw", windows, weights) + 0.5, 0, 60)
    return [layer[:, :, ::3, ::4].copy(), np.ascontiguousarray(layer.transpose(0, 2, 3, 1))]


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    """Normalised images [N,3,H,W] with colours and shapes of their own."""
    generator = np.random.default_rng(0)
    coarse = generator.standard_normal((COUNT, 3, SIDE // 4, SIDE // 4)) + generator.standard_normal((COUNT, 3, 1, 1))
    return np.kron(coarse, np.ones((1, 1, 4, 4))).astype(np.float32)


@pytest.fixture(scope="module")
def right(inputs) -> list[np.ndarray]:
    return network(inputs)


def as_float16(outputs: list[np.ndarray]) -> list[np.ndarray]:
    """Add what a device's precision costs."""
    noise = np.random.default_rng(2)
    return [o + 5e-3 * o.std() * noise.standard_normal(o.shape, dtype=np.float32) for o in outputs]


@pytest.fixture
def evidence(inputs, right) -> Evidence:
    found = as_float16(right)
    return Evidence(NAMES, found, right, list(range(COUNT)), inputs, PREPROCESSING, has_aipp=False)


@pytest.mark.parametrize("text", KINDS)
def test_each_fault_of_the_input_is_told_from_the_others(evidence, inputs, text):
    spoil = {cause.text: spoil for cause, spoil in input_faults(PREPROCESSING).items()}[text]
    spoiled = np.stack([spoil(one) for one in inputs]).astype(np.float32)
    cause = find_cause(replace(evidence, found=as_float16(network(spoiled))), network)
    assert (cause.kind, cause.text) == (KINDS[text], text)
    with_aipp = find_cause(replace(evidence, found=as_float16(network(spoiled)), has_aipp=True), network)
    assert with_aipp.kind == f"AIPP: {KINDS[text]}"


def test_the_faults_are_those_that_the_verb_promises():
    assert set(KINDS.values()) == {CHANNELS, NORMALISATION, LAYOUT, ZEROS}


@pytest.mark.parametrize("text", KINDS)
def test_a_fault_is_found_in_the_inputs_themselves(inputs, text):
    spoil = {cause.text: spoil for cause, spoil in input_faults(PREPROCESSING).items()}[text]
    found = find_input_fault(spoil(inputs[0]).astype(np.float32), inputs[0], PREPROCESSING)
    assert found is not None and found.text == text


def test_inputs_of_another_image_are_no_fault_of_preprocessing(inputs):
    assert find_input_fault(inputs[1], inputs[0], PREPROCESSING) is None


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 0], "8 images belong to others: 0 has those of 1, 1 has those of 2, "),
        ([0, 0, 0, 0, 0, 0, 0, 0], "7 images belong to others: 1 has those of 0, 2 has those of 0, "),
        ([0, 1, 2, 3, 5, 4, 6, 7], "2 images belong to others: 4 has those of 5, 5 has those of 4"),
    ],
    ids=["shifted", "the first of a batch", "two exchanged"],
)
def test_rows_of_other_images(evidence, order, said):
    wrong = [i for i, j in enumerate(order) if i != j]
    found = [output[order] for output in evidence.found]
    cause = find_cause(replace(evidence, found=found, wrong_images=wrong), network)
    assert cause.kind == ROWS and said in cause.text


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (lambda o: o.transpose(0, 2, 3, 1), "with axes in the order (1, 2, 0)"),
        (lambda o: o.transpose(0, 1, 3, 2), "with axes in the order (0, 2, 1)"),
        (lambda o: o.reshape(COUNT, 2, 16, *o.shape[2:]).transpose(0, 1, 3, 4, 2), "in CANN's inner layout NC1HWC0"),
    ],
    ids=["channels last", "rows and columns exchanged", "blocks of 16 channels"],
)
def test_outputs_in_another_layout(evidence, stored, said):
    small, large = evidence.found
    spoiled = np.ascontiguousarray(stored(small)).reshape(small.shape)
    cause = find_cause(replace(evidence, found=[spoiled, large]), network)
    assert cause.kind == LAYOUT and cause.text == f"{said}: small"


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_values_that_are_not_finite(evidence, value):
    evidence.found[1][3, 2, 2, :5] = value
    cause = find_cause(evidence, network)
    assert cause.kind == OVERFLOW and cause.text.startswith("5 values of large are not finite. `rehearse` names")


def test_values_that_stop_at_float16s_end(evidence):
    """Chips in saturation mode give 65504 in place of infinity (CANN's documentation of INF_NAN_MODE_ENABLE)."""
    evidence.found[0][2, :3] = FLOAT16_MAX
    cause = find_cause(evidence, network)
    assert cause.kind == OVERFLOW and "values of small stop at 65504" in cause.text


def test_outputs_that_nothing_wrote(evidence):
    evidence.found[0][[4, 6]] = 0
    cause = find_cause(replace(evidence, wrong_images=[4, 6]), network)
    assert (cause.kind, cause.text) == (
        ZEROS,
        "small of image 4, 6 hold nothing but zeros: nothing was written there",
    )


def test_what_no_fault_explains_is_not_guessed(evidence):
    noise = np.random.default_rng(3)
    found = [noise.standard_normal(output.shape).astype(np.float32) for output in evidence.right]
    cause = find_cause(replace(evidence, found=found), network)
    assert cause.kind == UNKNOWN and "none of the faults that were tried" in cause.text and "likeness" in cause.text


def test_a_scale_is_no_known_fault(evidence):
    cause = find_cause(replace(evidence, found=[2 * output for output in evidence.found]), network)
    assert cause.kind == UNKNOWN and "none of the faults that were tried" in cause.text
