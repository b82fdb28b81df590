"""`doctor --bundle`: what a report of a problem needs, in one file: texts about this host and of a work folder.

No images, no weights, no models; private things are taken out (`redact`).
"""

from __future__ import annotations

import io
import os
import platform
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from yolact_ascend import __version__
from yolact_ascend.analysis.doctor import render_json, render_text
from yolact_ascend.analysis.redact import redactor_of_this_user
from yolact_ascend.checks import Check
from yolact_ascend.disk import existing_folder
from yolact_ascend.environment import shell_environment
from yolact_ascend.errors import UsageError
from yolact_ascend.files import IS_CHECKOUT, PACKAGE, write_bytes
from yolact_ascend.pipeline.settings import RunSettings
from yolact_ascend.targets.ascend.inspection import inspect_tools
from yolact_ascend.targets.ascend.target import AscendTarget
from yolact_ascend.targets.folder import RECORDS, VERDICT

SUFFIX = ".zip"
# Of a work folder; only of folders that our runs made, so that other people's logs beside them stay where they are.
PATTERNS = (
    *("report.json", "report.md", "yolact_edge_bs*.json", "*_aipp.cfg", f"{RECORDS}/*.json", "logs/*.log"),
    *("bs*/*_summary.json", "bs*/scores.json", "bs*/perf*.json"),
)
VERIFICATIONS = (VERDICT, f"verify/{VERDICT}")
WORK_FOLDERS = ("", "*/", "verify/*/")  # from `out=`
MOST_BYTES = 1_000_000  # of one file; a longer one keeps its first tenth and its end
OS_RELEASE = Path("/etc/os-release")


def require_bundle_path(path: Path) -> None:
    """Raise UsageError, before any work, for a name that cannot be a new bundle."""
    if path.suffix != SUFFIX:
        raise UsageError(f"--bundle={path}: expected a name that ends in {SUFFIX}.")
    if path.exists():
        raise UsageError(f"--bundle={path} exists and is not overwritten. Choose another name, or remove it.")
    parent = existing_folder(path.parent)
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise UsageError(f"--bundle={path}: {parent} is not a folder that this user may write to. Choose another.")


def gather(settings: RunSettings, checks: Sequence[Check], plan: str) -> dict[str, bytes]:
    """Return the files of a bundle by name, without what is private; `plan` is that of a run with these settings."""
    env = shell_environment()
    redactor = redactor_of_this_user()
    texts = {
        "doctor.txt": render_text(list(checks)) + "\n",
        "doctor.json": render_json(list(checks)) + "\n",
        "plan.txt": plan + "\n",
        "host.txt": describe_host(),
    }
    files = {"environment.txt": redactor.environment(env)}
    if settings.target == AscendTarget.name:
        found, tool_env = inspect_tools(settings.device, env)
        named = {redactor.text(name).strip("/").replace("/", "_"): text for name, text in found.items()}
        texts.update({f"tools/{name}.txt": text for name, text in named.items()})
        files["environment_of_tools.txt"] = redactor.environment(tool_env)
    texts.update({f"work/{name}": text for name, text in read_work_folder(settings.out).items()})
    files.update({redactor.text(name): redactor.text(text) for name, text in texts.items()})
    return {name: text.encode() for name, text in sorted(files.items())}


def describe_host() -> str:
    """Return system, Python and versions of packages, as text."""
    packages = sorted({f"{found.metadata['Name']} {found.version}" for found in metadata.distributions()})
    release = OS_RELEASE.read_text(errors="replace") if OS_RELEASE.is_file() else f"no {OS_RELEASE}\n"
    place = "checkout" if IS_CHECKOUT else "installed in"
    lines = [
        f"yolact-ascend {__version__}",
        f"{platform.platform()}, {platform.machine()}, libc {' '.join(platform.libc_ver())}",
        f"Python {platform.python_version()} ({platform.python_implementation()}), {place} {PACKAGE.parent}",
    ]
    return "\n".join([*lines, "", release, "packages of this Python:", *packages]) + "\n"


def read_work_folder(out: Path) -> dict[str, str]:
    """Return the side-cars, reports, records and logs below a work folder, by path from it."""
    folders = [found.parent for place in WORK_FOLDERS for found in out.glob(f"{place}{RECORDS}")]
    found = {path for folder in folders for pattern in PATTERNS for path in folder.glob(pattern)}
    found |= {out / name for name in VERIFICATIONS}
    return {
        path.relative_to(out).as_posix(): _read(path)
        for path in sorted(found)
        if path.is_file() and not path.is_symlink()
    }


def _read(path: Path) -> str:
    data = path.read_bytes()
    if len(data) > MOST_BYTES:
        first, last = MOST_BYTES // 10, MOST_BYTES - MOST_BYTES // 10
        left_out = f"\n[... {len(data) - MOST_BYTES} bytes left out ...]\n".encode()
        data = data[:first] + left_out + data[-last:]
    return data.decode(errors="replace")


def describe_bundle(path: Path, files: Mapping[str, bytes]) -> str:
    """Return what a bundle is going to hold, for the user to see before it is written."""
    lines = [f"{path} will hold {len(files)} texts, and no images, weights or models:"]
    lines += [f"  {len(data):>9} bytes  {name}" for name, data in files.items()]
    said = "Secrets, home folders, user and host names are replaced. Look through the file before you send it."
    return "\n".join([*lines, said])


def write_bundle(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the bundle, whole or not at all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    write_bytes(path, buffer.getvalue())
