"""How close the outputs of a model are to what they should be: figures of one output over images, and the tolerance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class OutputDifference:
    """How far one output of the second run is from the first's, over all images that both have."""

    output: str
    cosine_min: float  # of the image that is worst; 1 where both are all zero
    cosine_mean: float
    max_abs: float
    relative: float  # max_abs over the largest magnitude in the first run
    not_finite: int  # values that are infinite or NaN in one run and not equal in the other


class DifferenceMeter:
    """Gathers the difference of one output over images; holds one image's tensors at a time."""

    def __init__(self, output: str) -> None:
        self.output = output
        self._cosines: list[float] = []
        self._max_abs = self._largest = 0.0
        self._not_finite = 0

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        self._not_finite += int((~finite & (a != b)).sum())
        a, b = a[finite], b[finite]
        self._cosines.append(cosine(a, b))
        self._max_abs = max(self._max_abs, float(np.abs(a - b).max(initial=0)))
        self._largest = max(self._largest, float(np.abs(a).max(initial=0)))

    def result(self) -> OutputDifference:
        return OutputDifference(
            self.output,
            min(self._cosines),
            float(np.mean(self._cosines)),
            self._max_abs,
            self._max_abs / self._largest if self._largest else self._max_abs,
            self._not_finite,
        )


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Return the cosine of two float64 vectors; two without direction are alike when both are zero."""
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    return min(1.0, float(first @ second / norms)) if norms else float(not first.any() and not second.any())


def difference_of(output: str, first: Iterable[np.ndarray], second: Iterable[np.ndarray]) -> OutputDifference:
    """Return the difference of one output, given as one tensor an image for each side."""
    meter = DifferenceMeter(output)
    for a, b in zip(first, second):
        meter.add(a, b)
    return meter.result()
