"""The prediction head on the host, for the `fpn` cut, where the graph on the device ends before it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np


class HeadOutputs(NamedTuple):
    """Of one image: loc [A,4], conf logits [A,K+1], coeffs [A,M] (after tanh); float32."""

    loc: np.ndarray
    conf: np.ndarray
    coeffs: np.ndarray


class HostHeads:
    """Runs the shared head on the FPN levels that the device wrote: on ONNX Runtime (default: one core).

    This is 9.0 GMAC per image for YolactEdge. ONNX Runtime is faster at it than PyTorch (benchmarks/heads.py), and its
    results are the same bit for bit on any number of threads. Pickled as the ONNX model that it was made from, for one
    thread: other processes divide the images among the cores.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Take `head_export.OnLevels` as ONNX; `threads` is for callers that have one image at a time."""
        self.model = model
        self.threads = threads

    def __call__(self, levels: Sequence[np.ndarray]) -> HeadOutputs:
        """Run the head on the levels P3..P7 of one image, each [C,h,w]."""
        feed = {value.name: level[None] for value, level in zip(self._session.get_inputs(), levels)}
        return HeadOutputs(*(output[0] for output in self._session.run(None, feed)))

    def __reduce__(self) -> tuple[type[HostHeads], tuple[bytes]]:
        return HostHeads, (self.model,)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime  # here: the heads cut needs none of it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        return onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
