"""An ONNX file on ONNX Runtime, on the CPU: an exported one, or one that was compiled for a batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolact_ascend.errors import ArtifactError
from yolact_ascend.targets.in_process import InProcessEngine
from yolact_ascend.targets.target import OneByOne
from yolact_ascend.tensors import TensorSpec

_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(float16)": "float16"}


class OnnxEngine(InProcessEngine, OneByOne):
    """Computes batches with ONNX Runtime; a short batch of a model with a fixed batch is filled up."""

    def __init__(self, model: Path, threads: int | None = None) -> None:
        """Load `model`; `threads` of the CPU (None: all cores). Raises ArtifactError when it cannot be opened."""
        import onnxruntime  # here: the other targets need none of it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exceptions of ONNX Runtime have no common base class
            raise ArtifactError(f"{model} cannot be opened as ONNX: {error}. Export it first (pth2onnx.py).") from error
        self.inputs = tuple(_describe(value) for value in self._session.get_inputs())
        self.outputs = tuple(_describe(value) for value in self._session.get_outputs())
        batch = self._session.get_inputs()[0].shape[0]
        self.batch_size = batch if isinstance(batch, int) else None
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)  # export's

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        count = len(inputs[0])
        try:
            outputs = self._session.run(None, self._feed([self._filled(array) for array in inputs]))
        except Exception as error:  # as above
            found = ", ".join(f"{array.dtype} {list(array.shape)}" for array in inputs)
            raise ArtifactError(
                f"The model does not take a batch of {found}: {error} Was it exported by pth2onnx.py?"
            ) from error
        return [output[:count] for output in outputs]

    def _feed(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {spec.name: array for spec, array in zip(self.inputs, inputs)}

    def __enter__(self) -> OnnxEngine:
        return self


def _describe(value: Any) -> TensorSpec:
    """Return an input or output of a session for one image; a type that is not known keeps ONNX Runtime's name."""
    return TensorSpec(value.name, tuple(value.shape[1:]), _DTYPES.get(value.type, value.type))
