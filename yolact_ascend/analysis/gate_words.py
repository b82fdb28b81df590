"""How a condition on a comparison is written, such as `mask.all>=-0.5`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from yolact_ascend.detection.tasks import BOX, MASK

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
SPEED = "speed"
DEVICE, END_TO_END = "device", "end_to_end"  # the speeds that a gate may name
LOW, HIGH = "low", "high"  # the ends of an interval
EXPECTED = (
    "NAME>=NUMBER (or <=, >, <): mask.all, box.50, mask.all.low (the interval's lower end) or mask.CLASS, in points; "
    "speed.device or speed.end_to_end, as second / first"
)


@dataclass(frozen=True)
class Gate:
    """One condition: a name, an operator of OPERATORS, and a number."""

    text: str
    name: str
    operator: str
    limit: float


def read_gate(word: str) -> Gate:
    """Read a condition; raises ValueError with the expected form."""
    found = re.fullmatch(r"\s*([^<>=]+?)\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*", word)
    if not found:
        raise ValueError(EXPECTED)
    name, sign, limit = found.groups()
    first, _, rest = name.partition(".")
    if not (first in (BOX, MASK) and rest) and name not in (f"{SPEED}.{DEVICE}", f"{SPEED}.{END_TO_END}"):
        raise ValueError(EXPECTED)
    return Gate(word, name, sign, float(limit))
