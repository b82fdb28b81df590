"""A compiled `.om` on one device, in memory: through ais_bench's InferSession in the Python that has it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.process import describe_exit
from yolact_ascend.slots import Slots, open_slots
from yolact_ascend.targets.ascend.explain import explain_device_failure
from yolact_ascend.targets.ascend.tools import Tools
from yolact_ascend.targets.target import OneByOne, Timing
from yolact_ascend.tensors import TensorSpec

WORKER = Path(__file__).with_name("worker.py")
# aclDataType's numbers (CANN's acl_base.h), which aclruntime passes on, and numpy's names.
ACL_DTYPES = {
    **{0: "float32", 1: "float16", 2: "int8", 3: "int32", 4: "uint8", 6: "int16", 7: "uint16", 8: "uint32"},
    **{9: "int64", 10: "uint64", 11: "float64", 12: "bool"},
}
KEPT_BYTES = 1 << 16  # of the worker's messages, to explain a failure
STANDARD_ERROR = 2  # the descriptor: sys.stderr may be an object without one, as in a notebook


class DeviceEngine(OneByOne):
    """A compiled .om on one device, through ais_bench's InferSession in the Python that has it."""

    def __init__(self, model: Path, tools: Tools, device: int = 0) -> None:
        """Load `model`; raises ToolError with the tool's own message when that fails."""
        self.metadata: Mapping[str, str] = {}  # a .om states nothing that ais_bench shows
        self._exit = contextlib.ExitStack()
        self._turn = threading.RLock()  # one thread at a time: there is one slot, and one line for requests
        with self._exit:  # closes everything when one of the steps fails
            from_worker, answers = os.pipe()
            commands, to_worker = os.pipe()
            self._replies = self._exit.enter_context(os.fdopen(from_worker))
            self._requests = self._exit.enter_context(os.fdopen(to_worker, "w"))
            command = [tools.python, str(WORKER), str(model), str(device), str(commands), str(answers)]
            try:
                self._process = subprocess.Popen(
                    command,
                    env=dict(tools.env),
                    pass_fds=(commands, answers),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                raise ToolError(f"Cannot start {tools.python}: {error.strerror}.") from error
            finally:
                os.close(commands)
                os.close(answers)
            self._messages = _Messages(self._process.stdout)  # type: ignore[arg-type]
            self._exit.callback(self._stop)
            description = self._receive()
            self.batch_size = int(description["inputs"][0]["shape"][0])
            self.inputs = tuple(_describe_tensor(tensor) for tensor in description["inputs"])
            self.outputs = tuple(_describe_tensor(tensor) for tensor in description["outputs"])
            own = open_slots(1, self.batch_size, self.inputs, self.outputs)
            self._slots = self._exit.enter_context(own)
            self._exit = self._exit.pop_all()

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        count = len(inputs[0])
        found = [(array.nbytes, len(array)) for array in inputs]
        if found != [(count * spec.size_bytes, count) for spec in self.inputs] or not 0 < count <= self.batch_size:
            takes = ", ".join(f"{spec.name} of {spec.size_bytes} bytes" for spec in self.inputs)
            raise ArtifactError(
                f"A batch of {count} images has {', '.join(str(size) for size, _ in found)} bytes, but the model takes "
                f"{self.batch_size} images, each {takes}. Was it compiled with other AIPP or batch settings?"
            )
        with self._turn:
            self.infer_slot(self._slots, 0, count, inputs)
            return [output[:count].copy() for output in self._slots.results(0)]  # the next batch overwrites them

    def infer_slot(self, slots: Slots, slot: int, count: int, images: Sequence[np.ndarray] | None = None) -> Timing:
        for place, array in zip(slots.images(slot), images or ()):
            place[:count].reshape(-1).view(np.uint8)[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for place in slots.images(slot):
            for index in range(count, self.batch_size):
                place[index] = place[index % count]  # a short batch is filled up with its own images
        inputs, outputs = slots.places(slot)
        request = {"file": str(slots.path), "inputs": inputs, "outputs": outputs}
        with self._turn:
            # The worker has ended: its answer, or a missing one, explains why.
            with contextlib.suppress(BrokenPipeError):
                self._requests.write(json.dumps(request) + "\n")
                self._requests.flush()
            start, end = self._receive()["ms"]
            return start, end

    def __enter__(self) -> DeviceEngine:
        return self

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._exit.close()

    def _receive(self) -> dict[str, Any]:
        line = self._replies.readline()
        answer = json.loads(line) if line else {"error": f"it {describe_exit(self._process.wait())}"}
        if "error" in answer:
            raise ToolError(self._describe_failure(answer["error"].strip()))
        return answer

    def _describe_failure(self, error: str) -> str:
        """Return what the worker's exception says, and what the device's own words before it mean."""
        self._stop()
        said = f"ais_bench failed on the device: {error}. Its messages are above."
        explanation = explain_device_failure(f"{self._messages.read()}\n{error}", self._process.returncode)
        return said if explanation is None else f"{said}\n{explanation}"

    def _stop(self) -> None:
        """End the worker: no more commands come, so it leaves its loop and frees the device."""
        with contextlib.suppress(BrokenPipeError):  # it has ended before it read the last command
            self._requests.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._messages.close()


class _Messages:
    """Passes a process's output on to standard error as it comes (ours is for results), and keeps its end."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream, self._kept = stream, b""
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        for chunk in iter(lambda: os.read(self._stream.fileno(), 1 << 16), b""):
            self._kept = (self._kept + chunk)[-KEPT_BYTES:]
            with contextlib.suppress(OSError):  # nobody reads our standard error
                os.write(STANDARD_ERROR, chunk)

    def read(self) -> str:
        """Return the end of the output; the process must have ended."""
        return self._kept.decode(errors="replace")

    def close(self) -> None:
        """Wait until everything is passed on; a child that a killed process left may hold the stream open."""
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._stream.close()


def _describe_tensor(tensor: dict[str, Any]) -> TensorSpec:
    """Return an input or output as the worker describes it, for one image.

    Where type and shape do not match the bytes, which a card with AIPP may report, it is described as bytes alone.
    """
    batch_size, *shape = tensor["shape"]
    dtype = ACL_DTYPES.get(tensor["datatype"])
    if dtype is not None:
        spec = TensorSpec(tensor["name"], tuple(shape), dtype)
        if batch_size * spec.size_bytes == tensor["size_bytes"]:
            return spec
    return TensorSpec(tensor["name"], (tensor["size_bytes"] // max(batch_size, 1),), "uint8")
