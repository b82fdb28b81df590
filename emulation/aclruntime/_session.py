"""A loaded model of the emulated device: checks sizes as the real module does, computes on ONNX Runtime."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ascend_emulation.chip import device_count, soc_version
from ascend_emulation.om import OmError, OmHeader, TensorInfo, read_om

from aclruntime import _device
from aclruntime._device import LOG_DEBUG, LOG_ERROR, LOG_INFO, LOG_WARNING, MemorySummary, log, runtime_error
from aclruntime._options import SessionOptions, Summary
from aclruntime._release import RELEASE
from aclruntime._tensor import DEVICE_ID_MAX, DTYPE_OF_NUMPY, FORMAT_NUMBERS, BaseTensor, Tensor, TensorDesc, dtype

LOOP_MAX = 100000

# What the real class has besides; asking for it ends in one clear sentence.
_NOT_EMULATED = """
    first_inner_run inner_run run_pipeline set_dynamic_batchsize set_dynamic_hw set_dynamic_dims set_dynamic_shape
    set_custom_outsize get_max_dym_batchsize check_dym_aipp_input_exist set_dym_aipp_info_set
    aipp_set_max_batch_size aipp_set_input_format aipp_set_src_image_size aipp_set_rbuv_swap_switch
    aipp_set_ax_swap_switch aipp_set_csc_params aipp_set_crop_params aipp_set_padding_params
    aipp_set_dtc_pixel_mean aipp_set_dtc_pixel_min aipp_set_pixel_var_reci
"""


def _tensor_desc(tensor: TensorInfo) -> TensorDesc:
    size = tensor.size_bytes
    number = DTYPE_OF_NUMPY[tensor.dtype]
    return TensorDesc(tensor.name, number, FORMAT_NUMBERS[tensor.format], list(tensor.shape), size, size)


def _cpus_of_a_device() -> int:
    """The emulated devices share the machine's cores."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus // device_count())


def _start(model: bytes) -> Any:
    """Load the graph into ONNX Runtime; raises OmError where it is none."""
    import onnxruntime  # here: it takes a second, and importing this module is part of every --help

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _cpus_of_a_device()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes have no common one
        raise OmError(f"the graph cannot be loaded: {str(error).splitlines()[0]}") from error


def _require_same_ends(header: OmHeader, session: Any) -> None:
    """Raise OmError where the header describes other inputs or outputs than the graph has."""
    for described, found in ((header.inputs, session.get_inputs()), (header.outputs, session.get_outputs())):
        ends = [(end.name, tuple(end.shape)) for end in found]
        if [(tensor.name, tensor.shape) for tensor in described] != ends:
            raise OmError(f"the header does not describe the graph, which has {ends}")


