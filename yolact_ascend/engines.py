"""What computes the network: the exported ONNX on ONNX Runtime, or a compiled .om on a device (real or emulated)."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from yolact_ascend.artifacts import INPUT, TensorSpec
from yolact_ascend.ascend import Tools
from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.slots import Slots, open_slots

WORKER = Path(__file__).with_name("device_worker.py")
STANDARD_ERROR = 2  # the descriptor: sys.stderr may be an object without one, as in a notebook
Timing = tuple[float, float]


class Engine(Protocol):
    """Computes batches; a context manager that frees what it holds."""

    image_bytes: int  # of one image as the model takes it: which of artifacts.INPUTS that is
    outputs: list[TensorSpec]  # of one image: they tell at which cut the model ends

    @property
    def batch_size(self) -> int | None:
        """Images of every batch; None: any number."""

    def infer(self, images: np.ndarray) -> list[np.ndarray]:
        """Map inputs [B,...] as the model takes them to its outputs, each [B,...]; a short batch is filled up."""

    def infer_slot(self, slots: Slots, slot: int, count: int) -> Timing:
        """Compute the first `count` images of a batch that lies in shared memory, and put the outputs there.

        Returns when the device began and ended, in milliseconds of its own clock, without the copies.
        """

    def __enter__(self) -> Engine: ...

    def __exit__(self, *_: object) -> None: ...


class OnnxEngine:
    """An exported ONNX file on ONNX Runtime, on the CPU."""

    batch_size = None
    image_bytes = INPUT.size_bytes

    def __init__(self, model: Path) -> None:
        import onnxruntime  # here: the device engine needs none of it

        try:
            self._session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        except Exception as error:  # the exceptions of ONNX Runtime have no common base class
            raise ArtifactError(f"{model} cannot be opened as ONNX: {error}. Export it first (pth2onnx.py).") from error
        self._input = self._session.get_inputs()[0].name
        self.outputs = [TensorSpec(output.name, tuple(output.shape[1:])) for output in self._session.get_outputs()]
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)  # export's

    def infer(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            return self._session.run(None, {self._input: images})
        except Exception as error:  # as above
            raise ArtifactError(
                f"The model does not take a batch of {images.dtype} {list(images.shape)}: {error} Was it exported by "
                "pth2onnx.py?"
            ) from error

    def infer_slot(self, slots: Slots, slot: int, count: int) -> Timing:
        images = slots.images(slot)[:count].view(INPUT.dtype).reshape(count, *INPUT.shape)
        start = time.perf_counter()
        outputs = self.infer(images)
        end = time.perf_counter()
        for place, output in zip(slots.results(slot), outputs):
            place[:count] = output
        return 1000 * start, 1000 * end

    def __enter__(self) -> OnnxEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class DeviceEngine:
    """A compiled .om on one device, through ais_bench's InferSession in the Python that has it."""

    def __init__(self, model: Path, tools: Tools, device: int = 0) -> None:
        """Load `model`; raises ToolError with the tool's own words when that fails."""
        self._exit = contextlib.ExitStack()
        with self._exit:  # closes everything when one of the steps fails
            from_worker, answers = os.pipe()
            commands, to_worker = os.pipe()
            self._replies = self._exit.enter_context(os.fdopen(from_worker))
            self._requests = self._exit.enter_context(os.fdopen(to_worker, "w"))
            command = [tools.python, str(WORKER), str(model), str(device), str(commands), str(answers)]
            try:
                # Its own messages, which it prints on standard output, are no result of ours.
                self._process = subprocess.Popen(
                    command,
                    env=dict(tools.env),
                    pass_fds=(commands, answers),
                    stdin=subprocess.DEVNULL,
                    stdout=STANDARD_ERROR,
                )
            except OSError as error:
                raise ToolError(f"Cannot start {tools.python}: {error.strerror}.") from error
            finally:
                os.close(commands)
                os.close(answers)
            self._exit.callback(self._stop)
            description = self._receive()
            self._input, *others = description["inputs"]
            if others:
                raise ArtifactError(
                    f"{model} has {1 + len(others)} inputs, expected one. Compile it from pth2onnx.py's."
                )
            self.batch_size = int(self._input["shape"][0])
            self.image_bytes = self._input["size_bytes"] // self.batch_size
            self.outputs = [_describe_output(output) for output in description["outputs"]]
            own = open_slots(1, self.batch_size, self.image_bytes, self.outputs)
            self._slots = self._exit.enter_context(own)
            self._exit = self._exit.pop_all()

    def infer(self, images: np.ndarray) -> list[np.ndarray]:
        count = len(images)
        if images.nbytes != count * self.image_bytes or not 0 < count <= self.batch_size:
            raise ArtifactError(
                f"A batch of {count} images has {images.nbytes} bytes, but the model takes {self.batch_size} images of "
                f"{self.image_bytes} bytes. Was it compiled with other AIPP or batch settings?"
            )
        self._slots.images(0)[:count] = np.ascontiguousarray(images).view(np.uint8).reshape(count, -1)
        self.infer_slot(self._slots, 0, count)
        return [output[:count].copy() for output in self._slots.results(0)]  # the next batch overwrites them

    def infer_slot(self, slots: Slots, slot: int, count: int) -> Timing:
        images = slots.images(slot)
        for index in range(count, self.batch_size):
            images[index] = images[index % count]  # a short batch is filled up with its own images
        places = [slots.start(slot) + offset for offset in slots.output_offsets[:-1]]
        request = {
            "file": str(slots.path),
            "input": [slots.start(slot), images.nbytes],
            "outputs": [[place, output.nbytes] for place, output in zip(places, slots.results(slot))],
        }
        with contextlib.suppress(BrokenPipeError):  # the worker has ended: its answer, or that there is none, says more
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
        start, end = self._receive()["ms"]
        return start, end

    def __enter__(self) -> DeviceEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _receive(self) -> dict[str, Any]:
        line = self._replies.readline()
        answer = json.loads(line) if line else {"error": f"it ended with exit code {self._process.wait()}"}
        if "error" in answer:
            raise ToolError(f"ais_bench failed on the device: {answer['error']}. Its messages are above.")
        return answer

    def _stop(self) -> None:
        """End the worker: no more commands come, so it leaves its loop and frees the device."""
        with contextlib.suppress(BrokenPipeError):  # it has ended before it read the last command
            self._requests.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _describe_output(output: dict[str, Any]) -> TensorSpec:
    """Return what the worker says of an output as that of one image; the device's types are told by their bytes."""
    values = math.prod(output["shape"])
    dtype = {4: "float32", 2: "float16"}.get(output["size_bytes"] // max(values, 1), "uint8")
    return TensorSpec(output["name"], tuple(output["shape"][1:]), dtype)


def batches(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Give `size` values at a time, as they come; the last batch may be shorter."""
    iterator = iter(values)
    return iter(lambda: list(itertools.islice(iterator, size)), [])
