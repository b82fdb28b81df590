"""The cards that the stand-ins pretend to see: all of one kind, as many as EMULATED_NPUS says."""

from __future__ import annotations

import os

CHIP_NAME = "310P3"
SOC_VERSION = "Ascend" + CHIP_NAME
MEMORY_TOTAL_MB = 21527
COUNT_VARIABLE = "EMULATED_NPUS"
COUNT_MAX = 64


def device_count() -> int:
    """Cards of the emulated machine, with one device each; raises ValueError for a count that no machine has."""
    word = os.environ.get(COUNT_VARIABLE) or "1"
    if not (word.isascii() and word.isdigit() and 1 <= int(word) <= COUNT_MAX):
        raise ValueError(
            f"{COUNT_VARIABLE}={word} is no number of cards, expected a whole number from 1 to {COUNT_MAX}"
        )
    return int(word)
