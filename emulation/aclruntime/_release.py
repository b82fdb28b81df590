"""Which of the real module's releases is played: those until 2025 call themselves 0.0.2, and all differ."""

from __future__ import annotations

import os
from dataclasses import dataclass

VARIABLE = "EMULATED_ACLRUNTIME"
LATEST = "2025"


@dataclass(frozen=True)
class Release:
    """What one release does differently from the others, beyond the methods that it has."""

    times_are_pairs: bool  # exec_time_list: (start, end), or the length alone
    blank_line_before_loops: bool
    one_context_per_device: bool  # closing the device tells that the context goes, and names the device differently
    announces_contexts: bool
    checks_arguments: bool  # path, permissions, loop, log level, device number: before anything is opened
    counts_feeds_first: bool
    capital_messages: bool
    logs_for_python: bool = False  # spdlog: WARNING for WARN, a label before the device's words; Python logs through it


RELEASES = {
    "2023": Release(False, True, True, False, False, False, True),  # Ascend/tools @9d6da90, June 2023
    "2024": Release(True, True, False, False, False, False, True),  # Ascend/msit @6394cfe1d^, June 2024
    "2025": Release(True, False, False, True, True, True, False),  # December 2025
    "2026": Release(True, False, False, True, True, False, False, logs_for_python=True),  # @df1f9a44, August 2026
}


def _played_year() -> str:
    year = os.environ.get(VARIABLE) or LATEST
    if year not in RELEASES:
        raise ImportError(f"{VARIABLE}={year} names no release of aclruntime, expected one of {', '.join(RELEASES)}")
    return year


YEAR = _played_year()
RELEASE = RELEASES[YEAR]
