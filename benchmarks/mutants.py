"""How strong the tests are: change the sources in one place at a time, and see whether a test fails.

    python benchmarks/mutants.py --checkout DIR --mutants 500 --seed 0 --out FILE.jsonl [--workers N] [FOLDER ...]

Draws mutants from all Python files in the FOLDERs (default: yolact_ascend emulation), runs each in a temporary copy of
the checkout with the checkout's .venv, and prints a table: mutants that no test noticed are holes. The checkout itself
is not touched. The same command resumes an interrupted run; mutants in FILE.jsonl are not run again.

A mutant meets the test file named after its module first, then, quickest first, the test files that import the module.
A module without either is tested by those of the modules that import it, else by all tests of its folder. Test files
that fail without a mutant are left out and named.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mutations import Mutation, find_mutations

FOLDERS = ("yolact_ascend", "emulation")
TIMEOUT_FACTOR, TIMEOUT_S = 3, 60  # of a run without a mutant, and added to it
KILLED, TIMEOUT, LIVES, UNTESTED = "killed", "timeout", "lives", "untested"
PROGRAMS = {"ascend_emulation": "atc"}  # folders of the emulation whose tests have the program's name
NO_TESTS = 5  # pytest's exit code when it collected none
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no")


class Refused(Exception):
    """Something that the user has to change; the text says what."""


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
    parser.add_argument("--scratch", type=Path, help="where the copies go (default: the system's temporary folder)")
    parser.add_argument("--python", type=Path, help="interpreter (default: .venv/bin/python of the checkout)")
    args = parser.parse_args()
    args.checkout = args.checkout.resolve()
    args.python = args.python or args.checkout / ".venv" / "bin" / "python"
    return args


def source_files(checkout: Path, folders: Iterable[str]) -> list[Path]:
    """Return the Python files of the folders, sorted."""
    return sorted(path for folder in folders for path in (checkout / folder).rglob("*.py"))


def draw_mutants(checkout: Path, folders: Iterable[str], count: int, seed: int) -> list[Mutant]:
    """Draw mutants evenly over all places; of a place's changes by one operator (+1, -1) only one."""
    places: dict[tuple[str, int, int, str], list[Mutant]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # `x is not 0`: a mutant like others
        for path in source_files(checkout, folders):
            file = path.relative_to(checkout).as_posix()
            for found in find_mutations(path.read_bytes()):
                places.setdefault((file, found.start, found.end, found.operator), []).append(Mutant(file, found))
    if not places:
        raise Refused(f"{checkout} holds no sources to change in {', '.join(folders)}.")
    generator = random.Random(seed)
    drawn = generator.sample(sorted(places), min(count, len(places)))
    return [generator.choice(places[place]) for place in drawn]


def head(args: argparse.Namespace, mutants: Sequence[Mutant]) -> dict[str, Any]:
    """Return what must be the same when a run resumes: sources, tests, and the draw."""
    digest = hashlib.sha256()
    for path in source_files(args.checkout, [*args.folders, "tests"]):
        digest.update(path.relative_to(args.checkout).as_posix().encode() + path.read_bytes())
    command = ["git", "-C", str(args.checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {"commit": commit, "sources": digest.hexdigest(), "mutants": len(mutants), "seed": args.seed}


class Log:
    """The file of results: a head, the test files without a mutant, and one line a mutant."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.results: dict[str, dict[str, Any]] = {}
        self.tests: dict[str, float | None] = {}  # seconds; None: it fails
        self._path = path
        self._lock = threading.Lock()
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]  # an interrupted run may leave half a line
        if entries and entries[0]["head"] != head:
            raise Refused(
                f"{path} holds results of {entries[0]['head']}, and this run is {head}. "
                "Use another --out, or delete the file."
            )
        for entry in entries[1:]:
            if "test_file" in entry:
                self.tests[entry["test_file"]] = entry["seconds"]
            else:
                self.results[entry["name"]] = entry
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries or [{"head": head}]))

    def add(self, entry: dict[str, Any]) -> None:
        """Append a line."""
        with self._lock, self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

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
            log.add_result(mutant, try_mutant(mutant, groups, log.tests, copy))
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
    mutant: Mutant, groups: Sequence[Sequence[str]], seconds_of: dict[str, float | None], copy: Copy
) -> dict[str, Any]:
    """Return how a mutant fares: the mirror's tests first, then the others."""
    begin = time.monotonic()
    result = {"result": UNTESTED, "by": ""}
    with copy.changed(mutant):
        for number, group in enumerate(groups):
            times = {file: seconds for file in group if (seconds := seconds_of[file]) is not None}
            if not times:
                continue
            timeout = TIMEOUT_FACTOR * sum(times.values()) + TIMEOUT_S
            code, output = copy.pytest(sorted(times, key=lambda file: times[file]), timeout)
            result["result"] = TIMEOUT if code is None else KILLED if code else LIVES
            if code != 0:
                result["by"] = first_failure(output) or ("mirror" if number == 0 else "others")
                break
    return {**result, "mirror": groups[0] != [] and number == 0, "seconds": round(time.monotonic() - begin, 1)}


def first_failure(output: str) -> str:
    """Return the test that failed first, by pytest's summary; empty where it did not come that far."""
    match = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return match[1] if match else ""


class Suite:
    """Which test files concern which source file."""

    def __init__(self, checkout: Path, folders: Sequence[str]) -> None:
        paths = source_files(checkout, folders)
        self._sources = {module_name(path.relative_to(checkout)): path.relative_to(checkout) for path in paths}
        self._files = sorted(path.relative_to(checkout) for path in (checkout / "tests").rglob("test_*.py"))
        self._imports = {file: self._imports_of_test(checkout / file) for file in self._files}
        self._importers: dict[str, set[str]] = {}
        for name, path in self._sources.items():
            for imported in self._modules(checkout / path):
                self._importers.setdefault(imported, set()).add(name)

    def of(self, file: str) -> list[list[str]]:
        """Return the test files that mirror a source file, and all others that concern it."""
        path = Path(file)
        mirrors = [test for test in self._files if is_mirror(test, path)]
        own_folder = [test for test in self._files if test.parts[1] == path.parts[0]]
        concerned = own_folder or self._importing({module_name(path)}, go_on=not mirrors)
        if not mirrors and not concerned:
            concerned = [test for test in self._files if set(test.parts[1:-1]) & set(path.parts[:-1])] or self._files
        return [
            [test.as_posix() for test in mirrors],
            [test.as_posix() for test in concerned if test not in mirrors],
        ]

    def _importing(self, modules: set[str], go_on: bool) -> list[Path]:
        """Return the tests that import one of the modules, or else, to `go_on`, those of what imports it, and so on."""
        seen = set(modules)
        while modules:
            found = [test for test in self._files if self._imports[test] & modules]
            if found or not go_on:
                return found
            modules = set().union(*(self._importers.get(one, set()) for one in modules)) - seen
            seen |= modules
        return []

    def _imports_of_test(self, path: Path) -> set[str]:
        """Return the modules that a test file imports, also by a helper beside it in a folder of tests."""
        found = self._modules(path)
        if path.parent.name != "tests":
            for name in imported_names(path):
                helper = path.with_name(f"{name}.py")
                if helper.exists() and not name.startswith("test_"):
                    found |= self._modules(helper)
        return found

    def _modules(self, path: Path) -> set[str]:
        """Return the modules among the sources that a file imports, anywhere in it."""
        names = imported_names(path)
        inner = {name.rpartition(".")[0] for name in names & self._sources.keys()}  # `from package import module`
        return (names - inner) & self._sources.keys()


def imported_names(path: Path) -> set[str]:
    """Return what a Python file imports: `a.b` and `a.b.c` for `from a.b import c`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def module_name(path: Path) -> str:
    """Return the name by which a source is imported; the emulation's folders are on the path themselves."""
    parts = path.with_suffix("").parts
    if parts[0] == "emulation":
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_mirror(test: Path, source: Path) -> bool:
    """Return whether a test file is named after a source file, and not in another's folder."""
    words = f"{test.stem}_"
    if source.parts[0] == "emulation":
        names = {source.stem, *(PROGRAMS.get(folder, folder) for folder in source.parts[1:2])}
        return words.startswith("test_emulated_") and any(f"_{name}_" in words for name in names)
    folders = set(test.parts[1:-1])  # files beside all rooms are tested in tests/floor
    return words.startswith(f"test_{source.stem}_") and folders <= {*source.parts[1:-1], "floor"}


class Copy:
    """A copy of the checkout in which one source at a time is changed, with an environment that imports the copy."""

    def __init__(self, checkout: Path, python: Path, folder: Path) -> None:
        self._folder = folder / "checkout"
        self._temporary = folder / "tmp"
        self._changes = 0
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False
        shutil.copytree(checkout, self._folder, ignore=leave_out, symlinks=True)
        self._python = make_environment(self._folder, python)

    def measure(self, file: str) -> float | None:
        """Return how many seconds a test file takes without a mutant; None when it fails, or all of it is skipped."""
        begin = time.monotonic()
        code, output = self.pytest([file], None)
        if code not in (0, NO_TESTS):
            print(f"warning: {file} fails without a mutant and is left out:\n{output[-2000:]}", file=sys.stderr)
        return None if code else round(time.monotonic() - begin, 1)

    @contextlib.contextmanager
    def changed(self, mutant: Mutant) -> Any:
        """Have the mutant in the copy."""
        path = self._folder / mutant.file
        source = path.read_bytes()
        self._write(path, mutant.mutation.apply(source))
        try:
            yield
        finally:
            self._write(path, source)

    def _write(self, path: Path, source: bytes) -> None:
        path.write_bytes(source)
        self._changes += 1  # Python takes compiled files by time and size: no two changes have the same
        os.utime(path, (10**9 + self._changes, 10**9 + self._changes))

    def pytest(self, files: Sequence[str], timeout: float | None) -> tuple[int | None, str]:
        """Run test files; return pytest's exit code, None after the timeout, and what it printed."""
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        command = [str(self._python), "-m", "pytest", *OPTIONS, f"--basetemp={self._temporary}", *files]
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            self._process = process = subprocess.Popen(
                command, cwd=self._folder, env=env, text=True, stdout=output, stderr=output, start_new_session=True
            )
            try:
                code: int | None = process.wait(timeout)
            except subprocess.TimeoutExpired:
                code = None
            kill_group(process)  # with what a mutant left behind
            if self._is_stopped:
                raise Refused("interrupted; the same command resumes")
            output.seek(0)
            return code, output.read()

    def stop(self) -> None:
        """End the tests that run, and start none."""
        self._is_stopped = True
        if self._process is not None:
            kill_group(self._process)


def kill_group(process: subprocess.Popen[str]) -> None:
    """End a process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def leave_out(folder: str, names: list[str]) -> set[str]:
    """Return what a copy does without: hidden files, compiled ones, and what runs leave in a checkout."""
    left_out = {name for name in names if name.startswith(".") or name == "__pycache__"}
    if "pyproject.toml" in names:
        left_out |= {name for name in names if name in ("data", "results") or name.startswith("results_")}
    return left_out


def make_environment(folder: Path, python: Path) -> Path:
    """Make an environment in `folder` that imports the copy, and the packages of `python`; return its interpreter."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    scheme = {"base": str(folder / ".venv"), "platbase": str(folder / ".venv")}
    own = Path(sysconfig.get_path("purelib", vars=scheme))
    # A path in a .pth file is searched without its own .pth files: the editable install of the checkout is not seen.
    (own / "copy.pth").write_text(f"{folder}\n{packages}\n")
    new = folder / ".venv" / "bin" / "python"
    for script in python.parent.iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        shebang, newline, rest = script.read_bytes().partition(b"\n")
        if shebang.startswith(f"#!{python.parent}/python".encode()):
            copied = new.with_name(script.name)
            copied.write_bytes(f"#!{new}".encode() + newline + rest)
            copied.chmod(0o755)
    return new


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
