"""Stand-in of Ascend's aclruntime that computes on ONNX Runtime's CPU.

It has the names of the real module, which is written in C++, so that Ascend's own ais_bench runs on it unchanged. It
opens the files of the emulated atc and nothing else.
"""

from aclruntime._device import MemorySummary
from aclruntime._session import InferenceSession, InferOptions, SessionOptions, Summary
from aclruntime._tensor import BaseTensor, Tensor, TensorDesc, dtype, memory_type

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
    "infer_options",
    "session_options",
    "sumary",
    "tensor_desc",
    "type",
]
