"""The Python interface: a session with a model on a device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import aclruntime
import numpy as np

from ais_bench.infer import paths

LOOP_MAX = 100000
DEVICE_MAX = 255
MODEL_INPUTS_MAX = 1024
_MODES = ("static", "dymbatch", "dymhw", "dymdims", "dymshape")
_LOG_INFO = 2


class TensorDescription(Protocol):
    """What a model says about one input or output."""

    name: str
    datatype: int
    format: int
    shape: list[int]
    size: int
    realsize: int


class MemorySummary:
    """Times of the copies between host and device, in milliseconds."""

    @staticmethod
    def get_h2d_time_list() -> list[float]:
        """One value per copy to the device."""
        return aclruntime.MemorySummary().H2D_time_list

    @staticmethod
    def get_d2h_time_list() -> list[float]:
        """One value per copy from the device."""
        return aclruntime.MemorySummary().D2H_time_list

    @staticmethod
    def reset() -> None:
        """Forget all times."""
        aclruntime.MemorySummary().reset()


def _check_model_path(path: str) -> None:
    if not path:
        raise RuntimeError("empty model path!")
    try:
        paths.check_path_string(path)
    except paths.PathStringError as error:
        raise ValueError("The path string is illegal. Please check.") from error
    if not os.path.isfile(path):
        raise ValueError(f"The path:{path} is not a file.")
    if not paths.may_read(path):
        raise ValueError(f"The path:{path} is illegal. Please check the error log for more detail.")
    if not paths.has_suffix(path, ".om"):
        raise ValueError(f"The suffix of path:{path} not in ['om']. Please check.")


def _check_integer(name: str, value: object, low: int, high: int, out_of_range: str) -> None:
    if not isinstance(value, int):
        raise TypeError(f"{name}:{value} is not a integer!")
    if not low <= value <= high:
        raise ValueError(out_of_range)


def _to_array(feed: Any) -> np.ndarray:
    if isinstance(feed, (np.ndarray, np.generic)):
        return np.asarray(feed, order="C")
    if callable(getattr(feed, "type", None)) and str(feed.type()).startswith("torch."):
        return np.asarray(feed.numpy(), order="C")
    raise RuntimeError(f"type:{type(feed)} invalid")


def _not_emulated(what: str) -> NoReturn:
    raise RuntimeError(f"the emulated ais_bench does not implement {what}; it has fixed shapes and mode 'static' only")


class InferSession:
    """A model on a device; feeds are taken as bytes, in the order of the model's inputs."""

    def __init__(
        self,
        device_id: int,
        model_path: str,
        acl_json_path: str | None = None,
        debug: bool = False,
        loop: int = 1,
    ) -> None:
        """Load `model_path` on device `device_id`; every run executes the model `loop` times."""
        _check_model_path(model_path)
        if acl_json_path or debug:
            _not_emulated("acl_json_path and debug")
        device_range = f"device:{device_id} is illegal. legal value range is [0, {DEVICE_MAX}]"
        _check_integer("device", device_id, 0, DEVICE_MAX, device_range)
        _check_integer("value", loop, 1, LOOP_MAX, f"input value:{loop} is out of range. Please check.")
        self.device_id = device_id
        self.model_path = model_path
        self.loop = loop
        options = aclruntime.session_options()
        options.log_level = _LOG_INFO
        options.loop = loop
        self.session = aclruntime.InferenceSession(model_path, device_id, options)
        self.outputs_names = [output.name for output in self.session.get_outputs()]

    def get_inputs(self) -> Sequence[TensorDescription]:
        """Descriptions of the inputs."""
        return self.session.get_inputs()

    def get_outputs(self) -> Sequence[TensorDescription]:
        """Descriptions of the outputs."""
        return self.session.get_outputs()

    def set_loop_count(self, loop: int) -> None:
        """Executions per run from now on."""
        self.session.options().loop = loop

    def set_staticbatch(self) -> None:
        """Use the shapes that the model was compiled with."""
        self.session.set_staticbatch()

    def create_tensor_from_fileslist(self, description: TensorDescription, files: Sequence[str]) -> Any:
        """A tensor on the device from the bytes of files."""
        return self.session.create_tensor_from_fileslist(description, files)

    def create_tensor_from_arrays_to_device(self, array: np.ndarray) -> Any:
        """A tensor on the device with the array's content."""
        tensor = aclruntime.Tensor(array)
        tensor.to_device(self.device_id)
        return tensor

    @staticmethod
    def convert_tensors_to_host(tensors: Sequence[Any]) -> None:
        """Copy tensors from the device."""
        for tensor in tensors:
            tensor.to_host()

    @staticmethod
    def convert_tensors_to_arrays(tensors: Sequence[Any]) -> list[np.ndarray]:
        """Arrays of tensors that lie on the host."""
        return [np.array(tensor) for tensor in tensors]

    def run(self, feeds: Sequence[Any], out_array: bool = False) -> list[Any]:
        """Outputs for arrays or tensors: tensors on the device, or arrays where `out_array`."""
        inputs = list(feeds)
        if inputs and isinstance(inputs[0], np.ndarray):
            inputs = [aclruntime.BaseTensor(feed.__array_interface__["data"][0], feed.nbytes) for feed in inputs]
        outputs = self.session.run(self.outputs_names, inputs)
        if not out_array:
            return outputs
        self.convert_tensors_to_host(outputs)
        return self.convert_tensors_to_arrays(outputs)

    def infer(
        self,
        feeds: list[Any],
        mode: str = "static",
        custom_sizes: int | list[int] = 100000,
        out_array: bool = True,
    ) -> list[Any]:
        """Outputs for arrays, torch tensors on the CPU, or aclruntime tensors; `custom_sizes` has no effect."""
        if not isinstance(feeds, list):
            raise ValueError("the list be checked is not a list!")
        if not feeds:
            raise ValueError("the list is empty")
        if len(feeds) > MODEL_INPUTS_MAX:
            raise ValueError(f"the list's length is over {MODEL_INPUTS_MAX}!")
        if not isinstance(out_array, bool):
            raise TypeError(f"value:{out_array} is not a bool!")
        if mode not in _MODES:
            raise ValueError("infer mode is illegal, Please check.")
        if mode != "static":
            _not_emulated(f"mode '{mode}'")
        self.set_staticbatch()
        return self.run([feed if isinstance(feed, aclruntime.Tensor) else _to_array(feed) for feed in feeds], out_array)

    def infer_pipeline(self, *_: Any, **__: Any) -> NoReturn:
        """Not emulated."""
        _not_emulated("infer_pipeline")

    def infer_iteration(self, *_: Any, **__: Any) -> NoReturn:
        """Not emulated."""
        _not_emulated("infer_iteration")

    def summary(self) -> Any:
        """`.exec_time_list`: start and end of every execution in milliseconds."""
        return self.session.sumary()

    def reset_summaryinfo(self) -> None:
        """Forget the times of the executions."""
        self.session.reset_sumaryinfo()

    def free_resource(self) -> None:
        """Unload the model."""
        self.session.free_resource()

    @staticmethod
    def finalize() -> None:
        """Close the device."""
        aclruntime.InferenceSession.finalize()


class MultiDeviceSession:
    """Not emulated."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Ends in one clear sentence."""
        _not_emulated("MultiDeviceSession")
