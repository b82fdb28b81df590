"""Stand-in of Ascend's aclruntime that computes on ONNX Runtime's CPU.

It has the names of the real module, which is written in C++, so that Ascend's own ais_bench runs on it unchanged. It
opens the files of the emulated atc and nothing else. EMULATED_ACLRUNTIME chooses the release that it plays.
"""

from typing import Callable

from aclruntime import _device
from aclruntime._device import MemorySummary
from aclruntime._options import InferOptions, SessionOptions, SessionOptions2026, Summary
from aclruntime._release import RELEASE, YEAR
from aclruntime._session import SESSIONS
from aclruntime._tensor import BaseTensor, Tensor, TensorDesc, dtype, memory_type

InferenceSession = SESSIONS[YEAR]
if YEAR != "2023":  # the pipeline mode came later
    infer_options = InferOptions
session_options = SessionOptions2026 if RELEASE.logs_for_python else SessionOptions
sumary = Summary  # the real module's spelling
tensor_desc = TensorDesc
type = memory_type

if RELEASE.logs_for_python:
    PURE_INFER_DATA = "pure_infer_data"
    PURE_INFER_DATA_ZERO, PURE_INFER_DATA_RANDOM = f"{PURE_INFER_DATA}_zero", f"{PURE_INFER_DATA}_random"
    LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR = 1, 2, 3, 4
    set_log_level = _device.set_log_level

    def _logs(level: int) -> Callable[[str], None]:
        return lambda message: _device.log(level, message)

    log_debug, log_info, log_warning, log_error = map(_logs, (LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR))

    def get_run_mode() -> int:
        """1: the host's memory is not the device's, as with a card in a slot."""
        return 1


__all__ = [
    "BaseTensor",
    "InferenceSession",
    "MemorySummary",
    "Tensor",
    "dtype",
    "session_options",
    "sumary",
    "tensor_desc",
    "type",
]
