"""A copy of a checkout whose sources can be changed and tested; used by mutants.py."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mutations import Mutation

NO_TESTS = 5  # pytest's exit code when it collected none
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no")


class Interrupted(Exception):
    """The copy was stopped while its tests ran."""


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
    def changed(self, file: str, mutation: Mutation) -> Iterator[None]:
        """Have a mutation of a file in the copy."""
        path = self._folder / file
        source = path.read_bytes()
        self._write(path, mutation.apply(source))
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
                raise Interrupted
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
