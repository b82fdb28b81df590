"""An OpenVINO IR in memory, on one device."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.slots import Slots
from yolact_ascend.targets.compiled import COMPILE_AGAIN, weights_of
from yolact_ascend.targets.described import RT_INFO
from yolact_ascend.targets.in_process import InProcessEngine
from yolact_ascend.targets.layer_times import LayerTime
from yolact_ascend.targets.openvino.runtime import TYPES, computed_precision, get_core, last_line, precision_of
from yolact_ascend.targets.target import Timing
from yolact_ascend.tensors import FREE, TensorSpec
from yolact_ascend.workers import map_by_threads

LATENCY, THROUGHPUT = "LATENCY", "THROUGHPUT"
ONNX_FACTS = "framework"  # where the converter puts the metadata of an ONNX


class OpenVinoEngine(InProcessEngine):
    """Computes batches with OpenVINO; a short batch is filled up. Callers in several threads wait for each other.

    Slots of a model that takes one image at a time are computed side by side, as OpenVINO chooses for throughput.

    The precision is the one that the IR states, and float32 for an IR that states none: never OpenVINO's own default,
    which is bfloat16 on CPUs that have it. Outputs are copies, and inputs are not held after a call.
    """

    def __init__(self, model: Path, device: str = "CPU", threads: int | None = None) -> None:
        """Read `model` for OpenVINO's `device`; `threads` of a CPU (None: all cores).

        Raises ArtifactError when it is no IR with an input, ToolError when the device does not take it.
        """
        self._path, self._device, self._threads = model, device, threads
        self._model = _read(model)
        if not self._model.inputs:
            raise ArtifactError(f"{model} has no input, expected an image. {COMPILE_AGAIN}")
        self.inputs = tuple(_describe(port) for port in self._model.inputs)
        self.outputs = tuple(_describe(port) for port in self._model.outputs)
        batch = self._model.inputs[0].partial_shape[0]
        self.batch_size = batch.get_length() if batch.is_static else None
        self.metadata: Mapping[str, str] = {**_facts(self._model, ONNX_FACTS), **_facts(self._model, RT_INFO)}
        self.precision = self.metadata.get("precision", "fp32")
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._requests.put(self._compile(LATENCY).create_infer_request())

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        with self._computed(inputs) as outputs:
            return [np.array(output) for output in outputs]

    def infer_all(self, batches: Iterable[Sequence[np.ndarray]]) -> Iterator[tuple[list[np.ndarray], Timing]]:
        at_once = self._requests_for_throughput
        ends: list[float] = []  # of the batches, as they came back
        one_writes = threading.Lock()

        def compute(inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], Timing]:
            given = time.perf_counter()
            with self._computed(inputs, self._all_requests) as views:
                end = time.perf_counter()
                with one_writes:
                    # The device began when it had the batch and was done with all but `at_once - 1` of the others.
                    start = max(given, ends[-at_once]) if len(ends) >= at_once else given
                    ends.append(end)
                return [np.array(view) for view in views], (1000 * start, 1000 * end)

        # Our own threads, not an AsyncInferQueue: OpenVINO's may drop its Python callback after the interpreter's end,
        # which aborts the process.
        waiting = 2 * at_once  # half of them, so that the device never waits
        yield from map_by_threads(compute, batches, waiting, waiting)

    def layer_times(self, inputs: Sequence[np.ndarray]) -> list[LayerTime]:
        """Compute a batch with OpenVINO's performance counters on; see `HasLayerTimes`."""
        request = self._compile(LATENCY, is_profiled=True).create_infer_request()
        for _ in ("warm up", "measure"):
            request.infer([self._filled(array) for array in inputs])
        return [
            LayerTime(layer.node_name, layer.node_type, layer.exec_type, layer.real_time.total_seconds() * 1000)
            for layer in request.profiling_info
            if layer.status == layer.Status.EXECUTED
        ]

    def __enter__(self) -> OpenVinoEngine:
        return self

    def infer_slot(self, slots: Slots, slot: int, count: int, images: Sequence[np.ndarray] | None = None) -> Timing:
        images = [image[:count] for image in slots.images(slot)] if images is None else images
        start = time.perf_counter()
        with self._computed(images, self._slot_requests) as outputs:
            end = time.perf_counter()
            for place, output in zip(slots.results(slot), outputs):
                place[:count] = output
        return 1000 * start, 1000 * end

    @contextlib.contextmanager
    def _computed(
        self, inputs: Sequence[np.ndarray], requests: SimpleQueue[Any] | None = None
    ) -> Iterator[list[np.ndarray]]:
        """Give the outputs of a batch as views, which other batches overwrite after the block."""
        requests = requests or self._requests
        request = requests.get()  # each by one thread: a request that two share mixes up their answers
        try:
            try:
                request.infer([self._filled(array) for array in inputs], share_outputs=True)
            except RuntimeError as error:
                raise self._refusal(inputs, error) from error
            yield [request.get_output_tensor(k).data[: len(inputs[0])] for k in range(len(self.outputs))]
        finally:
            requests.put(request)

    @property
    def at_once(self) -> int:
        return self._requests_for_throughput if self.is_single else 1

    @property
    def _requests_for_throughput(self) -> int:
        return int(self._for_throughput.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    @cached_property
    def _slot_requests(self) -> SimpleQueue[Any]:
        """The requests that compute slots."""
        return self._make_requests(self.at_once) if self.is_single else self._requests

    @cached_property
    def _all_requests(self) -> SimpleQueue[Any]:
        """The requests of `infer_all`: twice as many as the device computes at once."""
        return self._make_requests(2 * self._requests_for_throughput)

    def _make_requests(self, count: int) -> SimpleQueue[Any]:
        requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(count):
            requests.put(self._for_throughput.create_infer_request())
        return requests

    @cached_property
    def _for_throughput(self) -> Any:
        return self._compile(THROUGHPUT)

    def _compile(self, hint: str, is_profiled: bool = False) -> Any:
        if self.precision not in TYPES:
            expected = ", ".join(TYPES)
            raise ArtifactError(f"{self._path} states precision={self.precision}, expected {expected}. {COMPILE_AGAIN}")
        # Not the precision itself: asked for float16, a CPU that has only bfloat16 would take that.
        computed = computed_precision(self._device, self.precision)
        settings = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": TYPES[computed]}
        if is_profiled:
            settings["PERF_COUNT"] = "YES"
        if self._threads is not None:
            settings["INFERENCE_NUM_THREADS"] = str(self._threads)
        try:
            compiled = get_core().compile_model(self._model, self._device, settings)
        except RuntimeError as error:
            raise ToolError(
                f"OpenVINO cannot compile {self._path} for {self._device}: {last_line(error)}. Choose another device."
            ) from error
        found = precision_of(compiled.get_property("INFERENCE_PRECISION_HINT"))
        if found != (self.precision if self.precision == "bf16" else computed):
            raise ToolError(
                f"{self._path} was compiled with precision={self.precision}, but {self._device} computes in {found} "
                "here. Compile with precision=fp32."
            )
        return compiled

    def _refusal(self, inputs: Sequence[np.ndarray], error: Exception) -> ArtifactError:
        found = ", ".join(f"{array.dtype} {list(array.shape)}" for array in inputs)
        expected = ", ".join(f"{spec.dtype} {[self.batch_size, *spec.shape]}" for spec in self.inputs)
        return ArtifactError(
            f"{self._path} does not take a batch of {found}, expected {expected}: {last_line(error)}. {COMPILE_AGAIN}"
        )


def _read(model: Path) -> Any:
    for file, what in ((model, "a model"), (weights_of(model), "its weights")):
        if not file.is_file():
            raise ArtifactError(f"There is no {file}, {what}: an OpenVINO IR has an .xml and a .bin. {COMPILE_AGAIN}")
    try:
        return get_core().read_model(model, weights_of(model))
    except RuntimeError as error:
        raise ArtifactError(f"{model} cannot be read as OpenVINO IR: {last_line(error)}. {COMPILE_AGAIN}") from error


def _facts(model: Any, place: str) -> dict[str, str]:
    """Return what an IR states in one place of its rt_info."""
    found = model.get_rt_info([place]).value if model.has_rt_info([place]) else {}
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _describe(port: Any) -> TensorSpec:
    """Return an input or output of a model for one image."""
    shape = [side.get_length() if side.is_static else FREE for side in port.partial_shape]
    return TensorSpec(port.get_any_name(), tuple(shape[1:]), np.dtype(port.element_type.to_dtype()).name)
