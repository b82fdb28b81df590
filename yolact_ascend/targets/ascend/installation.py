"""Where CANN (Huawei's toolkit for Ascend NPUs) and its driver are on this host, and which release CANN is."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")  # of the file system; tests have one of their own
UNKNOWN = "unknown"  # a chip, soc_version or release that nothing states
CARD_GUIDE = "docs/card.md"  # from a bare host to a green doctor
HOMES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")  # CANN's set_env.sh sets both
LIBRARIES = "LD_LIBRARY_PATH"
_SET_ENV = "set_env.sh"
_FOLDERS = ("cann", "ascend-toolkit", "nnrt")  # from CANN 8.5 on; before; the runtime alone, without atc
_RECORD = "ascend_cann_install.info"  # the installer's own
# A release in these files: "version=8.5.0", "version=[7.6.0.1.220:8.0.0]", "runtime_running_version=[…:CANN-6.3]".
_VERSION_FILES = ("*-linux/ascend_toolkit_install.info", "*-linux/ascend_nnrt_install.info", "version.cfg")
_NOTES_OF_TOOLKIT = ("version.cfg", "version.info", "*/ascend_toolkit_install.info", "*/ascend_ops_install.info")
_VERSION = re.compile(r"^(?:\w+_running_)?version\s*=\s*\[?(?:[^\]\s]*:)?(?:CANN-)?([^\]\s:]+)", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """A set_env.sh of CANN, and how it was found."""

    set_env: Path
    reason: str


def which(program: str, env: Mapping[str, str]) -> str | None:
    """Return the path of a program as a shell with `env` would find it."""
    return shutil.which(program, path=env.get("PATH"))


def find_set_env(env: Mapping[str, str]) -> Found | None:
    """Return the set_env.sh of an installed CANN: by the variables, the installer's records, the usual folders."""
    for folder, reason in _candidates(env):
        if os.access(folder / _SET_ENV, os.R_OK):  # raises nothing where this user may not look
            return Found(folder / _SET_ENV, reason)
    return None


def describe_search(env: Mapping[str, str]) -> str:
    """Return in words where `find_set_env` looked, for a message that it found nothing."""
    records = ", ".join(map(str, _records(env)))
    folders = ", ".join(f"{folder}/{{{','.join(_FOLDERS)}}}" for folder in _parents(env))
    return f"no {_SET_ENV} in {' or '.join(HOMES)}, in what {records} name, or in {folders}"


def _candidates(env: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """The folders that may have a set_env.sh, best first, each with the reason to look there."""
    for variable in HOMES:
        if env.get(variable):
            home = Path(env[variable])
            yield from ((folder, f"{variable} is {home}") for folder in (home, home.parent))
    for record in _records(env):
        path = _value_of(record, "Toolkit_InstallPath")
        if path:  # of CANN 8.0 "…/ascend-toolkit", of 8.5 "…/cann-8.5.2"; tests keep it below their root
            folder = _under_root(path)
            yield from ((place, f"{record} names {path}") for place in (folder, *(folder / name for name in _FOLDERS)))
    for parent in _parents(env):
        for name in _FOLDERS:
            yield parent / name, f"{parent / name / _SET_ENV} is there"


def _records(env: Mapping[str, str]) -> list[Path]:
    return [ROOT / "etc" / "Ascend" / _RECORD, *(home / "Ascend" / _RECORD for home in _user_home(env))]


def _parents(env: Mapping[str, str]) -> list[Path]:
    """The folders into which root, other users and conda (of the activated environment) install by default."""
    conda = [Path(env["CONDA_PREFIX"])] if env.get("CONDA_PREFIX") else []
    return [ROOT / "usr" / "local" / "Ascend", *(home / "Ascend" for home in (*_user_home(env), *conda))]


def _user_home(env: Mapping[str, str]) -> list[Path]:
    return [Path(env["HOME"])] if env.get("HOME") else []


def _under_root(path: str) -> Path:
    return ROOT / path.lstrip("/")


def _value_of(record: Path, key: str) -> str:
    """Return the value of `key=` in one of the installers' records; "" when it is not there."""
    found = re.search(rf"^{key}\s*=\s*(\S+)", read_if_there(record), re.MULTILINE | re.IGNORECASE)
    return found.group(1) if found else ""


def read_if_there(path: Path) -> str:
    """Return the text of a file that CANN or the system writes; "" where there is none that this user may read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def homes(env: Mapping[str, str]) -> list[Path]:
    """Return the toolkit's folders that the environment names; never the current folder."""
    return [Path(env[variable]) for variable in HOMES if env.get(variable)]


def driver_folder() -> Path:
    """Return where the driver is, by its own record, else where it is by default."""
    recorded = _value_of(ROOT / "etc" / "ascend_install.info", "Driver_Install_Path_Param")
    return _under_root(recorded or "/usr/local/Ascend") / "driver"


def notes_of_installers(env: Mapping[str, str]) -> list[Path]:
    """Return the files that are there of those in which driver, firmware and CANN state their versions."""
    driver = driver_folder()
    paths = [driver / "version.info", driver.parent / "firmware" / "version.info", ROOT / "etc" / "ascend_install.info"]
    paths += _records(env)
    for home in homes(env):
        paths += [path for pattern in _NOTES_OF_TOOLKIT for path in sorted(home.glob(pattern))]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def device_files() -> list[Path]:
    """Return the files of this host's NPUs: /dev/davinci0, …"""
    return sorted(ROOT.glob("dev/davinci[0-9]*"))


def sign_of_card() -> Path | None:
    """Return what shows that this host has a card: the file of a device, or the driver; None when nothing does."""
    places = [*device_files(), ROOT / "dev" / "davinci_manager", driver_folder()]
    return next((place for place in places if os.access(place, os.F_OK)), None)


def missing_libraries(env: Mapping[str, str]) -> list[str]:
    """Return the folders of libraries that CANN's set_env.sh leaves out, as far as `env` does not have them.

    Those of the driver; CANN's images add them beside set_env.sh (Ascend/cann-container-image). On a host without a
    driver those for compiling alone, as the guide to ATC has it (hicann/ge).
    """
    library = driver_folder() / "lib64"
    folders = [folder for folder in (library, library / "common", library / "driver") if os.access(folder, os.X_OK)]
    if not folders:
        folders = [folder for home in homes(env) for folder in sorted(home.glob("*-linux/devlib"))]
    known = env.get(LIBRARIES, "").split(os.pathsep)
    return [str(folder) for folder in dict.fromkeys(folders) if str(folder) not in known]


def with_libraries(env: Mapping[str, str], folders: Sequence[str]) -> dict[str, str]:
    """Return `env` with more folders of libraries, which are searched last."""
    if not folders:
        return dict(env)
    return {**env, LIBRARIES: os.pathsep.join(filter(None, [env.get(LIBRARIES, ""), *folders]))}


def read_cann_version(env: Mapping[str, str]) -> str:
    """Return the release of the toolkit that the environment names ("8.0.0", "8.1.RC1"), else "unknown"."""
    for home in homes(env):
        for pattern in _VERSION_FILES:
            for path in sorted(home.glob(pattern)):
                found = _VERSION.search(read_if_there(path))
                if found:
                    return found.group(1)
    return UNKNOWN


def release_of(version: str) -> tuple[int, int] | None:
    """Return major and minor number of a release of CANN; None when it is not known."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found.group(1)), int(found.group(2))) if found else None
