"""The one table that all artefacts are written from: every layer of a model in integers, by each method."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

import onnx
from onnx import numpy_helper

from yolact_ascend.compression.affine import QuantizedLayer, affine_of, inverse_scale, quantize_layer
from yolact_ascend.compression.layers import Layer, find_layers
from yolact_ascend.compression.ranges import Histogram, Range, choose_range
from yolact_ascend.compression.recipe import QuantizeRecipe
from yolact_ascend.errors import UsageError, show_name

LEAST_HALF, MOST_HALF = 2.0**-14, 65504.0  # normal numbers of float16


class Table:
    """A float model with what calibration found, and its layers in integers."""

    def __init__(self, model: onnx.ModelProto, histograms: Mapping[str, Histogram], recipe: QuantizeRecipe) -> None:
        self.model = model
        self.layers = find_layers(model)
        self._histograms = histograms
        self._recipe = recipe
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.ranges = cache(self._find_ranges)
        self._quantized = cache(self._quantize)

    def quantized(self, method: str, kept: Collection[str]) -> list[QuantizedLayer]:
        """Return the layers in integers by a method, without those that are kept in float32."""
        return [found for found in self._quantized(method) if found.layer.name not in kept]

    def _find_ranges(self, method: str) -> dict[str, Range]:
        return {
            name: choose_range(histogram, method, self._recipe.percentile)
            for name, histogram in self._histograms.items()
        }

    def _quantize(self, method: str) -> list[QuantizedLayer]:
        ranges, recipe = self.ranges(method), self._recipe
        found = []
        for layer in self.layers:
            weight = numpy_helper.to_array(self._weights[layer.weight])
            bias = None if layer.bias is None else numpy_helper.to_array(self._weights[layer.bias])
            means = self._histograms[layer.tensor].means if recipe.bias_correction else None
            affine = affine_of(ranges[layer.tensor])
            found.append(quantize_layer(layer, affine, weight, bias, recipe.reduce_range, means))
        return found


def float_reasons(layers: Collection[Layer], recipe: QuantizeRecipe, path: Path) -> dict[str, str]:
    """Return why layers stay in float32 whatever the mAP, by their names; raises UsageError for a name that is none."""
    names = {layer.name for layer in layers}
    unknown = [name for name in recipe.keep_float if name not in names]
    if unknown:
        raise UsageError(
            f"The recipe keeps {show_name(unknown[0])} in float32, which is no layer of {path}. Its layers: "
            f"{', '.join(sorted(names)[:5])}, …"
        )
    return dict.fromkeys(recipe.keep_float, "the recipe's keep_float")


def ascend_reasons(found: Collection[QuantizedLayer]) -> dict[str, str]:
    """Return why layers stay in float32 in Ascend's form, whatever the others do, by their names.

    AscendQuant computes with 1/scale in float16 (hicann/ops-nn @ e5c3fa9), where it would be infinite or inexact.
    """
    reasons = {}
    for each in found:
        inverse = float(inverse_scale(each.input))
        if each.layer.is_rolled_back:
            reasons[each.layer.name] = f"{each.layer.input_channels} input channels: ATC computes it in float"
        elif not LEAST_HALF <= inverse <= MOST_HALF:
            reasons[each.layer.name] = f"1/scale of its input is {inverse:.4g}, beyond the float16 of AscendQuant"
    return reasons
