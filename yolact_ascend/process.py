"""Running other programs: one function, a line to paste, and a useful message on failure."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import RawIOBase
from pathlib import Path

from yolact_ascend.environment import has_own_packages
from yolact_ascend.errors import ToolError, ToolTimeout
from yolact_ascend.files import IS_CHECKOUT, PACKAGE, make_folder
from yolact_ascend.folders import open_own

SHOWN_LINES = 12  # of a failed program's output
TROUBLESHOOTING = "docs/troubleshooting.md"
# Of ais_bench and atc; from CANN 8.5 on, its messages begin with "[PID: 4711] 2026-08-01-10:00:00.000.000 ".
_ERROR_LINE = re.compile(r"\[(ACL )?ERROR\]|ERROR|E[A-Z]?\d{4,5}\b|\[PID: ?\d+\] \S+ \S*\(E\w+\):")
Explain = Callable[[str, int], "str | None"]  # from a program's output and exit code
Watch = Callable[[bytes], None]  # gets a program's output as it comes


def format_command(command: Sequence[str]) -> str:
    """Return the command as a line for a shell."""
    return " ".join(shlex.quote(word) for word in command)


def without_folders(command: Sequence[str]) -> list[str]:
    """Return a command with file names in place of paths, as it can be read and pasted on another machine."""
    words = [word.rpartition("=") for word in command]
    return [f"{flag}{equals}{value.rpartition('/')[2] or value}" for flag, equals, value in words]


def run_tool(
    command: Sequence[str],
    env: Mapping[str, str],
    log: Path | None = None,
    explain: Explain | None = None,
    pass_fds: Sequence[int] = (),
    watch: Watch | None = None,
) -> str:
    """Run a program, showing its command line, and its output as it comes; return its output if logged.

    With `log`, standard output and error also go to the end of that file and to `watch`, and are returned; otherwise
    they are not captured.
    Raises ToolError when the program is missing or its exit code is not 0: it shows the command, the code, the last
    lines and, if logged, the explanation that `explain` returns for the output and the code.
    """
    print(f"$ {format_command(command)}", file=sys.stderr, flush=True)
    with contextlib.nullcontext() if log is None else _open_log(log, command) as file:
        code, output = _run(command, env, file, pass_fds, watch)
    if code != 0:
        if log is None:
            raise ToolError(f"That command {describe_exit(code)}; its own message is above.")
        what = f"{Path(command[0]).name} {describe_exit(code)}."
        raise ToolError(describe_failure(what, command, output, log, explain, code))
    return output


def signal_of(exit_code: int) -> signal.Signals | None:
    """Return the signal that ended a program, by its exit code: negative as Python has it, 128 + n from a shell."""
    number = -exit_code if exit_code < 0 else exit_code - 128
    return signal.Signals(number) if number in set(signal.Signals) else None


def describe_exit(exit_code: int) -> str:
    """Return how a program failed: "failed with exit code 1", "was ended by signal SIGKILL (exit code 137)"."""
    ended_by = signal_of(exit_code)
    if ended_by is None:
        return f"failed with exit code {exit_code}"
    return f"was ended by signal {ended_by.name} (exit code {exit_code})"


def _run(
    command: Sequence[str],
    env: Mapping[str, str],
    log: RawIOBase | None,
    pass_fds: Sequence[int],
    watch: Watch | None = None,
) -> tuple[int, str]:
    """Run a program to its end, or end it when this one is interrupted; returns its code and what went to the log."""
    streams = {} if log is None else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        process = subprocess.Popen(command, env=dict(env), pass_fds=pass_fds, **streams)  # type: ignore[call-overload]
    except OSError as error:
        raise ToolError(f"Cannot start {command[0]}: {error.strerror}.") from error
    try:
        output = "" if log is None else _tee(process, log, watch)
        return process.wait(), output
    except BaseException:
        process.terminate()
        process.wait()
        raise


def capture(
    command: Sequence[str], env: Mapping[str, str] | None = None, limit_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a short query quietly (env None: as this process).

    Raises ToolError only when it cannot be started, and ToolTimeout when it has not ended after `limit_s` seconds.
    """
    try:
        return subprocess.run(
            command,
            env=env if env is None else dict(env),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=limit_s,
        )
    except OSError as error:
        raise ToolError(f"Cannot start {command[0]}: {error.strerror}.") from error
    except subprocess.TimeoutExpired as error:
        raise ToolTimeout(f"{format_command(command)} gave no answer within {limit_s:g} s and was ended.") from error


