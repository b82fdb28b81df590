"""PyTorch to ONNX: one call of the exporter, with what every export here has in common."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from yolact_ascend.tensors import TensorSpec

BATCH_AXIS = "batch"


def write_onnx(
    network: nn.Module,
    path: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[str],
    opset: int,
    has_free_batch: bool,
    own_domains: Sequence[str] = (),
) -> None:
    """Trace the network on zeros of `inputs`, one sample each, and write it with these names as ONNX.

    `own_domains` are those of operators that are not ONNX's.
    """
    names = [*(spec.name for spec in inputs), *outputs]
    with torch.inference_mode(), _quiet_exporter():
        torch.onnx.export(
            network,
            tuple(torch.zeros(1, *spec.shape) for spec in inputs),
            str(path),
            input_names=[spec.name for spec in inputs],
            output_names=list(outputs),
            dynamic_axes={name: {0: BATCH_AXIS} for name in names} if has_free_batch else None,
            opset_version=opset,
            # The default since torch 2.9, dynamo, emits opset 18 and newer only.
            dynamo=False,
            custom_opsets=dict.fromkeys(own_domains, 1) or None,
        )


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's warnings: that it is deprecated, and which values it traced as constants."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            yield
    finally:
        logger.setLevel(level)
