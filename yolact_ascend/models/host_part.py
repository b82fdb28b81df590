"""The file with the host's part of a network, beside the model that export writes."""

from __future__ import annotations

from pathlib import Path

from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.models.onnx_metadata import read_metadata

PART_KEY, HOST = "yolact_ascend_part", "host"  # of the metadata, by which export knows its own files


def heads_file(model: Path) -> Path:
    """Return the file that export writes beside a model: the network's heads, for the host."""
    return model.with_name(f"{model.stem}_heads.onnx")


def require_own_heads(path: Path) -> None:
    """Raise UsageError when a file that is not the host's part of a model lies in its place."""
    if not path.exists():
        return
    try:
        is_own = read_metadata(path).get(PART_KEY) == HOST
    except ArtifactError:
        is_own = False
    if not is_own:
        raise UsageError(
            f"{path} is in the way: the export writes the model's heads there, and this file is none that it wrote. "
            "Move it, or choose another name for the model (--output=FILE)."
        )
