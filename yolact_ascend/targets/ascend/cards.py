"""The chips of a machine, as `npu-smi info` shows them, their names for atc and their numbers for ais_bench."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.process import capture

# A chip has two rows in `npu-smi info`: "| 0  310P3  | OK  | 15.8 …", and below it "| 0  0  | 0000:82:00.0 |" or NA.
_NAME_ROW = re.compile(r"^\|\s*(\d+)\s+((?:Ascend)?\d{3}\w*)\s*\|\s*(?!NA\b)([A-Za-z]+)\s*\|")
_CHIP_ROW = re.compile(r"^\|\s*(\d+)(?:\s+(\d+|NA))?\s*\|\s*(?:NA|[0-9A-Fa-f:.]+)\s*\|")
_DEVICE_COLUMN = re.compile(r"^\|\s*Chip\s+Device\b", re.MULTILINE)
_PROCESS_TABLE = re.compile(r"^\|\s*NPU\s+Chip\b")
_NPU_SMI_VERSION = re.compile(r"^\|\s*npu-smi\s+(.*?)\s*\|", re.MULTILINE)


@dataclass(frozen=True)
class Chip:
    """One chip; a card has one, two or four."""

    device_id: int  # its number for ACL, and so for `ais_bench --device`
    card: int  # npu-smi's number of the card, which need not begin at 0
    name: str  # as npu-smi prints it: "310P3", "910B3", "Ascend910"


def read_chips(env: Mapping[str, str]) -> tuple[list[Chip], str]:
    """Ask `npu-smi info`; return (the chips, version line). Raises ToolError when it shows none."""
    result = capture(["npu-smi", "info"], env)
    chips = parse_npu_smi(result.stdout)
    if result.returncode != 0 or not chips:
        shown = (result.stdout + result.stderr).strip().splitlines()
        raise ToolError(
            f"npu-smi info shows no card (exit code {result.returncode}): {shown[-1] if shown else 'no output'}. "
            "Is the driver loaded and the card healthy? Without a card, use device=emulation."
        )
    version = _NPU_SMI_VERSION.search(result.stdout)
    return chips, re.sub(r"\s+", " ", version.group(1)) if version else "unknown"


def parse_npu_smi(text: str) -> list[Chip]:
    """Return the chips in the output of `npu-smi info`, in its order.

    ACL counts the chips that a process sees from 0. The layout without HBM prints that number ("Chip  Device"); others
    print none, or a physical one ("Chip  Phy-ID") that is larger where a container has only some of the chips.
    """
    has_device_ids = _DEVICE_COLUMN.search(text)
    chips: list[Chip] = []
    for line in text.splitlines():
        if _PROCESS_TABLE.match(line):
            break
        name_row, chip_row = _NAME_ROW.match(line), _CHIP_ROW.match(line)
        if name_row:
            chips.append(Chip(len(chips), int(name_row.group(1)), name_row.group(2)))
        elif chip_row and chips and has_device_ids and (chip_row.group(2) or "").isdigit():
            chips[-1] = replace(chips[-1], device_id=int(chip_row.group(2)))
    return chips


def choose_chips(chips: Sequence[Chip], npus: Sequence[int]) -> list[Chip]:
    """Return the chips with the device numbers of `npus=`; raises UsageError when one is missing, or kinds differ."""
    asked = f"npus={','.join(map(str, npus))}"
    by_id = {chip.device_id: chip for chip in chips}
    for npu in npus:
        if npu not in by_id:
            shown = ", ".join(f"{chip.device_id} ({chip.name})" for chip in chips)
            raise UsageError(f"{asked}: npu-smi info shows no device {npu}; it shows {shown}.")
    chosen = [by_id[npu] for npu in npus]
    if len({chip.name for chip in chosen}) > 1:
        names = ", ".join(f"{chip.device_id} is {chip.name}" for chip in chosen)
        raise UsageError(f"{asked}: device {names}, but one .om is for one kind of chip. Choose devices of one kind.")
    return chosen


def soc_version_of(chip: str) -> str:
    """Turn npu-smi's name of a chip into atc's; raises ToolError for a series whose name does not determine it."""
    if chip.startswith("Ascend"):
        raise ToolError(
            f"npu-smi names the chip '{chip}', which is no --soc_version of atc. Ask `npu-smi info -t board -i 0 -c 0` "
            "and pass it as soc=<Chip Name>_<NPU Name>, such as soc=Ascend910_9391."
        )
    return f"Ascend{chip}"
