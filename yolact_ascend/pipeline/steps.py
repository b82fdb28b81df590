"""What a run is made of: steps, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DONE, FRESH = "done", "fresh"


@dataclass(frozen=True)
class Step:
    """One stage, for one batch size where it has one. `work` returns how many images it went over, if it does.

    `made` are files, and folders whose contents are the step's.
    """

    stage: str
    batch_size: int | None
    inputs: Callable[[], dict[str, Any]]
    outputs: Callable[[], Sequence[Path]]
    work: Callable[[], int | None]
    made: Callable[[], Sequence[Path]] | None = None  # what it writes or removes, if that is not `outputs`
    require: Callable[[], object] = lambda: None  # raises what would keep `work` from being done, before any work
    note: Callable[[], str] = lambda: ""  # kept in its record; no reason to run again

    @property
    def label(self) -> str:
        return self.stage if self.batch_size is None else f"{self.stage} bs{self.batch_size}"

    @property
    def files(self) -> Sequence[Path]:
        """The files and folders that nobody else may have made."""
        return self.outputs() if self.made is None else self.made()


@dataclass(frozen=True)
class Outcome:
    """What became of one step in this run; all but its status are of the run that did the work."""

    stage: str
    batch_size: int | None
    status: str  # DONE or FRESH
    seconds: float
    images: int | None
    commands: Sequence[str] = ()  # that it ran, as lines to paste
    finished: str = ""  # ISO 8601, UTC; "" where that is not known
