"""Stand-in of npu-smi: idle cards in the layout of the cards without HBM, whatever their chip."""

from __future__ import annotations

from ascend_emulation.chip import MEMORY_TOTAL_MB, chip_name, device_count, npu_name

VERSION = "23.0.0-emulated"
HELP = """Usage: npu-smi info [-t board -i CARD -c CHIP]

Stand-in of npu-smi: shows emulated cards (EMULATED_NPUS=1, EMULATED_SOC=Ascend310P3); there is no NPU behind them.
  info          the table of cards and processes
  -t board      with info: one card's chip, by name
  -h, --help    this text
  -v            the version"""

_CELL_WIDTHS = (31, 17, 54)
_ROW_WIDTH = sum(_CELL_WIDTHS) + len(_CELL_WIDTHS) - 1


def _rule(stroke: str) -> str:
    return "+" + "+".join(stroke * width for width in _CELL_WIDTHS) + "+"


def _row(*cells: str) -> str:
    widths = (_ROW_WIDTH,) if len(cells) == 1 else _CELL_WIDTHS
    return "|" + "|".join(f" {cell}".ljust(width) for cell, width in zip(cells, widths)) + "|"


def _card_lines(number: int) -> list[str]:
    """One chip a card; its device has the card's number."""
    return [
        _row(f"{number:<7} {chip_name()}", "OK", "NA           40                0     / 0"),
        _row(f"0       {number}", f"0000:{number:02X}:00.0", f"0            1699 / {MEMORY_TOTAL_MB}"),
        _rule("="),
    ]


def _process_lines(number: int) -> list[str]:
    return [_row(f"No running processes found in NPU {number}"), _rule("=")]


def info_table(count: int) -> str:
    """The text of `npu-smi info` on a machine with `count` cards."""
    return "\n".join(
        [
            "+" + "-" * _ROW_WIDTH + "+",
            _row(f"npu-smi {VERSION:<30}Version: {VERSION} (CPU only, no NPU)"),
            _rule("-"),
            _row("NPU     Name", "Health", "Power(W)     Temp(C)           Hugepages-Usage(page)"),
            _row("Chip    Device", "Bus-Id", "AICore(%)    Memory-Usage(MB)"),
            _rule("="),
            *(line for number in range(count) for line in _card_lines(number)),
            _rule("-"),
            _row("NPU     Chip", "Process id", "Process name             | Process memory(MB)"),
            _rule("="),
            *(line for number in range(count) for line in _process_lines(number)),
        ]
    )


def board_of(arguments: list[str], count: int) -> int | None:
    """The card that `info -t board -i CARD -c CHIP` asks for; None for other words and cards that are not there."""
    cards = {" ".join(["info", "-t", "board", "-i", str(card), "-c", "0"]): card for card in range(count)}
    return cards.get(" ".join(arguments))


def board_text(card: int) -> str:
    """The rows of `npu-smi info -t board` that name the chip; only an Atlas A3 has an NPU Name."""
    npu = npu_name()
    rows = {"NPU ID": str(card), **({"NPU Name": npu} if npu else {}), "Chip ID": "0", "Chip Name": chip_name()}
    return "\n".join(f"        {name:<31}: {value}" for name, value in rows.items())


def main(arguments: list[str]) -> int:
    """Run `npu-smi ARGUMENTS`; returns the exit code."""
    if arguments in (["-h"], ["--help"]):
        print(HELP)
        return 0
    if arguments == ["-v"]:
        print(f"npu-smi version: {VERSION}")
        return 0
    try:
        if arguments == ["info"]:
            print(info_table(device_count()))
            return 0
        card = board_of(arguments, device_count())
        if card is not None:
            print(board_text(card))
            return 0
    except ValueError as error:
        print(error)
        return 1
    asked = " ".join(["npu-smi", *arguments])
    print(f"The emulated npu-smi does not implement '{asked}'; it knows 'npu-smi info' only. Try 'npu-smi -h'.")
    return 1
