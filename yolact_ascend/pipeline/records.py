"""What each step of a run was made from: the memory that lets a second run redo only what changed.

A step's record is written after its outputs are whole, and removed before the step runs again. So a step without a
record was never finished, whatever lies in the work folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import as_json, digest, read_json, write_json
from yolact_ascend.folders import LEDGER, Ledger
from yolact_ascend.targets.folder import WorkFolder

SCHEMA = 1
NO_RESULT = "no earlier result"


@dataclass(frozen=True)
class Record:
    """A finished step: what it depended on, the state of what it wrote, and what it took."""

    inputs: dict[str, Any]
    outputs: dict[str, list[int]]  # path -> [size in bytes, modification time in ns]; see `Records.describe`
    seconds: float
    images: int | None
    note: str = ""  # the step's own, see `steps.Step`
    commands: list[str] = field(default_factory=list)  # that it ran, as lines to paste
    finished: str = ""  # ISO 8601, UTC; "" in a record of an earlier version
    schema: int = SCHEMA

    @property
    def token(self) -> str:
        """Changes when the step wrote anything anew: what later steps depend on where content is too large to hash."""
        return digest(self.outputs)


def utc_now() -> str:
    """Return the time as records and reports state it: ISO 8601, UTC, whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Records:
    """The records of a work folder, one JSON file a step. They hold when the folder is moved."""

    def __init__(self, folder: WorkFolder) -> None:
        self._root = folder.root
        self._folder = folder.records
        is_of_earlier_version = self._folder.is_dir() and not (folder.root / LEDGER).exists()
        self.ledger = Ledger(folder.root, trusts_all=is_of_earlier_version)

    def load(self, label: str) -> Record | None:
        """Return a step's record, or None when it never finished (or by a version that wrote other records)."""
        path = self._path(label)
        if not path.is_file():
            return None
        with contextlib.suppress(ArtifactError, TypeError):
            record = Record(**read_json(path, "a step's record"))
            return record if record.schema == SCHEMA else None
        return None

    def token(self, label: str) -> str | None:
        """Return the token of a finished step, None of one that is not."""
        record = self.load(label)
        return record.token if record else None

    def save(self, label: str, record: Record) -> None:
        write_json(self._path(label), asdict(record), indent=None)

    def forget(self, label: str) -> None:
        self._path(label).unlink(missing_ok=True)

    def why_stale(self, label: str, inputs: dict[str, Any]) -> str | None:
        """Say why a step must run, in a few words; None when it is fresh."""
        record = self.load(label)
        if record is None:
            return NO_RESULT
        now = as_json(inputs)
        changed = [key for key in {**record.inputs, **now} if record.inputs.get(key) != now.get(key)]
        if "target" in changed:  # all that follows from it says nothing more
            changed = ["target"]
        if changed:
            return f"changed: {', '.join(changed)}"
        for path, state in record.outputs.items():
            found = self.describe([self._root / path]).get(path)
            if found != state:
                return f"{path} {'is missing' if found is None else 'has changed'}"
        return None

    def describe(self, paths: Sequence[Path]) -> dict[str, list[int]]:
        """Return the size and time of each file that exists, named from the work folder where it lies inside."""
        stats = {}
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                name = path.relative_to(self._root) if self._root in path.parents else path.resolve()
                stats[str(name)] = [stat.st_size, stat.st_mtime_ns]
        return stats

    def _path(self, label: str) -> Path:
        return self._folder / f"{label.replace(' ', '_')}.json"
