"""How numbers and tables are printed: one format for all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

NOT_AVAILABLE = "n/a"


def format_number(value: float | None, digits: int = 2) -> str:
    """Return a number with a fixed count of decimals; "n/a" for None."""
    return NOT_AVAILABLE if value is None else f"{value:.{digits}f}"


def format_change(first: float | None, second: float | None, digits: int = 2) -> str:
    """Return second - first with its sign; "n/a" where one of them is None."""
    return NOT_AVAILABLE if first is None or second is None else f"{second - first:+.{digits}f}"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; no cell can end its column or begin a tag of HTML, whatever a class is called."""
    cells = [[escape_markdown(cell) if isinstance(cell, str) else cell for cell in row] for row in (heads, *rows)]
    return tabulate(cells[1:], cells[0], tablefmt="pipe", disable_numparse=True)


def escape_markdown(text: str) -> str:
    """Return text whose `|` and `<` are shown, not taken for a table's or for a tag's; links in it stay."""
    return re.sub(r"[|<]", r"\\\g<0>", text)


def counted(count: int, what: str) -> str:
    """Return a number with a noun, which gets an s unless the number is 1."""
    return f"{count} {what}{'' if count == 1 else 's'}"
