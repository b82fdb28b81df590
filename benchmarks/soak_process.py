"""A command with all its processes, which a variable of their environment finds wherever they went."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from soak_commands import Command

COMMAND, ALL, ONE = "the command", "all its processes", "one of its processes"
MARK = "SOAK_KILL"  # the variable
END_S, RUN_S = 60, 900  # in which processes end whose command was killed; in which a command ends
POLL_S = 0.01


class Process:
    """A command in its folder, with a temporary folder of its own; its output goes to a file beside the folder."""

    def __init__(self, command: Command, folder: Path, mark: str) -> None:
        self._seed, value = mark, f"{os.getpid()}-{mark}"
        self._mark = f"{MARK}={value}".encode()
        self._folder = folder
        self._log = folder.with_name(f"{folder.name}.output")
        (folder / "tmp").mkdir(exist_ok=True)
        environment = {**os.environ, MARK: value, "TMPDIR": str(folder / "tmp")}
        self._begin = time.monotonic()
        self._end: float | None = None
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command.line, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def output(self) -> str:
        """Return what it has printed so far."""
        return self._log.read_text(errors="replace")

    def seconds(self) -> float:
        """Return how long it has run, or took."""
        return (self._end or time.monotonic()) - self._begin

    def watch(self, lines: Sequence[str]) -> dict[str, float]:
        """Return when it printed each line that it prints, in seconds; returns when it has ended."""
        found: dict[str, float] = {}
        while self._process.poll() is None:
            output = self.output()
            found.update({line: self.seconds() for line in lines if line not in found and line in output})
            time.sleep(POLL_S)
        self._end = time.monotonic()
        return found

    def wait_for(self, line: str) -> bool:
        """Wait for a line, and return whether it came."""
        while line not in self.output():
            if self._process.poll() is not None:
                return False
            time.sleep(POLL_S)
        return True

    def is_running_after(self, delay: float) -> bool:
        """Wait, and return whether it still runs."""
        time.sleep(delay)
        return self._process.poll() is None

    def wait(self, most_s: float = RUN_S) -> int | None:
        """Wait until it ends and return its exit code; None when it takes too long, and is killed."""
        try:
            return self._process.wait(most_s)
        except subprocess.TimeoutExpired:
            for pid in self._all():
                _kill(pid)
            return None

    def kill(self, victim: str) -> str:
        """Kill the command, all its processes, or one of them; return the command lines that were hit."""
        children = [pid for pid in self._all() if pid != self._process.pid]
        if victim == ONE and children:
            pids = [random.Random(self._seed).choice(children)]
        else:
            pids = [self._process.pid, *(children if victim == ALL else [])]
        names = [_name(pid) for pid in pids]
        for pid in pids:
            _kill(pid)
        return ", ".join(names)

    def end(self, victim: str) -> tuple[float, list[str]]:
        """Wait for all its processes to end; return how long that took, and a line for each that did not."""
        begin = time.monotonic()
        if victim == ONE and self.wait() is None:
            return time.monotonic() - begin, ["killed: it hangs without one of its processes"]
        self._process.wait()
        while (left := self._all()) and time.monotonic() - begin < END_S:
            time.sleep(POLL_S)
        faults = [f"process left: {_name(pid)}" for pid in left]
        for pid in left:
            _kill(pid)
        return time.monotonic() - begin, faults

    def put_aside(self) -> Path:
        """Move its temporary folder beside its folder, and return where it is."""
        aside = self._folder.with_name(f"{self._folder.name}.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        return (self._folder / "tmp").rename(aside)

    def _all(self) -> list[int]:
        return [pid for pid in _pids() if self._mark in _environment(pid).split(b"\0")]


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""


def _name(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b" ".join(words[1:6]).decode(errors="replace")[:120]
    except OSError:
        return "?"


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
