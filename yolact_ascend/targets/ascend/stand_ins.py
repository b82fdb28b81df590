"""Which programs and packages are the stand-ins for CANN's tools, in whichever place."""

from __future__ import annotations

from pathlib import Path

STAND_INS = "ascend_emulation"  # the package of atc and npu-smi in emulation/, which no CANN has


def is_stand_in(program: str) -> bool:
    """Whether a program or a package's file is one of the stand-ins: of this checkout, of another, or installed."""
    return _is_in_a_checkout(program) or is_installed_stand_in(program)


def is_installed_stand_in(program: str) -> bool:
    """Whether a program is a stand-in that pip installed: its script of a few lines imports their package."""
    if _is_in_a_checkout(program):
        return False
    try:
        with Path(program).open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head.startswith(b"#!") and STAND_INS.encode() in head


def _is_in_a_checkout(program: str) -> bool:
    return (Path(program).resolve().parent.parent / STAND_INS).is_dir()
