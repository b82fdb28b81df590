"""The tensors that pass between stages, as values, and raw files of one tensor each, checked before they are read."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact_ascend.errors import ArtifactError

if TYPE_CHECKING:  # `--help` needs no package beside Python: numpy is imported where values are read
    import numpy as np

FLOAT32_BYTES = 4  # of one value; of a uint8 it is one
FREE = -1  # a side of a shape that may be of any size
DTYPES = ("float32", "float16", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")  # by numpy's names


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the model: its name and the shape of one sample, without the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = ""  # of a batch, where it matters: "NCHW", "NHWC"

    @property
    def is_free(self) -> bool:
        """Whether samples may differ in size."""
        return FREE in self.shape

    @property
    def size_bytes(self) -> int:
        """Bytes of one sample; meaningless where samples may differ in size."""
        import numpy as np

        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def of_batch(self, batch_size: int) -> dict[str, Any]:
        """Describe a whole batch, as JSON has it."""
        return {"name": self.name, "shape": [batch_size, *self.shape], "dtype": self.dtype, "layout": self.layout}

    @classmethod
    def of_sample(cls, batch: dict[str, Any]) -> TensorSpec:
        """Turn such a description back into that of one sample; raises ValueError for anything else."""
        keys = ("name", "shape", "dtype", "layout")
        if isinstance(batch, dict) and batch.keys() >= set(keys):
            name, shape, dtype, layout = (batch[key] for key in keys)
            is_text = isinstance(name, str) and isinstance(layout, str) and dtype in DTYPES
            is_shape = isinstance(shape, list) and all(type(n) is int and (n > 0 or n == FREE) for n in shape)
            if is_text and is_shape and shape:
                return cls(name, tuple(shape[1:]), dtype, layout)
        raise ValueError(f"expected name, shape, dtype and layout of a tensor, found {str(batch)[:100]}")


def read_tensor(path: Path, spec: TensorSpec) -> np.ndarray:
    """Read one sample of `spec` from a raw file; returns an array of `spec.shape`, read-only.

    Raises ArtifactError when the file is missing, cannot be read or does not hold exactly one sample.
    """
    require_size(path, spec)
    try:
        # Mapped, not copied: the megabytes of an image take longer to copy than to look through.
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), spec.size_bytes, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"Cannot read {path}: {error}. Run the inference again.") from error
    import numpy as np

    return np.frombuffer(data, spec.dtype).reshape(spec.shape)


def require_size(path: Path, spec: TensorSpec) -> None:
    """Raise ArtifactError unless the file is there and holds exactly one sample of `spec`."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise ArtifactError(
            f"{path} is missing ({spec.name} of one image): the inference did not write it. Run it again."
        ) from None
    if size != spec.size_bytes:
        shape = ",".join(str(n) for n in spec.shape)
        raise ArtifactError(
            f"{path} holds {size} bytes, expected {spec.size_bytes} for {spec.name} [{shape}] {spec.dtype}. "
            f"{_explain_size(size, spec)} Run the inference again."
        )


def _explain_size(size: int, spec: TensorSpec) -> str:
    # ais_bench compares only sizes: it silently accepts one float32 image in place of four uint8 ones.
    if size == FLOAT32_BYTES * spec.size_bytes:
        return (
            f"That is the size of {FLOAT32_BYTES} images: were float32 inputs passed to a model with AIPP, which takes "
            "uint8? Make them by preprocess.py --dtype uint8, or compile without --insert_op_conf."
        )
    return "Was the model compiled with another batch size, input, --cut or --output_type?"


def all_finite(values: np.ndarray) -> bool:
    """Tell whether no value is NaN or infinite."""
    import numpy as np

    flat = values.ravel()
    with np.errstate(all="ignore"):
        # One pass at the memory's speed. NaN and infinity stay in a sum of squares; large numbers may also overflow it.
        if np.isfinite(np.dot(flat, flat)):
            return True
    return bool(np.isfinite(flat).all())
