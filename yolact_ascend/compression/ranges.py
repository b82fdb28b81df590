"""The range of each tensor over the calibration images, by one of three methods.

The values are gathered by ONNX Runtime's calibrator, as a histogram of each tensor. The search is that of AMCT's IFMR:
both ends scaled by 0.7 to 1.3 in steps of 0.01, the least squared error of the quantised values taken (hicann/amct @
2be20da).
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from yolact_ascend.compression.recipe import MINMAX, PERCENTILE, SEARCH
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import path_in_memory

BINS = 4096  # of a histogram, over both signs; more where later images have larger values
LEVELS = 255  # steps of 8 bits
SEARCH_FACTORS = tuple(round(0.7 + 0.01 * step, 2) for step in range(61))


@dataclass(frozen=True)
class Range:
    """The smallest and the largest value that a tensor is to hold."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Histogram:
    """The values of one tensor: `counts` [B] between `edges` [B+1], and the smallest and the largest.

    `means` [C] are those of its channels, float64; None where they are not known.
    """

    counts: np.ndarray
    edges: np.ndarray
    low: float
    high: float
    means: np.ndarray | None = None


def collect_histograms(
    path: Path, tensors: Mapping[str, int], feeds: Iterable[Mapping[str, np.ndarray]]
) -> dict[str, Histogram]:
    """Run a model on each feed; return the values of its tensors, which may be inputs of the model.

    `tensors` has the axis of the channels by a tensor's name. Raises ArtifactError when ONNX Runtime cannot run the
    model.
    """
    chosen = frozenset(tensors)
    with path_in_memory("calibrated.onnx") as place:
        calibrater = _open(path, chosen, place)
        means = _watch_means(calibrater, tensors)
        for feed in feeds:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints a line for every image
                calibrater.collect_data(_OneFeed(feed))
    found = calibrater.collector.get_histogram_dict()
    return {
        name: Histogram(counts, edges, float(low), float(high), means[name].value)
        for name, (counts, edges, low, high, *_) in sorted(found.items())
        if name in chosen
    }


def choose_range(histogram: Histogram, method: str, percentile: float) -> Range:
    """Return the range of a tensor by a method of `recipe`; `percentile` are the percent of its values to keep."""
    if method == MINMAX:
        return Range(histogram.low, histogram.high)
    if method == PERCENTILE:
        return _percentile_range(histogram, percentile)
    assert method == SEARCH, method
    return _searched_range(histogram)


def _percentile_range(histogram: Histogram, percentile: float) -> Range:
    """Return the range without half of the outer values at each end, like ONNX Runtime's compute_percentile."""
    share = np.cumsum(histogram.counts) / max(histogram.counts.sum(), 1)
    outside = (100 - percentile) / 200
    left, right = (int(np.searchsorted(share, end)) for end in (outside, 1 - outside))
    low, high = histogram.edges[left], histogram.edges[min(right, len(histogram.edges) - 1)]
    return Range(max(float(low), histogram.low), min(float(high), histogram.high))


def _searched_range(histogram: Histogram) -> Range:
    """Return the scaled range with the least squared error of the quantised values; of equals the widest."""
    centres = np.clip((histogram.edges[:-1] + histogram.edges[1:]) / 2, histogram.low, histogram.high)
    is_used = histogram.counts > 0
    values, counts = centres[is_used], histogram.counts[is_used]

    def error(factor: float) -> float:
        low, high = min(histogram.low * factor, 0.0), max(histogram.high * factor, 0.0)
        scale = (high - low) / LEVELS
        if not scale:
            return 0.0
        zero = np.round(-low / scale)
        held = scale * (np.clip(np.round(values / scale) + zero, 0, LEVELS) - zero)
        return float(counts @ (held - values) ** 2)

    best = min(SEARCH_FACTORS, key=lambda factor: (error(factor), -factor))
    return Range(histogram.low * best, histogram.high * best)


class _Mean:
    """The mean of each channel over all values that were added."""

    def __init__(self, axis: int) -> None:
        self._axis, self._count, self._sum = axis, 0, np.zeros(())

    def add(self, values: np.ndarray) -> None:
        by_channel = np.moveaxis(values, self._axis, 0).reshape(values.shape[self._axis], -1)
        self._sum = self._sum + by_channel.sum(axis=1, dtype=np.float64)
        self._count += by_channel.shape[1]

    @property
    def value(self) -> np.ndarray | None:
        return self._sum / self._count if self._count else None


def _watch_means(calibrater: Any, tensors: Mapping[str, int]) -> dict[str, _Mean]:
    """Make a calibrator compute the means of channels, too; they fill while it collects."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    means = {name: _Mean(axis) for name, axis in tensors.items()}

    class Collector(HistogramCollector):
        def collect(self, name_to_arr: Mapping[str, list[np.ndarray]]) -> Any:
            for name, arrays in name_to_arr.items():
                for values in arrays:
                    means[name].add(values)
            return super().collect(name_to_arr)

    names = ("method", "symmetric", "num_bins", "num_quantized_bins", "percentile", "scenario")
    calibrater.collector = Collector(**{name: getattr(calibrater, name) for name in names})
    return means


class _OneFeed:
    """The inputs of one image, as ONNX Runtime's calibrators read them."""

    def __init__(self, feed: Mapping[str, np.ndarray]) -> None:
        self._left = [dict(feed)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def _open(path: Path, tensors: frozenset[str], place: Path) -> Any:
    """Return ONNX Runtime's calibrator with these tensors as outputs of the model, which it writes to `place`."""
    from onnxruntime.quantization.calibrate import PercentileCalibrater

    class Chosen(PercentileCalibrater):
        """Looks at the tensors that will be quantised, and no others."""

        def select_tensors_to_calibrate(self, model: onnx.ModelProto) -> tuple[set[str], dict[str, Any]]:
            return set(tensors), {name: onnx.ValueInfoProto(name=name) for name in tensors}

    try:
        calibrater = _load(Chosen, path, place)
        calibrater.augment_graph()
        calibrater.create_inference_session()
    except OSError:
        raise
    except Exception as error:  # the exceptions of ONNX Runtime have no common base class
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{path} cannot be run: {reason} Export it again (pth2onnx.py).") from error
    return calibrater


def _load(kind: Any, path: Path, place: Path) -> Any:
    """Return a calibrator of a model, which it would otherwise copy into the model's folder to infer shapes.

    There the copy replaces a file of that name, and stays after a kill; the shapes are not needed.
    """
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "empty.onnx")
        onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])), empty)
        calibrater = kind(empty, augmented_model_path=str(place), num_bins=BINS)
    calibrater.model = onnx.load(path)
    calibrater.model_original_outputs = {output.name for output in calibrater.model.graph.output}
    calibrater.num_model_outputs = len(calibrater.model.graph.output)
    return calibrater
