"""A pretended Python for the tests of scripts/setup.sh: it keeps a journal of what it installs, and takes no time.

`make_python` writes one. It knows what the scripts ask of a Python: `-c CODE`, `-m venv`, `-m pip`, and starting a
folder or a module, which it only notes. What it cannot do is said by files beside its journal. It imports little, since
each test starts it a dozen times.
"""

from __future__ import annotations

import os
import sys

JOURNAL = "journal"  # in the folder of the base Python: a line for each call that installs or runs something
OFFLINE, NO_ENSUREPIP, SLOW = "offline", "no-ensurepip", "slow"  # names of files beside the journal: what is wrong
PIP_VERSION, PIP_CONFIG = "pip-version", "pip-config"  # files there with what pip says of itself
FAILING = "failing"  # a file there with the name of a module: starting it fails


class Python:
    """The Python that runs now: a base, or one of its environments by a link in there."""

    def __init__(self, program: str) -> None:
        self.base = folder_above(os.path.realpath(program))
        around = folder_above(os.path.abspath(program))
        self.prefix = around if os.path.exists(f"{around}/pyvenv.cfg") else self.base
        with open(f"{self.base}/version") as file:
            self.version = tuple(map(int, file.read().split(".")))
        self.packages = f"{self.prefix}/lib/python{self.version[0]}.{self.version[1]}/site-packages"

    def has(self, flaw: str) -> bool:
        return os.path.exists(f"{self.base}/{flaw}")

    def says(self, name: str, otherwise: str) -> str:
        return read(f"{self.base}/{name}") if self.has(name) else otherwise

    def note(self, words: list[str]) -> None:
        variables = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "PYTHON"))}
        entry = {"words": words, "prefix": self.prefix, "cwd": os.getcwd(), "variables": variables}
        write(f"{self.base}/{JOURNAL}", f"{entry!r}\n", "a")

    def run_code(self, code: str) -> None:
        """Run `-c CODE` as if in this Python."""
        sys.prefix, sys.base_prefix = self.prefix, self.base
        sys.version_info = (*self.version, 0)  # type: ignore[assignment]  # what the scripts compare
        exec(code)

    def make_venv(self, words: list[str]) -> int:
        """What `-m venv` does, in its order: the folders, pyvenv.cfg, the program, pip, the scripts."""
        folder = words[-1]
        if "--clear" in words:
            empty(folder)
        os.makedirs(f"{folder}/bin", exist_ok=True)
        sees_base = "true" if "--system-site-packages" in words else "false"
        write(f"{folder}/pyvenv.cfg", f"include-system-site-packages = {sees_base}\n")
        program = f"{folder}/bin/python"
        if not os.path.islink(program):
            os.symlink(f"{self.base}/bin/python3", program)
        if "--without-pip" not in words:
            if self.has(NO_ENSUREPIP):
                print("The virtual environment was not created successfully because ensurepip is not available.")
                return 1
            add_package(Python(program).packages, "pip")
        write(f"{folder}/bin/activate", f"VIRTUAL_ENV={folder}\n")
        return 0

    def pip(self, words: list[str]) -> int:
        if not os.path.exists(f"{self.packages}/pip-1.dist-info/RECORD"):
            print(f"{self.prefix}/bin/python: No module named pip", file=sys.stderr)
            return 1
        if "--version" in words:
            print(f"pip {self.says(PIP_VERSION, '26.1')} from {self.packages}/pip (python 3.11)")
            return 0
        if words[2:4] == ["config", "list"]:
            print(self.says(PIP_CONFIG, ""))
            return 0
        self.note(words)
        if self.has(SLOW):
            import time

            time.sleep(0.5)
        if "--editable" in words:
            wanted, needs_network = ["yolact_ascend"], "--no-build-isolation" not in words
        else:
            lists = [file for word, file in zip(words, words[1:]) if word == "-r"]
            wanted, needs_network = [name for file in lists for name in read(file).split()], True
            wanted = [word for word in wanted if word[0].isalpha() and not word.startswith("python_version")]
            if "--index-url" in words or "--upgrade" in words:
                wanted = [word for word in words if word.startswith(("torch", "pip>"))]
        for name in wanted:
            if os.path.exists(f"{self.packages}/{name}-1.dist-info"):  # whole or not: as pip looks
                continue
            if needs_network and self.has(OFFLINE):
                print("ERROR: no network", file=sys.stderr)
                return 1
            if name.startswith("pip>"):
                write(f"{self.base}/{PIP_VERSION}", "26.1")
            add_package(self.packages, name.split("=")[0].split(">")[0])
        return 0


def folder_above(program: str) -> str:
    return os.path.dirname(os.path.dirname(program))


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def write(path: str, text: str, mode: str = "w") -> None:
    with open(path, mode) as file:
        file.write(text)


def add_package(packages: str, name: str) -> None:
    os.makedirs(f"{packages}/{name}-1.dist-info", exist_ok=True)
    write(f"{packages}/{name}-1.dist-info/RECORD", "")


def empty(folder: str) -> None:
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(f"{parent}/{name}")
        for name in folders:
            os.rmdir(f"{parent}/{name}")


def make_python(folder: str, version: str = "3.11") -> str:
    """Write a pretended Python of this version; return its program, `folder`/bin/python3."""
    program = f"{folder}/bin/python3"
    os.makedirs(f"{folder}/bin")
    body = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import fake_python; fake_python.main()"
    write(program, f"#!/bin/sh\n''''exec {sys.executable} -IS \"$0\" \"$@\" # '''\n{body}\n")
    os.chmod(program, 0o755)
    write(f"{folder}/version", version)
    return program


def main() -> None:
    """Do what the command line says."""
    python, words = Python(sys.argv[0]), sys.argv[1:]
    while words and words[0] in ("-I", "-E"):
        del words[0]
    if words[0] == "-c":
        python.run_code(words[1])
    elif words[:2] == ["-m", "venv"]:
        python.note(words)
        sys.exit(python.make_venv(words))
    elif words[:2] == ["-m", "pip"]:
        sys.exit(python.pip(words))
    else:
        python.note(words)
        if words[1:2] == [python.says(FAILING, "")]:
            print(f"{words[1]} failed")
            sys.exit(1)
