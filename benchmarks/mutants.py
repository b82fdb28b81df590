"""How strong the tests are: change the sources in one place at a time, and see whether a test fails.

    python benchmarks/mutants.py --checkout DIR --mutants 500 --seed 0 --out FILE.jsonl [--workers N] [FOLDER ...]

Draws mutants from all Python files in the FOLDERs (default: yolact_ascend emulation), runs each in a temporary copy of
the checkout with the checkout's .venv, and prints a table: mutants that no test noticed are holes. The checkout itself
is not touched. The same command resumes an interrupted run; mutants in FILE.jsonl are not run again.

A mutant meets the test file named after its module first, then, quickest first, the test files that import the module.
A module without either is tested by those of the modules that import it, else by all tests of its folder. Test files
that fail without a mutant are left out and named. A mutant that lives may still be noticed by tests of whole runs, or
by tests that were skipped because a variable such as YOLACT_EDGE_DIR was not set.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import math
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from journal import Journal, Refused, commit_of
from mutant_copy import Copy
from mutant_suite import Suite, source_files
from mutations import Mutation, compiles, find_mutations

FOLDERS = ("yolact_ascend", "emulation")
TIMEOUT_FACTOR, TIMEOUT_S = 3, 60  # of a run without a mutant, and added to it
KILLED, TIMEOUT, LIVES, UNTESTED = "killed", "timeout", "lives", "untested"


@dataclass(frozen=True)
class Mutant:
    """A mutation of one file, by its path in the checkout."""

    file: str
    mutation: Mutation

    @property
    def name(self) -> str:
        """What identifies it in the results."""
        return f"{self.file}:{self.mutation.start}-{self.mutation.end}:{self.mutation.after}"


def main() -> int:
    """Run what is missing in the results, then print the table."""
    args = parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        mutants = draw_mutants(args.checkout, args.folders, args.mutants, args.seed)
        log = Log(args.out, head(args, mutants))
        remaining = [mutant for mutant in mutants if mutant.name not in log.results]
        with tempfile.TemporaryDirectory(prefix="mutants-", dir=args.scratch) as scratch:
            run_mutants(remaining, args, log, Path(scratch))
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. The same command resumes.", file=sys.stderr)
        return 130
    print(table([log.results[mutant.name] for mutant in mutants]))
    return 0


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", default=FOLDERS, help="whose sources are changed")
    parser.add_argument("--checkout", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--mutants", type=int, default=500, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON object a line")
    parser.add_argument("--workers", type=int, default=1, help="mutants at the same time, each in its own copy")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="of the other test files, run as many as take this long"
    )
    parser.add_argument("--scratch", type=Path, help="where the copies go (default: the system's temporary folder)")
    parser.add_argument("--python", type=Path, help="interpreter (default: .venv/bin/python of the checkout)")
    args = parser.parse_args()
    args.checkout = args.checkout.resolve()
    args.python = args.python or args.checkout / ".venv" / "bin" / "python"
    return args


def draw_mutants(checkout: Path, folders: Iterable[str], count: int, seed: int) -> list[Mutant]:
    """Draw mutants evenly over all places; of a place's changes by one operator (+1, -1) only one."""
    sources = {path.relative_to(checkout).as_posix(): path.read_bytes() for path in source_files(checkout, folders)}
    places: dict[tuple[str, int, int, str], list[Mutant]] = {}
    for file, source in sources.items():
        for found in find_mutations(source):
            places.setdefault((file, found.start, found.end, found.operator), []).append(Mutant(file, found))
    generator = random.Random(seed)
    drawn = (generator.choice(places[place]) for place in generator.sample(sorted(places), len(places)))
    usable = (mutant for mutant in drawn if compiles(mutant.mutation.apply(sources[mutant.file])))
    mutants = list(itertools.islice(usable, count))
    if not mutants:
        raise Refused(f"{checkout} holds no sources to change in {', '.join(folders)}.")
    return mutants


def head(args: argparse.Namespace, mutants: Sequence[Mutant]) -> dict[str, Any]:
    """Return what must be the same when a run resumes: sources, tests, and the draw."""
    digest = hashlib.sha256()
    for path in source_files(args.checkout, [*args.folders, "tests"]):
        digest.update(path.relative_to(args.checkout).as_posix().encode() + path.read_bytes())
    draw = {"mutants": len(mutants), "seed": args.seed, "seconds": args.seconds}
    return {"commit": commit_of(args.checkout), "sources": digest.hexdigest(), **draw}


