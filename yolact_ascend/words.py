"""How words of a command line become values. Each reader raises ValueError whose text is what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")
MOST_DIGITS = 1000  # Python refuses to read more than 4300, in words of its own


def whole_number(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number from `least` to `most` (None: no limit)."""
    expected = f"a whole number from {least}" + ("" if most is None else f" to {most}")

    def read(word: str) -> int:
        # isascii: isdigit alone accepts "²" and digits that int() or a reader would not.
        is_number = word.isascii() and word.isdigit() and len(word) <= MOST_DIGITS
        if not (is_number and least <= int(word) and (most is None or int(word) <= most)):
            raise ValueError(expected)
        return int(word)

    return read


def decimal(least: float, most: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    """Return what reads a finite number from `least` (excluded with `above`) to `most`."""
    expected = f"a number above {least:g}" if above else f"a number from {least:g}"
    expected += f" to {most:g}" if math.isfinite(most) else ""

    def read(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most) or (above and value == least):
            raise ValueError(expected)
        return value

    return read


def one_of(words: Iterable[str]) -> Callable[[str], str]:
    """Return what reads one of these words."""
    words = tuple(words)

    def read(word: str) -> str:
        if word not in words:
            raise ValueError(f"one of {', '.join(words)}" if len(words) > 1 else words[0])
        return word

    return read


def switch(word: str) -> bool:
    """Read 0 or 1."""
    return one_of(("0", "1"))(word) == "1"


def listed(read: Callable[[str], Value], expected: str) -> Callable[[str], tuple[Value, ...]]:
    """Return what reads several values separated by commas, each once; `expected` describes them."""

    def read_all(word: str) -> tuple[Value, ...]:
        try:
            return tuple(dict.fromkeys(read(part) for part in word.split(",")))
        except ValueError:
            raise ValueError(expected) from None

    return read_all


def path(word: str) -> Path:
    """Read a path; `~` is the home folder."""
    if not word:
        raise ValueError("a path")
    try:
        return Path(word).expanduser()
    except RuntimeError as error:
        raise ValueError(f"a path ({error})") from None


def optional(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return what reads an empty word as None."""
    return lambda word: None if word == "" else read(word)