class InferenceSession2023:
    """A model on the emulated device; what every release has."""

    def __init__(self, model_path: str, device: int, options: SessionOptions) -> None:
        if RELEASE.checks_arguments:
            self._check_arguments(model_path, device, options)
        if getattr(options, "weight_dir", ""):
            raise RuntimeError("the emulated aclruntime loads no weights from other files: leave weight_dir empty")
        if options.acl_json_path:
            raise RuntimeError("the emulated aclruntime has no profiling and no dump: leave acl_json_path empty")
        _device.set_log_level(options.log_level)
        self._device, self._options, self._summary = device, options, Summary()
        _device.open_device(device)
        self._begin = time.perf_counter()
        self._load(model_path)
        self._zero_point = time.perf_counter()

    def __getattr__(self, name: str) -> object:
        if name in _NOT_EMULATED.split():
            raise AttributeError(f"the emulated aclruntime has no InferenceSession.{name}: it has fixed shapes only")
        raise AttributeError(f"'aclruntime.InferenceSession' object has no attribute '{name}'")

    @staticmethod
    def _check_arguments(model_path: str, device: int, options: SessionOptions) -> None:
        if not 0 < options.loop <= LOOP_MAX:
            log(LOG_ERROR, "loop size out of range: loop must be greater than 0 and less than or equal to 100000.")
            raise RuntimeError("loop num out of range. Please check.")
        if not LOG_DEBUG <= options.log_level <= LOG_ERROR:
            log(LOG_ERROR, "log level out of range: log level must be greate than 0 and less than 5")
            raise RuntimeError("log level out of range. Please check.")
        problem = _device.check_readable(model_path, ".om")
        if problem:
            log(LOG_ERROR, problem)
            log(LOG_ERROR, "model path illegal, please check.")
            raise RuntimeError("please check model path")
        if not 0 <= device <= DEVICE_ID_MAX:
            log(LOG_ERROR, f"device id should not be out of [0, {DEVICE_ID_MAX}]")
            raise RuntimeError("device id is out of range")

    def _load(self, model_path: str) -> None:
        try:
            header, model = read_om(Path(model_path))
            supported = _supported_soc_version()
            if header.soc_version != supported:
                raise OmError(f"supported socVersion={supported}, but the model socVersion={header.soc_version}")
            self._session = _start(model)
            _require_same_ends(header, self._session)
        except (OmError, OSError) as error:  # OSError: where RELEASE checks no paths, they are first seen here
            _device.acl_error(str(error))
            self._log_failed_load(model_path)
            raise runtime_error(_device.ERROR_INVALID_PARAM) from error
        self._header = header
        self._inputs = [_tensor_desc(tensor) for tensor in header.inputs]
        self._outputs = [_tensor_desc(tensor) for tensor in header.outputs]
        self._model_id = _device.next_model_id()
        self._loaded = True
        self._log_load(model_path)
        log(LOG_INFO, "create model description success")

    def _log_load(self, model_path: str) -> None:
        log(LOG_INFO, f"load model {model_path} success")

    def _log_failed_load(self, model_path: str) -> None:
        log(LOG_ERROR, f"load model from file failed, model file is {model_path}")
        log(LOG_WARNING, "Check failed:processModel->LoadModelFromFile(modelPath), ret:1\n")

    def get_inputs(self) -> list[TensorDesc]:
        """Descriptions of the inputs in the model's order."""
        return self._inputs

    def get_outputs(self) -> list[TensorDesc]:
        """Descriptions of the outputs in the model's order."""
        return self._outputs

    def options(self) -> SessionOptions:
        """The options in use; changing them takes effect at the next run."""
        return self._options

    def sumary(self) -> Summary:
        """Times of the executions since the last reset."""
        return self._summary

    def reset_sumaryinfo(self) -> int:
        """Forget the times of the executions."""
        self._summary.exec_time_list = []
        return 0

    def set_staticbatch(self) -> int:
        """Nothing to do: emulated models have fixed shapes."""
        return 0

    def create_tensor_from_fileslist(self, desc: TensorDesc, files: Sequence[str]) -> Tensor:
        """One tensor on the device from the bytes of several files; raises RuntimeError for a wrong size."""
        content = b"".join(Path(file).read_bytes() for file in files)
        if len(content) != desc.realsize:
            log(LOG_ERROR, f"files of {len(content)} bytes for {desc.name}, which has {desc.realsize}")
            raise runtime_error(_device.ERROR_INVALID_PARAM)
        name = next(name for name, number in DTYPE_OF_NUMPY.items() if number == desc.datatype)
        tensor = Tensor(np.frombuffer(content, dtype=name).reshape(desc.shape))
        tensor.to_device(self._device)
        return tensor

    def run(self, output_names: Sequence[str], feeds: Sequence[BaseTensor | Tensor]) -> list[Tensor]:
        """Execute the model options().loop times; feeds are bytes in the model's order, types are not looked at."""
        contents = [self._device_bytes(feed) for feed in feeds]
        self._check_sizes([len(content) for content in contents])
        inputs = {
            tensor.name: np.frombuffer(content, dtype=tensor.dtype).reshape(tensor.shape)
            for tensor, content in zip(self._header.inputs, contents)
        }
        for name in output_names:
            if name not in {tensor.name for tensor in self._header.outputs}:
                log(LOG_ERROR, f"outnames {name} not valid")
                raise runtime_error(_device.ERROR_FAILURE)
        arrays = self._execute(list(output_names), inputs)
        return [Tensor.on_device(array, self._device) for array in arrays]

    @staticmethod
    def _device_bytes(feed: BaseTensor | Tensor) -> bytes:
        if isinstance(feed, BaseTensor):
            return _device.timed_copy(MemorySummary.H2D_time_list, feed.copy_bytes)
        return feed.copy_bytes()

    def _check_sizes(self, sizes: list[int]) -> None:
        if RELEASE.counts_feeds_first and len(sizes) != len(self._inputs):
            log(LOG_ERROR, f"feeds size: {len(sizes)} not equal to model tensor desc size: {len(self._inputs)}")
            self._raise_bad_input(_device.ERROR_RUNTIME)
        check = "Check" if RELEASE.capital_messages else "check"
        for index, (size, desc) in enumerate(zip(sizes, self._inputs)):
            if size != desc.realsize:
                place = f"i:{index} name:{desc.name}"
                log(LOG_ERROR, f"{check} {place} in size:{size} needsize:{desc.realsize} not match")
                self._raise_bad_input(_device.ERROR_FAILURE)
        if len(sizes) != len(self._inputs):  # the real releases before 2025 read past the end where there are too many
            log(LOG_WARNING, f"intensors in:{len(sizes)} need:{len(self._inputs)} not match")
            what = "set inputs data" if RELEASE.logs_for_python else "Set InputsData"
            log(LOG_ERROR, f"{what} failed ret:{_device.ERROR_FAILURE[0]}")
            raise runtime_error(_device.ERROR_FAILURE)

    @staticmethod
    def _raise_bad_input(error: tuple[int, str]) -> None:
        what = "Check InVector" if RELEASE.capital_messages else "check input vector"
        log(LOG_ERROR, f"{what} failed ret:{error[0]}")
        raise runtime_error(error)

    def _execute(self, output_names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        loop = self._options.loop
        arrays: list[np.ndarray] = []
        if loop > 1 and RELEASE.blank_line_before_loops:
            sys.stdout.write("\n")
        for count in range(1, loop + 1):
            start = time.perf_counter()
            arrays = self._session.run(output_names, inputs)
            end = time.perf_counter()
            self._note_times(1000 * (start - self._zero_point), 1000 * (end - self._zero_point))
            if loop > 1:
                clear = "\x1b[2K" if RELEASE.logs_for_python else ""
                print(f"\r{clear}loop inference exec: ({count}/{loop})", end="", flush=True)
        if loop > 1:
            sys.stdout.write("\n")
        return arrays

    def _note_times(self, start_ms: float, end_ms: float) -> None:
        times: list = self._summary.exec_time_list
        times.append((start_ms, end_ms) if RELEASE.times_are_pairs else end_ms - start_ms)

    def _unload(self) -> None:
        if self._loaded:
            self._loaded = False
            log(LOG_INFO, f"unload model success, model Id is {self._model_id}")

    def finalize(self) -> int:
        """Unload the model and close the device."""
        self._unload()
        _device.finalize()
        return 0

    def __repr__(self) -> str:
        def lines(descs: list[TensorDesc]) -> str:
            text = ""
            for index, desc in enumerate(descs):
                shape = ", ".join(map(str, desc.shape))
                sizes = f"{desc.size}  {desc.realsize}"
                text += f"  #{index}    {desc.name}  ({shape})  {dtype(desc.datatype).name}  {sizes}\n"
            return text

        return f"<Model>\ndevice:\t{self._device}\ninput:\n{lines(self._inputs)}output:\n{lines(self._outputs)}"


class InferenceSession2024(InferenceSession2023):
    """Sessions of one process live and end apart from each other."""

    def get_dym_aipp_input_exist(self) -> int:
        """0: emulated models have no dynamic AIPP."""
        return 0

    def free_resource(self) -> int:
        """Unload the model."""
        self._unload()
        return 0

    @staticmethod
    def finalize() -> int:
        """Close the device."""
        _device.finalize()
        return 0


class InferenceSession2025(InferenceSession2024):
    """The current release."""

    def set_context(self) -> None:
        """Nothing to do: there is one context."""


class InferenceSession2026(InferenceSession2025):
    """The continuing fork: loads through a handle with options, and runs tensors that are on the device."""

    def _log_load(self, model_path: str) -> None:
        cost = f"cost : {1000 * (time.perf_counter() - self._begin):f} (ms)"
        if getattr(self._options, "without_graph", False):
            log(LOG_INFO, "ACL_MDL_WITHOUT_GRAPH_INT32 enabled")
            log(LOG_INFO, "ACL_MDL_WORKSPACE_MEM_OPTIMIZE enabled")
            log(LOG_INFO, f"aclmdlLoadWithConfig success {cost}")
        else:
            log(LOG_INFO, f"aclmdlLoadFromFile {Path(model_path).name}")
            log(LOG_INFO, f"aclmdlLoadFromFile {cost}")
        log(LOG_INFO, "Loaded model successfully")

    def _log_failed_load(self, model_path: str) -> None:
        with_config = getattr(self._options, "without_graph", False)
        what = "aclmdlLoadWithConfig failed" if with_config else "Load model from file failed"
        log(LOG_ERROR, f"{what}, model file is {model_path}")
        call = "LoadModelFromFile( modelPath, options->weightDir, options)"
        log(LOG_WARNING, f"Check failed:processModel->{call}, ret:1\n")

    def reset_summaryinfo(self) -> int:
        """Forget the times of the executions."""
        return self.reset_sumaryinfo()

    def summary(self) -> Summary:
        """Times of the executions since the last reset."""
        return self._summary

    def run_from_tensors(self, output_names: Sequence[str], feeds: Sequence[Tensor]) -> list[Tensor]:
        """Execute the model on tensors; their number is looked at first."""
        if len(feeds) != len(self._inputs):
            log(LOG_ERROR, f"feeds size: {len(feeds)} not equal to model tensor desc size: {len(self._inputs)}")
            self._raise_bad_input(_device.ERROR_RUNTIME)
        return self.run(output_names, feeds)


SESSIONS = {
    "2023": InferenceSession2023,
    "2024": InferenceSession2024,
    "2025": InferenceSession2025,
    "2026": InferenceSession2026,
}


def _supported_soc_version() -> str:
    try:
        return soc_version()
    except ValueError as error:
        raise OmError(str(error)) from error
