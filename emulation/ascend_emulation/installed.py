"""Commands of the installed stand-ins (`pip install ./emulation`): they do not take a real tool's place silently.

In a checkout, `source set_env.sh` asks for the stand-ins. Installed, they are on PATH as soon as their environment is
active, also on a machine with CANN or a card, where the user expects the real tools.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ascend_emulation import atc_cli
from ascend_emulation import npu_smi as npu_smi_cli

VARIABLE = "ASCEND_EMULATION"  # 1: use the stand-ins although real tools or a card are there
DEVICES = Path("/dev")
_NPU_SMI_FAILURE = 1
_HEAD_BYTES = 4096  # a script that starts a stand-in names its package in its first lines


def atc() -> int:
    """`atc`."""
    return _run("atc", atc_cli.main, atc_cli.FAILURE_CODE)


def npu_smi() -> int:
    """`npu-smi`."""
    return _run("npu-smi", npu_smi_cli.main, _NPU_SMI_FAILURE)


def _run(name: str, main: Callable[[list[str]], int], failure: int) -> int:
    hidden = what_it_hides(name, os.environ)
    if hidden:
        print(
            f"ERROR: this {name} is the CPU emulation ({sys.argv[0]}, from the Python package ascend-emulation), but "
            f"this machine has {hidden}. Leave the emulation's environment, or set {VARIABLE}=1 to use it anyway.",
            file=sys.stderr,
        )
        return failure
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `npu-smi info | head` ends quietly, as the real program does
    return main(sys.argv[1:])


def what_it_hides(name: str, environ: Mapping[str, str], devices: Path = DEVICES) -> str | None:
    """What of the real machine the stand-in of `name` would hide; None where nothing, or where the user wants that.

    The nodes of cards are /dev/davinci0 and so on (davinci_manager is there without a card, too).
    """
    if environ.get(VARIABLE) == "1":
        return None
    for folder in environ.get("PATH", "").split(os.pathsep):
        program = shutil.which(name, path=folder) if folder else None
        if program and not is_stand_in(Path(program)):
            return program
    card = min(devices.glob("davinci[0-9]*"), default=None)
    return f"an NPU ({card})" if card else None


def is_stand_in(program: Path) -> bool:
    """Whether a program starts a stand-in, of this installation or another, or of a checkout."""
    try:
        with program.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return head.startswith(b"#!") and __package__.encode() in head
