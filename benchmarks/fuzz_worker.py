"""One chunk of `fuzz.py`, in a process of its own: draws damage, tries it, and shrinks what fails to the least of it.

python benchmarks/fuzz_worker.py < JSON, as `Task` has it
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
from fuzz_kinds import CHECKOUT, KINDS, Attempt, Kind

HANG_S = 20  # CPU time of a case, after which its Python code is interrupted
STUCK_S = 300  # time of a case, after which the process ends
ACCEPTED, REFUSED, SYSTEM = "accepted", "refused", "refused by the system"
MOST_SHRINKS = 200  # tries to make a finding smaller
OUTCOMES = (ACCEPTED, REFUSED, SYSTEM)


@dataclass
class Task:
    """What a chunk is to do. Findings in `known` are counted, not shrunk again; damage in `skipped` is not tried."""

    kind: str
    chunk: int
    seed: int
    cases: int
    memory_gb: float
    known: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    current: str = ""  # file that names the damage that is being tried


@dataclass
class Chunk:
    """What came of it: how often each outcome was, and the least damage for each new finding."""

    kind: str
    chunk: int
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)


class Hang(BaseException):
    """A case takes too long; not an Exception, which a reader might take for its own."""


class Found(Exception):
    """Tells Hypothesis that a case failed."""


def main() -> None:
    """Do the task on stdin; print the chunk as JSON."""
    task = Task(**json.loads(sys.stdin.read()))
    out = os.dup(1)  # what readers print is not the result
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
        kind = KINDS[task.kind]
        attempt = kind.prepare(Path(folder))
        limit_memory(task.memory_gb)
        chunk = fuzz(task, kind, attempt)
    os.write(out, json.dumps({**vars(chunk), "outcomes": dict(chunk.outcomes)}).encode())


def fuzz(task: Task, kind: Kind, attempt: Attempt) -> Chunk:
    """Try the cases of a chunk, again from the start after each finding, which is then known."""
    signal.signal(signal.SIGPROF, _interrupt)
    known, findings = set(task.known), []
    while True:
        chunk = Chunk(task.kind, task.chunk, findings=findings)
        finding = _one_pass(task, kind, attempt, known, chunk)
        if finding is None:
            return chunk
        known.add(finding["what"])
        findings.append(finding)


def _one_pass(task: Task, kind: Kind, attempt: Attempt, known: set[str], chunk: Chunk) -> dict[str, Any] | None:
    """Try the cases; return the first finding that is not known, with the least damage that brings it."""
    finding: dict[str, Any] = {}
    tries = 0

    @hypothesis.seed(task.seed * 1_000_003 + task.chunk)
    @hypothesis.settings(
        max_examples=task.cases,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        report_multiple_bugs=False,
        print_blob=False,
    )
    @hypothesis.given(kind.damage)
    def try_case(damage: Any) -> None:
        nonlocal tries
        tries += bool(finding)
        if tries > MOST_SHRINKS and damage != finding["damage"]:
            return
        what, trace = outcome(kind, attempt, damage, task)
        if not finding:
            chunk.cases += 1
            chunk.outcomes[what] += 1
        if what in OUTCOMES or what in known or (finding and finding["what"] != what):
            return
        finding.update({"what": what, "damage": damage, "trace": trace})  # the last is the least
        raise Found

    try:
        try_case()
    except Found:
        return finding
    except hypothesis.errors.Flaky:
        finding["flaky"] = True
        return finding
    return None


def outcome(kind: Kind, attempt: Attempt, damage: Any, task: Task) -> tuple[str, str]:
    """Try one case; return what came of it, and the traceback where it is a finding."""
    text = json.dumps(damage)
    if text in task.skipped:
        return REFUSED, ""
    if task.current:
        Path(task.current).write_text(text)
    faulthandler.dump_traceback_later(STUCK_S, exit=True)
    signal.setitimer(signal.ITIMER_PROF, HANG_S)
    try:
        wrong = attempt(damage)
        signal.setitimer(signal.ITIMER_PROF, 0)
        return (ACCEPTED, "") if wrong is None else (f"wrong: {_kind_of(wrong)}", wrong)
    except kind.refusals as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        return (REFUSED, "") if str(error).strip() else ("refused without a sentence", traceback.format_exc()[-2000:])
    except OSError as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        if error.filename:
            return SYSTEM, ""
        return f"{type(error).__name__} without a file name in {place_of(error)}", traceback.format_exc()[-2000:]
    except BaseException as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        return f"{type(error).__name__} in {place_of(error)}", traceback.format_exc()[-2000:]
    finally:
        faulthandler.cancel_dump_traceback_later()


def place_of(error: BaseException) -> str:
    """Return the innermost function of ours in a traceback, as file and name."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        if path.is_relative_to(CHECKOUT) and path.relative_to(CHECKOUT).parts[0] in ("yolact_ascend", "emulation"):
            return f"{path.relative_to(CHECKOUT).as_posix()}:{frame.name}"
    return "no code of ours"


def limit_memory(gigabytes: float) -> None:
    """Let this process have so much more memory than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _kind_of(text: str) -> str:
    """Return what stands before the colon: which kind it is."""
    return "".join("#" if letter.isdigit() else letter for letter in text.partition(":")[0])


def _interrupt(*_: object) -> None:
    raise Hang


if __name__ == "__main__":
    main()
