"""What is checked of the tensors of a weights file before a network takes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.weights_arrays import Array
from yolact_ascend.models.weights_file import list_keys

COUNTER = ".num_batches_tracked"  # of a batch norm; files of old PyTorch do not have it
VARIANCE = ".running_var"  # of a batch norm
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Tensors = Mapping[str, torch.Tensor]


def to_tensor(path: Path, key: str, array: Array) -> torch.Tensor:
    """Return an array of a pickle as a tensor; raises WeightsError for numbers that PyTorch does not know."""
    try:
        return torch.from_numpy(array.to_numpy())
    except TypeError as error:
        raise WeightsError(
            f"{path} holds {key} as {array.to_numpy().dtype}, expected float32. Save it again as float32."
        ) from error


def require_dense(path: Path, tensors: Tensors) -> None:
    """Raise WeightsError that names sparse and nested tensors, and those without values (device "meta")."""
    other = [f"{key} {kind}" for key, value in tensors.items() if (kind := _kind(value))]
    if other:
        raise WeightsError(
            f"{path} holds {len(other)} tensors that are not dense ({list_keys(other)}). Save the weights as dense "
            "tensors, with their values: torch.save(model.state_dict(), FILE)."
        )


def _kind(value: torch.Tensor) -> str | None:
    """Return what kind of tensor this is; None: a plain one, which has each of its values."""
    if value.is_meta:
        return "meta"
    if value.is_nested:
        return "nested"
    return None if value.layout == torch.strided else _name(value.layout)


def _name(kind: torch.dtype | torch.layout) -> str:
    return str(kind).replace("torch.", "")


def require_floats(path: Path, weights: Tensors) -> None:
    """Raise WeightsError that names weights of other types than `FLOATS`; counters may be of any plain one."""
    other = [
        f"{key} {_name(value.dtype)}"
        for key, value in weights.items()
        if (value.dtype not in FLOATS and not key.endswith(COUNTER)) or value.is_quantized or value.is_complex()
    ]
    if other:
        raise WeightsError(
            f"{path} holds {len(other)} weights that are not {' or '.join(map(_name, FLOATS))} ({list_keys(other)}). "
            "Quantized, integer and complex weights cannot be used. Pass the float32 weights that they were made from."
        )


def to_float32(path: Path, weights: Tensors) -> dict[str, torch.Tensor]:
    """Return weights in float32, counters as they are; raises WeightsError for values that no training gives.

    These are NaN, infinities (also of float64 beyond float32's range), and variances below zero.
    """
    found = {key: value if key.endswith(COUNTER) else value.float() for key, value in weights.items()}
    floats = {key: value for key, value in found.items() if not key.endswith(COUNTER)}
    odd = [f"{key}: {count} of {value.numel()}" for key, value in floats.items() if (count := _count_infinite(value))]
    if odd:
        raise WeightsError(
            f"{path} holds NaN or infinite values in {len(odd)} tensors ({list_keys(odd)}). Did the training diverge, "
            "or was the file damaged? Pass an earlier checkpoint, or copy the file again."
        )
    variances = {key: int((value < 0).sum()) for key, value in floats.items() if key.endswith(VARIANCE)}
    odd = [f"{key}: {count} of {floats[key].numel()}" for key, count in variances.items() if count]
    if odd:
        raise WeightsError(
            f"{path} holds variances below zero in {len(odd)} batch norms ({list_keys(odd)}). Was the file damaged or "
            "edited? Copy it again, or pass the weights as they were trained."
        )
    return found


def _count_infinite(value: torch.Tensor) -> int:
    """Return how many values are NaN or infinite."""
    # A sum in float64 is finite exactly if all of its float32 values are, and takes a tenth of the time.
    if torch.isfinite(value.sum(dtype=torch.float64)):
        return 0
    return value.numel() - int(torch.isfinite(value).sum())
