"""The precision modes of atc, and what a chip does beyond float16's range."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FLOAT16_MAX = 65504.0


class Width(Enum):
    """What an operator reads and writes; it computes in float32 in any case."""

    SINGLE = "float32"
    HALF_IN = "float16 in, float32 out"
    HALF = "float16"


@dataclass(frozen=True)
class PrecisionMode:
    """The widths of matrix operators (Cube unit) and of all others (Vector unit)."""

    matrix: Width
    vector: Width


KEEP = PrecisionMode(Width.SINGLE, Width.SINGLE)
_FORCE = PrecisionMode(Width.HALF, Width.HALF)
_CUBE_IN = PrecisionMode(Width.HALF_IN, Width.SINGLE)
# Both flags' values; what is not here cannot be played: which operators mix_precision lowers stands in CANN's own
# tables, and bfloat16 and hifloat8 need cards that the stand-ins are not.
MODES = {
    "force_fp16": _FORCE,
    "fp16": _FORCE,
    "force_fp32": _CUBE_IN,
    "cube_fp16in_fp32out": _CUBE_IN,
    "allow_fp32_to_fp16": PrecisionMode(Width.HALF, Width.SINGLE),
    "must_keep_origin_dtype": KEEP,
    "origin": KEEP,
}


def saturates(soc_version: str) -> bool:
    """Whether a result beyond ±65504 becomes ±65504 on this chip, rather than infinite.

    CANN's documents on aclrtFloatOverflowMode: Atlas inference (310, 310P), training (910A) and 200I/500 A2 (310B)
    products have the saturation mode only; Atlas A2 and A3 (910B, 910_93) run in Inf/NaN mode by default.
    """
    is_first_generation = soc_version == "Ascend910B"
    return is_first_generation or not soc_version.startswith(("Ascend910B", "Ascend910_93"))
