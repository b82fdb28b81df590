"""Compile yolact_ascend/detection/run_lengths.c for the processors whose libraries come with the package.

    .venv/bin/python scripts/compile_run_lengths.py

Needs both compilers: on Debian, apt install gcc gcc-aarch64-linux-gnu (on x86-64) or gcc-x86-64-linux-gnu (on aarch64).
The libraries in the repository are made by gcc 12.2 of Debian 12; the same gcc gives the same bytes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from yolact_ascend.detection.run_lengths import compile_command, library_of

MACHINES = ("x86_64", "aarch64")


def main() -> int:
    """Compile; 1 when a compiler is missing or fails."""
    for machine in MACHINES:
        compiler = f"{machine}-linux-gnu-gcc"
        if not shutil.which(compiler):
            print(f"error: {compiler} is not installed. See the top of {Path(__file__).name}.", file=sys.stderr)
            return 1
        if subprocess.run(compile_command(compiler, library_of(machine)), check=False).returncode:
            return 1
        print(library_of(machine))
    return 0


if __name__ == "__main__":
    sys.exit(main())
