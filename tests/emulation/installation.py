"""Installs the stand-ins as `pip install ./emulation` does, into an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import EMULATION, Run, run_in

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
PURE = ("--no-deps", "--no-index", "--no-cache-dir", "-q")  # nothing is fetched
SEARCHED = "import sys; print('\\n'.join(sys.path[1:]))"


def build_wheel(folder: Path) -> Path:
    """Build the wheel of `emulation/` by this Python's setuptools."""
    command = [*PIP, "wheel", *PURE, "--no-build-isolation", "-w", folder, EMULATION]
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def make_environment(folder: Path, wheel: Path, python: str = sys.executable) -> Path:
    """Make a virtual environment with the wheel alone, which finds everything else in that of `python`."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    searched = subprocess.run([python, "-c", SEARCHED], check=True, capture_output=True, text=True).stdout
    [packages] = folder.glob("lib/python3*/site-packages")
    (packages / "others.pth").write_text("\n".join(p for p in searched.splitlines() if "site-packages" in p) + "\n")
    subprocess.run([*PIP, "--python", folder / "bin" / "python", "install", *PURE, wheel], check=True)
    return folder


def run_installed(environment: Path, folder: Path, **more: str) -> Run:
    """Run commands in `folder` as in a shell that has activated `environment`."""
    path = os.pathsep.join([str(environment / "bin"), "/usr/bin", "/bin"])
    names = {"HOME": str(folder), "PATH": path, "VIRTUAL_ENV": str(environment), "LC_ALL": "C.UTF-8"}
    return run_in({**names, "OMP_NUM_THREADS": "1", "ASCEND_EMULATION": "1", **more}, folder)
