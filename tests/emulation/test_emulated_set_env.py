"""emulation/set_env.sh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import EMULATION

PATHS = {
    "usual": {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/somewhere"},
    "no_pythonpath": {"PATH": "/usr/bin:/bin"},
    "empty_pythonpath": {"PATH": "/usr/bin:/bin", "PYTHONPATH": ""},
    "already_behind": {"PATH": f"/usr/bin:{EMULATION}/bin:/bin", "PYTHONPATH": f"/somewhere:{EMULATION}"},
    "twice_in_a_row": {
        "PATH": f"{EMULATION}/bin:{EMULATION}/bin:/usr/bin:/bin",
        "PYTHONPATH": f"{EMULATION}:{EMULATION}",
    },
}


def source(script: Path, env: dict[str, str], times: int = 1, cwd: Path | None = None) -> dict[str, str]:
    """The variables after sourcing `script`, in a shell that stops at unset variables and failures."""
    command = "set -euo pipefail; " + f'source "{script}"; ' * times + "env -0"
    done = subprocess.run(["/bin/bash", "-c", command], env=env, cwd=cwd, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


@pytest.mark.parametrize("env", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize("times", [1, 2, 3])
def test_stand_ins_come_first_and_once(env: dict[str, str], times: int) -> None:
    variables = source(EMULATION / "set_env.sh", {**env, "VIRTUAL_ENV": "/venv"}, times)
    assert variables["PATH"] == f"{EMULATION}/bin:/usr/bin:/bin"
    rest = ":/somewhere" if "/somewhere" in env.get("PYTHONPATH", "") else ""
    assert variables["PYTHONPATH"] == f"{EMULATION}{rest}"
    assert variables["ASCEND_TOOLKIT_HOME"] == str(EMULATION)


def test_no_helper_stays_behind() -> None:
    script = f'source "{EMULATION}/set_env.sh"; compgen -A function; compgen -v'
    names = subprocess.run(["/bin/bash", "-c", script], check=True, capture_output=True, text=True).stdout
    assert "_ascend_emulation" not in names


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy with a space in its path and a .venv."""
    folder = tmp_path / "my checkout"
    (folder / "emulation").mkdir(parents=True)
    shutil.copy(EMULATION / "set_env.sh", folder / "emulation")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python3").symlink_to(sys.executable)
    return folder


@pytest.mark.parametrize("times", [1, 2])
def test_venv_of_the_checkout_stands_behind_the_stand_ins(checkout: Path, times: int) -> None:
    variables = source(checkout / "emulation" / "set_env.sh", {"PATH": "/usr/bin:/bin"}, times)
    expected = [f"{checkout}/emulation/bin", f"{checkout}/.venv/bin", "/usr/bin", "/bin"]
    assert variables["PATH"].split(os.pathsep) == expected


def test_active_virtual_env_is_kept(checkout: Path) -> None:
    variables = source(
        checkout / "emulation" / "set_env.sh", {"PATH": "/venv/bin:/usr/bin:/bin", "VIRTUAL_ENV": "/venv"}
    )
    assert ".venv" not in variables["PATH"]


def test_relative_path_from_another_folder(checkout: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "VIRTUAL_ENV": "/venv", "CDPATH": "/usr"}
    variables = source(Path("emulation/set_env.sh"), env, cwd=checkout)
    assert variables["ASCEND_TOOLKIT_HOME"] == f"{checkout}/emulation"
