"""Reads an exported ONNX whole, by the package onnx."""

from __future__ import annotations

from pathlib import Path

import onnx

from yolact_ascend.errors import ArtifactError


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file; raises ArtifactError when that fails."""
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf and the file system have no common base class
        raise ArtifactError(f"{path} cannot be read as ONNX: {error}. Export it first (pth2onnx.py).") from error