def describe_failure(
    what: str,
    command: Sequence[str],
    output: str,
    log: Path,
    explain: Explain | None = None,
    exit_code: int = 0,
) -> str:
    """Return the message on a failed program: what happened, its command, its last lines, its log, and why."""
    parts = [f"{what} The command was: {format_command(command)}"]
    # A progress bar rewrites its line; only its last state counts.
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in output.split("\n") if line.strip()]
    # A line that the tool marks as its error may be above a long usage text.
    marked = [line for line in lines[:-SHOWN_LINES] if _ERROR_LINE.match(line)]
    if marked:
        parts += ["Its errors:", *(f"  {line}" for line in marked[-SHOWN_LINES:])]
    if lines:
        parts += ["Its last lines:", *(f"  {line}" for line in lines[-SHOWN_LINES:])]
    parts.append(f"Its whole output: {log}")
    explanation = explain(output, exit_code) if explain else None
    parts.append(explanation or f"{TROUBLESHOOTING} explains errors by their text.")
    return "\n".join(parts)


def _open_log(path: Path, command: Sequence[str]) -> RawIOBase:
    """Open a log at its end, and begin with the time and the command; what is there stays."""
    make_folder(path.parent)
    file = os.fdopen(open_own(path), "ab", buffering=0)
    file.write(
        f"=== {datetime.now().astimezone().isoformat(timespec='seconds')} $ {format_command(command)}\n".encode()
    )
    return file


def _tee(process: subprocess.Popen[bytes], file: RawIOBase, watch: Watch | None = None) -> str:
    """Copy a program's output to stderr and the log as it comes: progress bars stay alive."""
    assert process.stdout is not None
    chunks = []
    with process.stdout as stream:
        for chunk in iter(lambda: os.read(stream.fileno(), 1 << 16), b""):
            chunks.append(chunk)
            file.write(chunk)
            sys.stderr.write(chunk.decode(errors="replace"))
            sys.stderr.flush()
            if watch is not None:
                watch(chunk)
    return b"".join(chunks).decode(errors="replace")


@dataclass(frozen=True)
class Runner:
    """Starts the programs of one run; each of them holds the work folder's lock while it lives."""

    lock: int  # file descriptor
    own_env: Mapping[str, str]  # of our own stages: as the user's shell has it, whatever a target sources for its tools
    announce: Callable[[str], None] = lambda line: None  # gets each line before its program starts
    commands: list[str] = field(default_factory=list)  # what was started, as lines to paste

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path | None = None,
        explain: Explain | None = None,
        watch: Watch | None = None,
    ) -> str:
        """Run a program of a target in its environment; see `run_tool`."""
        self._note(command)
        return run_tool(command, env, log, explain, [self.lock], watch)

    def run_own(self, command: Sequence[str], log: Path | None = None) -> str:
        """Run a stage of ours as the user's shell would."""
        self._note(command)
        return run_tool(command, self.own_env, log, pass_fds=[self.lock])

    def _note(self, command: Sequence[str]) -> None:
        self.commands.append(format_command(command))
        self.announce(self.commands[-1])


def own_command(*verb: str) -> list[str]:
    """Return the words that start one of our own verbs, by the Python that runs now.

    By the package's path: -m would search the current folder before Python's own modules. Where .venv has all packages,
    -I also leaves out PYTHONPATH; elsewhere they may be there, or in the user's own folder, and only the processes that
    the verb starts are kept from the current folder (-P, since Python 3.11).
    """
    flags = ["-I"] if has_own_packages() else ["-P"] if sys.version_info >= (3, 11) else []
    if sys.dont_write_bytecode:
        flags.append("-B")  # -I would forget the variable
    return [_relative(Path(sys.executable)), *flags, _relative(PACKAGE), *verb]


def run_line(*words: str) -> str:
    """Return the line that starts a run with these settings: the checkout's script, or the installed command."""
    return format_command([*(("bash", "scripts/run_all.sh") if IS_CHECKOUT else ("yolact-ascend", "run")), *words])


def _relative(path: Path) -> str:
    """Return a path relative to the current folder where it lies inside: a line that is easier to read and paste."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
