"""The one card that the stand-ins pretend to see."""

from __future__ import annotations

CHIP_NAME = "310P3"
SOC_VERSION = "Ascend" + CHIP_NAME
DEVICE_COUNT = 1
MEMORY_TOTAL_MB = 21527
