"""A file of results, one JSON object a line, that lets the same command resume after any interruption."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


class Refused(Exception):
    """The run cannot start as asked; the text names what to change."""


class Journal:
    """A file's entries: first a head that identifies the run, then its results, oldest first."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        """Read what an earlier run left; raises Refused when that run was another one."""
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]  # an interrupted run may leave half a line
        if entries and entries[0]["head"] != head:
            raise Refused(
                f"{path} holds results of {entries[0]['head']}, and this run is {head}. "
                "Use another --out, or delete the file."
            )
        self.entries: list[dict[str, Any]] = entries[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries or [{"head": head}]))

    def add(self, entry: dict[str, Any]) -> None:
        """Append a line."""
        self.entries.append(entry)
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout, and whether files differ from it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
