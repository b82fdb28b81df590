"""The file that the emulated atc writes in place of an offline model.

Three parts: the magic line, one line of JSON (the header), the bytes of an ONNX model. `head -n 2 model.om` tells a
person what it is; a real runtime refuses it because its first bytes are not those of an offline model.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAGIC = b"emulated OM version 2, CPU only, not loadable on an NPU\n"
HEADER_BYTES_MAX = 16 * 1024 * 1024
_FLOAT_DTYPES = ("float16", "float32", "float64")
_INTEGER_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = (*_FLOAT_DTYPES, *_INTEGER_DTYPES, "bool")
FORMATS = ("NCHW", "NHWC", "NCDHW", "ND")
FILE_MODE = 0o640  # ais_bench refuses a model that the group may write


class OmError(Exception):
    """The file is not one that the emulated atc wrote, or it is damaged."""


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a compiled model; `dtype` is numpy's name, `format` one of FORMATS."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    format: str

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    def require_sound(self) -> None:
        """Raise ValueError where a header that is still JSON describes no tensor."""
        is_text = all(isinstance(text, str) for text in (self.name, self.dtype, self.format))
        is_known = is_text and self.dtype in DTYPES and self.format in FORMATS
        if not is_known or not all(type(size) is int and size >= 0 for size in self.shape):
            raise ValueError(f"{str(asdict(self))[:200]} is no tensor")


@dataclass(frozen=True)
class OmHeader:
    """What the emulated atc knew when it wrote the file."""

    cann: str  # the release that the stand-in played
    soc_version: str
    precision_mode: str  # the value in force, of either flag
    keep_dtype: tuple[str, ...]  # names of the operators that kept their type
    aipp: tuple[dict[str, Any], ...]  # the fields that were set, one dict for each aipp_op
    input_fp16_nodes: tuple[str, ...]
    out_nodes: str
    output_type: str
    atc_arguments: tuple[str, ...]
    onnx_sha256: str  # of the source file
    model_sha256: str  # of the bytes that follow the header
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def sha256_hex(content: bytes) -> str:
    """SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_om(path: Path, header: OmHeader, model: bytes) -> None:
    """Write the container under a temporary name beside `path`, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_behind in path.parent.glob(f".{glob.escape(path.name)}.*"):  # by one that was killed
        left_behind.unlink()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC)
            file.write(json.dumps(asdict(header), ensure_ascii=False).encode() + b"\n")
            file.write(model)
        Path(temporary).chmod(FILE_MODE)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def _tensor_info(fields: dict[str, object]) -> TensorInfo:
    tensor = TensorInfo(**{**fields, "shape": tuple(fields["shape"])})  # type: ignore[arg-type]
    tensor.require_sound()
    return tensor


def _read_header(file: BinaryIO, path: Path) -> OmHeader:
    if file.read(len(MAGIC)) != MAGIC:
        raise OmError(f"{path} was not written by the emulated atc (version 2); the emulation opens nothing else")
    line = file.readline(HEADER_BYTES_MAX)
    try:
        fields = json.loads(line)
        return OmHeader(
            **{
                **fields,
                **{name: tuple(fields[name]) for name in ("keep_dtype", "aipp", "input_fp16_nodes", "atc_arguments")},
                "inputs": tuple(_tensor_info(tensor) for tensor in fields["inputs"]),
                "outputs": tuple(_tensor_info(tensor) for tensor in fields["outputs"]),
            }
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OmError(f"the header of {path} cannot be read: {error}") from error


def read_om(path: Path) -> tuple[OmHeader, bytes]:
    """Header and ONNX bytes of an emulated .om; raises OmError where it is another file or a damaged one."""
    with path.open("rb") as file:
        header = _read_header(file, path)
        model = file.read()
    if sha256_hex(model) != header.model_sha256:
        raise OmError(f"{path} is damaged: its {len(model)} model bytes do not have the SHA-256 that its header names")
    return header, model
