"""The cards that the stand-ins pretend to see: all of the chip EMULATED_SOC, as many as EMULATED_NPUS says."""

from __future__ import annotations

import os
import re

DEFAULT_SOC = "Ascend310P3"
SOC_VARIABLE = "EMULATED_SOC"
# Names of a series such as Ascend310P are not among them, nor are they for the real atc. Ascend910B is the first
# generation, beside which the second one has numbers.
SOC_VERSION = re.compile(
    r"Ascend(310|310P[1357]|310B[1-4]|910|910A|910B|910Pro[AB]|910PremiumA|910B[1-4]|910B2C|910B4-1|910_93\d\d)"
)
# Products with --sparsity (CANN 8.5, ATC's page of that flag): Atlas 200I/500 A2, A2 and A3.
_WITH_SPARSITY = re.compile(r"Ascend(310B\d|910B\d.*|910_93\d\d)")
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


def soc_version() -> str:
    """The chip of the emulated cards, as atc names it; raises ValueError for one that atc does not know."""
    word = os.environ.get(SOC_VARIABLE) or DEFAULT_SOC
    if not SOC_VERSION.fullmatch(word):
        raise ValueError(
            f"{SOC_VARIABLE}={word} is no chip that the stand-ins imitate, expected a soc_version such as {DEFAULT_SOC}"
        )
    return word


def has_sparsity(soc: str) -> bool:
    """Whether a chip skips the zeros of weights of which each four have two."""
    return bool(_WITH_SPARSITY.fullmatch(soc))


def chip_name() -> str:
    """The chip as npu-smi names it: without Ascend, or by its series alone on Atlas A3."""
    series, _, number = soc_version().partition("_")
    return series if number else series.replace("Ascend", "", 1)


def npu_name() -> str | None:
    """The part of an Atlas A3's soc_version that its board states; None for other chips."""
    return soc_version().partition("_")[2] or None
