"""Reads what an exported ONNX states about itself."""

from __future__ import annotations

from pathlib import Path

import onnx

from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, ModelConfig


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file; raises ArtifactError when that fails."""
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf and the file system have no common base class
        raise ArtifactError(f"{path} cannot be read as ONNX: {error}. Export it first (pth2onnx.py).") from error


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return the metadata that the export wrote."""
    return {entry.key: entry.value for entry in model.metadata_props}


def config_of(model: onnx.ModelProto) -> ModelConfig:
    """Return the config that the metadata names, the default one where it names none."""
    return CONFIGS.get(metadata_of(model).get("config", ""), CONFIGS[DEFAULT_CONFIG])
