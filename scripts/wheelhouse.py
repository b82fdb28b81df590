"""The work of scripts/wheelhouse.sh: downloads wheels for a Python and a processor that may not be this machine's.

pip chooses wheels of the target, but asks *this* Python whether a requirement applies ("python_version < '3.10'"). So
our own lists are reduced for the target first, and what the wheels themselves require there is added, until nothing is
missing. Needs nothing beside pip.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

try:
    from pip._vendor.packaging.markers import default_environment
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
    from pip._vendor.packaging.utils import canonicalize_name, parse_wheel_filename
    from pip._vendor.packaging.version import Version
except ImportError:
    sys.exit(f"error: {sys.executable} has no pip of its own. Name a Python that has: PYTHON=/path/to/python3")

CHECKOUT = Path(__file__).resolve().parent.parent
CPU_TORCH = "https://download.pytorch.org/whl/cpu"  # as in setup.sh
TORCH_INDEX = "TORCH_INDEX_URL"
TOOLS = ("pip>=21.3", "wheel")  # of the set-up itself
MOST_ROUNDS = 10
GLIBCS = range(17, 43)  # 2.17 is manylinux2014


class Target:
    """The Python and processor that the wheels are for."""

    def __init__(self, python: str, arch: str, glibc: str) -> None:
        self.python, self.arch = python, arch
        newest = int(glibc.split(".")[1])
        self.platforms = [f"manylinux_2_{minor}_{arch}" for minor in GLIBCS if minor <= newest]
        self.platforms += [f"manylinux2014_{arch}", f"linux_{arch}"]
        self.environment = {
            **default_environment(),
            **{"python_version": python, "python_full_version": f"{python}.0", "implementation_version": f"{python}.0"},
            **{"implementation_name": "cpython", "platform_python_implementation": "CPython", "os_name": "posix"},
            **{"sys_platform": "linux", "platform_system": "Linux", "platform_machine": arch, "extra": ""},
        }

    def applies(self, requirement: Requirement) -> bool:
        """Whether a requirement holds on the target."""
        return requirement.marker is None or requirement.marker.evaluate(self.environment)

    def flags(self) -> list[str]:
        """Return pip's words for it."""
        platforms = [word for name in self.platforms for word in ("--platform", name)]
        return ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python, *platforms]


def read_arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="wheelhouse.sh", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the wheels; those that are there are kept")
    parser.add_argument("--python", default="{}.{}".format(*sys.version_info), type=_python, help="such as 3.9")
    parser.add_argument("--arch", default=platform.machine(), choices=("x86_64", "aarch64"))
    parser.add_argument("--glibc", default="2.28", type=_glibc, help="oldest C library of the target (ldd --version)")
    parser.add_argument("--kind", default="run", choices=("runtime", "run", "openvino", "track", "cluster", "dev"))
    return parser.parse_args(words)


def _python(word: str) -> str:
    if not re.fullmatch(r"3\.\d+", word) or int(word[2:]) < 9:
        raise argparse.ArgumentTypeError(f"'{word}': expected a Python from 3.9 on, such as 3.9 or 3.11")
    return word


def _glibc(word: str) -> str:
    if not re.fullmatch(r"2\.\d+", word) or int(word[2:]) not in GLIBCS:
        raise argparse.ArgumentTypeError(f"'{word}': expected a version of glibc from 2.17 to 2.42, such as 2.28")
    return word


def our_requirements(kind: str, target: Target, alone: bool = False) -> list[Requirement]:
    """Return what setup.sh installs on the target; `alone`: only what it installs without what that requires."""
    command = ["bash", str(CHECKOUT / "scripts" / "setup.sh"), "--lists", kind]
    lists = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    lists = [name for name in lists if name.endswith("-alone.txt") == alone]
    lines = [line.split(" #")[0].strip() for name in lists for line in (CHECKOUT / name).read_text().splitlines()]
    lines += [] if alone else TOOLS
    parsed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return [requirement for requirement in parsed if target.applies(requirement)]


def download(requirements: list[Requirement], folder: Path, target: Target, *flags: str) -> None:
    """Have pip fetch wheels; ends the script with one sentence when it cannot."""
    if not requirements:
        return
    words = [_without_marker(requirement) for requirement in requirements]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    done = subprocess.run([*command, "--find-links", str(folder), *target.flags(), *flags, *words], check=False)
    if done.returncode:
        sys.exit(
            f"error: pip found no wheels for Python {target.python} on {target.arch} (its message is above). Check "
            f"--python, --arch and --glibc, and pip's index; wheels so far are kept in {folder}."
        )


def _without_marker(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def missing_requirements(folder: Path, target: Target, alone: frozenset[str] = frozenset()) -> list[Requirement]:
    """Return what the wheels in a folder require on the target and no wheel there is.

    `alone` are the packages that are installed without what they require.
    """
    present: dict[str, list[Version]] = {}
    wheels: dict[Path, str] = {path: parse_wheel_filename(path.name)[0] for path in sorted(folder.glob("*.whl"))}
    for path, name in wheels.items():
        present.setdefault(name, []).append(parse_wheel_filename(path.name)[1])
    missing = {}
    for path in (path for path, name in wheels.items() if name not in alone):
        for requirement in requirements_of(path):
            versions = present.get(canonicalize_name(requirement.name), [])
            fits = any(requirement.specifier.contains(version, prereleases=True) for version in versions)
            if target.applies(requirement) and not fits:
                missing[_without_marker(requirement)] = requirement
    return list(missing.values())


def requirements_of(wheel: Path) -> list[Requirement]:
    """Return what a wheel requires, on any machine."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        lines = Parser().parsestr(archive.read(name).decode("utf-8", "replace")).get_all("Requires-Dist") or []
    found = []
    for line in lines:
        try:
            found.append(Requirement(line))
        except InvalidRequirement as error:
            print(f"note: {wheel.name} requires '{line}', which cannot be read ({error}).", file=sys.stderr)
    return found


def main() -> None:
    """Fill the folder, and say how to use it."""
    arguments = read_arguments(sys.argv[1:])
    target, folder = Target(arguments.python, arguments.arch, arguments.glibc), arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    wanted, alone = (our_requirements(arguments.kind, target, is_alone) for is_alone in (False, True))
    torch = [requirement for requirement in wanted if requirement.name == "torch"]
    index = os.environ.get(TORCH_INDEX, CPU_TORCH)
    download(torch, folder, target, "--no-deps", *(["--index-url", index] if index else []))
    download([requirement for requirement in wanted if requirement not in torch], folder, target)
    download(alone, folder, target, "--no-deps")
    names = frozenset(canonicalize_name(requirement.name) for requirement in alone)
    for _ in range(MOST_ROUNDS):
        missing = missing_requirements(folder, target, names)
        if not missing:
            break
        download(missing, folder, target)
    else:
        sys.exit(f"error: still missing after {MOST_ROUNDS} rounds: {', '.join(map(str, missing))}.")
    wheels = list(folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels) / 10**6
    print(f"{folder}: {len(wheels)} wheels, {size:.0f} MB, for Python {target.python} on {target.arch}.")
    print(f"There: PIP_NO_INDEX=1 PIP_FIND_LINKS={folder.resolve().name} bash scripts/setup.sh (docs/offline.md)")


if __name__ == "__main__":
    main()