class Log(Journal):
    """The file of results: a head, the test files without a mutant, and one line a mutant."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        super().__init__(path, head)
        self.results: dict[str, dict[str, Any]] = {}
        self.tests: dict[str, float | None] = {}  # seconds; None: it fails
        self._lock = threading.Lock()
        for entry in self.entries:
            if "test_file" in entry:
                self.tests[entry["test_file"]] = entry["seconds"]
            else:
                self.results[entry["name"]] = entry

    def add(self, entry: dict[str, Any]) -> None:
        """Append a line; threads may call it."""
        with self._lock:
            super().add(entry)

    def add_result(self, mutant: Mutant, result: dict[str, Any]) -> None:
        """Append the result of a mutant."""
        found = mutant.mutation
        what = {"line": found.line, "operator": found.operator, "before": found.before, "after": found.after}
        self.results[mutant.name] = {"name": mutant.name, "file": mutant.file, **what, **result}
        self.add(self.results[mutant.name])

    def add_test(self, file: str, seconds: float | None) -> None:
        """Append how long a test file takes."""
        self.tests[file] = seconds
        self.add({"test_file": file, "seconds": seconds})


def run_mutants(mutants: Sequence[Mutant], args: argparse.Namespace, log: Log, scratch: Path) -> None:
    """Run mutants in copies of the checkout, as many at a time as there are workers."""
    if not mutants:
        return
    tests = Suite(args.checkout, args.folders)
    workers = min(args.workers, len(mutants))
    copies = [Copy(args.checkout, args.python, scratch / str(number)) for number in range(workers)]
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)
    measuring = threading.Lock()
    start, done = time.monotonic(), 0

    def run(mutant: Mutant) -> None:
        nonlocal done
        copy = free.get()
        try:
            groups = tests.of(mutant.file)
            with measuring:
                for file in (file for group in groups for file in group if file not in log.tests):
                    log.add_test(file, copy.measure(file))
            log.add_result(mutant, try_mutant(mutant, groups, log.tests, copy, args.seconds))
        finally:
            free.put(copy)
        done += 1
        result, minutes = log.results[mutant.name], (time.monotonic() - start) / 60
        where = f"{mutant.file}:{mutant.mutation.line}"
        print(f"{done}/{len(mutants)} {minutes:.0f} min {result['result']} {where}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(workers) as pool:
        try:
            for _ in pool.map(run, mutants):
                pass
        except BaseException:  # such as the user's interrupt: what runs has no result
            pool.shutdown(wait=False, cancel_futures=True)
            for copy in copies:
                copy.stop()
            raise


def try_mutant(
    mutant: Mutant,
    groups: Sequence[Sequence[str]],
    seconds_of: dict[str, float | None],
    copy: Copy,
    most_s: float = math.inf,
) -> dict[str, Any]:
    """Return how a mutant fares: the mirror's tests first, then the others, of these as many as take `most_s`."""
    begin = time.monotonic()
    result = {"result": UNTESTED, "by": ""}
    with copy.changed(mutant.file, mutant.mutation):
        for number, group in enumerate(groups):
            times = {file: seconds for file in group if (seconds := seconds_of[file]) is not None}
            files = quickest(times, math.inf if number == 0 else most_s)
            if not files:
                continue
            timeout = TIMEOUT_FACTOR * sum(times[file] for file in files) + TIMEOUT_S
            code, output = copy.pytest(files, timeout)
            result["result"] = TIMEOUT if code is None else KILLED if code else LIVES
            if code != 0:
                result["by"] = first_failure(output) or ("mirror" if number == 0 else "others")
                break
    return {**result, "mirror": groups[0] != [] and number == 0, "seconds": round(time.monotonic() - begin, 1)}


def quickest(seconds_of: dict[str, float], most_s: float) -> list[str]:
    """Return the files, quickest first, that take no more than `most_s` together; always the first."""
    files = sorted(seconds_of, key=lambda file: seconds_of[file])
    totals = itertools.accumulate(seconds_of[file] for file in files)
    return [file for number, (file, total) in enumerate(zip(files, totals)) if number == 0 or total <= most_s]


def first_failure(output: str) -> str:
    """Return the test that failed first, by pytest's summary; empty where it did not come that far."""
    match = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return match[1] if match else ""


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the results by module, and the mutants that live."""
    by_file: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_file.setdefault(result["file"], []).append(result)
    rows = ["| module | mutants | killed | by the mirror file | live |", "|---|---:|---:|---:|---:|"]
    for file, group in (*sorted(by_file.items()), ("all", list(results))):
        dead = [result for result in group if result["result"] in (KILLED, TIMEOUT)]
        by_mirror = sum(result["mirror"] for result in dead)
        rows.append(f"| {file} | {len(group)} | {len(dead)} | {by_mirror} | {len(group) - len(dead)} |")
    share = 100 * len(dead) / max(len(results), 1)
    rows += ["", f"{share:.1f} % of {len(results)} mutants are killed. Live:"]
    for result in results:
        if result["result"] not in (KILLED, TIMEOUT):
            where = f"{result['file']}:{result['line']}"
            rows.append(f"- {where} {result['operator']}: `{result['before']}` -> `{result['after']}`")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
