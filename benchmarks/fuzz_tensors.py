"""Changes of a state dict that PyTorch writes and reads without a complaint."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch


def edit_tensors(state: dict[str, torch.Tensor], edits: list) -> dict[str, Any]:
    """Return a copy of a state dict with these changes; see `fuzz_kinds.TENSOR_EDITS`."""
    found: dict[str, Any] = OrderedDict(state)
    for operator, place, number, dtype in edits:
        keys = list(found)
        if not keys:
            break
        key = keys[place % len(keys)]
        value = found[key]
        if operator == "drop":
            del found[key]
        elif operator == "rename":
            found[f"{key}.{dtype}"] = found.pop(key)
        elif operator == "object":
            found[key] = {"a": number}
        elif isinstance(value, torch.Tensor) and not value.is_quantized:
            found[key] = _edit(operator, value, number, dtype, place)
    return found


def _edit(operator: str, value: torch.Tensor, number: float, dtype: str, place: int) -> torch.Tensor:
    if operator == "fill" and value.is_floating_point():
        changed = value.clone()
        changed.view(-1)[place % max(changed.numel(), 1)] = number
        return changed
    if operator == "type" and dtype == "qint8":
        return torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8)
    if operator == "type":
        return value.to(getattr(torch, dtype))
    if operator == "shape" and value.layout == torch.strided:
        return value.reshape(-1) if place % 2 else value.unsqueeze(0)
    if operator == "sparse" and value.dim():
        return value.to_sparse()
    return torch.empty_like(value, device="meta") if operator == "meta" else value
