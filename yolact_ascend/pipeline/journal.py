"""What a run says: on stderr as it goes, and in its log in the work folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from yolact_ascend.files import make_folder
from yolact_ascend.folders import open_own
from yolact_ascend.pipeline.records import utc_now


class Journal:
    """Lines of one run. The log, to whose end they go, is not touched before `begin`: a refused run writes nothing."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._waiting: list[str] | None = []  # None: the log may be written

    def say(self, text: str) -> None:
        """Print a text, and note it."""
        print(text, file=sys.stderr, flush=True)
        self.note(text)

    def note(self, text: str) -> None:
        """Write a text to the log only, each line with its time."""
        now = utc_now()
        lines = [f"{now} {line}\n" for line in text.splitlines()]
        if self._waiting is None:
            self._write(lines)
        else:
            self._waiting += lines

    def begin(self) -> None:
        """Write what was noted so far, and from now on each text as it comes."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._write(waiting)

    def _write(self, lines: list[str]) -> None:
        make_folder(self._log.parent)
        with os.fdopen(open_own(self._log), "ab") as file:
            file.write("".join(lines).encode(errors="backslashreplace"))
