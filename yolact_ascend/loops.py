"""How long a benchmark will take: said once, as soon as its own loops show it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable

LEAST_S = 10.0  # a shorter benchmark is over before the sentence is read
LEAST_MEASURED_S = 1.0  # loops that took less together do not show it
MOST_OF_A_MATCH = 500  # characters


class LoopClock:
    """Says on stderr how long `loop` loops take, after the first one, or as soon as they took a second together."""

    def __init__(
        self, loop: int, write: Callable[[str], None] | None = None, now: Callable[[], float] | None = None
    ) -> None:
        """`write` prints a line; None: to stderr, below what another program has printed there. `now` is in seconds."""
        self._loop, self._write, self._now = loop, write or _write_below, now or time.monotonic
        self._start: float | None = None
        self._before = 0  # loops that were done at the start
        self._is_said = False

    def begin(self) -> None:
        """Note that the first loop begins now."""
        self._start, self._before = self._now(), 0

    def done(self, count: int, is_alone: bool = True) -> None:
        """Note that `count` loops are done; without a `begin`, the first that is noted is where counting starts.

        `is_alone` False: others were computed beside it, so the first one alone does not show how many take how long.
        """
        if self._is_said or count <= self._before:
            return
        now = self._now()
        if self._start is None or (self._before == 0 and not is_alone):
            self._start, self._before = now, count
        elif now - self._start >= LEAST_MEASURED_S:
            self.say((now - self._start) / (count - self._before) * self._loop)

    def say(self, seconds: float) -> None:
        """Say how long all loops take, once, unless that is short."""
        if not self._is_said and seconds >= LEAST_S:
            self._write(f"benchmark: about {describe_seconds(seconds)} for {self._loop} loops")
        self._is_said = True


def _write_below(line: str) -> None:
    print(f"\n{line}", file=sys.stderr, flush=True)  # a progress bar has not ended its line


def describe_seconds(seconds: float) -> str:
    """Return a time in one unit, such as "40 s", "3 min" or "1.5 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def watch_output(found: Callable[[re.Match[str]], None], pattern: str) -> Callable[[bytes], None]:
    """Return a function that takes a program's output as it comes, and calls `found` for each match of `pattern`.

    A match may lie on several pieces; its last character must show that it is whole.
    """
    expression = re.compile(pattern)
    rest = ""

    def watch(piece: bytes) -> None:
        nonlocal rest
        text, end = rest + piece.decode(errors="replace"), 0
        for match in expression.finditer(text):
            found(match)
            end = match.end()
        rest = text[end:][-MOST_OF_A_MATCH:]

    return watch
