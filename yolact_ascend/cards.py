"""The cards of a machine, as `npu-smi info` shows them, and their names for atc."""

from __future__ import annotations

import re
from collections.abc import Mapping

from yolact_ascend.errors import ToolError
from yolact_ascend.process import capture

# A card's row in `npu-smi info`: "| 0  310P3  | OK  | 15.8 …"; the chip's row below it has a Bus-Id or NA there.
_CARD_ROW = re.compile(r"^\|\s*(\d+)\s+((?:Ascend)?\d{3}\w*)\s*\|\s*(?!NA\b)([A-Za-z]+)\s*\|", re.MULTILINE)
_NPU_SMI_VERSION = re.compile(r"^\|\s*npu-smi\s+(.*?)\s*\|", re.MULTILINE)


def read_cards(env: Mapping[str, str]) -> tuple[list[str], str]:
    """Ask `npu-smi info`; return (the chip of each card, version line). Raises ToolError when it shows none."""
    result = capture(["npu-smi", "info"], env)
    cards = parse_npu_smi(result.stdout)
    if result.returncode != 0 or not cards:
        shown = (result.stdout + result.stderr).strip().splitlines()
        raise ToolError(
            f"npu-smi info shows no card (exit code {result.returncode}): {shown[-1] if shown else 'no output'}. "
            "Is the driver loaded and the card healthy? Without a card use device=cpu."
        )
    version = _NPU_SMI_VERSION.search(result.stdout)
    return cards, re.sub(r"\s+", " ", version.group(1)) if version else "unknown"


def parse_npu_smi(text: str) -> list[str]:
    """Return the chip name of each card in the output of `npu-smi info`, as printed: "310P3", "910B3", "Ascend910"."""
    return [match.group(2) for match in _CARD_ROW.finditer(text)]


def soc_version_of(chip: str) -> str:
    """Turn npu-smi's name of a chip into atc's; raises ToolError for the series whose name does not tell it."""
    if chip.startswith("Ascend"):
        raise ToolError(
            f"npu-smi names the chip '{chip}', which is no --soc_version of atc. Ask `npu-smi info -t board -i 0 -c 0` "
            "and give it as soc=<Chip Name>_<NPU Name>, such as soc=Ascend910_9391."
        )
    return f"Ascend{chip}"
