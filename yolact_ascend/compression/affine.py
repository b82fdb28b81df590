"""From ranges to integers: scale and zero point of a tensor, int8 weights and int32 biases of a layer.

One place for the arithmetic, so that every artefact holds the same integers. A value is `scale * (q - zero_point)`.
Scales and zero points are those of ONNX Runtime 1.23 (quantization/quant_utils.py, compute_scale_zp), which msmodelslim
has, too; later versions of it take the difference in float64, which moves some scales by one bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yolact_ascend.compression.layers import CONV, GEMM, Layer
from yolact_ascend.compression.ranges import Range

LEAST, MOST = -128, 127  # of activations
WEIGHT_MOST, REDUCED_MOST = 127, 63  # of weights, which are symmetric
# Of a bias: half of int32, so that the sum of products, below 2**30 for up to 65 thousand of them, has room beside it.
BIAS_MOST = 2**30
SHIFTED = (CONV, GEMM)  # a kernel of ConvTranspose does not reach each output with each of its weights
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Affine:
    """How a tensor becomes int8: round(x / scale) + zero_point."""

    scale: float  # exactly a float32
    zero_point: int  # -128..127


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """A layer in integers.

    `weight` is int8 in the shape of the float weight, `weight_scale` [C] or [1] float32, `bias` int32 [C] in units of
    `deq_scale` = input scale * weight scale, float32 like `weight_scale`. `raised` are the channels whose weight scale
    was raised, because the bias would not have fitted: their weights are nearly zero.
    """

    layer: Layer
    input: Affine
    weight: np.ndarray
    weight_scale: np.ndarray
    deq_scale: np.ndarray
    bias: np.ndarray | None
    raised: int


def affine_of(found: Range) -> Affine:
    """Return scale and zero point of a range, which is widened to hold zero; scale 1 for one that is only zero."""
    low, high = np.float32(min(found.low, 0.0)), np.float32(max(found.high, 0.0))
    scale = float(high - low) / (MOST - LEAST)  # the difference in float32
    if scale < _TINY:
        return Affine(1.0, 0)
    return Affine(float(np.float32(scale)), int(np.round(LEAST - float(low) / scale)))


def inverse_scale(affine: Affine) -> np.float32:
    """Return 1/scale, which Ascend multiplies with."""
    return np.float32(1) / np.float32(affine.scale)


def quantize_layer(
    layer: Layer,
    input_affine: Affine,
    weight: np.ndarray,
    bias: np.ndarray | None,
    is_reduced: bool,
    means: np.ndarray | None = None,
) -> QuantizedLayer:
    """Return a layer in integers; `is_reduced` keeps the weights within ±63.

    With `means`, those of the input's channels, the bias gives back what rounded weights change in the mean of each
    output channel (`mean_shift`).
    """
    most = REDUCED_MOST if is_reduced else WEIGHT_MOST
    axis = layer.channel_axis
    others = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others, initial=0).reshape(-1).astype(np.float64)
    scale = (largest / most).astype(np.float32)
    scale[scale < _TINY] = 1.0
    input_scale = np.float32(input_affine.scale)
    raised = np.zeros(len(scale), bool)
    if bias is not None:
        least = _least_scale(bias, input_scale, len(scale))
        raised = scale < least
        scale = np.where(raised, least, scale)
    deq_scale = input_scale * scale
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    values = np.clip(np.round(weight / scale.reshape(shape)), -most, most).astype(np.int8)
    if bias is not None and means is not None and layer.kind in SHIFTED:
        bias = bias + mean_shift(layer, weight - values * scale.reshape(shape).astype(np.float64), means)
    whole = None if bias is None else np.round(bias.astype(np.float64) / deq_scale).astype(np.int32)
    return QuantizedLayer(layer, input_affine, values, scale, deq_scale, whole, int(raised.sum()))


def mean_shift(layer: Layer, error: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return what a change of the weights changes in the mean of each output channel [O], float64.

    `error` has the shape of the weight, `means` [I] are those of the input's channels; borders count like the rest.
    That is the bias correction of Nagel et al. 2019 (Data-Free Quantization, section 4.2), with measured means.
    """
    by_output = error if layer.weight_input_axis == 1 else error.T
    by_input = by_output.reshape(*by_output.shape[:2], -1).sum(axis=2)  # [O, I of a group]
    outputs, inputs = by_input.shape
    groups = len(means) // inputs
    read = np.repeat(means.reshape(groups, inputs), outputs // groups, axis=0)
    return np.einsum("oi,oi->o", by_input, read)


def _least_scale(bias: np.ndarray, input_scale: np.float32, count: int) -> np.ndarray:
    """Return the weight scales [count] from which on the bias fits, float32."""
    needed = np.abs(bias).astype(np.float64) / (float(input_scale) * BIAS_MOST)
    if count == 1:
        needed = needed.max(initial=0, keepdims=True)
    return needed.astype(np.float32)
