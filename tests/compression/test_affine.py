"""From ranges to integers, with numbers small enough to check by hand."""

from dataclasses import replace

import numpy as np
import pytest

from yolact_ascend.compression.affine import Affine, affine_of, quantize_layer
from yolact_ascend.compression.layers import Layer
from yolact_ascend.compression.ranges import Histogram, Range, choose_range

CONV = Layer("conv", "Conv", "x", "w", "b", 64)
GEMM = Layer("fc", "Gemm", "x", "w", "b", 64)
UNIT = Affine(1.0, 0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param(0, 0, Affine(1.0, 0), id="only zero"),
        pytest.param(0, 255, Affine(1.0, -128), id="positive"),
        pytest.param(-128, 127, Affine(1.0, 0), id="both signs"),
        pytest.param(51, 255, Affine(1.0, -128), id="widened down to zero"),
        pytest.param(-255, -51, Affine(1.0, 127), id="widened up to zero"),
        pytest.param(0, 1e-42, Affine(1.0, 0), id="below float32"),
    ],
)
def test_scale_and_zero_point_of_a_range(low, high, expected):
    assert affine_of(Range(low, high)) == expected


def test_weights_have_a_scale_for_each_channel_of_a_convolution_and_one_for_a_dense_layer():
    weight = np.array([[1.27, -0.5], [0, 0], [-12.7, 6.4]], np.float32)
    found = quantize_layer(CONV, UNIT, weight, None, False)
    np.testing.assert_allclose(found.weight_scale, [0.01, 1, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(found.weight, [[127, -50], [0, 0], [-127, 64]])
    dense = quantize_layer(GEMM, UNIT, weight, None, False)
    np.testing.assert_allclose(dense.weight_scale, [0.1], rtol=1e-6)
    np.testing.assert_array_equal(dense.weight, [[13, -5], [0, 0], [-127, 64]])


def test_a_reduced_range_keeps_weights_within_63():
    found = quantize_layer(CONV, UNIT, np.array([[1.0, -0.25]], np.float32), None, True)
    np.testing.assert_array_equal(found.weight, [[63, -16]])


def test_a_bias_is_in_units_of_both_scales():
    found = quantize_layer(CONV, Affine(0.5, 3), np.array([[127.0]], np.float32), np.array([-10.2], np.float32), False)
    assert (found.bias.tolist(), found.deq_scale.tolist(), found.raised) == ([-20], [0.5], 0)


@pytest.mark.parametrize("layer", [CONV, GEMM], ids=["conv", "dense"])
def test_a_nearly_dead_channel_keeps_its_bias(layer):
    """Weights of 1e-9 and a bias of 3: int32 overflows, and engines give 0.0 (microsoft/onnxruntime#22020)."""
    weight, bias = np.full((1, 64), 1e-9, np.float32), np.array([3.0], np.float32)
    found = quantize_layer(layer, Affine(0.02, 0), weight, bias, False)
    assert found.raised == 1
    assert found.bias[0] * float(found.deq_scale[0]) == pytest.approx(3.0, rel=1e-6)
    assert not found.weight.any()  # 64 products of 1e-9 are nothing beside 3


def test_methods_choose_ranges():
    edges = np.linspace(-100, 100, 20_001)
    values = np.concatenate([np.linspace(0, 10, 1_000_000), [100.0]])  # one outlier
    counts, _ = np.histogram(values, edges)
    histogram = Histogram(counts, edges, 0.0, 100.0)
    assert choose_range(histogram, "minmax", 99.9) == Range(0.0, 100.0)
    cut = choose_range(histogram, "percentile", 99.9)
    assert (cut.low, cut.high) == (pytest.approx(0, abs=0.1), pytest.approx(10, abs=0.2))
    # The search goes down to 0.7: the outlier costs 30², a finer step saves 1 000 000 times (0.39² - 0.27²) / 12.
    assert choose_range(histogram, "search", 99.9) == Range(0.0, pytest.approx(70))


def test_an_even_spread_is_searched_to_its_ends():
    edges = np.linspace(-1, 1, 4097)
    counts = np.where(edges[:-1] >= 0, 10, 0)
    found = choose_range(Histogram(counts, edges, 0.0, 1.0), "search", 99.9)
    assert found.low == 0 and found.high == pytest.approx(1, abs=0.011)  # one step of the search


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        pytest.param(CONV, (4, 6, 1, 3), id="convolution"),
        pytest.param(replace(CONV, input_channels=12), (4, 6, 1, 3), id="two groups"),
        pytest.param(GEMM, (4, 6), id="dense"),
        pytest.param(replace(GEMM, weight_input_axis=0), (6, 4), id="dense, inputs first"),
    ],
)
def test_a_corrected_bias_keeps_the_mean_of_each_output_channel(layer, shape):
    """The mean of outputs over inputs with these means, by the definition of each operator."""
    generator = np.random.default_rng(0)
    weight, bias = (generator.normal(size=size).astype(np.float32) for size in (shape, 4))
    means = generator.uniform(1, 9, size=12 if layer.input_channels == 12 else 6)

    def mean_outputs(weight, bias):
        by_output = np.moveaxis(weight, layer.weight_input_axis, 1).reshape(4, 6, -1).sum(2)
        halves = means.reshape(-1, 6)
        return bias + [row @ halves[index * len(halves) // 4] for index, row in enumerate(by_output.astype(np.float64))]

    def changed(means):
        found = quantize_layer(layer, Affine(0.05, 0), weight, bias, False, means)
        scale = found.weight_scale.reshape([-1] + [1] * (len(shape) - 1))
        return mean_outputs(found.weight * scale, found.bias * found.deq_scale) - mean_outputs(weight, bias)

    assert np.abs(changed(None)).max() > 0.02
    assert np.abs(changed(means)).max() < 0.001  # half a step of the int32 bias


def test_the_bias_of_a_transposed_convolution_is_not_corrected():
    layer = Layer("up", "ConvTranspose", "x", "w", "b", 2, 0)
    weight, bias = np.array([[[[0.3]]], [[[1.0]]]], np.float32), np.array([1.0], np.float32)
    found = quantize_layer(layer, UNIT, weight, bias, False, np.array([50.0, 50.0]))
    assert found.bias == quantize_layer(layer, UNIT, weight, bias, False).bias
