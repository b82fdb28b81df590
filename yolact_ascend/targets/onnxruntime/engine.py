"""An ONNX file on ONNX Runtime, on the CPU: an exported one, or one that was compiled for a batch size."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from yolact_ascend.cores import count_cores
from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.onnx_metadata import refuse_own_operators
from yolact_ascend.slots import Slots
from yolact_ascend.targets.in_process import InProcessEngine
from yolact_ascend.targets.layer_times import LayerTime
from yolact_ascend.targets.target import OneByOne, Timing
from yolact_ascend.tensors import TensorSpec
from yolact_ascend.workers import map_by_threads

_KERNEL_TIME = "_kernel_time"  # behind a node's name, in the profile of ONNX Runtime 1.32
_AT_ONCE_MAX = 4  # images: each has the intermediate results of a whole network in memory
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",  # classes and counts of detections
    "tensor(int64)": "int64",
}


class OnnxEngine(InProcessEngine, OneByOne):
    """Computes batches with ONNX Runtime; a short batch of a model with a fixed batch is filled up.

    A model that takes one image at a time computes up to four side by side, on a part of the threads each.
    """

    def __init__(self, model: Path, threads: int | None = None) -> None:
        """Load `model`; `threads` of the CPU (None: all cores). Raises ArtifactError when it cannot be opened."""
        self._model, self._threads = model, threads
        self._session = _open(model, threads)
        self.inputs = tuple(_describe(value) for value in self._session.get_inputs())
        self.outputs = tuple(_describe(value) for value in self._session.get_outputs())
        batch = self._session.get_inputs()[0].shape[0]
        self.batch_size = batch if isinstance(batch, int) else None
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)  # export's

    @property
    def at_once(self) -> int:
        return min(self._threads or count_cores(), _AT_ONCE_MAX) if self.is_single else 1

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._run(self._session, inputs)

    def infer_all(self, batches: Iterable[Sequence[np.ndarray]]) -> Iterator[tuple[list[np.ndarray], Timing]]:
        if self.at_once == 1:
            yield from super().infer_all(batches)
        else:
            yield from map_by_threads(self._timed, batches, self.at_once, 2 * self.at_once)

    def infer_slot(self, slots: Slots, slot: int, count: int, images: Sequence[np.ndarray] | None = None) -> Timing:
        images = [image[:count] for image in slots.images(slot)] if images is None else images
        outputs, timing = self._timed(images)
        for place, output in zip(slots.results(slot), outputs):
            place[:count] = output
        return timing

    def _timed(self, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], Timing]:
        start = time.perf_counter()
        outputs = self._run(self._for_throughput, inputs)
        return outputs, (1000 * start, 1000 * time.perf_counter())

    @cached_property
    def _for_throughput(self) -> Any:
        """The session that computes `at_once` batches side by side."""
        if self.at_once == 1:
            return self._session
        return _open(self._model, max(1, (self._threads or count_cores()) // self.at_once))

    def _run(self, session: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        count = len(inputs[0])
        try:
            outputs = session.run(None, self._feed([self._filled(array) for array in inputs]))
        except Exception as error:  # as above
            found = ", ".join(f"{array.dtype} {list(array.shape)}" for array in inputs)
            raise ArtifactError(
                f"The model does not take a batch of {found}: {error} Was it exported by pth2onnx.py?"
            ) from error
        return [output[:count] for output in outputs]

    def layer_times(self, inputs: Sequence[np.ndarray]) -> list[LayerTime]:
        """Compute a batch with ONNX Runtime's profiler on; see `HasLayerTimes`."""
        feed = self._feed([self._filled(array) for array in inputs])
        with tempfile.TemporaryDirectory() as folder:
            session = _open(self._model, self._threads, str(Path(folder, "profile")))
            for _ in ("warm up", "measure"):
                session.run(None, feed)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        ends = [event for event in events if event["cat"] == "Node" and event["name"].endswith(_KERNEL_TIME)]
        return [
            LayerTime(
                event["name"][: -len(_KERNEL_TIME)],
                event["args"]["op_name"],
                event["args"]["provider"],
                event["dur"] / 1000,
            )
            for event in ends[len(ends) // 2 :]
        ]

    def _feed(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {spec.name: array for spec, array in zip(self.inputs, inputs)}

    def __enter__(self) -> OnnxEngine:
        return self


def _open(model: Path, threads: int | None, profile: str | None = None) -> Any:
    """Open a session; `profile` is where its profiler writes, if it is to."""
    import onnxruntime  # here: the other targets need none of it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, profile
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the exceptions of ONNX Runtime have no common base class
        refuse_own_operators(model)
        raise ArtifactError(f"{model} cannot be opened as ONNX: {error}. Export it first (pth2onnx.py).") from error


def _describe(value: Any) -> TensorSpec:
    """Return an input or output of a session for one image; a type that is not known keeps ONNX Runtime's name."""
    return TensorSpec(value.name, tuple(value.shape[1:]), _DTYPES.get(value.type, value.type))
