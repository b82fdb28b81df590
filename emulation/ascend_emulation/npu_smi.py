"""Stand-in of npu-smi: one idle 310P3 card in the layout of the cards without HBM."""

from __future__ import annotations

from ascend_emulation.chip import CHIP_NAME, MEMORY_TOTAL_MB

VERSION = "23.0.0-emulated"
HELP = """Usage: npu-smi info

Stand-in of npu-smi: shows one emulated card; there is no NPU behind it.
  info          the table of cards and processes
  -h, --help    this text
  -v            the version"""

_CELL_WIDTHS = (31, 17, 54)
_ROW_WIDTH = sum(_CELL_WIDTHS) + len(_CELL_WIDTHS) - 1


def _rule(stroke: str) -> str:
    return "+" + "+".join(stroke * width for width in _CELL_WIDTHS) + "+"


def _row(*cells: str) -> str:
    widths = (_ROW_WIDTH,) if len(cells) == 1 else _CELL_WIDTHS
    return "|" + "|".join(f" {cell}".ljust(width) for cell, width in zip(cells, widths)) + "|"


def info_table() -> str:
    """The text of `npu-smi info`."""
    return "\n".join(
        [
            "+" + "-" * _ROW_WIDTH + "+",
            _row(f"npu-smi {VERSION:<30}Version: {VERSION} (CPU only, no NPU)"),
            _rule("-"),
            _row("NPU     Name", "Health", "Power(W)     Temp(C)           Hugepages-Usage(page)"),
            _row("Chip    Device", "Bus-Id", "AICore(%)    Memory-Usage(MB)"),
            _rule("="),
            _row(f"0       {CHIP_NAME}", "OK", "NA           40                0     / 0"),
            _row("0       0", "0000:00:00.0", f"0            1699 / {MEMORY_TOTAL_MB}"),
            _rule("="),
            _rule("-"),
            _row("NPU     Chip", "Process id", "Process name             | Process memory(MB)"),
            _rule("="),
            _row("No running processes found in NPU 0"),
            _rule("="),
        ]
    )


def main(arguments: list[str]) -> int:
    """Run `npu-smi ARGUMENTS`; returns the exit code."""
    if arguments in (["-h"], ["--help"]):
        print(HELP)
        return 0
    if arguments == ["-v"]:
        print(f"npu-smi version: {VERSION}")
        return 0
    if arguments == ["info"]:
        print(info_table())
        return 0
    asked = " ".join(["npu-smi", *arguments])
    print(f"The emulated npu-smi does not implement '{asked}'; it knows 'npu-smi info' only. Try 'npu-smi -h'.")
    return 1
