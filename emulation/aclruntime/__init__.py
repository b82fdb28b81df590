"""Stand-in of Ascend's aclruntime that computes on ONNX Runtime's CPU.

It has the names of the real module, which is written in C++, so that Ascend's own ais_bench runs on it unchanged. It
opens the files of the emulated atc and nothing else. EMULATED_ACLRUNTIME chooses the release that it plays.
"""

from aclruntime._device import MemorySummary
from aclruntime._release import YEAR
from aclruntime._session import SESSIONS, InferOptions, SessionOptions, Summary
from aclruntime._tensor import BaseTensor, Tensor, TensorDesc, dtype, memory_type

InferenceSession = SESSIONS[YEAR]
if YEAR != "2023":  # the pipeline mode came later
    infer_options = InferOptions
session_options = SessionOptions
sumary = Summary  # the real module's spelling
tensor_desc = TensorDesc
type = memory_type

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
