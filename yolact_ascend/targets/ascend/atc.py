"""The command of ATC, CANN's model compiler, and the names that it gives to a compiled model (`.om`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from yolact_ascend.targets.target import INT8
from yolact_ascend.tensors import TensorSpec

ATC_SUCCESS = "ATC run success"
# What is not quantised in a model for int8 is float16, atc's default.
PRECISION_FLAGS = {"fp16": (), "fp32": ("--precision_mode", "must_keep_origin_dtype"), INT8: ()}
ARCHITECTURES = ("aarch64", "x86_64")


def atc_command(
    onnx: Path,
    om_prefix: Path,
    batch_size: int,
    network_inputs: Sequence[TensorSpec],
    soc_version: str,
    precision: str = "fp16",
    aipp_config: Path | None = None,
    keep_dtype: Path | None = None,
) -> list[str]:
    """Build the guide's ATC command for one batch size; atc appends `.om` to the prefix.

    `precision` "fp16" is atc's own default; `keep_dtype` lists the operators that stay float32 then. With AIPP
    `--input_shape` stays the network's, though the model's changes.
    """
    shapes = ";".join(f"{spec.name}:{','.join(map(str, (batch_size, *spec.shape)))}" for spec in network_inputs)
    return [
        *("atc", "--model", str(onnx), "--framework", "5", "--output", str(om_prefix), "--log", "error"),
        *("--soc_version", soc_version, "--input_shape", shapes),
        *PRECISION_FLAGS[precision],
        *(() if keep_dtype is None else ("--keep_dtype", str(keep_dtype))),
        *(() if aipp_config is None else ("--insert_op_conf", str(aipp_config))),
    ]


def remove_models(prefix: Path) -> None:
    """Remove what an earlier atc left under any of the names that it gives: it must not pass for a new file."""
    for path in model_files(prefix):
        path.unlink(missing_ok=True)


def model_files(prefix: Path) -> list[Path]:
    """Return the names that atc gives to a model."""
    return [_om(prefix), *_other_names(prefix)]


def adopt_model(prefix: Path) -> Path:
    """Return `<prefix>.om`, the name that every later stage uses; it may still not be there.

    atc for another system than its own appends that: `<prefix>_linux_aarch64.om`. Such a file is renamed.
    """
    om = _om(prefix)
    for path in _other_names(prefix):
        if path.is_file() and not om.exists():
            path.replace(om)
            print(f"{path.name} renamed to {om.name}: atc appends the system that it compiled for.", file=sys.stderr)
    return om


def _om(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.om")


def _other_names(prefix: Path) -> list[Path]:
    return [prefix.with_name(f"{prefix.name}_linux_{architecture}.om") for architecture in ARCHITECTURES]
